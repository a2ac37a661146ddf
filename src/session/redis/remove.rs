//! Ends sessions by their keys.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::keys::{SHARDS, Short, tail};
use super::{STEPS_AT_ONCE, Shared, scripts};
use crate::session::id::SessionKey;
use crate::session::store::{Obstacle, StoreError};

/// Sessions whose ends are written in one step.
const AT_ONCE: usize = 100;

/// Whether others are told of an end for which there is no record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    Always,
    IfThere,
}

impl Shared {
    /// Ends sessions, and remembers to do it again where it cannot be written.
    pub(super) async fn end_each(&self, keys: Vec<SessionKey>) -> Result<usize, StoreError> {
        let mark = self.link.mark();
        let removed = self.remove_each(&keys, Tell::Always).await;
        let removed = removed.map_err(|error| self.not_everywhere(error))?;
        let shards: BTreeSet<_> = keys.iter().map(|key| Short::of(key).shard()).collect();
        let streams = shards.into_iter().map(|shard| self.names.ends(shard));
        self.wait_for_replicas(mark, streams).await;
        Ok(removed)
    }

    /// An end that could not be written: this node remembers it, and others go on for a while.
    pub(super) fn not_everywhere(&self, error: StoreError) -> StoreError {
        StoreError::NotEverywhere(match error {
            StoreError::Full => Obstacle::Full,
            StoreError::Refused => Obstacle::Refusal,
            StoreError::NotEverywhere(obstacle) => obstacle,
            StoreError::Slow(_) | StoreError::Unavailable => {
                Obstacle::Away(self.link.settings().stale_for)
            }
        })
    }

    pub(super) async fn remove_each(
        &self,
        keys: &[SessionKey],
        tell: Tell,
    ) -> Result<usize, StoreError> {
        let mut by_shard = vec![Vec::new(); SHARDS.into()];
        for key in keys {
            by_shard[Short::of(key).shard().index()].push(*key);
        }
        let mut steps = Vec::new();
        for keys in &by_shard {
            for some in keys.chunks(AT_ONCE) {
                steps.push(self.remove_some(some, tell));
            }
        }
        // Each for itself: what one part of the store refuses is no reason to wait with the others.
        let steps = stream::iter(steps).buffer_unordered(STEPS_AT_ONCE);
        let steps: Vec<_> = steps.collect().await;
        steps.into_iter().sum()
    }

    /// Remembers which ends wait for the store, and says so where there are too many.
    pub(super) fn note_written(&self, keys: &[SessionKey], are_written: bool) {
        let sessions = self.journal().note_written(keys, are_written);
        if sessions > 0 {
            tracing::error!(
                sessions,
                "sessions were ended here while the store is away, and too many wait already: end \
                 them again when it is back"
            );
        }
    }

    /// At least one, all of one shard.
    pub(super) async fn remove_some(
        &self,
        keys: &[SessionKey],
        tell: Tell,
    ) -> Result<usize, StoreError> {
        let shard = Short::of(&keys[0]).shard();
        let mut names = vec![self.names.count(shard), self.names.ends(shard)];
        let mut args = vec![
            self.node.to_vec(),
            match tell {
                Tell::Always => b"always".to_vec(),
                Tell::IfThere => b"if-there".to_vec(),
            },
            self.names.channel().into_bytes(),
        ];
        for key in keys {
            let short = Short::of(key);
            names.push(self.names.record(short));
            names.push(self.names.bucket(short.bucket()));
            args.push(tail::of(key).to_vec());
            args.push(short.to_member().into_bytes());
            args.push(key.as_bytes().to_vec());
        }
        let args: Vec<_> = args.iter().map(Vec::as_slice).collect();
        let removed = self.script(&scripts::REMOVE, &names, &args).await;
        if tell == Tell::Always || removed.is_ok() {
            self.note_written(keys, removed.is_ok());
        }
        Ok(usize::try_from(removed?).unwrap_or(usize::MAX))
    }
}
