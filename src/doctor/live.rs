//! The same for a service that runs, for whoever asks it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::{Finding, Settings, examine, sort};
use crate::clock::Clock;
use crate::session::{self, Sessions};

/// However often somebody asks, applications are dialled no more often than this.
const FRESH: Duration = Duration::from_secs(5);

/// What a running service finds wrong with itself.
pub(crate) struct Live {
    settings: ArcSwap<Settings>,
    sessions: Arc<Sessions>,
    /// One looks, and the others wait for what is seen.
    last: Mutex<Option<Seen>>,
}

struct Seen {
    at: Instant,
    settings: Arc<Settings>,
    findings: Vec<Finding>,
}

impl Live {
    pub(crate) fn new(settings: Settings, sessions: Arc<Sessions>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            sessions,
            last: Mutex::default(),
        }
    }

    /// After a reload. The users file stays the one of the start.
    pub(crate) fn replace(&self, settings: Settings) {
        let users_file = self.settings.load().users_file.clone();
        let settings = Settings {
            users_file,
            ..settings
        };
        self.settings.store(Arc::new(settings));
    }

    /// What is wrong now, or was some seconds ago.
    pub(crate) async fn findings(&self) -> Vec<Finding> {
        let mut last = self.last.lock().await;
        let settings = self.settings.load_full();
        let fresh =
            |seen: &&Seen| seen.at.elapsed() < FRESH && Arc::ptr_eq(&seen.settings, &settings);
        if let Some(seen) = last.as_ref().filter(fresh) {
            return seen.findings.clone();
        }
        let mut findings = self.store().await;
        // Wall time: certificates go by it (REL-08).
        let examination = examine(&settings, Clock::system().now()).await;
        findings.extend(examination.findings);
        sort(&mut findings);
        *last = Some(Seen {
            at: Clock::stopwatch(),
            settings,
            findings: findings.clone(),
        });
        findings
    }

    async fn store(&self) -> Vec<Finding> {
        let subject = "sessions";
        if !self.sessions.can_be_read().await {
            return vec![Finding::error(
                subject,
                "they cannot be read: visitors get 503",
                "see the log; a restart opens the file anew",
            )];
        }
        if !session::has_room(&self.sessions.settings().backend) {
            return vec![Finding::error(
                subject,
                "the disk is full: open sessions go on, new logins are refused",
                "make room on the disk of `path` in [session]",
            )];
        }
        Vec::new()
    }
}
