//! Redis or Valkey: whether it can be used as it is, and keeps what it is given.

use std::fmt;
use std::io;

use serde::Serialize;

use super::Finding;
use super::permission::Perspective;
use crate::redis::{Address, FileError, Settings};

/// Further apart, times in the logs of two machines are hard to compare.
#[cfg(feature = "redis")]
const APART: u64 = 1000;

/// The files with its key, passwords and certificates.
pub(super) fn examine_files(settings: &Settings, perspective: Perspective) -> Vec<Finding> {
    let key = settings.keys().err();
    let passwords = settings.passwords().filter_map(|it| it.read_line().err());
    let tls = settings
        .servers
        .are_tls()
        .then(|| settings.tls.read().err());
    let errors = key.into_iter().chain(passwords).chain(tls.flatten());
    errors
        .map(|error| of_file(settings, &error, perspective))
        .collect()
}

fn of_file(settings: &Settings, error: &FileError, perspective: Perspective) -> Finding {
    let is_out_of_sight = |error: &io::Error| {
        let kind = error.kind();
        matches!(
            kind,
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
    };
    match error {
        FileError::NoKey(path, cause) | FileError::Unreadable(path, cause)
            if is_out_of_sight(cause)
                && settings.may_be_credential(path)
                && perspective == Perspective::Person =>
        {
            Finding::warning(
                path.display().to_string(),
                "you do not see it",
                format!(
                    "the unit of the service has to hand it over with LoadCredential=; without \
                     that, {}",
                    error.fix()
                ),
            )
        }
        error => Finding::error(error.subject(), error.message(), error.fix()),
    }
}

/// What the wire shows to others on it.
pub(super) fn examine_addresses(settings: &Settings) -> Vec<Finding> {
    let is_open = |address: &&Address| !address.is_tls() && !address.is_local();
    let Some(open) = settings.servers.named().iter().find(is_open) else {
        return Vec::new();
    };
    let mut findings = vec![Finding::warning(
        open.to_string(),
        "passwords and names of users are sent there without TLS",
        "have the server speak TLS (`tls-port`), and write rediss://",
    )];
    if settings.login.password.is_none() {
        findings.push(Finding::warning(
            open.to_string(),
            "everybody who reaches it can end all sessions: there is no password",
            "make a user for Vestibule (docs/several-nodes.md), and set `username` and \
             `password_file` in [session.redis]",
        ));
    }
    findings
}

/// What stands in for answers that did not come.
pub(super) fn too_slow(settings: &Settings) -> Finding {
    let subject = settings.servers.named().first().map(Address::to_string);
    Finding::warning(
        subject.unwrap_or_default(),
        "it has not answered all questions in time",
        "see that it is not overloaded, and that `timeout` in [session.redis] is short",
    )
}

/// What a server is, for whoever asks whether all is as it was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StoreServer {
    pub(crate) address: String,
    /// As in `Redis 7.0.15`.
    pub(crate) version: String,
    pub(crate) is_master: bool,
    pub(crate) replicas: usize,
    pub(crate) is_appending: bool,
    pub(crate) policy: String,
    pub(crate) clock_ahead_ms: i64,
}

impl fmt::Display for StoreServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.version)?;
        match (self.is_master, self.replicas) {
            (false, _) => f.write_str(", replica")?,
            (true, 1) => f.write_str(", master, 1 replica")?,
            (true, replicas) => write!(f, ", master, {replicas} replicas")?,
        }
        let appending = if self.is_appending { "yes" } else { "no" };
        write!(
            f,
            ", appendonly {appending}, {}, clock {} ms",
            self.policy, self.clock_ahead_ms
        )
    }
}

/// Asks the servers.
#[cfg(feature = "redis")]
pub(super) async fn ask(settings: &Settings) -> (Vec<StoreServer>, Vec<Finding>) {
    let seen = crate::redis::inspect(settings).await;
    let (mut servers, mut findings) = (Vec::new(), Vec::new());
    for (address, inspected) in seen.servers {
        match inspected {
            Ok(inspected) => {
                findings.extend(of_server(&inspected, settings));
                servers.push(StoreServer {
                    address: inspected.server.address.clone(),
                    version: inspected.server.version,
                    is_master: inspected.server.is_master,
                    replicas: inspected.server.replicas,
                    is_appending: inspected.is_appending,
                    policy: inspected.policy,
                    clock_ahead_ms: inspected.server.clock_ahead,
                });
            }
            Err(error) => findings.push(of_error(&address, &error)),
        }
    }
    if let Some((address, error)) = seen.unlisted {
        findings.push(Finding::warning(
            address.to_string(),
            format!(
                "it does not say which other servers there are, and they are not looked at: {error}"
            ),
            "give the user of the sentinels `+sentinel|replicas`, or see that the servers of the \
             cluster answer",
        ));
    }
    (servers, findings)
}

#[cfg(not(feature = "redis"))]
pub(super) async fn ask(_settings: &Settings) -> (Vec<StoreServer>, Vec<Finding>) {
    (Vec::new(), Vec::new()) // the configuration says so already
}

#[cfg(feature = "redis")]
fn of_error(address: &Address, error: &crate::redis::ConnectError) -> Finding {
    let message = format!("no sessions can be kept there: {error}");
    match error.fix() {
        Some(fix) => Finding::error(address.to_string(), message, fix),
        None => Finding::warning(
            address.to_string(),
            message,
            "start the server, or correct its address in [session.redis]; until then visitors get \
             503",
        ),
    }
}

#[cfg(feature = "redis")]
fn of_server(inspected: &crate::redis::Inspected, settings: &Settings) -> Vec<Finding> {
    let server = &inspected.server;
    let warning = |message: String, help: &str| {
        let subject = format!("{} ({})", server.address, server.version);
        Finding::warning(subject, message, help)
    };
    let mut findings = Vec::new();
    if !inspected.missing.is_empty() {
        let rules = inspected.missing.join(" ");
        findings.push(Finding::error(
            format!("{} ({})", server.address, server.version),
            format!("the user may not do all that Vestibule does there; it lacks {rules}"),
            format!("do `ACL SETUSER NAME {rules}` there, with the name of the user"),
        ));
    }
    if !inspected.is_appending {
        findings.push(warning(
            "it writes nothing down at once (`appendonly no`): its restart ends sessions"
                .to_owned(),
            "do `CONFIG SET appendonly yes` and `CONFIG REWRITE` there",
        ));
    }
    if inspected.policy != "noeviction" {
        let policy = &inspected.policy;
        findings.push(warning(
            format!("sessions vanish when its memory is full (`maxmemory-policy {policy}`)"),
            "do `CONFIG SET maxmemory-policy noeviction` and `CONFIG REWRITE` there: logins are \
             then refused in place of that",
        ));
    }
    let replicas = server.replicas;
    match settings.wait_replicas.filter(|_| server.is_master) {
        Some(wanted) if replicas < wanted => findings.push(warning(
            format!(
                "it has {replicas} replicas, and `wait_replicas` is {wanted}: each login and logout \
                 waits for them in vain"
            ),
            "see that its replicas run and follow it, or lower `wait_replicas` in [session.redis]",
        )),
        Some(0) if replicas > 0 => findings.push(warning(
            "it has replicas, and `wait_replicas` is 0: a failover may lose logins and logouts that \
             were answered"
                .to_owned(),
            "take `wait_replicas` out of [session.redis]: each is then answered when one replica has it",
        )),
        // Unset, one is waited for where there are any.
        _ => {}
    }
    let apart = server.clock_ahead.unsigned_abs();
    if apart > APART {
        let behind = if server.clock_ahead < 0 {
            "behind"
        } else {
            "ahead"
        };
        let seconds = apart.div_ceil(1000);
        findings.push(warning(
            format!("its clock is {seconds} seconds {behind}"),
            "set the clocks of both machines by NTP",
        ));
    }
    findings
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
