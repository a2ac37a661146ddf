//! Begins sessions, and changes them.

use std::sync::Arc;
use std::time::Duration;

use ::redis::cmd;

use super::keys::{Short, tail};
use super::value::{Epochs, STAMP, kept_for};
use super::{Shared, scripts};
use crate::random::NoRandomness;
use crate::redis::Pause;
use crate::session::data::DataError;
use crate::session::id::SessionKey;
use crate::session::record::{HostId, Record};
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// A change that is overtaken by others so often gives up.
const MAX_ATTEMPTS: usize = 100;

/// Before a change that was overtaken is tried again: else all of many try again at once, and one of them
/// gets on.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    pub(super) async fn begin_session(
        self: &Arc<Self>,
        record: Arc<Record>,
    ) -> Result<(), StoreError> {
        self.journal().unbury(&record.key);
        self.wait_for_first_read().await;
        let epochs = self.epochs_to_begin_in(UserKey::of(record.user())).await?;
        let mark = self.link.mark();
        let written = self.write(&record, epochs, false).await;
        if written.is_err() {
            // Nobody gets its id, and it may be there all the same.
            self.journal().bury(record.key);
            let (shared, keys) = (Arc::clone(self), vec![record.key]);
            tokio::spawn(async move { shared.end_each(keys).await.map(drop) });
        }
        if !written? {
            tracing::error!("two sessions have the same first 64 bits in their keys");
            return Err(StoreError::Unavailable);
        }
        self.note_write(&record, epochs);
        let key = self.names.record(Short::of(&record.key));
        self.wait_for_replicas(mark, [key]).await;
        Ok(())
    }

    /// Writes a session: the ids that lead to it first, and its name in the index of its user last. Gives
    /// whether it was written.
    pub(super) async fn write(
        &self,
        record: &Record,
        epochs: Epochs,
        unless_there: bool,
    ) -> Result<bool, StoreError> {
        let kept_for = kept_for(record, self.clock.now()).as_millis().to_string();
        let short = Short::of(&record.key);
        let member = short.to_member();
        let mut leads = ::redis::pipe();
        for id in record.other_ids() {
            let value = self.values().encode_id(&id.key, &record.key);
            let value = value.map_err(no_randomness)?;
            let name = self.names.other_id(&id.key);
            leads
                .cmd("SET")
                .arg(name)
                .arg(value)
                .arg("PX")
                .arg(&kept_for);
        }
        if leads.cmd_iter().next().is_some() {
            self.pipeline(&leads).await?;
        }
        let value = self
            .values()
            .encode(record, epochs)
            .map_err(no_randomness)?;
        let (shard, bucket) = (short.shard(), short.bucket());
        let keys = [
            self.names.record(short),
            self.names.bucket(bucket),
            self.names.buckets(shard),
            self.names.count(shard),
        ];
        let number = bucket.1.to_string();
        let args: [&[u8]; 6] = [
            &value,
            &tail::of(&record.key),
            kept_for.as_bytes(),
            member.as_bytes(),
            number.as_bytes(),
            if unless_there { b"1" } else { b"0" },
        ];
        let is_written = self.script(&scripts::INSERT, &keys, &args).await? == 1;
        if is_written {
            // Not before: whoever lists the user's sessions takes out a name that leads to none.
            self.name_in_index(record, short).await?;
        }
        Ok(is_written)
    }

    /// Applies a change to what is kept now, however many others do so, too; it gives whether there
    /// is something to change.
    pub(super) async fn change<E>(
        &self,
        key: SessionKey,
        change: impl Fn(&mut Record) -> Result<bool, E>,
    ) -> Result<Option<Result<Arc<Record>, E>>, StoreError> {
        let mut pause = Pause::between(FIRST_PAUSE, LONGEST_PAUSE);
        for _ in 0..MAX_ATTEMPTS {
            let Some(entry) = self.entry(&key).await? else {
                return Ok(None);
            };
            let (epochs, stamp) = (entry.epochs, entry.stamp);
            let Some(mut record) = self.if_good(entry).await? else {
                return Ok(None);
            };
            match change(Arc::make_mut(&mut record)) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(Ok(record))),
                Err(error) => return Ok(Some(Err(error))),
            }
            if self.swap(&record, epochs, &stamp).await? {
                return Ok(Some(Ok(record)));
            }
            pause.wait().await;
        }
        Err(StoreError::Unavailable)
    }

    /// Replaces a record, unless it is another than that of this stamp by now.
    pub(super) async fn swap(
        &self,
        record: &Arc<Record>,
        epochs: Epochs,
        stamp: &[u8; STAMP],
    ) -> Result<bool, StoreError> {
        let sealed = self.values().seal(record, epochs).map_err(no_randomness)?;
        let short = Short::of(&record.key);
        let keys = [self.names.record(short), self.names.ends(short.shard())];
        let channel = self.names.channel();
        let args: [&[u8]; 5] = [
            stamp,
            &sealed,
            &self.node,
            record.key.as_bytes(),
            channel.as_bytes(),
        ];
        let swapped = self.script(&scripts::SWAP, &keys, &args).await? == 1;
        if swapped {
            self.note_write(record, epochs);
        }
        Ok(swapped)
    }

    /// Remembers a session for a server that takes over and lacks it.
    fn note_write(&self, record: &Arc<Record>, epochs: Epochs) {
        let now = self.clock.now();
        if !self.journal().note_write(record, epochs, now) && self.said_forgotten.is_due() {
            tracing::warn!(
                "more sessions have begun or changed within a minute than this node remembers: a \
                 failover can lose the oldest of them"
            );
        }
    }

    /// The id first: one that leads to a session that knows nothing of it opens nothing.
    pub(super) async fn add_id(
        &self,
        key: SessionKey,
        id: HostId,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let Some(entry) = self.entry(&key).await? else {
            return Ok(None);
        };
        let kept_for = kept_for(&entry.record, self.clock.now())
            .as_millis()
            .to_string();
        let value = self.values().encode_id(&id.key, &key);
        let mut set = cmd("SET");
        set.arg(self.names.other_id(&id.key))
            .arg(value.map_err(no_randomness)?)
            .arg("PX")
            .arg(kept_for);
        self.query(&set).await?;
        let add = |record: &mut Record| Ok(record.add_id(&id).is_some());
        let added = self.change(key, add).await?;
        Ok(added.map(|added: Result<_, DataError>| added.expect("adding an id does not fail")))
    }
}

fn no_randomness(_: NoRandomness) -> StoreError {
    tracing::error!("the system gives no random bytes: a session cannot be sealed");
    StoreError::Unavailable
}
