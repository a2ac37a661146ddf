//! Failures by key, each over a window that begins with the first of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Of each table. An entry is small, whatever was typed for a name, and goes with its window.
const MAX_ENTRIES: usize = 100_000;

pub(super) struct Counters<K> {
    window: Duration,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    counters: HashMap<K, Counter>,
    /// When those whose window is over were last dropped.
    swept: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    failures: u32,
    since: Timestamp,
}

/// One failure that was counted, before it was known to be one.
#[derive(Debug)]
pub(super) struct Claim<K> {
    key: K,
    since: Timestamp,
}

/// The counter is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// When its window began.
    pub(super) since: Timestamp,
    /// What is left of it.
    pub(super) left: Duration,
}

impl<K: Copy + Eq + Hash> Counters<K> {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            table: Mutex::new(Table {
                counters: HashMap::new(),
                swept: Timestamp::default(),
            }),
        }
    }

    /// Counts one more, unless there are `limit` already. Of many at once no more than that are
    /// counted.
    pub(super) fn claim(&self, key: K, limit: u32, now: Timestamp) -> Result<Claim<K>, Full> {
        let mut table = self.table();
        if table.counters.len() >= MAX_ENTRIES || now.since(table.swept) >= self.window {
            table.sweep(self.window, now);
        }
        let counter = table.counters.entry(key).or_insert(Counter {
            failures: 0,
            since: now,
        });
        if now.since(counter.since) >= self.window {
            *counter = Counter {
                failures: 0,
                since: now,
            };
        }
        if counter.failures >= limit {
            return Err(self.full(counter, now));
        }
        counter.failures += 1;
        Ok(Claim {
            key,
            since: counter.since,
        })
    }

    /// Whether there are `limit` of them.
    pub(super) fn is_full(&self, key: &K, limit: u32, now: Timestamp) -> Option<Full> {
        let table = self.table();
        let counter = table.counters.get(key)?;
        let full = self.full(counter, now);
        (counter.failures >= limit && !full.left.is_zero()).then_some(full)
    }

    /// It was no failure. Nothing is left of one that was the only one.
    pub(super) fn take_back(&self, claim: &Claim<K>) {
        let mut table = self.table();
        if let Some(counter) = table.counters.get_mut(&claim.key)
            && counter.since == claim.since
        {
            counter.failures = counter.failures.saturating_sub(1);
            if counter.failures == 0 {
                table.counters.remove(&claim.key);
            }
        }
    }

    /// There are no more failures than so many.
    pub(super) fn lower(&self, claim: &Claim<K>, failures: u32) {
        let mut table = self.table();
        if let Some(counter) = table.counters.get_mut(&claim.key) {
            counter.failures = counter.failures.min(failures);
        }
    }

    pub(super) fn forget(&self, key: &K) {
        self.table().counters.remove(key);
    }

    /// How many entries there are at this time.
    pub(super) fn count(&self, now: Timestamp) -> u64 {
        let mut table = self.table();
        table.drop_past(self.window, now);
        table.counters.len() as u64
    }

    fn full(&self, counter: &Counter, now: Timestamp) -> Full {
        Full {
            since: counter.since,
            left: self.window.saturating_sub(now.since(counter.since)),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Table<K> {
    fn drop_past(&mut self, window: Duration, now: Timestamp) {
        self.swept = now;
        self.counters
            .retain(|_, counter| now.since(counter.since) < window);
    }

    /// Makes room for a quarter. Those with the fewest failures go, the oldest first: a flood of
    /// fresh names pushes out its own, and not the account or the address that is under attack.
    fn sweep(&mut self, window: Duration, now: Timestamp) {
        self.drop_past(window, now);
        let Some(too_many) = self.counters.len().checked_sub(MAX_ENTRIES / 4 * 3) else {
            return;
        };
        let rank = |counter: &Counter| (counter.failures, counter.since);
        let mut ranks: Vec<_> = self.counters.values().map(rank).collect();
        if let Some(at) = too_many.checked_sub(1) {
            let (_, last, _) = ranks.select_nth_unstable(at);
            let last = *last;
            self.counters.retain(|_, counter| rank(counter) > last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(15);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn sec_59_a_counter_fills_and_is_empty_after_its_window() {
        let counters = Counters::new(WINDOW);
        for n in 0..3 {
            assert!(counters.claim("ada", 3, at(n)).is_ok());
        }
        let full = Full {
            since: at(0),
            left: WINDOW.saturating_sub(Duration::from_millis(9)),
        };
        assert_eq!(counters.claim("ada", 3, at(9)).err(), Some(full));
        assert_eq!(counters.is_full(&"ada", 3, at(9)), Some(full));
        let later = at(0).plus(WINDOW);
        assert_eq!(counters.is_full(&"ada", 3, later), None);
        assert!(counters.claim("ada", 3, later).is_ok());
    }

    #[test]
    fn what_was_no_failure_leaves_nothing() {
        let counters = Counters::new(WINDOW);
        let first = counters.claim("ada", 3, at(1)).unwrap();
        let second = counters.claim("ada", 3, at(2)).unwrap();
        counters.take_back(&second);
        assert_eq!(counters.count(at(2)), 1);
        counters.take_back(&first);
        assert_eq!(counters.count(at(2)), 0);
        // Another window has begun: what is taken back does not count there.
        let old = counters.claim("ada", 3, at(3)).unwrap();
        let later = at(3).plus(WINDOW);
        counters.claim("ada", 3, later).unwrap();
        counters.take_back(&old);
        assert_eq!(counters.count(later), 1);
    }

    #[test]
    fn sec_59_a_flood_of_names_does_not_push_out_who_is_attacked() {
        let counters = Counters::new(WINDOW);
        for _ in 0..5 {
            counters.claim(0, 10, at(0)).unwrap();
        }
        for n in 1..3 * MAX_ENTRIES as u64 {
            counters.claim(n, 10, at(n)).unwrap();
        }
        assert!(counters.count(at(1)) <= MAX_ENTRIES as u64);
        assert!(counters.is_full(&0, 5, at(1)).is_some());
    }
}
