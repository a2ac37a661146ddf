//! Does again what a server may have lost, and what could not be done while it was away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::keys::Short;
use super::lost::{Round, Server};
use super::remove::Tell;
use super::value::Entry;
use super::{Shared, all, journal};
use crate::session::store::StoreError;

/// What could not be written is tried again so often.
const RETRY: Duration = Duration::from_secs(1);

/// Tries again until it is dropped. Apart from the reader, which a slow store is not to keep from
/// what others have ended.
pub(super) async fn retry(shared: Arc<Shared>) {
    let generation = shared.link.generation();
    let mut tick = interval(RETRY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = Round::default();
    loop {
        tick.tick().await;
        if generation.borrow().connected {
            shared.write_unwritten().await;
            // The link tells why not; the next look tries again.
            let _tried_again = shared.restore_lost_epochs(&mut round).await;
        }
    }
}

impl Shared {
    /// Tells a server that may not know it what this node has ended, and then what it has written.
    pub(super) async fn assert_again(&self) -> Result<(), StoreError> {
        self.end_again().await?;
        self.removed_again().await?;
        let epochs = self.needed_epochs();
        self.set_lost_again(epochs, Server::New).await?;
        let now = self.clock.now();
        let writes = self.journal().writes.all(now);
        let mut steps = Vec::new();
        for write in &writes {
            steps.push(self.write_again(write));
        }
        all(steps).await?;
        Ok(())
    }

    /// Ends what has ended, where it is there.
    pub(super) async fn end_again(&self) -> Result<(), StoreError> {
        let tombstones = self.journal().tombstones();
        self.remove_each(&tombstones, Tell::IfThere).await?;
        Ok(())
    }

    pub(super) async fn write_again(&self, write: &journal::Write) -> Result<(), StoreError> {
        let record = &write.record;
        // It may have ended while this was on its way.
        if self.journal().has_ended(record) || self.write(record, write.epochs, true).await? {
            return Ok(());
        }
        let is_older = |there: &Entry| {
            let there = &there.record;
            there.revision < record.revision || there.ids.len() < record.ids.len()
        };
        let Some(there) = self.entry_there(&record.key).await? else {
            return Ok(());
        };
        if is_older(&there) {
            self.swap(record, write.epochs, &there.stamp).await?;
        }
        // The server may have the session without its name, which was written last.
        self.name_in_index(record, Short::of(&record.key)).await
    }

    /// Ends once more what could not be written.
    pub(super) async fn write_unwritten(self: &Arc<Self>) {
        let (keys, scope) = self.journal().unwritten();
        if !keys.is_empty() {
            let sessions = keys.len();
            if self.end_each(keys).await.is_ok() {
                tracing::info!(
                    sessions,
                    "ends of sessions that waited for the store are written"
                );
            }
        }
        // Each shard for itself: what one part of the store refuses is no reason to wait with the others.
        let mut failed = HashSet::new();
        for scope in scope {
            let shard = Self::shard_of(scope);
            if failed.contains(&shard) {
                continue;
            }
            let again = self.journal().try_again(scope);
            for end in again {
                if self.end_all_of(end).await.is_err() {
                    failed.insert(shard);
                }
            }
        }
    }
}
