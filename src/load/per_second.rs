//! Counts that start anew each second.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A count for the current second: the second is in the upper half, the count in the lower.
#[derive(Debug, Default)]
pub(super) struct PerSecond(AtomicU64);

impl PerSecond {
    /// Adds one, and returns the count.
    pub(super) fn count(&self, second: u32) -> u32 {
        let counted = |noted: u64| {
            let before = (noted >> 32 == u64::from(second)).then_some(noted & LOWER);
            u64::from(second) << 32 | (before.unwrap_or(0) + 1).min(LOWER)
        };
        let update = |noted| Some(counted(noted));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        u32::try_from(counted(before.unwrap_or_default()) & LOWER).unwrap_or(u32::MAX)
    }
}

const LOWER: u64 = u32::MAX as u64;

/// The last counts of consumers that hold nothing any more, by a hash that outsiders cannot predict. If
/// two consumers share a place, the later count stays, and within a second the larger one.
#[derive(Default)]
pub(super) struct LastCounts {
    hasher: RandomState,
    /// Empty until the first count.
    pub(super) places: Vec<(u64, u64)>,
}

/// Consumers whose counts are remembered.
pub(super) const REMEMBERED: usize = 4096;

impl LastCounts {
    /// The count of a consumer; a new one if none is remembered.
    pub(super) fn of(&self, consumer: &impl Hash) -> PerSecond {
        if self.places.is_empty() {
            return PerSecond::default();
        }
        let hash = self.hasher.hash_one(consumer);
        let (kept, noted) = self.places[place(hash)];
        PerSecond(AtomicU64::new(if kept == hash { noted } else { 0 }))
    }

    pub(super) fn keep(&mut self, consumer: &impl Hash, count: &mut PerSecond) {
        let noted = *count.0.get_mut();
        if noted == 0 {
            return;
        }
        self.places.resize(REMEMBERED, (0, 0));
        let hash = self.hasher.hash_one(consumer);
        let kept = &mut self.places[place(hash)];
        if kept.1 <= noted {
            *kept = (hash, noted);
        }
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % REMEMBERED as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl LastCounts {
        /// Counts for a consumer that holds nothing otherwise.
        fn count(&mut self, consumer: u32, second: u32) -> u32 {
            let mut count = self.of(&consumer);
            let counted = count.count(second);
            self.keep(&consumer, &mut count);
            counted
        }

        fn place(&self, consumer: u32) -> usize {
            place(self.hasher.hash_one(consumer))
        }
    }

    #[test]
    fn a_consumer_goes_on_with_its_count_in_the_same_second() {
        let mut counts = LastCounts::default();
        counts.keep(&1, &mut PerSecond::default());
        assert!(counts.places.is_empty(), "nothing was counted");
        let counted = [7, 7, 7, 8].map(|second| counts.count(1, second));
        assert_eq!(counted, [1, 2, 3, 1]);
    }

    #[test]
    fn of_two_consumers_in_one_place_the_later_and_larger_count_stays() {
        let mut counts = LastCounts::default();
        let place = counts.place(1);
        let other = (2..u32::MAX)
            .find(|other| counts.place(*other) == place)
            .unwrap();
        assert_eq!([7, 7].map(|second| counts.count(1, second)), [1, 2]);
        assert_eq!(counts.count(other, 7), 1, "its own count");
        assert_eq!(counts.count(other, 7), 1, "the smaller one was not kept");
        assert_eq!(counts.count(1, 7), 3, "the larger one was");
        assert_eq!([8, 8].map(|second| counts.count(other, second)), [1, 2]);
        assert_eq!(counts.count(1, 7), 1, "a later second replaces it");
    }
}
