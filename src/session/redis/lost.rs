//! Epochs that the store has lost while this node was running: a server whose memory is full throws whole
//! keys away, unless its policy is `noeviction`, and with one of them the epochs of many users.
//!
//! A node that has heard of an epoch, or has read it in a round of [`sweep`](super::sweep), goes by it all the
//! same. One that starts later can do neither, so the others look whether what they know is still there, and set
//! it again where it is not.

use std::collections::HashSet;
use std::iter;

use super::epochs::Epoch;
use super::journal::EndScope;
use super::removed::REMOVED;
use super::{Shared, all};
use crate::session::store::StoreError;

/// Epochs that one look asks for.
const AT_ONCE: usize = 100;

/// Epochs that are known here and were not looked for in this round.
#[derive(Default)]
pub(super) struct Round(Vec<(EndScope, Epoch)>);

/// The server that is asked for epochs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// The same as before: an epoch that it has removed for its age is not lost.
    Same,
    /// One that has taken over, or has started again.
    New,
}

impl Shared {
    /// Looks for some of the epochs that are known here, and sets those again that are lost.
    pub(super) async fn restore_lost_epochs(&self, round: &mut Round) -> Result<(), StoreError> {
        if round.0.is_empty() {
            round.0 = self.needed_epochs();
        }
        let some = round.0.split_off(round.0.len().saturating_sub(AT_ONCE));
        let lost = self.lost(some, Server::Same).await?;
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
        self.set_lost_again(suspects, Server::Same).await
    }

    /// Sets those of these again that a server does not have.
    pub(super) async fn set_lost_again(
        &self,
        mut suspects: Vec<(EndScope, Epoch)>,
        server: Server,
    ) -> Result<(), StoreError> {
        while !suspects.is_empty() {
            let some = suspects.split_off(suspects.len().saturating_sub(AT_ONCE));
            let lost = self.lost(some, server).await?;
            let again = lost.iter();
            let again = again.map(|(scope, epoch)| self.set_again(*scope, epoch));
            all(again.collect()).await?;
        }
        Ok(())
    }

    /// Those that sessions may be left from.
    pub(super) fn needed_epochs(&self) -> Vec<(EndScope, Epoch)> {
        let mut epochs = self.journal().epochs();
        epochs.retain(|(scope, epoch)| *scope == EndScope::All || !self.is_needless(epoch.number));
        epochs
    }

    /// Those of these that it does not have.
    async fn lost(
        &self,
        known: Vec<(EndScope, Epoch)>,
        server: Server,
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
        let is_lost = |(scope, epoch): &(EndScope, Epoch), [removed, there]: &[_; 2]| {
            let is_there = |there: &Option<Epoch>| {
                let there = there.as_ref();
                there.is_some_and(|it| it.number >= epoch.number)
            };
            match server {
                Server::New => !is_there(there),
                // What cannot be read is mended by the next end.
                Server::Same if there.is_none() => false,
                Server::Same => !is_there(there) && (*scope == EndScope::All || !is_there(removed)),
            }
        };
        let lost = known.into_iter().zip(there);
        let lost = lost.filter(|(known, there)| is_lost(known, there));
        Ok(lost.map(|(known, _)| known).collect())
    }
}
