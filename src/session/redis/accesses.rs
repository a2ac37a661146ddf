//! Accesses, which are gathered and written together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::keys::{SHARDS, Short};
use super::{Shared, scripts};
use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::store::StoreError;

/// Accesses wait this long for others to be written with, unless less is asked for.
const GATHER: Duration = Duration::from_secs(1);

/// Each failure doubles the wait, up to this, unless less is asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Accesses in one step.
const AT_ONCE: usize = 200;

/// Accesses that wait while the store is away. Above it they are lost, and a session may idle out
/// that was in use.
const MAX: usize = 200_000;

pub(super) struct Accesses {
    unwritten: Mutex<HashMap<SessionKey, Timestamp>>,
    pace: watch::Sender<Pace>,
}

/// How often accesses are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    gather: Duration,
    longest_wait: Duration,
}

impl Pace {
    /// How long they may wait for others, and how long after failures.
    pub(super) fn new(longest: Duration, longest_after_failures: Duration) -> Self {
        let gather = longest.min(GATHER);
        let longest_wait = longest_after_failures.min(LONGEST_WAIT).max(gather);
        Self {
            gather,
            longest_wait,
        }
    }

    /// How long they wait after so many failures in a row.
    fn wait(self, failures: u32) -> Duration {
        let twice_as_long = 1 << failures.min(u32::BITS - 1);
        self.gather
            .saturating_mul(twice_as_long)
            .min(self.longest_wait)
    }
}

impl Default for Accesses {
    fn default() -> Self {
        Self {
            unwritten: Mutex::default(),
            pace: watch::Sender::new(Pace::new(GATHER, LONGEST_WAIT)),
        }
    }
}

impl Accesses {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Timestamp>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, key: SessionKey, at: Timestamp) {
        let mut accesses = self.lock();
        if accesses.len() < MAX || accesses.contains_key(&key) {
            let last = accesses.entry(key).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Writes them so often from now on.
    pub(super) fn set_pace(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }

    /// Gives a record the access that is not written yet.
    pub(super) fn apply(&self, record: &mut Record) {
        if let Some(at) = self.lock().get(&record.key) {
            record.last_accessed = record.last_accessed.max(*at);
        }
    }
}

/// Writes until it is dropped.
pub(super) async fn write(shared: Arc<Shared>) {
    let mut tries = Tries {
        pace: shared.accesses.pace.subscribe(),
        generation: shared.link.generation(),
        failures: 0,
    };
    loop {
        tries.next().await;
        tries.note(shared.write_accesses().await.is_ok());
    }
}

/// When accesses are written.
struct Tries<G> {
    pace: watch::Receiver<Pace>,
    /// Of the connection to the store.
    generation: watch::Receiver<G>,
    /// In a row.
    failures: u32,
}

impl<G> Tries<G> {
    /// Waits for the next one. A new connection is a reason to try at once, and soon again if that fails: what
    /// others take for idle may have been in use here while the store was away, and a server that has just taken
    /// over may still wait for its replicas.
    async fn next(&mut self) {
        let wait = self.pace.borrow_and_update().wait(self.failures);
        tokio::select! {
            () = sleep(wait) => {}
            Ok(()) = self.pace.changed() => {}
            Ok(()) = self.generation.changed() => self.failures = 0,
        }
    }

    fn note(&mut self, are_written: bool) {
        self.failures = if are_written {
            0
        } else {
            self.failures.saturating_add(1)
        };
    }
}

impl Shared {
    /// Writes those of each shard, whether the others can be written or not: in a cluster, one part may lack a
    /// right or a replica that the others have.
    pub(super) async fn write_accesses(&self) -> Result<(), StoreError> {
        let mut by_shard = vec![Vec::new(); SHARDS.into()];
        for (key, at) in &*self.accesses.lock() {
            by_shard[Short::of(key).shard().index()].push((*key, *at));
        }
        let shards = by_shard
            .iter()
            .map(|some| self.write_accesses_of_shard(some));
        join_all(shards).await.into_iter().collect()
    }

    async fn write_accesses_of_shard(
        &self,
        accesses: &[(SessionKey, Timestamp)],
    ) -> Result<(), StoreError> {
        for some in accesses.chunks(AT_ONCE) {
            let values = self.values();
            let keys: Vec<_> = some
                .iter()
                .map(|(key, _)| self.names.record(Short::of(key)))
                .collect();
            let args: Vec<_> = some.iter().map(|(_, at)| values.access(*at)).collect();
            let args: Vec<_> = args.iter().map(String::as_bytes).collect();
            self.script(&scripts::TOUCH, &keys, &args).await?;
            let mut accesses = self.accesses.lock();
            for (key, at) in some {
                if accesses.get(key) == Some(at) {
                    accesses.remove(key);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn waits<const N: usize>(longest: Duration, longest_after_failures: Duration) -> [u128; N] {
        let pace = Pace::new(longest, longest_after_failures);
        let failures = std::array::from_fn(|failures| u32::try_from(failures).unwrap());
        failures.map(|failures| pace.wait(failures).as_millis())
    }

    #[test]
    fn a_store_that_refuses_accesses_is_asked_less_and_less_often_up_to_a_limit() {
        let parts = |seconds| Duration::from_secs(seconds) / 4;
        assert_eq!(
            waits(parts(3600), parts(3600)),
            [1000, 2000, 4000, 5000, 5000]
        );
        // With so short an idle timeout, others know of a use within half of it.
        assert_eq!(waits(parts(8), parts(8)), [1000, 2000, 2000]);
        assert_eq!(waits(parts(2), parts(2)), [500, 500, 500]);
        assert_eq!(Pace::new(GATHER, LONGEST_WAIT).wait(u32::MAX), LONGEST_WAIT);
    }

    #[tokio::test]
    async fn rel_10_a_server_that_has_taken_over_and_waits_for_its_replicas_is_soon_asked_again() {
        let pace = watch::Sender::new(Pace {
            gather: Duration::from_millis(1),
            longest_wait: Duration::from_hours(1),
        });
        let generation = watch::Sender::new(1);
        let mut tries = Tries {
            pace: pace.subscribe(),
            generation: generation.subscribe(),
            failures: 30, // the store was away
        };
        generation.send_replace(2);
        for _ in 0..3 {
            let next = timeout(Duration::from_mins(1), tries.next()).await;
            next.expect("it is tried again");
            tries.note(false);
        }
    }
}
