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

/// Each failure doubles the wait, up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Accesses in one step.
const AT_ONCE: usize = 200;

/// Accesses that wait while the store is away. Above it they are lost, and a session may idle out
/// that was in use.
const MAX: usize = 200_000;

pub(super) struct Accesses {
    unwritten: Mutex<HashMap<SessionKey, Timestamp>>,
    gathered_for: watch::Sender<Duration>,
}

impl Default for Accesses {
    fn default() -> Self {
        Self {
            unwritten: Mutex::default(),
            gathered_for: watch::Sender::new(GATHER),
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

    /// Writes them so often at least from now on.
    pub(super) fn gather_for(&self, longest: Duration) {
        self.gathered_for.send_replace(longest.min(GATHER));
    }

    /// Gives a record the access that is not written yet.
    pub(super) fn apply(&self, record: &mut Record) {
        if let Some(at) = self.lock().get(&record.key) {
            record.last_accessed = record.last_accessed.max(*at);
        }
    }
}

/// Writes until it is dropped. A new connection to the store is a reason to try again at once: what others take
/// for idle may have been in use here while it was away.
pub(super) async fn write(shared: Arc<Shared>) {
    let mut gathered_for = shared.accesses.gathered_for.subscribe();
    let mut generation = shared.link.generation();
    let mut failures = 0_u32;
    loop {
        let gather = *gathered_for.borrow_and_update();
        tokio::select! {
            () = sleep(wait(gather, failures)) => {}
            Ok(()) = gathered_for.changed() => {}
            Ok(()) = generation.changed() => {}
        }
        let written = shared.write_accesses().await;
        failures = if written.is_ok() {
            0
        } else {
            failures.saturating_add(1)
        };
    }
}

/// How long accesses wait after so many failures in a row.
fn wait(gather: Duration, failures: u32) -> Duration {
    let twice_as_long = gather.saturating_mul(1 << failures.min(u32::BITS - 1));
    twice_as_long.min(LONGEST_WAIT)
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
