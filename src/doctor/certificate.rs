//! Certificates: readable, whole, in order, for the right names, and for how long.

mod unusable;

use std::fmt;

use rustls::pki_types::ServerName;

use super::Finding;
use super::permission::Perspective;
use crate::clock::Timestamp;
use crate::proxy::AppSettings;
use crate::request::{Host, HostPattern};
use crate::tls::inspect::{self, Inspection, Trust};
use crate::tls::{self, ANEW, CertificateFiles, Details, TlsError};
use unusable::unusable;

/// From here on it is said that one ends soon (REL-16).
const SOON: i64 = 21;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// One pair, and what was seen of it.
pub(crate) struct Certificate {
    files: CertificateFiles,
    seen: Inspection,
    /// Whether this system knows any authority.
    authorities: bool,
    now: Timestamp,
}

pub(super) fn inspect(settings: &tls::Settings, now: Timestamp) -> Vec<Certificate> {
    let authorities = inspect::authorities();
    let inspect = |files: &CertificateFiles| Certificate {
        seen: inspect::inspect(files, &authorities, now),
        files: files.clone(),
        authorities: !authorities.is_empty(),
        now,
    };
    settings.certificates.iter().map(inspect).collect()
}

pub(super) fn examine(
    certificates: &[Certificate],
    apps: &[AppSettings],
    now: Timestamp,
    perspective: Perspective,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for certificate in certificates {
        let Certificate { files, seen, .. } = certificate;
        for problem in &seen.problems {
            let finding = unusable(problem, files, perspective);
            findings.push(finding.at(files.line));
        }
        findings.extend(certificate.damaged());
        findings.extend(certificate.keys());
        findings.extend(times(files, &seen.chain, now));
        findings.extend(order(files, &seen.chain));
        findings.extend(certificate.trust());
    }
    for app in apps {
        let found = app
            .hosts
            .iter()
            .filter_map(|host| uncovered(host, certificates));
        findings.extend(found.map(|(message, help)| {
            Finding::warning(format!("app {}", app.name), message, help).at(app.line)
        }));
    }
    findings.extend(apps.iter().filter_map(|app| any_name(app, certificates)));
    findings
}

/// What it is for and how long, for people.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.files.cert.display())?;
        let Some(first) = self.seen.chain.first() else {
            return f.write_str("no certificate");
        };
        let names = match first.names.as_slice() {
            [] => "no host".to_owned(),
            names => names.join(", "),
        };
        write!(f, "for {names}; until {}", date(first.not_after))?;
        match days(first.not_after, self.now) {
            left @ 0.. => write!(f, " ({left} days); ")?,
            _ => f.write_str("; ")?,
        }
        let issuer = self.seen.chain.last().map(|last| &last.issuer);
        match (&self.seen.trust, issuer) {
            (Some(Trust::SelfSigned), _) => {
                f.write_str("self-signed: browsers warn until somebody tells them to trust it")
            }
            (Some(Trust::OwnRoot), Some(issuer)) => write!(
                f,
                "of the authority {issuer}, which this system does not know: browsers have to"
            ),
            (Some(Trust::Missing), Some(issuer)) if !self.authorities => write!(
                f,
                "signed by {issuer}; whether browsers know that one cannot be told: this system \
                 has no list of authorities"
            ),
            _ => write!(f, "signed by {}", first.issuer),
        }
    }
}

impl Certificate {
    /// Where the first one is it, the server does not start, and that is the finding.
    fn damaged(&self) -> Option<Finding> {
        let number = self.seen.damaged?;
        let is_told = |problem: &TlsError| matches!(problem, TlsError::Damaged(..));
        if self.seen.problems.iter().any(is_told) {
            return None;
        }
        let finding = Finding::warning(
            self.files.cert.display().to_string(),
            format!("certificate {number} in it cannot be read: browsers may refuse the chain"),
            ANEW,
        );
        Some(finding.at(self.files.line))
    }

    /// Which one is used shows nowhere else.
    fn keys(&self) -> Option<Finding> {
        let (key, keys) = (self.files.key.display().to_string(), self.seen.keys);
        let message =
            format!("there are {keys} keys in it: the one that belongs to the certificate is used");
        let help = "take out the others";
        (keys > 1).then(|| Finding::warning(key, message, help).at(self.files.line))
    }

    fn trust(&self) -> Option<Finding> {
        let (first, last) = (self.seen.chain.first()?, self.seen.chain.last()?);
        let breaks = order(&self.files, &self.seen.chain);
        let subject = self.files.cert.display().to_string();
        let finding = match self.seen.trust.as_ref()? {
            Trust::Known | Trust::OwnRoot | Trust::SelfSigned => return None,
            // Where the order is wrong, that is the finding.
            Trust::Missing if !self.authorities || !breaks.is_empty() => return None,
            Trust::Missing => Finding::warning(
                subject,
                format!(
                    "the chain is not complete: {} has signed its last certificate, and is neither \
                     in the file nor an authority that this system knows",
                    last.issuer
                ),
                "of a public authority, take the file with the whole chain (fullchain.pem); of \
                 your own, append its certificate",
            ),
            Trust::Forged => Finding::warning(
                subject,
                format!(
                    "{} in this file is another than the one that has signed: the signature is \
                     wrong",
                    first.issuer
                ),
                "an authority was made anew under the same name; take its certificate from the \
                 same time",
            ),
            Trust::Unfit(error) => Finding::error(
                subject,
                format!("browsers refuse it: {error}"),
                "have it made for servers (extended key usage serverAuth)",
            ),
        };
        Some(finding.at(self.files.line))
    }
}

/// Certificates that are not valid now, or not for long.
fn times(files: &CertificateFiles, chain: &[Details], now: Timestamp) -> Vec<Finding> {
    const RENEW: &str = "renew it: new files are taken over without a restart";
    let subject = files.cert.display().to_string();
    let mut findings = Vec::new();
    for (index, one) in chain.iter().enumerate() {
        let is_own = index == 0;
        // The authority at the end is there for people: clients go by the one that they know.
        if !is_own && one.is_self_issued() {
            continue;
        }
        let name = if is_own {
            "it".to_owned()
        } else {
            format!("{} in this chain", one.subject)
        };
        let subject = subject.clone();
        let finding = match days(one.not_after, now) {
            _ if now < one.not_before => {
                let from = date(one.not_before);
                let message =
                    format!("{name} is valid from {from} on: browsers refuse it until then");
                let help = "wait, or set the clock of this machine right";
                Finding::error(subject, message, help)
            }
            _ if one.not_after < now => {
                let end = date(one.not_after);
                Finding::error(
                    subject,
                    format!("{name} has ended on {end}: browsers refuse it"),
                    RENEW,
                )
            }
            left if left < SOON => {
                let (end, days) = (date(one.not_after), plural(left));
                Finding::warning(subject, format!("{name} ends on {end}, in {days}"), RENEW)
            }
            _ => continue,
        };
        findings.push(finding.at(files.line));
    }
    findings
}

/// Each certificate has to be signed by the next one (RFC 8446 §4.4.2).
fn order(files: &CertificateFiles, chain: &[Details]) -> Vec<Finding> {
    let breaks = chain.windows(2).enumerate();
    let breaks = breaks.filter(|(_, pair)| pair[0].issuer != pair[1].subject);
    let order = tls::order(chain, 0);
    // What has not signed anything here is left out, too.
    let help = tls::reorder(&files.cert, &order);
    let finding = |(index, pair): (usize, &[Details])| {
        let message = format!(
            "certificate {} is of {}, which did not sign certificate {}; that was {}",
            index + 2,
            pair[1].subject,
            index + 1,
            pair[0].issuer
        );
        Finding::warning(files.cert.display().to_string(), message, &*help).at(files.line)
    };
    breaks.map(finding).collect()
}

/// A host whose visitors are shown a certificate for somebody else: what is wrong, and the fix.
pub(super) fn uncovered(
    host: &HostPattern,
    certificates: &[Certificate],
) -> Option<(String, String)> {
    // A name that nobody has, where all below one are meant: only a wildcard covers it.
    let bare = host.to_string().replace('*', "vestibule-check");
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    let read: Vec<_> = (certificates.iter())
        .filter(|certificate| !certificate.seen.chain.is_empty())
        .collect();
    // Of a certificate that cannot be read, nobody knows what it is for.
    if read.len() < certificates.len() {
        return None;
    }
    let covered = ServerName::try_from(bare).is_ok_and(|name| {
        read.iter()
            .any(|certificate| certificate.seen.covers(&name))
    });
    let known = read
        .iter()
        .flat_map(|certificate| &certificate.seen.chain[0].names);
    let known: Vec<_> = known.map(String::as_str).collect();
    let help = format!(
        "have one made for this name and add it as [[tls.extra]]; there are {}",
        if known.is_empty() {
            "none for any name".to_owned()
        } else {
            format!("some for {}", known.join(", "))
        }
    );
    (!covered).then(|| {
        let message = format!("no certificate is for {host}: browsers warn of another name");
        (message, help)
    })
}

/// An app that is served for whatever name a client says: the name goes into `X-Forwarded-Host`,
/// and from there into the links and mails of many applications.
fn any_name(app: &AppSettings, certificates: &[Certificate]) -> Option<Finding> {
    if !app.hosts.are_any() {
        return None;
    }
    let chains = certificates.iter().map(|one| &one.seen.chain);
    let names = chains.filter_map(|chain| chain.first());
    let names = names.flat_map(|first| first.names.iter().map(String::as_str));
    let hosts: Vec<_> = names.filter(|name| Host::parse(name).is_some()).collect();
    let help = match hosts.as_slice() {
        [] => "write host = \"...\", with the name that visitors use".to_owned(),
        [one] => format!("write host = \"{one}\", the name in the certificate"),
        [first, ..] => format!(
            "write host = \"{first}\", or another of the names in the certificates: {}",
            hosts.join(", ")
        ),
    };
    let message = "it has no `host`: whatever name a client says is passed to it in \
                   X-Forwarded-Host, and taken for the name of this site";
    Some(Finding::warning(format!("app {}", app.name), message, help).at(app.line))
}

/// Whole days, negative afterwards.
fn days(end: Timestamp, now: Timestamp) -> i64 {
    let millis = |time: Timestamp| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    (millis(end) - millis(now)).div_euclid(DAY)
}

fn plural(days: i64) -> String {
    match days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn date(time: Timestamp) -> String {
    let mut text = time.to_rfc3339();
    text.truncate(text.find('T').unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests;
