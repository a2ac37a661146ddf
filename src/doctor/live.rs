//! The same for a running service, on request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Examiner, Finding, LIMIT, Settings, memory, sort, too_slow};
use crate::auth::Accounts;
use crate::clock::Clock;
use crate::session::{self, Backend, Sessions};

/// Applications are dialled no more often than this, however often somebody asks.
const FRESH: Duration = Duration::from_secs(5);

/// How many times as long as an examination took there is no other one: a name server that is
/// dead leaves threads behind that still wait for it.
const REST: u32 = 4;

/// What a running service finds wrong with itself.
pub(crate) struct Live {
    settings: ArcSwap<Settings>,
    sessions: Arc<Sessions>,
    accounts: Arc<Accounts>,
    examiner: Examiner,
    /// One looks, and the others wait for what is seen.
    last: Mutex<Option<Look>>,
}

/// What there is to say.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) certificates: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

struct Look {
    /// When somebody who asks is worth another one.
    until: Instant,
    settings: Arc<Settings>,
    seen: Seen,
}

impl Live {
    pub(crate) fn new(
        settings: Settings,
        sessions: Arc<Sessions>,
        accounts: Arc<Accounts>,
    ) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            sessions,
            accounts,
            examiner: Examiner::new(),
            last: Mutex::default(),
        }
    }

    /// After a reload. The users file and what the service has made stay those of the start.
    pub(crate) fn replace(&self, settings: Settings) {
        let start = self.settings.load();
        let settings = Settings {
            files: start.files.at_the_lines_of(&settings.files),
            users: start.users.clone(),
            ..settings
        };
        self.settings.store(Arc::new(settings));
    }

    /// How it is now, or was some seconds ago.
    pub(crate) async fn look(&self) -> Seen {
        let mut last = self.last.lock().await;
        let settings = self.settings.load_full();
        let begin = Clock::stopwatch();
        let fresh = |look: &&Look| begin < look.until && Arc::ptr_eq(&look.settings, &settings);
        if let Some(look) = last.as_ref().filter(fresh) {
            return look.seen.clone();
        }
        let seen = self.examine(&settings).await;
        *last = Some(Look {
            until: Clock::stopwatch() + FRESH.max(begin.elapsed() * REST),
            settings,
            seen: seen.clone(),
        });
        seen
    }

    /// With users of the session store, whom the service knows; those of a file are read where it is
    /// examined.
    fn memory(&self, settings: &Settings) -> Option<Finding> {
        let accounts = &self.accounts;
        let with_users = || {
            let (hashing, users) = (accounts.hashing_memory(), accounts.memory());
            settings.ceiling.with_users(hashing, users)
        };
        settings
            .users
            .is_store()
            .then(with_users)
            .and_then(memory::examine)
    }

    async fn examine(&self, settings: &Settings) -> Seen {
        let mut findings = Vec::from_iter(self.store().await);
        findings.extend(self.memory(settings));
        let mut certificates = Vec::new();
        // Wall time: certificates go by it (REL-08).
        let now = Clock::system().now();
        match self.examiner.examine(settings, now).await {
            Some(examination) => {
                findings.extend(examination.findings);
                certificates.extend(examination.certificates.iter().map(ToString::to_string));
            }
            None => findings.push(too_slow()),
        }
        sort(&mut findings);
        Seen {
            certificates,
            findings,
        }
    }

    /// Within the same time as the rest.
    async fn store(&self) -> Option<Finding> {
        let sessions = async {
            let can_be_read = self.sessions.can_be_read().await.is_ok();
            let Backend::Disk(file) = self.sessions.settings().backend.clone() else {
                return (can_be_read, true);
            };
            let has_room = spawn_blocking(move || session::has_room(&file)).await;
            (can_be_read, has_room.unwrap_or(true))
        };
        let (message, help) = match timeout(LIMIT, sessions).await {
            Ok((true, true)) => return None,
            Ok((true, false)) => (
                "the disk is full: open sessions go on, new logins are refused",
                "make room on the disk of `path` in [session]",
            ),
            Ok((false, _)) | Err(_) => (
                "they cannot be read: visitors get 503",
                match self.sessions.connectivity() {
                    Some(_) => "see the log, which says what is wrong with the session store",
                    None => "see the log; a restart opens the file anew",
                },
            ),
        };
        Some(Finding::error("sessions", message, help))
    }
}
