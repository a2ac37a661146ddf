//! Lists of sessions: in the order of their keys, and by user. An index may name a session that is
//! not there any more, and is mended when that is met.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{Value, pipe};
use rand::TryRng;
use rand::rngs::SysRng;

use super::keys::{Bucket, Shard, Short};
use super::load::Sorted;
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

/// Names that are taken out of an index within this: longer than a list waits for the store.
const LEAVING: Duration = Duration::from_mins(1);

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
            entries.extend(self.take_out(user, &missing).await?);
        }
        let sorted = self.sorted(entries).await?;
        if sorted.unknown > 0 {
            return Err(StoreError::Unavailable);
        }
        Ok(sorted.good)
    }

    /// Has the index of a user forget names that lead to no session. Gives the sessions that are there
    /// by then: a new server may be told again of what it has lost.
    ///
    /// An index and its records may be on two servers of a cluster. So a name is noted first, and looked up
    /// after that; a session that begins is there before its name is, which takes back the note. Wherever
    /// this stops, no session has lost its name.
    async fn take_out(&self, user: UserKey, missing: &[Short]) -> Result<Vec<Entry>, StoreError> {
        let mut by = [0; 16];
        SysRng
            .try_fill_bytes(&mut by)
            .map_err(|_| StoreError::Unavailable)?;
        let (index, leaving) = (self.names.user(user), self.names.leaving(user));
        let kept_for = LEAVING.as_millis().to_string();
        let mut entries = Vec::new();
        for some in missing.chunks(RECORDS) {
            let members: Vec<_> = some.iter().map(|short| short.to_member()).collect();
            let mut args = vec![&by[..], kept_for.as_bytes()];
            args.extend(members.iter().map(String::as_bytes));
            let noted = std::slice::from_ref(&leaving);
            self.script(&scripts::LEAVE, noted, &args).await?;
            let mut args = vec![&by[..]];
            for (found, member) in self.find(some).await?.into_iter().zip(&members) {
                match found {
                    Found::There(entry) if UserKey::of(entry.record.user()) == user => {
                        entries.push(*entry);
                    }
                    Found::There(_) | Found::Unreadable => {}
                    Found::Missing => args.push(member.as_bytes()),
                }
            }
            let keys = [index.clone(), leaving.clone()];
            self.script(&scripts::TAKE_OUT, &keys, &args).await?;
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
        let user = UserKey::of(record.user());
        let keys = [self.names.user(user), self.names.leaving(user)];
        let member = short.to_member();
        let args = [member.as_bytes(), kept_for.as_bytes()];
        self.script(&scripts::NAME, &keys, &args).await.map(drop)
    }

    /// Deletes what is left of the sessions of a user, and counts it.
    pub(super) async fn drop_of_user(
        &self,
        user: UserKey,
        dropped: &AtomicUsize,
    ) -> Result<(), StoreError> {
        // An index that has just been made anew has lost its names.
        let (_, is_mended) = self.sets(vec![self.names.user(user)]).await?;
        let (entries, _) = self.entries_of_user(user).await?;
        let over = self.sorted(entries).await?.over;
        let keys: Vec<_> = over.into_iter().map(|(key, _)| key).collect();
        let removed = self.remove_each(&keys, Tell::IfThere).await?;
        dropped.fetch_add(removed, Ordering::Release);
        if is_mended {
            return Err(StoreError::Unavailable);
        }
        Ok(())
    }

    /// The sessions that the index has, and what it has besides.
    pub(super) async fn entries_of_user(
        &self,
        user: UserKey,
    ) -> Result<(Vec<Entry>, Vec<Short>), StoreError> {
        let (members, _) = self.sets(vec![self.names.user(user)]).await?;
        let shorts: Vec<_> = members.iter().flat_map(shorts).collect();
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

    /// In their order.
    async fn find(&self, shorts: &[Short]) -> Result<Vec<Found>, StoreError> {
        let mut by_shard: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, short) in shorts.iter().enumerate() {
            by_shard
                .entry(short.shard())
                .or_default()
                .push((at, *short));
        }
        // One of another type is nothing for MGET, and would fail all others of a GET for each.
        let mut commands = pipe();
        for some in by_shard.values() {
            let names = some.iter().map(|(_, short)| self.names.record(*short));
            commands.cmd("MGET").arg(names.collect::<Vec<_>>());
        }
        let answers = self.pipeline(&commands).await?;
        let mut found: Vec<_> = shorts.iter().map(|_| Found::Missing).collect();
        let values = self.values();
        for (some, answer) in by_shard.values().zip(&answers) {
            let Value::Array(answers) = answer else {
                return Err(StoreError::Unavailable);
            };
            for ((at, short), answer) in some.iter().zip(answers) {
                found[*at] = match answer {
                    Value::Nil => Found::Missing,
                    Value::BulkString(value) => {
                        let opened = self.opened(values.decode_short(*short, value));
                        let entry = opened.ok().flatten();
                        entry.map_or(Found::Unreadable, |entry| Found::There(Box::new(entry)))
                    }
                    _ => Found::Unreadable,
                };
            }
        }
        Ok(found)
    }

    /// What is in each of these sets. Something else in the place of one is removed: an index can be
    /// mended, and nobody could list or begin a session as long as it is there. Gives whether that was so,
    /// and names may be lost.
    async fn sets(&self, names: Vec<String>) -> Result<(Vec<Value>, bool), StoreError> {
        let mut commands = pipe();
        for name in &names {
            commands.cmd("SMEMBERS").arg(name);
        }
        let read = self.pipeline(&commands).await;
        if read != Err(StoreError::Refused) {
            return read.map(|sets| (sets, false));
        }
        let mut is_mended = false;
        for name in names {
            let mended = self.script(&scripts::MEND, &[name], &[]).await? > 0;
            is_mended |= mended;
            if mended && self.said_unreadable.is_due() {
                tracing::warn!(
                    "an index of sessions in the store was of another type and is made anew; told once a \
                     minute"
                );
            }
        }
        Ok((self.pipeline(&commands).await?, is_mended))
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
        // Those of which nobody can tell are in no list; the log says so.
        let Sorted { good, over, .. } = self.sorted(there).await?;
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
        let names = shards().map(|shard| self.names.buckets(shard));
        let (answers, _) = self.sets(names.collect()).await?;
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
        let names = buckets.iter().map(|bucket| self.names.bucket(*bucket));
        let (answers, _) = self.sets(names.collect()).await?;
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
