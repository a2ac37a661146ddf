//! What is wrong with the service, or will be soon, and how to fix it.
//!
//! Two ask: `vestibule check` before a start, and the admin socket while the service runs. So the
//! doctor stands above `proxy`, takes the settings of each module, and knows no `config`.
//!
//! An **error** keeps the service from starting, or every browser from using it. A **warning**
//! leaves it running, and something of it will not be as it was meant; an application that cannot
//! be reached is one, because it may well be started later.

pub(crate) mod address;
pub(crate) mod certificate;
mod credential;
mod cross_site;
mod forward_auth;
mod identity_token;
mod live;
mod maintenance;
mod memory;
mod named;
mod network;
mod one_login;
pub(crate) mod permission;
mod redis;
mod rule;
mod secret_header;
mod upstream;
mod user;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::certificate::Certificate;
use self::permission::Perspective;
use self::upstream::{Asks, Dialers};
use crate::auth::users_file::{self, Users};
use crate::auth::{UsersHome, hashing_memory, users_memory};
use crate::clock::Timestamp;
use crate::forwarded::TrustedSources;
use crate::identity::token::KeySource;
use crate::listener::AuthAddress;
use crate::load::memory::Ceiling;
use crate::proxy::AppSettings;
use crate::regular_file::{Distrust, shell};
use crate::request::{Host, Limits};
use crate::session::Backend;
use crate::tls;

pub(crate) use self::redis::StoreServer;
pub(crate) use live::{Live, Seen};

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The file, app or address that it is about.
    pub(crate) subject: String,
    /// Of the configuration file, where it is about something in it.
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
    /// What to do next.
    pub(crate) help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Finding {
    fn new(
        severity: Severity,
        subject: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            subject: subject.into(),
            line: None,
            message: message.into(),
            help: help.into(),
        }
    }

    pub(crate) fn error(
        subject: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, subject, message, help)
    }

    fn warning(
        subject: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, subject, message, help)
    }

    fn untrusted(distrust: &Distrust) -> Self {
        let subject = distrust.path().display().to_string();
        Self::error(subject, distrust.message(), distrust.fix())
    }

    fn at(mut self, line: impl Into<Option<usize>>) -> Self {
        self.line = line.into();
        self
    }
}

/// What is looked at, whether the service runs or not.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) apps: Vec<AppSettings>,
    /// Of one login for all apps, and its line.
    pub(crate) login_host: Option<(Host, Option<usize>)>,
    /// Of identity tokens.
    pub(crate) identity_keys: KeySource,
    pub(crate) limits: Limits,
    /// Where sessions are kept, and API tokens beside them.
    pub(crate) backend: Backend,
    pub(crate) users: UsersHome,
    /// Of `[session.redis]`.
    pub(crate) redis_line: Option<usize>,
    pub(crate) tls: tls::Settings,
    pub(crate) files: permission::Files,
    /// Of memory, without what verifying passwords takes.
    pub(crate) ceiling: Ceiling,
    /// Behind these, clients do not have connections of their own.
    pub(crate) trusted_proxies: TrustedSources,
    pub(crate) auth: Auth,
    pub(crate) port: BrowsersPort,
}

/// Where proxies ask by forward auth, which of them may, and the lines that say so.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) listen: Vec<AuthAddress>,
    pub(crate) from: TrustedSources,
    pub(crate) lines: (Option<usize>, Option<usize>),
}

/// The port that browsers use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrowsersPort {
    pub(crate) number: u16,
    /// Otherwise it is a guess: a mapping or a proxy in front may give them another one.
    pub(crate) is_configured: bool,
}

/// What was seen.
pub(crate) struct Examination {
    pub(crate) certificates: Vec<Certificate>,
    /// `None` where they cannot be read.
    pub(crate) users: Option<Users>,
    /// Where sessions are kept in Redis or Valkey: what was seen of its servers.
    pub(crate) store: Vec<StoreServer>,
    pub(crate) findings: Vec<Finding>,
}

/// For all of it, whatever hangs.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks at everything. Files are read by one thread at a time: where a disk hangs, that one does,
/// and no more come to hang with it.
pub(crate) struct Examiner {
    reading: Arc<Semaphore>,
    progress: Progress,
}

/// Hears how many of how many users in the session store were looked at, where that takes a while.
pub(crate) type Progress = fn(usize, usize);

impl Examiner {
    pub(crate) fn new() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(1)),
            progress: |_, _| {},
        }
    }

    pub(crate) fn telling(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Within a runtime; `None` when the files cannot be read in time.
    pub(crate) async fn examine(&self, settings: &Settings, now: Timestamp) -> Option<Examination> {
        let stored = user::stored(settings, self.progress).await;
        let deadline = Instant::now() + LIMIT;
        let files = self.examine_files(settings.clone(), stored, now);
        let (mut examination, dialers) = timeout_at(deadline, files).await.ok()?;
        let asks = (settings.files.perspective == Perspective::Person).then_some(Asks {
            has_trusted_proxies: !settings.trusted_proxies.is_empty(),
        });
        let apps = (settings.apps.as_slice().into(), settings.port);
        let dialled = upstream::dial(apps, dialers, asks, deadline);
        let redis = async {
            let Backend::Redis(redis) = &settings.backend else {
                return (Vec::new(), Vec::new());
            };
            let asked = timeout_at(deadline, redis::ask(redis)).await;
            asked.unwrap_or_else(|_| (Vec::new(), vec![redis::too_slow(redis)]))
        };
        let (dialled, (store, redis)) = tokio::join!(dialled, redis);
        examination.store = store;
        examination.findings.extend(dialled);
        let of_line = |finding: Finding| finding.at(settings.redis_line);
        examination.findings.extend(redis.into_iter().map(of_line));
        sort(&mut examination.findings);
        Some(examination)
    }

    async fn examine_files(
        &self,
        settings: Settings,
        stored: user::Stored,
        now: Timestamp,
    ) -> (Examination, Dialers) {
        let place = Arc::clone(&self.reading).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            (
                examine_files(&settings, stored, now),
                upstream::open(&settings.apps, settings.port),
            )
        });
        reading
            .await
            .unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}

/// What stands in for an examination that did not end.
pub(crate) fn too_slow() -> Finding {
    Finding::error(
        "the files",
        format!("cannot be read within {} seconds", LIMIT.as_secs()),
        "look at the disks and network file systems of the files that the configuration names",
    )
}

/// What can be known without asking anybody.
fn examine_files(settings: &Settings, stored: user::Stored, now: Timestamp) -> Examination {
    let certificates = certificate::inspect(&settings.tls, now);
    let perspective = settings.files.perspective;
    let file = settings.users.file();
    let file = file.map(|file| (file, users_file::read(file)));
    let mut findings = certificate::examine(&certificates, &settings.apps, now, perspective);
    let users = match (&settings.users, file) {
        (UsersHome::File(_), Some((file, users))) => {
            findings.extend(user::examine(file, &users, perspective));
            users.ok()
        }
        (_, file) => {
            let file = file.as_ref().map(|(file, users)| (*file, users));
            findings.extend(user::examine_stored(&stored, file, perspective));
            stored.into_users()
        }
    };
    findings.extend(rule::examine(
        &settings.apps,
        &settings.limits,
        users.as_ref(),
    ));
    findings.extend(maintenance::examine(&settings.apps, users.as_ref()));
    findings.extend(network::examine(&settings.apps, &settings.trusted_proxies));
    findings.extend(forward_auth::examine(&settings.auth));
    findings.extend(cross_site::examine(&settings.apps, settings.port));
    findings.extend(upstream::examine(&settings.apps));
    let login_host = settings.login_host.as_ref();
    findings.extend(one_login::examine(
        login_host,
        &settings.apps,
        &certificates,
    ));
    findings.extend(credential::examine(&settings.apps, &settings.backend));
    findings.extend(secret_header::examine(&settings.apps, perspective));
    findings.extend(identity_token::examine(
        &settings.identity_keys,
        &settings.apps,
        perspective,
    ));
    findings.extend(permission::examine(&settings.files));
    if let Backend::Redis(redis) = &settings.backend {
        let found = redis::examine_files(redis, perspective);
        let found = found.into_iter().chain(redis::examine_addresses(redis));
        findings.extend(found.map(|finding| finding.at(settings.redis_line)));
    }
    if let (Some(users), Perspective::Service) = (&users, perspective) {
        let kept = users_memory(&settings.users, users);
        let ceiling = settings.ceiling.with_users(hashing_memory(users), kept);
        findings.extend(memory::examine(ceiling));
    }
    Examination {
        certificates,
        users,
        store: Vec::new(),
        findings,
    }
}

/// Errors first, and those in the order of the configuration.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (finding.severity, finding.line.unwrap_or(usize::MAX)));
}

/// "1 error and 2 warnings"; `None` when all is well.
pub(crate) fn counted(findings: &[Finding]) -> Option<String> {
    let counts = [Severity::Error, Severity::Warning].map(|severity| {
        let of_this = findings.iter().filter(|one| one.severity == severity);
        match of_this.count() {
            0 => None,
            1 => Some(format!("1 {}", severity.as_str())),
            many => Some(format!("{many} {}s", severity.as_str())),
        }
    });
    match counts {
        [Some(errors), Some(warnings)] => Some(format!("{errors} and {warnings}")),
        [errors, warnings] => errors.or(warnings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_in_words() {
        let error = || Finding::error("a", "b", "c");
        let warning = || Finding::warning("a", "b", "c");
        for (findings, expected) in [
            (vec![], None),
            (vec![error()], Some("1 error")),
            (vec![warning(), warning()], Some("2 warnings")),
            (
                vec![warning(), error(), error()],
                Some("2 errors and 1 warning"),
            ),
        ] {
            assert_eq!(counted(&findings).as_deref(), expected);
        }
    }

    #[test]
    fn errors_come_first_and_then_the_order_of_the_file_counts() {
        let mut findings = vec![
            Finding::warning("6", "", ""),
            Finding::warning("4", "", "").at(3),
            Finding::error("3", "", ""),
            Finding::error("2", "", "").at(9),
            Finding::warning("5", "", "").at(3),
            Finding::error("1", "", "").at(8),
        ];
        sort(&mut findings);
        let order: Vec<_> = findings.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(order, ["1", "2", "3", "4", "5", "6"]);
    }
}
