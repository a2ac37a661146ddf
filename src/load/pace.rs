//! The pace of Vestibule's own answers to strangers (REL-13).
//!
//! Each client of a flood sends its next request as soon as the last one is answered. If all of them were
//! answered at once, the flood would use all CPU time, and signed-in users would wait in the same queues.
//! Nobody needs thousands of pages per second to sign in, so answers beyond a fixed rate are delayed. The
//! rate does not depend on the number of connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::tuning::{ANSWERS_AT_ONCE, ANSWERS_TO_FEW, ANSWERS_TO_MANY, FEW, LONGEST_WAIT};
use super::usage::Usage;
use crate::clock::Clock;

/// Limits the rate of all answers to strangers. Networks that get few answers have a lane of their own,
/// so that a flood from another network does not delay them.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    few: Lane,
    many: Lane,
    delayed: AtomicU64,
    closed: AtomicU64,
}

/// A rate limit with bursts (the generic cell rate algorithm of ITU-T I.371).
#[derive(Debug)]
struct Lane {
    /// When the next answer is due, in nanoseconds after the start.
    next: AtomicU64,
    /// Between two answers, in nanoseconds.
    interval: u64,
}

impl Default for Pace {
    /// For the CPUs of this machine.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            started: Clock::stopwatch(),
            few: Lane::new(ANSWERS_TO_FEW, threads),
            many: Lane::new(ANSWERS_TO_MANY, threads),
            delayed: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }
}

impl Pace {
    /// How long an answer to a stranger has to wait; `None` if too many are waiting.
    pub(super) fn wait(&self, usage: &Usage) -> Option<Duration> {
        self.wait_at(self.started.elapsed(), usage)
    }

    fn wait_at(&self, now: Duration, usage: &Usage) -> Option<Duration> {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let lane = if usage.count_answer(second) <= FEW {
            &self.few
        } else {
            &self.many
        };
        let wait = lane.wait(now);
        if wait.is_some_and(|wait| !wait.is_zero()) {
            self.delayed.fetch_add(1, Ordering::Relaxed);
        }
        wait
    }

    /// Lets too many answers wait, for an hour.
    #[cfg(test)]
    pub(crate) fn hold_up(&self) {
        let next = self.started.elapsed() + Duration::from_hours(1);
        for lane in [&self.few, &self.many] {
            let next = u64::try_from(next.as_nanos()).unwrap();
            lane.next.store(next, Ordering::Relaxed);
        }
    }

    /// Counts a connection that is closed after an answer.
    pub(super) fn note_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of delayed answers, and of connections that were closed.
    pub(super) fn counted(&self) -> [(&'static str, u64); 2] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("delayed", of(&self.delayed)), ("closed", of(&self.closed))]
    }
}

impl Lane {
    fn new(each_second: u32, threads: usize) -> Self {
        let each_second = u64::from(each_second) * threads as u64;
        Self {
            next: AtomicU64::new(0),
            interval: 1_000_000_000 / each_second,
        }
    }

    fn wait(&self, now: Duration) -> Option<Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let at_once = self.interval * u64::from(ANSWERS_AT_ONCE);
        let late = |next: u64| next.saturating_sub(now).saturating_sub(at_once);
        let is_too_late = |next| Duration::from_nanos(late(next)) > LONGEST_WAIT;
        let after = |next: u64| (!is_too_late(next)).then(|| next.max(now) + self.interval);
        let next = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        next.ok().map(|next| Duration::from_nanos(late(next)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Usages;
    use super::*;

    /// How long each of so many answers has to wait.
    fn waits(lane: &Lane, answers: u32, now: Duration) -> Vec<Option<Duration>> {
        (0..answers).map(|_| lane.wait(now)).collect()
    }

    #[test]
    fn rel_13_answers_beyond_the_pace_wait_for_their_turn() {
        let lane = Lane::new(500, 2);
        let now = Duration::from_secs(7);
        let at_once = waits(&lane, ANSWERS_AT_ONCE + 1, now);
        assert!(at_once.iter().all(|wait| *wait == Some(Duration::ZERO)));
        let next = waits(&lane, 3, now);
        let expected = [1, 2, 3].map(|ms| Some(Duration::from_millis(ms)));
        assert_eq!(next, expected, "a thousand a second");
        let later = now + Duration::from_millis(3) + Duration::from_millis(ANSWERS_AT_ONCE.into());
        assert_eq!(lane.wait(later), Some(Duration::ZERO), "after a pause");
    }

    #[test]
    fn rel_13_no_answer_waits_longer_than_people_do() {
        let lane = Lane::new(500, 2);
        let now = Duration::from_secs(7);
        let begun = waits(&lane, 10_000, now);
        let longest = begun.iter().flatten().max();
        assert!(longest.is_some_and(|longest| *longest <= LONGEST_WAIT));
        assert_eq!(begun.last(), Some(&None), "too many wait");
        assert!(lane.wait(now + LONGEST_WAIT).is_some(), "they are over");
    }

    #[test]
    fn rel_13_a_network_that_asks_little_does_not_wait_for_a_flood() {
        let (pace, usages) = (Pace::default(), Arc::new(Usages::default()));
        let now = Duration::from_secs(7);
        let flood = usages.of_address("192.0.2.1".parse().unwrap());
        let newcomer = usages.of_address("192.0.2.2".parse().unwrap());
        while pace.wait_at(now, &flood) == Some(Duration::ZERO) {}
        assert_eq!(pace.wait_at(now, &newcomer), Some(Duration::ZERO));
    }

    #[test]
    fn rel_13_a_flood_of_which_each_request_has_its_own_connection_is_one_flood() {
        let (pace, usages) = (Pace::default(), Arc::new(Usages::default()));
        let now = Duration::from_secs(7);
        // Nobody holds the usage of a network in between.
        let wait = |address: &str| pace.wait_at(now, &usages.of_address(address.parse().unwrap()));
        let at_once = (0..).take_while(|_| wait("192.0.2.1") == Some(Duration::ZERO));
        let expected = FEW + ANSWERS_AT_ONCE + 1;
        assert_eq!(at_once.count(), usize::try_from(expected).unwrap());
        assert_eq!(wait("192.0.2.2"), Some(Duration::ZERO), "another network");
    }
}
