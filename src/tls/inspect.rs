//! Looks at a pair of files more closely than serving needs: what is wrong with it, as a whole,
//! and what visitors will see of it.

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::x509::Details;
use super::{CertificateFiles, TlsError, is_for, pair, read_chain, read_keys};
use crate::clock::Timestamp;

/// A pair as it is.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// Why the server does not start with it; every reason.
    pub(crate) problems: Vec<TlsError>,
    /// How many keys are in the file, where the server starts with one of them.
    pub(crate) keys: usize,
    /// Which certificate of the file is none inside, the first of them, counted from one.
    pub(crate) damaged: Option<usize>,
    /// The certificates in the order of the file, up to that one.
    pub(crate) chain: Vec<Details>,
    /// Who vouches for it; nobody can tell of what is no certificate.
    pub(crate) trust: Option<Trust>,
    end_entity: Option<CertificateDer<'static>>,
}

/// Whom one has to trust to believe the first certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trust {
    /// Nobody but itself.
    SelfSigned,
    /// An authority that this system knows.
    Known,
    /// The authority at the end of the file, which this system does not know.
    OwnRoot,
    /// An authority that is neither in the file nor known here.
    Missing,
    /// It names the next certificate of the file, and that one has not signed it.
    Forged,
    /// Clients refuse it, whoever has signed it.
    Unfit(Error),
}

impl Inspection {
    /// Whether a client that asks for this name takes the certificate for it.
    pub(crate) fn covers(&self, name: &ServerName<'_>) -> bool {
        let end_entity = self.end_entity.as_ref();
        end_entity.is_some_and(|certificate| is_for(certificate, name))
    }
}

/// The authorities that this system knows; none where it has no list of them.
pub(crate) fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

pub(crate) fn inspect(
    files: &CertificateFiles,
    authorities: &RootCertStore,
    now: Timestamp,
) -> Inspection {
    let mut problems = Vec::new();
    let mut note = |error| problems.push(error);
    let chain = read_chain(&files.cert).map_err(&mut note).ok();
    let keys = read_keys(&files.key).map_err(&mut note).ok();
    if let (Some(chain), Some(keys)) = (&chain, &keys)
        && let Err(error) = pair(files, chain, keys)
    {
        note(error);
    }
    let keys = if problems.is_empty() { keys } else { None };
    let chain = chain.unwrap_or_default();
    let details: Vec<_> = chain.iter().map_while(|der| Details::read(der)).collect();
    Inspection {
        problems,
        keys: keys.map_or(0, |keys| keys.len()),
        damaged: (details.len() < chain.len()).then_some(details.len() + 1),
        trust: (details.len() == chain.len())
            .then(|| trust(&chain, &details, authorities, now))
            .flatten(),
        chain: details,
        end_entity: chain.into_iter().next(),
    }
}

fn trust(
    chain: &[CertificateDer<'static>],
    details: &[Details],
    authorities: &RootCertStore,
    now: Timestamp,
) -> Option<Trust> {
    let (first, last) = (details.first()?, details.last()?);
    if first.is_self_issued() {
        return Some(Trust::SelfSigned);
    }
    let at = within(now, details);
    match verify(chain, authorities, at) {
        Ok(()) => return Some(Trust::Known),
        Err(error) if is_unfit(&error) => return Some(Trust::Unfit(error)),
        Err(_) => {}
    }
    // Whoever is last is trusted for a moment: then the rest has to follow from it.
    let mut end = RootCertStore::empty();
    let followed = match (chain.len(), end.add(chain.last()?.clone())) {
        (2.., Ok(())) => verify(chain, &end, at),
        _ => return Some(Trust::Missing),
    };
    Some(match followed {
        Err(error) if is_unfit(&error) => Trust::Unfit(error),
        Err(Error::InvalidCertificate(CertificateError::BadSignature)) => Trust::Forged,
        Ok(()) if last.is_self_issued() => Trust::OwnRoot,
        _ => Trust::Missing,
    })
}

fn verify(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    at: UnixTime,
) -> Result<(), Error> {
    let (first, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let first = ParsedCertificate::try_from(first)?;
    verify_server_cert_signed_by_trust_anchor(&first, roots, others, at, algorithms.all)
}

/// Now, or a time at which all are valid: one that has ended is told of for itself.
fn within(now: Timestamp, chain: &[Details]) -> UnixTime {
    let begin = chain.iter().map(|one| one.not_before).max();
    let end = chain.iter().map(|one| one.not_after).min();
    let at = now.max(begin.unwrap_or(now)).min(end.unwrap_or(now));
    UnixTime::since_unix_epoch(at.since(Timestamp::default()))
}

/// What is wrong with the certificates themselves, whoever is trusted.
fn is_unfit(error: &Error) -> bool {
    use CertificateError::{
        BadEncoding, InvalidPurpose, InvalidPurposeContext, UnhandledCriticalExtension,
    };
    matches!(
        error,
        Error::InvalidCertificate(
            BadEncoding
                | InvalidPurpose
                | InvalidPurposeContext { .. }
                | UnhandledCriticalExtension
        )
    )
}

#[cfg(test)]
mod tests;
