//! What is counted for a second.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::usage::Consumer;

/// How many there were in the current second.
#[derive(Debug, Default)]
pub(super) struct PerSecond(AtomicU64);

impl PerSecond {
    pub(super) fn new(noted: u64) -> Self {
        Self(AtomicU64::new(noted))
    }

    /// The second of the last one in the upper half, and how many came in it in the lower.
    pub(super) fn noted(&mut self) -> u64 {
        *self.0.get_mut()
    }

    /// One more; how many there are now.
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

/// The last turns of some consumers, by a hash that nobody outside can tell. Of two in one place
/// the later stays, and within a second the one with more.
#[derive(Default)]
pub(super) struct Turns {
    hasher: RandomState,
    /// Empty as long as nobody has taken any.
    pub(super) places: Vec<(u64, u64)>,
}

/// Consumers whose turns are remembered.
pub(super) const REMEMBERED: usize = 4096;

impl Turns {
    /// As [`PerSecond::noted`]; 0 where none are remembered.
    pub(super) fn of(&self, consumer: &Consumer) -> u64 {
        if self.places.is_empty() {
            return 0;
        }
        let hash = self.hasher.hash_one(consumer);
        let (kept, turns) = self.places[place(hash)];
        if kept == hash { turns } else { 0 }
    }

    pub(super) fn keep(&mut self, consumer: &Consumer, turns: u64) {
        if turns == 0 {
            return;
        }
        self.places.resize(REMEMBERED, (0, 0));
        let hash = self.hasher.hash_one(consumer);
        let kept = &mut self.places[place(hash)];
        if kept.1 <= turns {
            *kept = (hash, turns);
        }
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % REMEMBERED as u64).unwrap_or(0)
}
