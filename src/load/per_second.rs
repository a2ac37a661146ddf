//! Counts that start anew each second.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::usage::Consumer;

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
    pub(super) fn of(&self, consumer: &Consumer) -> PerSecond {
        if self.places.is_empty() {
            return PerSecond::default();
        }
        let hash = self.hasher.hash_one(consumer);
        let (kept, noted) = self.places[place(hash)];
        PerSecond(AtomicU64::new(if kept == hash { noted } else { 0 }))
    }

    pub(super) fn keep(&mut self, consumer: &Consumer, count: &mut PerSecond) {
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
