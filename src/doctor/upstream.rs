//! Every address of every app is dialled, all at once, and each app is asked for its first page; and
//! keys about them that do nothing.

mod first_page;
mod turns;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BrowsersPort, Finding};
use crate::proxy::AppSettings;
use crate::proxy::headers::RequestHeaders;
use crate::upstream::dial::{DialError, Dialer, dialers};
use crate::upstream::{Address, Balance, OpenError, Settings, Tolerated};
use first_page::Asked;
use turns::Turns;

/// Below what a process may have open by default.
const AT_ONCE: usize = 128;

/// The addresses of each app, with the headers that it is sent, if all of them could be read; or why
/// it could never be reached.
pub(super) type Dialers = Vec<Result<(Vec<Dialer>, Option<RequestHeaders>), OpenError>>;

/// What is asked besides, to see what visitors will get: by a person's command only. An app that is
/// watched all the time is not asked for its first page all the time.
#[derive(Clone, Copy)]
pub(super) struct Asks {
    /// Then connections belong to nobody (SEC-92).
    pub(super) has_trusted_proxies: bool,
}

/// Reads the authorities of each app, and the files of its headers.
pub(super) fn open(apps: &[AppSettings], port: BrowsersPort) -> Dialers {
    apps.iter()
        .map(|app| {
            let mut headers = app.request_headers.clone();
            // What is wrong with them is said elsewhere. Without one, the app would answer another
            // request than that of a visitor.
            let are_read = headers.read_files_of_any_owner().is_ok();
            let dialers = dialers(&app.upstream, app.hosts.first_name(), port.number)?;
            Ok((dialers, are_read.then_some(headers)))
        })
        .collect()
}

/// Keys that do nothing where they are.
pub(super) fn examine(apps: &[AppSettings]) -> Vec<Finding> {
    let found = apps.iter().flat_map(|app| {
        let idle = idle_keys(&app.upstream).into_iter().flatten();
        idle.map(move |(message, help)| {
            Finding::warning(format!("app {}", app.name), message, help).at(app.line)
        })
    });
    found.collect()
}

fn idle_keys(settings: &Settings) -> [Option<(&'static str, &'static str)>; 3] {
    let waits_for_tls = settings.tolerate.contains(&Tolerated::MissingCloseNotify);
    let has_tls = settings.addresses.iter().any(Address::is_https);
    let balances = settings.balance != Balance::default();
    [
        (waits_for_tls && !has_tls).then_some((
            "no upstream of it is https: \"missing-close-notify\" in its `tolerate` does nothing",
            "leave that word out, or write https://",
        )),
        (balances && settings.addresses.len() == 1).then_some((
            "it has one address: its `balance` does nothing",
            "leave the key out, or name all addresses in `upstream`",
        )),
        settings.has_empty_health.then_some((
            "its `health` has no `path`: nothing is checked",
            "write what to ask the app for, as in path = \"/healthz\", or leave the key out",
        )),
    ]
}

/// Findings in the order of the configuration. Of the addresses of an app that is asked, the first
/// one that takes a connection is.
pub(super) async fn dial(
    (apps, port): (Arc<[AppSettings]>, BrowsersPort),
    dialers: Dialers,
    asks: Option<Asks>,
    deadline: Instant,
) -> Vec<Finding> {
    dial_at_once(AT_ONCE, (apps, port), dialers, asks, deadline).await
}

async fn dial_at_once(
    at_once: usize,
    (apps, port): (Arc<[AppSettings]>, BrowsersPort),
    dialers: Dialers,
    asks: Option<Asks>,
    deadline: Instant,
) -> Vec<Finding> {
    let turns = Turns::new(at_once, &dialers, asks, deadline);
    let mut dialling = JoinSet::new();
    let mut findings = Vec::new();
    for (index, opened) in dialers.into_iter().enumerate() {
        let (dialers, headers) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                findings.push((index, 0, unusable(&apps[index], &error)));
                continue;
            }
        };
        let is_asked = Arc::new(AtomicBool::new(asks.is_none()));
        let headers = headers.map(Arc::new);
        for (number, dialer) in dialers.into_iter().enumerate() {
            let (turns, is_asked) = (turns.clone(), Arc::clone(&is_asked));
            let (apps, headers) = (Arc::clone(&apps), headers.clone());
            dialling.spawn(async move {
                let asked = headers.as_deref().map(|headers| Asked {
                    app: &apps[index],
                    apps: &apps,
                    dialer: &dialer,
                    headers,
                    port,
                    has_trusted_proxies: asks.is_some_and(|asks| asks.has_trusted_proxies),
                });
                let finding = look(&apps[index], &dialer, &turns, || {
                    asked.filter(|_| !is_asked.swap(true, Ordering::Relaxed))
                });
                Some((index, number, finding.await?))
            });
        }
    }
    while let Some(joined) = dialling.join_next().await {
        match joined {
            Ok(found) => findings.extend(found),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
    findings.sort_by_key(|(index, number, _)| (*index, *number));
    findings.into_iter().map(|(.., finding)| finding).collect()
}

/// Dials an address, and asks the app there if it is to be asked.
async fn look<'a>(
    app: &AppSettings,
    dialer: &Dialer,
    turns: &Turns,
    asked: impl FnOnce() -> Option<Asked<'a>>,
) -> Option<Finding> {
    let Some(turn) = turns.next().await else {
        return Some(out_of_time(app, dialer, "was not tried"));
    };
    if let Err(error) = dialer.dial(turn.deadline).await {
        return Some(unreachable(app, dialer, &error, turn.deadline).await);
    }
    let asked = asked()?;
    drop(turn);
    match turns.next().await {
        Some(turn) => asked.finding(turn.deadline).await,
        None => Some(out_of_time(
            app,
            dialer,
            "takes connections, and was not asked for its first page",
        )),
    }
}

fn out_of_time(app: &AppSettings, dialer: &Dialer, what: &str) -> Finding {
    Finding::warning(
        format!("app {}", app.name),
        format!(
            "{} {what}: the others took all of the time",
            dialer.address()
        ),
        "see to the addresses that do not answer, then check again",
    )
    .at(app.line)
}

/// The service does not start with it.
fn unusable(app: &AppSettings, error: &OpenError) -> Finding {
    let (message, help) = match error {
        OpenError::Authorities(unfit) => (
            format!("{}: {}", unfit.path().display(), unfit.message()),
            unfit.fix(),
        ),
        error => (error.to_string(), unusable_help(error).to_owned()),
    };
    Finding::error(format!("app {}", app.name), message, help).at(app.line)
}

fn unusable_help(error: &OpenError) -> &'static str {
    match error {
        OpenError::Authorities(_) | OpenError::Authority(..) | OpenError::Unreadable(..) => {
            "put the certificates of the authorities there as PEM, or leave `upstream_ca` out"
        }
        OpenError::NoAuthorities => "install the package ca-certificates, or set `upstream_ca`",
        OpenError::ServerName(_) => {
            "write `upstream` with a name that a certificate can have, or set `upstream_server_name`"
        }
        OpenError::Tls(_) => "see `upstream` of this app",
    }
}

/// Visitors get 502 or 504, until that is fixed.
async fn unreachable(
    app: &AppSettings,
    dialer: &Dialer,
    error: &DialError,
    deadline: Instant,
) -> Finding {
    let address = dialer.address();
    let (message, help) = match error {
        DialError::Certificate { problem, help } => (problem.clone(), help.clone()),
        DialError::Denied => (
            format!("you may not connect to {address}"),
            "give the user of the service the right to write to the socket, and to enter its \
             folders"
                .to_owned(),
        ),
        DialError::Io(error) => (
            format!("cannot connect to {address}: {error}"),
            "look at the network between here and the application".to_owned(),
        ),
        DialError::NoSocket => (
            format!("there is no socket at {address}"),
            "start the application, or correct `upstream`".to_owned(),
        ),
        DialError::NoSuchHost(error) => (
            format!("the host of {address} is not known: {error}"),
            "correct `upstream`, or add the name to DNS or /etc/hosts".to_owned(),
        ),
        DialError::NoTls(_) if dialer.speaks_the_other(deadline).await => plain(address),
        DialError::NoTls(error) => no_tls(address, error),
        DialError::Refused => (
            format!("nothing listens at {address}"),
            "start the application, or correct `upstream`; until then visitors get 502".to_owned(),
        ),
        DialError::TimedOut(after) => (
            format!("{address} has not answered within {after:.0?}"),
            "look at the network and the firewalls between here and the application, or raise \
             `connect_timeout`"
                .to_owned(),
        ),
    };
    Finding::warning(format!("app {}", app.name), message, help).at(app.line)
}

fn plain(address: &Address) -> (String, String) {
    let http = address.to_string().replacen("https://", "http://", 1);
    (
        format!("{address} speaks plain HTTP, not TLS"),
        format!("write upstream = \"{http}\""),
    )
}

fn no_tls(address: &Address, error: &rustls::Error) -> (String, String) {
    let (problem, help) = match error {
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => (
            "has no version or cipher of TLS in common with Vestibule",
            "update the application, or switch on there: TLS 1.2 or 1.3, ECDHE, and AES-GCM or \
             ChaCha20",
        ),
        rustls::Error::InvalidCertificate(_) => (
            "shows a certificate that cannot be used",
            "have the application make a new certificate, with a key for ECDSA with P-256 or RSA \
             with 2048 bits",
        ),
        _ => (
            "does not speak TLS as it should",
            "write http:// if it speaks plain HTTP",
        ),
    };
    (format!("{address} {problem}: {error}"), help.to_owned())
}

#[cfg(test)]
mod tests;
