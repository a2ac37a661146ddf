//! Active health checks: each address of an app is asked, whether requests come or not.
//!
//! A check says nothing of who it is for, so what it asks has to be open to everybody in the app.
//! Checks come from the tick of the latest configuration: they begin with their app, and end with
//! it, however long streams of an earlier configuration last. The verdict is kept for an app that
//! stays as it is.

mod ask;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{HeaderValue, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use super::connect::Connector;
use super::{Address, UpstreamError};
use crate::clock::{Clock, Timestamp};
use crate::random::random;
use crate::telemetry::Seldom;

/// How long one check may take, unless the interval is shorter.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The first check of each address comes within so long.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub(crate) struct HealthCheck {
    pub(crate) path: Uri,
    pub(crate) interval: Duration,
}

/// What the checks of an address say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// `None` as long as two checks have not said the same.
    pub(crate) is_up: Option<bool>,
    /// What the last check met; `None` before the first.
    pub(crate) last: Option<String>,
}

/// The checks of all apps, whatever is configured meanwhile.
#[derive(Debug)]
pub(crate) struct Registry {
    verdicts: Mutex<HashMap<Key, Weak<Verdict>>>,
    clock: Clock,
}

/// What is the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    app: String,
    address: String,
    path: String,
    host: HeaderValue,
}

/// The checks of one address.
pub(super) struct Checks {
    app: Arc<str>,
    host: HeaderValue,
    settings: HealthCheck,
    verdict: Arc<Verdict>,
}

#[derive(Debug)]
struct Verdict {
    /// What the history says, for each request.
    is_down: AtomicBool,
    is_asking: AtomicBool,
    history: Mutex<History>,
    /// An address may go down and up with each check.
    said_down: Seldom,
    said_up: Seldom,
}

#[derive(Debug, Default)]
struct History {
    results: Results,
    last: Option<String>,
    plan: Plan,
    /// Of the verdict, since the log was told.
    changes: u32,
}

/// What the log is told.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    is_up: bool,
    /// One, or more that the log was not told of.
    changes: u32,
}

#[derive(Debug, Default)]
enum Plan {
    #[default]
    None,
    First(Timestamp),
    /// The interval counts from here, and ends so many parts of 2550 earlier: the checks of many
    /// apps do not stay together.
    After(Timestamp, u8),
}

/// The last three, the newest last.
#[derive(Debug, Default)]
struct Results(Vec<bool>);

impl Results {
    fn note(&mut self, is_good: bool) {
        if self.0.len() == 3 {
            self.0.remove(0);
        }
        self.0.push(is_good);
    }

    /// What two of them say.
    fn decide(&self) -> Option<bool> {
        let good = self.0.iter().filter(|is_good| **is_good).count();
        match (good, self.0.len() - good) {
            (2.., _) => Some(true),
            (_, 2..) => Some(false),
            _ => None,
        }
    }
}

impl Registry {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            verdicts: Mutex::default(),
            clock,
        }
    }

    fn of(&self, key: Key) -> Arc<Verdict> {
        let mut all = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, verdict| verdict.strong_count() > 0);
        let verdict = Arc::new(Verdict::new(&self.clock));
        all.insert(key, Arc::downgrade(&verdict));
        verdict
    }
}

impl Checks {
    /// `host` is what the app gets in `Host`.
    pub(super) fn new(
        app: &Arc<str>,
        address: &Address,
        host: HeaderValue,
        settings: &HealthCheck,
        registry: &Registry,
    ) -> Self {
        let key = Key {
            app: app.to_string(),
            address: address.to_string(),
            path: settings.path.to_string(),
            host: host.clone(),
        };
        Self {
            app: Arc::clone(app),
            host,
            settings: settings.clone(),
            verdict: registry.of(key),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.verdict.is_down.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> State {
        let history = self.verdict.history();
        State {
            is_up: history.results.decide(),
            last: history.last.clone(),
        }
    }

    /// Whether a check is due; a caller that is told so has to run it.
    pub(super) fn is_due(&self, clock: &Clock) -> Option<Asking> {
        let now = clock.now();
        let mut history = self.verdict.history();
        let interval = self.settings.interval;
        let at = match history.plan {
            Plan::None => {
                let at = now.plus(FIRST_WITHIN * u32::from(any_byte()) / 255);
                history.plan = Plan::First(at);
                return None;
            }
            Plan::First(at) => at,
            Plan::After(last, early) => {
                last.plus(interval.saturating_sub(interval / 2550 * u32::from(early)))
            }
        };
        if now < at || self.verdict.is_asking.swap(true, Ordering::AcqRel) {
            return None;
        }
        history.plan = Plan::After(now, any_byte());
        Some(Asking(Arc::clone(&self.verdict)))
    }

    /// Asks once, and notes what comes. A check that the end of the service meets says nothing.
    pub(super) async fn ask(&self, connector: &Connector, asking: Asking, stop: CancellationToken) {
        let timeout = TIMEOUT.min(self.settings.interval);
        let answer = ask::ask(connector, &self.settings.path, &self.host);
        let answer = tokio::select! {
            answer = tokio::time::timeout(timeout, answer) => answer,
            () = stop.cancelled() => return,
        };
        let answer = answer.unwrap_or(Err(UpstreamError::ResponseTimeout));
        self.note(&answer, connector.address());
        drop(asking);
    }

    fn note(&self, answer: &Result<StatusCode, UpstreamError>, address: &Address) {
        let is_good = answer
            .as_ref()
            .is_ok_and(|status| status.is_success() || status.is_redirection());
        let answer = Shown(answer).to_string();
        let Some(Change { is_up, changes }) = self.verdict.note(is_good, &answer) else {
            return;
        };
        let app = &*self.app;
        let changes = (changes > 1).then_some(changes);
        if is_up {
            tracing::info!(
                app, %address, answer, changes,
                "an address of the application is up again: two of its last three health checks \
                 succeeded"
            );
        } else {
            tracing::warn!(
                app, %address, answer, changes,
                "an address of the application is down: two of its last three health checks failed"
            );
        }
    }
}

impl Verdict {
    fn new(clock: &Clock) -> Self {
        Self {
            is_down: AtomicBool::default(),
            is_asking: AtomicBool::default(),
            history: Mutex::default(),
            said_down: Seldom::new(clock.clone()),
            said_up: Seldom::new(clock.clone()),
        }
    }

    /// What was not said of a change is said with a later check.
    fn note(&self, is_good: bool, answer: &str) -> Option<Change> {
        let mut history = self.history();
        history.results.note(is_good);
        history.last = Some(answer.to_owned());
        let is_up = history.results.decide()?;
        let was_up = !self.is_down.swap(!is_up, Ordering::Relaxed);
        if is_up != was_up {
            history.changes = history.changes.saturating_add(1);
        }
        let said = if is_up {
            &self.said_up
        } else {
            &self.said_down
        };
        if history.changes == 0 || !said.is_due() {
            return None;
        }
        let changes = std::mem::take(&mut history.changes);
        Some(Change { is_up, changes })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask: one check of an address at a time.
pub(super) struct Asking(Arc<Verdict>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.is_asking.store(false, Ordering::Release);
    }
}

/// For people.
struct Shown<'a>(&'a Result<StatusCode, UpstreamError>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(status) => write!(f, "{}", status.as_u16()),
            Err(error) => write!(f, "{error}"),
        }
    }
}

/// Without randomness, checks stay together, and nothing else is lost.
fn any_byte() -> u8 {
    random::<1>().map_or(0, |[byte]| byte)
}

#[cfg(test)]
mod tests;
