//! How long a process may believe what it knows of sessions, where others can end them, too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// After this without word of the ends of others, the store is asked for each session: no end is
/// unknown for longer (REL-18).
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// Gaps that are remembered: what was learned before the oldest of them is believed no more while the
/// store is away.
const GAPS: usize = 16;

/// When a process last knew of every end.
pub(super) struct Freshness {
    /// In milliseconds; the end of time where nobody else ends sessions.
    read: AtomicU64,
    /// How long a session that is known goes on while the store cannot be asked.
    stale_for: Duration,
    /// What was confirmed before this moment, in milliseconds, may have ended unheard: the last gap.
    unsure_before: AtomicU64,
    /// Each gap, and until when every end had been known before it.
    gaps: Mutex<VecDeque<(Timestamp, Timestamp)>>,
}

impl Freshness {
    /// `stale_for` as the store has it; `None` where nobody else ends sessions.
    pub(super) fn new(stale_for: Option<Duration>) -> Self {
        Self {
            read: AtomicU64::new(if stale_for.is_some() { 0 } else { u64::MAX }),
            stale_for: stale_for.unwrap_or(Duration::MAX),
            unsure_before: AtomicU64::new(0),
            gaps: Mutex::default(),
        }
    }

    /// Ends may have been missed: each session is to be looked up again.
    pub(super) fn note_gap(&self, now: Timestamp) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if gaps.len() == GAPS {
            gaps.pop_front();
        }
        gaps.push_back((now, self.read()));
        self.unsure_before
            .fetch_max(now.as_millis() + 1, Ordering::Release);
    }

    /// Whether no gap has come since the store confirmed a session at this time.
    pub(super) fn is_sure(&self, confirmed: Timestamp) -> bool {
        confirmed.as_millis() >= self.unsure_before.load(Ordering::Acquire)
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

    /// Whether a session that the store confirmed at this time goes on, though the store cannot be
    /// asked (REL-10): for `stale_for` since its end would have been heard of.
    pub(super) fn is_known(&self, confirmed: Timestamp, now: Timestamp) -> bool {
        now.since(self.would_be_known(confirmed)) < self.stale_for
    }

    /// Until when an end of a session would be known by now.
    fn would_be_known(&self, confirmed: Timestamp) -> Timestamp {
        if self.is_sure(confirmed) {
            return self.read().max(confirmed);
        }
        let gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let is_oldest = gaps.len() == GAPS && gaps.front().is_some_and(|gap| confirmed <= gap.0);
        let mut after = gaps.iter().filter(|(at, _)| confirmed <= *at);
        let read = after.next().filter(|_| !is_oldest).map(|(_, read)| *read);
        read.map_or(confirmed, |read| read.max(confirmed))
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
