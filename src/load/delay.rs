//! How long whatever is ready waits for a thread.

use std::time::{Duration, Instant};

use tokio::task::{spawn_blocking, yield_now};

use super::tuning::{DELAY_HOLD, LOOK_EVERY, MAX_DELAY};
use crate::clock::Clock;

/// How long a task waits that becomes ready now. What is woken from outside goes to the end of the
/// queue that all threads of the runtime share, and what yields to the end of its thread's own; a
/// timer would come before both.
pub(super) async fn of_the_queues() -> Duration {
    let Ok(woken) = spawn_blocking(Clock::stopwatch).await else {
        return Duration::ZERO;
    };
    yield_now().await;
    woken.elapsed()
}

/// Looks that count, of the last second or so.
const LOOKS: usize = 9;

/// No single look makes most of them late: a machine that was stopped for a moment is no flood.
const ALONE: u128 = LOOKS as u128 / 2 - 1;

/// The delay of most of the time lately. A burst makes few looks late; a flood that comes in waves
/// leaves some in time.
#[derive(Debug, Default)]
pub(super) struct StandingDelay {
    last: [Duration; LOOKS],
    next: usize,
    /// When it was too long last.
    noticed: Option<Instant>,
}

impl StandingDelay {
    /// A delay that lasts counts for all the looks that there were not meanwhile.
    pub(super) fn note(&mut self, delay: Duration, now: Instant) {
        let missed = delay.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..=missed.min(ALONE) {
            self.last[self.next] = delay;
            self.next = (self.next + 1) % LOOKS;
        }
        let mut last = self.last;
        last.sort_unstable();
        if last[LOOKS / 2] > MAX_DELAY {
            self.noticed = Some(now);
        }
    }

    pub(super) fn is_too_long(&self, now: Instant) -> bool {
        self.noticed
            .is_some_and(|noticed| now < noticed + DELAY_HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_no_standing_delay_and_waves_are() {
        let mut delay = StandingDelay::default();
        let (late, in_time) = (LOOK_EVERY / 10 * 9, Duration::from_millis(1));
        let now = Clock::stopwatch();
        for noted in [late, late, in_time, late, late, in_time] {
            delay.note(noted, now);
            assert!(!delay.is_too_long(now));
        }
        delay.note(late, now);
        assert!(delay.is_too_long(now), "most of them are");
        for _ in 0..LOOKS {
            delay.note(in_time, now);
        }
        assert!(delay.is_too_long(now + DELAY_HOLD / 2));
        assert!(!delay.is_too_long(now + DELAY_HOLD));

        let later = now + DELAY_HOLD * 2;
        delay.note(LOOK_EVERY * 50, later);
        assert!(!delay.is_too_long(later), "a single one");
        delay.note(LOOK_EVERY * 5, later);
        assert!(delay.is_too_long(later), "the next one");
    }

    #[tokio::test]
    async fn rel_13_a_queue_that_all_have_to_wait_in_is_seen() {
        assert!(of_the_queues().await < Duration::from_secs(1));
        for _ in 0..50 {
            tokio::spawn(async {
                loop {
                    std::thread::sleep(Duration::from_millis(2));
                    yield_now().await;
                }
            });
        }
        let delay = of_the_queues().await;
        assert!(delay >= MAX_DELAY, "{delay:?}");
    }
}
