//! How long a process may believe what it knows of sessions, where others can end them, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// After this without word of the ends of others, the store is asked for each session: no end is
/// unknown for longer (REL-18).
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// When a process last knew of every end.
pub(super) struct Freshness {
    /// In milliseconds; the end of time where nobody else ends sessions.
    read: AtomicU64,
    /// How long a session that is known goes on while the store cannot be asked.
    stale_for: Duration,
}

impl Freshness {
    /// `stale_for` as the store has it; `None` where nobody else ends sessions.
    pub(super) fn new(stale_for: Option<Duration>) -> Self {
        Self {
            read: AtomicU64::new(if stale_for.is_some() { 0 } else { u64::MAX }),
            stale_for: stale_for.unwrap_or(Duration::MAX),
        }
    }

    /// Every end before this moment is known by now.
    pub(super) fn note(&self, at: Timestamp) {
        self.read.fetch_max(at.as_millis(), Ordering::Release);
    }

    /// Whether the cache may be used without asking the store. Check this before reading the cache, so
    /// that an end in between is not missed.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.read()) < BELIEVED_FOR
    }

    /// Whether a session that is known goes on, though the store cannot be asked (REL-10).
    pub(super) fn is_known(&self, now: Timestamp) -> bool {
        now.since(self.read()) < self.stale_for
    }

    /// Whether others can end sessions, and use them.
    pub(super) fn is_shared(&self) -> bool {
        self.stale_for != Duration::MAX
    }

    fn read(&self) -> Timestamp {
        Timestamp::from_millis(self.read.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests;
