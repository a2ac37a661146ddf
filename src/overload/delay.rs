//! How long whatever is ready waits for a thread.

use std::time::Duration;

/// More than this is noticed by whoever waits for a page.
pub(super) const TARGET: Duration = Duration::from_millis(50);

/// Looks that count.
const LOOKS: usize = 5;

/// The least delay of the last looks. A burst makes single ones late; only a queue that never
/// empties makes all of them late (the idea of `CoDel`, RFC 8289 §3.2).
#[derive(Debug, Default)]
pub(super) struct StandingDelay {
    last: [Duration; LOOKS],
    next: usize,
}

impl StandingDelay {
    pub(super) fn note(&mut self, delay: Duration) {
        self.last[self.next] = delay;
        self.next = (self.next + 1) % LOOKS;
    }

    pub(super) fn least(&self) -> Duration {
        self.last.into_iter().min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_no_standing_delay() {
        let mut delay = StandingDelay::default();
        let (late, in_time) = (TARGET * 4, Duration::from_millis(1));
        for noted in [late, late, late, late, in_time, late, late, late, late] {
            delay.note(noted);
            assert!(delay.least() <= TARGET);
        }
        delay.note(late);
        assert_eq!(delay.least(), late, "five of them are");
        delay.note(in_time);
        assert_eq!(delay.least(), in_time, "one in time ends it");
    }
}
