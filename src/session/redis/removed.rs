//! The last epoch that was removed from each shard, of whichever user.
//!
//! A session that begins carries it: an epoch that was removed, and that a node tells another server of
//! all the same, ends no session that has begun since. No lifetime has a part in that, which each node may
//! have another one of. It is a bound: a later one is as good. So one that cannot be read is set to the
//! time of now, by the clock of the store, and each node tells it to a server that may have lost it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::epochs::MOST_EPOCH;
use super::keys::{SHARDS, Shard};
use super::{Shared, all, scripts};
use crate::session::store::StoreError;

/// Its name among the epochs, which no user has.
pub(super) const REMOVED: &str = "-";

/// Of each shard, as far as this node has read or removed any.
#[derive(Default)]
pub(super) struct LastRemoved([AtomicU64; SHARDS as usize]);

impl LastRemoved {
    /// What is no epoch is passed over: it would come after every end.
    pub(super) fn note(&self, shard: Shard, epoch: u64) {
        if epoch <= MOST_EPOCH {
            self.0[shard.index()].fetch_max(epoch, Ordering::Relaxed);
        }
    }

    fn of(&self, shard: Shard) -> u64 {
        self.0[shard.index()].load(Ordering::Relaxed)
    }
}

impl Shared {
    /// What a session begins after, of what the store has: `None` is one that cannot be read. The store
    /// has it before any session does, so that every end comes after it.
    pub(super) async fn last_removed(
        &self,
        shard: Shard,
        there: Option<u64>,
    ) -> Result<u64, StoreError> {
        match there {
            Some(epoch) if epoch >= self.removed.of(shard) => {
                self.removed.note(shard, epoch);
                Ok(epoch)
            }
            Some(_) => self.raise_removed(shard).await,
            None => {
                let epoch = self.raise_removed(shard).await?;
                if self.said_none_removed.is_due() {
                    tracing::warn!(
                        key = self.names.epochs(shard),
                        field = REMOVED,
                        "up to when ends were removed could not be read in the session store, and is \
                         set to now"
                    );
                }
                Ok(epoch)
            }
        }
    }

    /// Tells a server that may not know them.
    pub(super) async fn removed_again(&self) -> Result<(), StoreError> {
        let known = Shard::all().filter(|shard| self.removed.of(*shard) > 0);
        let steps = known.map(|shard| self.raise_removed(shard));
        all(steps.collect()).await.map(drop)
    }

    /// Gives the one that the store has by then.
    async fn raise_removed(&self, shard: Shard) -> Result<u64, StoreError> {
        let known = self.removed.of(shard).to_string();
        let epochs = [self.names.epochs(shard)];
        let script = &scripts::RAISE_REMOVED;
        let epoch = self.script(script, &epochs, &[known.as_bytes()]).await?;
        self.removed.note(shard, epoch);
        Ok(epoch)
    }
}
