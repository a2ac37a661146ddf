//! Sets epochs: ends all sessions of a user, or all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::journal::{EndScope, PendingEnd};
use super::super::value::shift;
use super::super::{LOOK_UP, Shared, failed, number, scripts};
use super::Epoch;
use crate::session::id::SessionKey;
use crate::session::store::{Removed, StoreError};

/// How long whoever ends all sessions waits for the count of those that are deleted: they are over by
/// then.
const ALL_COUNTED_FOR: Duration = Duration::from_secs(30);

/// Sessions that an end keeps, where it had to wait and some have begun since; of more, the oldest are not
/// kept. A later end may have kept as many.
const MAX_KEPT: usize = MAX_KEPT_IN_ALL / 2;
pub(in super::super) const MAX_KEPT_IN_ALL: usize = 64;

/// How an epoch is set.
enum Set {
    /// Ends every session but those to keep.
    All,
    /// The same, unless the one to keep is over by then.
    IfKept,
    /// Keeps, besides, what somebody keeps who has ended the others later.
    Late,
    /// As it was set before, on a server that may have lost it.
    Again,
}

/// What is left of sessions that an epoch has ended; deleted in any case.
pub(in super::super) struct Left {
    dropping: JoinHandle<Result<(), StoreError>>,
    dropped: Arc<AtomicUsize>,
    counted_for: Duration,
}

impl Left {
    /// How many are deleted, within a bounded time.
    pub(in super::super) async fn count(self) -> Removed {
        let dropped = timeout(self.counted_for, self.dropping).await;
        Removed {
            count: self.dropped.load(Ordering::Acquire),
            is_whole: matches!(dropped, Ok(Ok(Ok(())))),
        }
    }
}

impl Shared {
    /// Writes an end that this node has begun. `None`: the session that was to be kept had ended before,
    /// and so the end of the others is nobody's wish any more.
    pub(in super::super) async fn end_all_of(
        self: &Arc<Self>,
        end: PendingEnd,
    ) -> Result<Option<Left>, StoreError> {
        let mark = self.link.mark();
        let written = self.write_end(&end).await;
        self.journal().finish_end(&end, written.as_ref().ok());
        let written = written.map_err(|error| self.not_everywhere(error))?;
        if written.is_none() {
            return Ok(None);
        }
        self.wait_for_replicas(mark, [self.names.ends(Self::shard_of(end.scope))])
            .await;
        Ok(Some(self.drop_left(end.scope)))
    }

    async fn write_end(&self, end: &PendingEnd) -> Result<Option<Epoch>, StoreError> {
        let mut keep = Vec::new();
        if let Some(key) = end.keep {
            match self.entry(&key).await? {
                Some(entry) => keep.push((key, entry.epochs.user)),
                None if !end.has_waited => return Ok(None),
                // What its user was told is done in any case.
                None => {}
            }
        }
        if let (true, EndScope::User(user)) = (end.has_waited, end.scope) {
            let (mut entries, _) = self.entries_of_user(user).await?;
            entries.retain(|entry| !end.ends(&entry.record) && Some(entry.record.key) != end.keep);
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.record.created));
            entries.truncate(MAX_KEPT - 1);
            let since = entries.iter();
            keep.extend(since.map(|entry| (entry.record.key, entry.epochs.user)));
        }
        let set = match end.keep {
            None => Set::All,
            Some(_) if end.has_waited => Set::Late,
            Some(_) => Set::IfKept,
        };
        let epoch = shift(end.at, self.link.clock_offset()).as_millis();
        self.set_epoch(end.scope, epoch, &keep, &set).await
    }

    /// Sets an epoch again that the store may have lost.
    pub(in super::super) async fn set_again(
        &self,
        scope: EndScope,
        epoch: &Epoch,
    ) -> Result<(), StoreError> {
        let kept: Vec<_> = epoch.kept.iter().map(|key| (*key, 0)).collect();
        let set = self.set_epoch(scope, epoch.number, &kept, &Set::Again);
        set.await.map(drop)
    }

    /// Keeps those of `keep`, with the epochs that they began in, that are good by then.
    async fn set_epoch(
        &self,
        scope: EndScope,
        epoch: u64,
        keep: &[(SessionKey, u64)],
        set: &Set,
    ) -> Result<Option<Epoch>, StoreError> {
        let shard = Self::shard_of(scope);
        let (epochs, field) = self.field_of(scope);
        let keys = [epochs, self.names.ends(shard)];
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let kind: &[u8] = match scope {
            EndScope::User(_) => b"u",
            EndScope::All => b"a",
        };
        let (epoch, channel) = (epoch.to_string(), self.names.channel());
        let mut args: Vec<&[u8]> = vec![
            &self.node,
            field.as_bytes(),
            kind,
            epoch.as_bytes(),
            channel.as_bytes(),
            match set {
                Set::All => b"all",
                Set::IfKept => b"if-kept",
                Set::Late => b"late",
                Set::Again => b"again",
            },
        ];
        let began_in: Vec<_> = keep.iter().map(|(_, epoch)| epoch.to_string()).collect();
        for ((key, _), began_in) in keep.iter().zip(&began_in) {
            args.extend([key.as_bytes(), began_in.as_bytes()]);
        }
        let answer = self.link.script(&scripts::SET_EPOCH, &keys, &args).await;
        match answer.map_err(|error| failed(&error))? {
            Value::Nil => Ok(None),
            Value::Array(parts) => match parts.as_slice() {
                [epoch, Value::BulkString(kept)] => {
                    let epoch = number(epoch).and_then(|epoch| Epoch::new(epoch, kept));
                    epoch.map(Some).ok_or(StoreError::Unavailable)
                }
                _ => Err(StoreError::Unavailable),
            },
            _ => Err(StoreError::Unavailable),
        }
    }

    /// They are over; what is left of them is garbage, which can wait.
    fn drop_left(self: &Arc<Self>, scope: EndScope) -> Left {
        let (shared, dropped) = (Arc::clone(self), Arc::<AtomicUsize>::default());
        let counted_for = match scope {
            EndScope::User(_) => shared.limit(LOOK_UP),
            EndScope::All => ALL_COUNTED_FOR,
        };
        let count = Arc::clone(&dropped);
        let dropping = tokio::spawn(async move {
            // Whoever meets the rest deletes it.
            match scope {
                EndScope::User(user) => shared.drop_of_user(user, &count).await,
                EndScope::All => shared.drop_all(&count).await,
            }
        });
        Left {
            dropping,
            dropped,
            counted_for,
        }
    }
}
