//! How fast strangers get answers that are Vestibule's own (REL-13).
//!
//! A flood asks again as soon as it was answered: answered at once, it takes all that the machine can
//! do, and users wait in the same queues. Nobody needs thousands of pages a second to sign in, so the
//! answers beyond that wait, however many connections there are to ask from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::tuning::{ANSWERS_AT_ONCE, ANSWERS_TO_FEW, ANSWERS_TO_MANY, FEW, LONGEST_WAIT};
use super::usage::Usage;
use crate::clock::Clock;

/// The pace of all answers to strangers. Networks that ask little have one of their own: nobody else's
/// flood makes them wait.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    few: Lane,
    many: Lane,
    delayed: AtomicU64,
    closed: AtomicU64,
}

/// So many in a second, and some more at once (the generic cell rate algorithm of ITU-T I.371).
#[derive(Debug)]
struct Lane {
    /// Nanoseconds after the start from which on the next one is in time.
    next: AtomicU64,
    /// Between two of them, in nanoseconds.
    interval: u64,
}

impl Default for Pace {
    /// For the threads of this machine.
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
    /// How long an answer to a stranger waits; `None` where too many do.
    pub(super) fn wait(&self, usage: &Usage) -> Option<Duration> {
        let now = self.started.elapsed();
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

    /// Counts an answer that ends its connection.
    pub(super) fn note_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers have had to wait, and how many have ended their connection.
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

    /// How long as many answers as make some wait a second have to wait.
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
        let flood = usages.of_address("192.0.2.1".parse().unwrap());
        let newcomer = usages.of_address("192.0.2.2".parse().unwrap());
        while pace.wait(&flood).is_some_and(|wait| wait.is_zero()) {}
        assert_eq!(pace.wait(&newcomer), Some(Duration::ZERO));
    }
}
