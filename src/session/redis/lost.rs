//! Epochs that the store has lost while this node was running: a server whose memory is full throws whole
//! keys away, unless its policy is `noeviction`, and with one of them the epochs of many users.
//!
//! A node that has heard of an epoch goes by it all the same. One that starts later cannot have, so those
//! that have look whether what they know is still there, and set it again where it is not.

use std::collections::HashSet;
use std::iter;

use super::Shared;
use super::epochs::Epoch;
use super::journal::EndScope;
use super::removed::REMOVED;
use crate::session::store::StoreError;

/// Epochs that one look asks for.
const AT_ONCE: usize = 100;

/// Epochs that are known here and were not looked for in this round.
#[derive(Default)]
pub(super) struct Round(Vec<(EndScope, Epoch)>);

impl Shared {
    /// Looks for some of the epochs that are known here, and sets those again that are lost.
    pub(super) async fn restore_lost_epochs(&self, round: &mut Round) -> Result<(), StoreError> {
        if round.0.is_empty() {
            round.0 = self.needed_epochs();
        }
        let some = round.0.split_off(round.0.len().saturating_sub(AT_ONCE));
        let lost = self.lost(some).await?;
        let shards: HashSet<_> = lost
            .iter()
            .map(|(scope, _)| Self::shard_of(*scope))
            .collect();
        if shards.is_empty() {
            return Ok(());
        }
        // They are fields of one key, which was thrown away as a whole.
        let mut suspects = self.needed_epochs();
        suspects.retain(|(scope, _)| shards.contains(&Self::shard_of(*scope)));
        while !suspects.is_empty() {
            let some = suspects.split_off(suspects.len().saturating_sub(AT_ONCE));
            for (scope, epoch) in self.lost(some).await? {
                self.set_again(scope, &epoch).await?;
            }
        }
        Ok(())
    }

    /// Those that sessions may be left from.
    pub(super) fn needed_epochs(&self) -> Vec<(EndScope, Epoch)> {
        let mut epochs = self.journal().epochs();
        epochs.retain(|(scope, epoch)| *scope == EndScope::All || !self.is_needless(epoch.number));
        epochs
    }

    /// Those of these that the store does not have, and that were not removed for their age.
    async fn lost(
        &self,
        known: Vec<(EndScope, Epoch)>,
    ) -> Result<Vec<(EndScope, Epoch)>, StoreError> {
        if known.is_empty() {
            return Ok(known);
        }
        let fields = known.iter().flat_map(|(scope, _)| {
            let (key, field) = self.field_of(*scope);
            iter::once((key.clone(), REMOVED.to_owned())).chain([(key, field)])
        });
        let there = self.read_epochs(fields).await?;
        let (there, _) = there.as_chunks::<2>();
        let lost = known
            .into_iter()
            .zip(there)
            .filter(|((scope, epoch), [removed, there])| {
                // What cannot be read is mended by the next end.
                let is_later = there.as_ref().is_none_or(|it| it.number >= epoch.number);
                let removed = removed.as_ref().map_or(0, |removed| removed.number);
                !is_later && (*scope == EndScope::All || removed < epoch.number)
            });
        Ok(lost.map(|(known, _)| known).collect())
    }
}
