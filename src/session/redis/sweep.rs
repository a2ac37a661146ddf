//! Removes epochs that are older than any session, so that they do not grow with the users there ever
//! were.
//!
//! An epoch matters for sessions that began before it. After the longest lifetime none is left; and
//! should lifetimes have been longer once, the index of the user tells: it is there for as long as the
//! last of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::redis::{Value, cmd};

use super::epochs::{ALL, Epoch};
use super::journal::EndScope;
use super::keys::{Names, SHARDS, Shard};
use super::removed::REMOVED;
use super::value::shift;
use super::{Shared, bytes, number, scripts};
use crate::clock::Timestamp;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// Epochs that one round looks at, about.
const AT_ONCE: usize = 100;

/// Where the next round goes on.
pub(super) struct Position {
    shard: u8,
    /// As the server gave it.
    cursor: Vec<u8>,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            shard: 0,
            cursor: FIRST.to_vec(),
        }
    }
}

const FIRST: &[u8] = b"0";

/// So much longer than each node the store keeps an epoch, so that few of those that it has forgotten are
/// told again after a failover. They end nothing, and go once more.
const MARGIN: Duration = Duration::from_hours(1);

/// A user, and the epoch as it stands in the store.
type Field = (UserKey, Vec<u8>);

impl Shared {
    /// Forgets the epochs of this node from which the longest lifetime has passed, and removes some of
    /// the store that are older still.
    pub(super) fn forget_ends(
        &self,
        longest: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self.longest.store(millis, Ordering::Relaxed);
        self.journal()
            .forget_epochs(|epoch| self.is_older(epoch, longest));
        self.remove_older(longest.saturating_add(MARGIN))
    }

    /// Whether no session can be left from before this epoch, as far as this node knows.
    pub(super) fn is_needless(&self, epoch: u64) -> bool {
        let longest = self.longest.load(Ordering::Relaxed);
        self.is_older(epoch, Duration::from_millis(longest))
    }

    fn is_older(&self, epoch: u64, age: Duration) -> bool {
        let now = shift(self.clock.now(), self.link.clock_offset());
        now.since(Timestamp::from_millis(epoch)) > age
    }

    /// Looks at some epochs, and removes those that are older.
    pub(super) async fn remove_older(&self, age: Duration) -> Result<(), StoreError> {
        let (at, cursor) = {
            let position = self.swept();
            (position.shard, position.cursor.clone())
        };
        let shard = Shard::all().nth(at.into()).unwrap_or(Shard::OF_ALL);
        let (cursor, fields) = self.epochs_from(shard, &cursor).await?;
        let mut old = fields;
        old.retain(|(user, text)| {
            let epoch = Epoch::read(text);
            Names::shard_of(*user) == shard
                && epoch.is_some_and(|epoch| self.is_older(epoch.number, age))
        });
        for some in old.chunks(AT_ONCE) {
            self.remove_epochs(shard, some).await?;
        }
        let mut position = self.swept();
        if cursor == FIRST {
            position.shard = (at + 1) % SHARDS;
        }
        position.cursor = cursor;
        Ok(())
    }

    /// Some epochs of users, and the cursor to go on from.
    async fn epochs_from(
        &self,
        shard: Shard,
        cursor: &[u8],
    ) -> Result<(Vec<u8>, Vec<Field>), StoreError> {
        let mut scan = cmd("HSCAN");
        scan.arg(self.names.epochs(shard)).arg(cursor);
        scan.arg("COUNT").arg(AT_ONCE);
        let answer = self.query(&scan).await?;
        let Value::Array(parts) = answer else {
            return Err(StoreError::Unavailable);
        };
        let [Value::BulkString(cursor), Value::Array(words)] = parts.as_slice() else {
            return Err(StoreError::Unavailable);
        };
        let (pairs, _) = words.as_chunks::<2>();
        for [field, text] in pairs {
            self.learn(shard, field, text);
        }
        let field = |pair: &[Value; 2]| match pair {
            [Value::BulkString(user), Value::BulkString(text)] => {
                Some((UserKey::parse(user)?, text.clone()))
            }
            _ => None,
        };
        Ok((cursor.clone(), pairs.iter().filter_map(field).collect()))
    }

    /// Remembers what a node has not heard of that had not started by then: the store may lose it.
    fn learn(&self, shard: Shard, field: &Value, text: &Value) {
        let Some(field) = bytes(field) else {
            return;
        };
        if field == REMOVED.as_bytes() {
            if let Some(epoch) = number(text) {
                self.removed.note(shard, epoch);
            }
            return;
        }
        let scope = if field == ALL.as_bytes() {
            Some(EndScope::All)
        } else {
            UserKey::parse(field).map(EndScope::User)
        };
        let epoch = bytes(text).and_then(Epoch::read);
        if let (Some(scope), Some(epoch)) = (scope, epoch)
            && Self::shard_of(scope) == shard
            && (scope == EndScope::All || !self.is_needless(epoch.number))
        {
            self.journal().learn_epoch(scope, epoch);
        }
    }

    /// Removes those of these epochs that are as they were, of users that have no session in their
    /// index; gives how many.
    pub(super) async fn remove_epochs(
        &self,
        shard: Shard,
        old: &[Field],
    ) -> Result<u64, StoreError> {
        let mut keys = vec![self.names.epochs(shard)];
        let users: Vec<_> = old.iter().map(|(user, _)| user.to_string()).collect();
        let mut args = Vec::new();
        for ((user, text), name) in old.iter().zip(&users) {
            keys.push(self.names.user(*user));
            args.extend([name.as_bytes(), text]);
        }
        let removed = self.script(&scripts::REMOVE_EPOCHS, &keys, &args).await?;
        for epoch in old.iter().filter_map(|(_, text)| Epoch::read(text)) {
            self.removed.note(shard, epoch.number);
        }
        Ok(removed)
    }
}
