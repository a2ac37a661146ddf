//! Lists of sessions: in the order of their keys, and by user. An index may name a session that is
//! not there any more, and is mended when that is met.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{Value, cmd, pipe};

use super::keys::{Bucket, Shard, Short};
use super::remove::Tell;
use super::value::{Entry, kept_for, shift};
use super::{Shared, number, scripts};
use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// What an epoch has ended is garbage after this for whoever meets it.
const DROPPED_WITHIN: Duration = Duration::from_mins(1);

/// Records that are asked for at a time.
const RECORDS: usize = 200;

/// Parts of the index that are asked for at a time.
const BUCKETS: usize = 32;

/// What is found under a name that an index has.
enum Found {
    There(Box<Entry>),
    Missing,
    /// It may be a session of a later version, which indexes are to keep.
    Unreadable,
}

impl Shared {
    pub(super) async fn of_user(
        self: &Arc<Self>,
        user: UserKey,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut entries, missing) = self.entries_of_user(user).await?;
        if !missing.is_empty() {
            // To its end, though nobody may wait for the list any more: a name that is taken out and not
            // put back would be lost.
            let shared = Arc::clone(self);
            let mended = tokio::spawn(async move { shared.take_out(user, &missing).await });
            entries.extend(mended.await.map_err(|_| StoreError::Unavailable)??);
        }
        Ok(self.unless_over(entries).await?.0)
    }

    /// Has the index of a user forget names that lead to no session. Gives the sessions that are there
    /// by then: a new server may be told again of what it has lost.
    async fn take_out(&self, user: UserKey, missing: &[Short]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for some in missing.chunks(RECORDS) {
            let mut forget = cmd("SREM");
            forget.arg(self.names.user(user));
            for short in some {
                forget.arg(short.to_member());
            }
            self.query(&forget).await?;
            for (short, found) in some.iter().zip(self.find(some).await?) {
                let Found::There(entry) = found else { continue };
                if UserKey::of(entry.record.user()) == user {
                    self.name_in_index(&entry.record, *short).await?;
                    entries.push(*entry);
                }
            }
        }
        Ok(entries)
    }

    /// The session of a key, with its name in the index of its user.
    pub(super) async fn relist(&self, key: SessionKey) -> Result<Option<Arc<Record>>, StoreError> {
        let Some(record) = self.load(key).await? else {
            return Ok(None);
        };
        self.name_in_index(&record, Short::of(&record.key)).await?;
        Ok(Some(record))
    }

    /// Has the index of its user name a session, for as long as that is kept.
    pub(super) async fn name_in_index(
        &self,
        record: &Record,
        short: Short,
    ) -> Result<(), StoreError> {
        let kept_for = kept_for(record, self.clock.now()).as_millis().to_string();
        let user = self.names.user(UserKey::of(record.user()));
        let mut name = pipe();
        name.cmd("SADD").arg(&user).arg(short.to_member());
        for condition in ["NX", "GT"] {
            name.cmd("PEXPIRE").arg(&user).arg(&kept_for).arg(condition);
        }
        self.pipeline(&name).await.map(drop)
    }

    /// Deletes what is left of the sessions of a user, and counts it.
    pub(super) async fn drop_of_user(
        &self,
        user: UserKey,
        dropped: &AtomicUsize,
    ) -> Result<(), StoreError> {
        let (entries, _) = self.entries_of_user(user).await?;
        let (_, over) = self.unless_over(entries).await?;
        let keys: Vec<_> = over.into_iter().map(|(key, _)| key).collect();
        let removed = self.remove_each(&keys, Tell::IfThere).await?;
        dropped.fetch_add(removed, Ordering::Release);
        Ok(())
    }

    /// The sessions that the index has, and what it has besides.
    pub(super) async fn entries_of_user(
        &self,
        user: UserKey,
    ) -> Result<(Vec<Entry>, Vec<Short>), StoreError> {
        let members = self
            .query(cmd("SMEMBERS").arg(self.names.user(user)))
            .await?;
        let shorts = shorts(&members);
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for some in shorts.chunks(RECORDS) {
            for (short, found) in some.iter().zip(self.find(some).await?) {
                match found {
                    Found::There(entry) if UserKey::of(entry.record.user()) == user => {
                        entries.push(*entry);
                    }
                    Found::There(_) | Found::Unreadable => {}
                    Found::Missing => missing.push(*short),
                }
            }
        }
        Ok((entries, missing))
    }

    async fn find(&self, shorts: &[Short]) -> Result<Vec<Found>, StoreError> {
        let mut commands = pipe();
        for short in shorts {
            commands.cmd("GET").arg(self.names.record(*short));
        }
        let answers = self.pipeline(&commands).await?;
        let values = self.values();
        let found = shorts
            .iter()
            .zip(&answers)
            .map(|(short, answer)| match answer {
                Value::Nil => Found::Missing,
                Value::BulkString(value) => {
                    let opened = self.opened(values.decode_short(*short, value));
                    let entry = opened.ok().flatten();
                    entry.map_or(Found::Unreadable, |entry| Found::There(Box::new(entry)))
                }
                _ => Found::Unreadable,
            });
        Ok(found.collect())
    }

    pub(super) async fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let lowest = match &first {
            Bound::Included(key) | Bound::Excluded(key) => Short::of(key),
            Bound::Unbounded => Short::of(&SessionKey::from_bytes([0; 32])),
        };
        let highest = Short::of(&last);
        let is_wanted = |record: &Record| {
            record.key <= last
                && match &first {
                    Bound::Included(key) => record.key >= *key,
                    Bound::Excluded(key) => record.key > *key,
                    Bound::Unbounded => true,
                }
        };
        let mut found = Vec::new();
        let buckets = self.buckets(lowest.bucket(), highest.bucket()).await?;
        for some in buckets.chunks(BUCKETS) {
            let mut shorts: Vec<_> = self.in_buckets(some).await?;
            shorts.retain(|short| (lowest..=highest).contains(short));
            shorts.sort_unstable();
            let mut rest = shorts.as_slice();
            while !rest.is_empty() && found.len() < count {
                let (some, others) = rest.split_at(rest.len().min(RECORDS));
                rest = others;
                let good = self.good(some).await?;
                found.extend(good.into_iter().filter(|record| is_wanted(record)));
            }
            if found.len() >= count {
                found.truncate(count);
                break;
            }
        }
        Ok(found)
    }

    /// Those of these sessions that are good, in the order of their keys; drops what is left of the
    /// others.
    async fn good(&self, shorts: &[Short]) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (short, found) in shorts.iter().zip(self.find(shorts).await?) {
            match found {
                Found::There(entry) => there.push(*entry),
                Found::Missing => missing.push(*short),
                Found::Unreadable => {}
            }
        }
        self.drop_some(&missing, b"missing").await?;
        let (good, over) = self.unless_over(there).await?;
        // Whoever has ended many is about to drop them, unless it had to stop in the middle.
        let now = shift(self.clock.now(), self.link.clock_offset());
        let is_left = |epoch| now.since(Timestamp::from_millis(epoch)) >= DROPPED_WITHIN;
        let left = over.into_iter().filter(|(_, epoch)| is_left(*epoch));
        let left: Vec<_> = left.map(|(key, _)| key).collect();
        self.remove_each(&left, Tell::IfThere).await?;
        Ok(good)
    }

    /// Deletes the records of all sessions, and counts them.
    pub(super) async fn drop_all(&self, dropped: &AtomicUsize) -> Result<(), StoreError> {
        let ends = [[0; 32], [255; 32]].map(|key| Short::of(&SessionKey::from_bytes(key)));
        let buckets = self.buckets(ends[0].bucket(), ends[1].bucket()).await?;
        for some in buckets.chunks(BUCKETS) {
            let mut shorts = self.in_buckets(some).await?;
            shorts.sort_unstable();
            let some = self.drop_some(&shorts, b"all").await?;
            dropped.fetch_add(some, Ordering::Release);
        }
        Ok(())
    }

    /// In the order of their keys.
    async fn drop_some(&self, shorts: &[Short], which: &[u8]) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for some in shorts.chunk_by(|one, next| one.bucket() == next.bucket()) {
            let bucket = some[0].bucket();
            let mut keys = vec![self.names.count(bucket.0), self.names.bucket(bucket)];
            keys.extend(some.iter().map(|short| self.names.record(*short)));
            let members: Vec<_> = some.iter().map(|short| short.to_member()).collect();
            let mut args = vec![which];
            args.extend(members.iter().map(String::as_bytes));
            dropped += self.script(&scripts::DROP, &keys, &args).await?;
        }
        Ok(usize::try_from(dropped).unwrap_or(usize::MAX))
    }

    /// The parts of the index that there are from one to another, in their order.
    async fn buckets(&self, first: Bucket, last: Bucket) -> Result<Vec<Bucket>, StoreError> {
        let shards = || Shard::all().filter(|shard| (first.0..=last.0).contains(shard));
        let mut commands = pipe();
        for shard in shards() {
            commands.cmd("SMEMBERS").arg(self.names.buckets(shard));
        }
        let answers = self.pipeline(&commands).await?;
        let mut buckets = Vec::new();
        for (shard, answer) in shards().zip(&answers) {
            let numbers = members(answer).iter().filter_map(number);
            let numbers = numbers.filter_map(|number| u8::try_from(number).ok());
            buckets.extend(numbers.map(|number| Bucket(shard, number)));
        }
        buckets.retain(|bucket| (first..=last).contains(bucket));
        buckets.sort_unstable();
        Ok(buckets)
    }

    async fn in_buckets(&self, buckets: &[Bucket]) -> Result<Vec<Short>, StoreError> {
        let mut commands = pipe();
        for bucket in buckets {
            commands.cmd("SMEMBERS").arg(self.names.bucket(*bucket));
        }
        let answers = self.pipeline(&commands).await?;
        Ok(answers.iter().flat_map(shorts).collect())
    }
}

fn members(value: &Value) -> &[Value] {
    match value {
        Value::Array(members) | Value::Set(members) => members,
        _ => &[],
    }
}

fn shorts(value: &Value) -> Vec<Short> {
    let short = |member: &Value| match member {
        Value::BulkString(member) => Short::from_member(member),
        Value::Int(member) => Short::from_member(member.to_string().as_bytes()),
        _ => None,
    };
    members(value).iter().filter_map(short).collect()
}
