//! Tells the store of the accesses that only this process knows, before anybody else takes a session for
//! idle that is in use here.
//!
//! Other nodes go by what the store has. An access soon after one that the store knows may wait for
//! [`FlushTimes::every`], and then for others to be written with; one that comes after a silence waits for
//! these alone, and so much longer than the idle timeout every node waits before it ends a session.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::cached::Cached;
use super::{Session, SessionStore, Sessions, Settings};
use crate::clock::Timestamp;

/// Accesses go to the store once in this time; with what it takes to write them down, a crash
/// loses at most the last 30 seconds.
const FLUSH_EVERY: Duration = Duration::from_secs(15);

/// How long accesses wait for others to be written with, at most. Writing them is to take no longer.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// Longer than an access can be unknown to the store.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Two waits, gathering and writing fit into an idle timeout.
const PARTS: u32 = 4;

/// Nothing is done more often, however short the idle timeout is.
const SHORTEST: Duration = Duration::from_millis(50);

/// How soon others know of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FlushTimes {
    every: Duration,
    gathered_for: Duration,
}

impl FlushTimes {
    fn of(idle_timeout: Duration) -> Self {
        let part = (idle_timeout / PARTS).max(SHORTEST);
        Self {
            every: part.min(FLUSH_EVERY),
            gathered_for: part.min(GATHERED_FOR),
        }
    }

    /// For how long others may not know of an access that comes after a silence.
    fn in_transit(self) -> Duration {
        self.gathered_for * 2
    }
}

/// Another node may go by a longer idle timeout still.
#[derive(Clone, Copy, Debug)]
struct Leniency {
    until: Timestamp,
    by: Duration,
}

impl Leniency {
    /// Where sessions idle out sooner from now on.
    fn between(before: &Settings, after: &Settings, now: Timestamp) -> Option<Self> {
        let is_new = !before.remember_for.is_zero() && after.remember_for.is_zero();
        let by = if is_new {
            GRACE // for those that had none
        } else {
            let shorter = before.idle_timeout.saturating_sub(after.idle_timeout);
            shorter.min(GRACE)
        };
        (!by.is_zero()).then(|| Self {
            until: now.plus(GRACE),
            by,
        })
    }
}

/// When accesses are flushed.
#[derive(Debug, Default)]
pub(super) struct Flush {
    /// In milliseconds: each request asks for it.
    every: AtomicU64,
    leniency: Mutex<Option<Leniency>>,
    is_due: Notify,
}

impl Flush {
    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(self.every.load(Ordering::Relaxed))
    }

    fn set_every(&self, every: Duration) {
        let every = u64::try_from(every.as_millis()).expect("it is a quarter of a minute at most");
        self.every.store(every, Ordering::Relaxed);
    }

    fn leniency(&self, now: Timestamp) -> Duration {
        let leniency = self.leniency.lock();
        let leniency = *leniency.unwrap_or_else(PoisonError::into_inner);
        leniency
            .filter(|it| now < it.until)
            .map_or(Duration::ZERO, |it| it.by)
    }

    /// So much more lenient than before: another node may still go by the first of several idle timeouts.
    fn be_lenient(&self, leniency: Option<Leniency>, now: Timestamp) {
        let Some(mut leniency) = leniency else {
            return;
        };
        let mut last = self.leniency.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.filter(|last| now < last.until) {
            leniency.by = (leniency.by + last.by).min(GRACE);
            leniency.until = leniency.until.max(last.until);
        }
        *last = Some(leniency);
    }
}

impl Sessions {
    /// Flushes accesses as often as the idle timeout needs it. Never ends.
    pub(crate) async fn keep_flushed(&self) {
        loop {
            let _early = timeout(self.flush.every(), self.flush.is_due.notified()).await;
            self.flush().await;
        }
    }

    /// Goes by these times from now on: what was to be flushed later is flushed at once.
    pub(super) fn flush_for(&self, before: Option<&Settings>, settings: &Settings) {
        let times = FlushTimes::of(settings.idle_timeout);
        self.flush.set_every(times.every);
        self.store
            .gather_accesses_for(times.gathered_for, times.every);
        if let Some(before) = before {
            let now = self.clock.now();
            let leniency = Leniency::between(before, settings, now);
            self.flush.be_lenient(leniency, now);
            self.flush.is_due.notify_one();
        }
    }

    /// Tells the store of the accesses that only this process knows.
    pub(super) async fn flush(&self) {
        let (cache, store) = (self.cache.clone(), Arc::clone(&self.store));
        let streams = Arc::clone(&self.active_streams);
        let flush = move || {
            for (_, cached) in &cache {
                if let Cached::Live(session) = cached {
                    flush_to(&*store, &session);
                }
            }
            // Streams have sessions that the cache may have pushed out.
            for session in streams.sessions() {
                flush_to(&*store, &session);
            }
        };
        walk(flush).await;
    }

    pub(super) fn flush_one(&self, session: &Session) {
        flush_to(&*self.store, session);
    }

    /// How much longer than its idle timeout a session goes on by what the store has: another node may have
    /// seen it in use a moment ago. Zero where there is none.
    pub(super) fn slack(&self, now: Timestamp) -> Duration {
        if !self.freshness.is_shared() {
            return Duration::ZERO;
        }
        let times = FlushTimes::of(self.settings.load().idle_timeout);
        times.in_transit() + self.flush.leniency(now)
    }
}

pub(super) fn flush_to(store: &dyn SessionStore, session: &Session) {
    if let Some(at) = session.take_dirty() {
        store.touch(session.key(), at);
    }
}

/// Walks the cache on a blocking thread: with tens of thousands of sessions it takes milliseconds, for which the
/// requests of this worker would wait. The iterator of the cache cannot be kept across an await. `None` where the
/// runtime ends.
pub(super) async fn walk<T: Send + 'static>(
    walk: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match spawn_blocking(walk).await {
        Ok(walked) => Some(walked),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic), // as if it had been done here
            Err(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::session::memory::Memory;
    use crate::session::{test_record, test_settings};

    #[test]
    fn sec_50_an_access_is_known_to_others_before_the_session_may_have_idled_out() {
        for millis in [
            1_000, 1_001, 4_000, 15_000, 16_000, 59_999, 60_000, 1_800_000,
        ] {
            let idle_timeout = Duration::from_millis(millis);
            let times = FlushTimes::of(idle_timeout);
            // The access that is flushed, the one that waits, and the way of that to the store.
            let known_after = 2 * times.every + times.in_transit();
            assert!(known_after <= idle_timeout, "{idle_timeout:?}: {times:?}");
            assert!(times.every + times.in_transit() < GRACE);
        }
        let usual = FlushTimes::of(Duration::from_mins(30));
        assert_eq!(
            (usual.every, usual.gathered_for),
            (FLUSH_EVERY, GATHERED_FOR)
        );
        let least = FlushTimes::of(Duration::from_millis(1));
        assert_eq!((least.every, least.gathered_for), (SHORTEST, SHORTEST));
    }

    /// Sets one idle timeout after the other at the same moment; gives how lenient this node is then.
    fn lenient_after(flush: &Flush, clock: &Clock, seconds: &[u64]) -> Duration {
        let settings = |seconds| test_settings(Duration::from_secs(seconds));
        let now = clock.now();
        for step in seconds.windows(2) {
            let leniency = Leniency::between(&settings(step[0]), &settings(step[1]), now);
            flush.be_lenient(leniency, now);
        }
        flush.leniency(now)
    }

    /// Another node may go by the first of them still.
    #[test]
    fn sec_50_an_idle_timeout_that_is_shortened_step_by_step_is_as_lenient_as_in_one_step() {
        let seconds = Duration::from_secs;
        let at_once = |steps: &[u64]| lenient_after(&Flush::default(), &Clock::still(), steps);
        assert_eq!(at_once(&[60, 39]), seconds(21));
        assert_eq!(at_once(&[60, 40, 39]), seconds(21));
        assert_eq!(at_once(&[60, 50, 45, 40]), seconds(20));
        assert_eq!(at_once(&[60, 40, 20, 5]), GRACE);
        assert_eq!(at_once(&[60, 40, 50]), seconds(20), "longer again");

        let (flush, clock) = (Flush::default(), Clock::still());
        lenient_after(&flush, &clock, &[60, 40]);
        clock.advance(GRACE / 2);
        assert_eq!(lenient_after(&flush, &clock, &[40, 39]), seconds(21));
        clock.advance(GRACE / 2);
        assert_eq!(flush.leniency(clock.now()), seconds(21));
        clock.advance(GRACE / 2);
        assert_eq!(flush.leniency(clock.now()), Duration::ZERO);
        assert_eq!(lenient_after(&flush, &clock, &[39, 38]), seconds(1));
    }

    /// One thread serves them and flushes.
    #[tokio::test]
    async fn requests_do_not_wait_while_accesses_are_flushed() {
        let (memory, ada) = (Memory::default(), test_record("ada"));
        let settings = test_settings(Duration::from_mins(30));
        let sessions = Sessions::new(settings, Arc::new(memory.clone()), Clock::still());
        let session = Arc::new(Session::new(&ada));
        session.touch(ada.last_accessed.plus(GRACE), Duration::MAX);
        let cached = Cached::Live(Arc::clone(&session));
        sessions.cache.insert(ada.key, cached);
        let flushing = async move { sessions.flush().await };
        memory.answers_nobody_before_a_request(flushing).await;
        assert_eq!(session.take_dirty(), None);
    }
}
