//! The tables of the file, and what is done to them within one transaction.

use std::cell::Cell;
use std::ops::Bound;
use std::sync::Arc;

use redb::{
    Error, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use crate::clock::Timestamp;
use crate::principal::user_name;
use crate::request::Host;
use crate::session::codec;
use crate::session::data::{DataChange, DataError};
use crate::session::id::SessionKey;
use crate::session::record::{HostId, Record};
use crate::storage::row::Unreadable;

type Key = &'static [u8; 32];

// The number is the version of the tables. Another one would find its tables empty, and everybody
// signed out: what changes in a record is the business of `codec`.
pub(super) const SESSIONS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("sessions-1");
/// Apart from the sessions, so that an access writes eight bytes and not a whole record.
const ACCESSED: TableDefinition<'_, Key, u64> = TableDefinition::new("accessed-1");
/// By names in lower case, because names have none.
pub(super) const OF_USER: TableDefinition<'_, (&str, Key), ()> = TableDefinition::new("of-user-1");
/// The session of each id that does not name it.
const OTHER_IDS: TableDefinition<'_, Key, Key> = TableDefinition::new("other-ids-1");
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state-1");

/// The latest time that was written, in milliseconds: a clock that is set back while the service
/// is down does not make sessions younger.
const LATEST: &str = "latest";

/// The tables for writing.
pub(super) struct Tables<'t> {
    sessions: Table<'t, Key, &'static [u8]>,
    accessed: Table<'t, Key, u64>,
    of_user: Table<'t, (&'static str, Key), ()>,
    other_ids: Table<'t, Key, Key>,
    state: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    /// Makes those that are missing.
    pub(super) fn of(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            accessed: transaction.open_table(ACCESSED)?,
            of_user: transaction.open_table(OF_USER)?,
            other_ids: transaction.open_table(OTHER_IDS)?,
            state: transaction.open_table(STATE)?,
        })
    }

    pub(super) fn count(&self) -> Result<usize, Error> {
        Ok(usize::try_from(self.sessions.len()?).unwrap_or(usize::MAX))
    }

    pub(super) fn latest(&self) -> Result<Timestamp, Error> {
        let latest = self.state.get(LATEST)?.map_or(0, |latest| latest.value());
        Ok(Timestamp::from_millis(latest))
    }

    pub(super) fn insert(&mut self, record: &Record) -> Result<(), Error> {
        let key = record.key.as_bytes();
        self.sessions
            .insert(key, codec::encode(record).as_slice())?;
        let user = user_name::key(record.user());
        self.of_user.insert((user.as_str(), key), ())?;
        for id in record.other_ids() {
            self.other_ids.insert(id.key.as_bytes(), key)?;
        }
        self.note_time(record.created)
    }

    /// Gives whether there was one.
    fn remove(&mut self, key: &SessionKey) -> Result<bool, Error> {
        let bytes = key.as_bytes();
        let Some(removed) = self.sessions.remove(bytes)? else {
            return Ok(false);
        };
        self.accessed.remove(bytes)?;
        if let Ok(record) = codec::decode(*key, removed.value()) {
            let user = user_name::key(record.user());
            self.of_user.remove((user.as_str(), bytes))?;
            for id in record.other_ids() {
                self.other_ids.remove(id.key.as_bytes())?;
            }
        }
        Ok(true)
    }

    /// Gives how many there were.
    pub(super) fn remove_each(&mut self, keys: &[SessionKey]) -> Result<usize, Error> {
        let mut removed = 0;
        for key in keys {
            removed += usize::from(self.remove(key)?);
        }
        Ok(removed)
    }

    /// Drops every session; gives how many there were.
    pub(super) fn clear(self, transaction: &'t WriteTransaction) -> Result<(Self, usize), Error> {
        let count = self.count()?;
        drop(self);
        transaction.delete_table(SESSIONS)?;
        transaction.delete_table(ACCESSED)?;
        transaction.delete_table(OF_USER)?;
        transaction.delete_table(OTHER_IDS)?;
        Ok((Self::of(transaction)?, count))
    }

    /// An access of a session that is there; never earlier than one before.
    pub(super) fn touch(&mut self, key: &SessionKey, at: Timestamp) -> Result<(), Error> {
        let bytes = key.as_bytes();
        if self.sessions.get(bytes)?.is_none() {
            return Ok(());
        }
        let before = self.accessed.get(bytes)?.map_or(0, |before| before.value());
        if before < at.as_millis() {
            self.accessed.insert(bytes, at.as_millis())?;
        }
        self.note_time(at)
    }

    pub(super) fn bind(
        &mut self,
        key: &SessionKey,
        host: &Host,
        app: &str,
    ) -> Result<Option<Arc<Record>>, Error> {
        let Some(mut record) = self.read(key)? else {
            return Ok(None);
        };
        if record.bind(host, app) {
            self.replace(&record)?;
        }
        Ok(Some(Arc::new(record)))
    }

    pub(super) fn add_id(
        &mut self,
        key: &SessionKey,
        id: &HostId,
    ) -> Result<Option<Arc<Record>>, Error> {
        let Some(mut record) = self.read(key)? else {
            return Ok(None);
        };
        if let Some(dropped) = record.add_id(id) {
            for other in dropped {
                self.other_ids.remove(other.as_bytes())?;
            }
            self.other_ids.insert(id.key.as_bytes(), key.as_bytes())?;
            self.replace(&record)?;
        }
        Ok(Some(Arc::new(record)))
    }

    pub(super) fn change(
        &mut self,
        key: &SessionKey,
        app: &str,
        change: &DataChange,
    ) -> Result<Option<Result<Arc<Record>, DataError>>, Error> {
        let Some(mut record) = self.read(key)? else {
            return Ok(None);
        };
        match record.data.apply(app, change) {
            Err(error) => Ok(Some(Err(error))),
            Ok(data) => {
                record.data = data;
                record.revision += 1;
                self.replace(&record)?;
                Ok(Some(Ok(Arc::new(record))))
            }
        }
    }

    /// Without its last access; `None` also for what cannot be read.
    fn read(&self, key: &SessionKey) -> Result<Option<Record>, Error> {
        let kept = self.sessions.get(key.as_bytes())?;
        Ok(kept.and_then(|kept| codec::decode(*key, kept.value()).ok()))
    }

    fn replace(&mut self, record: &Record) -> Result<(), Error> {
        let row = codec::encode(record);
        self.sessions
            .insert(record.key.as_bytes(), row.as_slice())?;
        Ok(())
    }

    fn note_time(&mut self, at: Timestamp) -> Result<(), Error> {
        if at > self.latest()? {
            self.state.insert(LATEST, at.as_millis())?;
        }
        Ok(())
    }
}

/// The tables for reading, as they were at one moment.
pub(super) struct Snapshot {
    sessions: ReadOnlyTable<Key, &'static [u8]>,
    accessed: ReadOnlyTable<Key, u64>,
    of_user: ReadOnlyTable<(&'static str, Key), ()>,
    other_ids: ReadOnlyTable<Key, Key>,
    /// The last one that was met.
    unreadable: Cell<Option<(SessionKey, Unreadable)>>,
}

impl Snapshot {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, Error> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            accessed: transaction.open_table(ACCESSED)?,
            of_user: transaction.open_table(OF_USER)?,
            other_ids: transaction.open_table(OTHER_IDS)?,
            unreadable: Cell::default(),
        })
    }

    /// A record that was met and cannot be read.
    pub(super) fn into_unreadable(self) -> Option<(SessionKey, Unreadable)> {
        self.unreadable.into_inner()
    }

    /// Of a key, or of the hash of another id.
    pub(super) fn load(&self, key: &SessionKey) -> Result<Option<Record>, Error> {
        if let Some(kept) = self.sessions.get(key.as_bytes())? {
            return self.complete(*key, kept.value());
        }
        let Some(of) = self.other_ids.get(key.as_bytes())? else {
            return Ok(None);
        };
        match self.sessions.get(of.value())? {
            Some(kept) => self.complete(SessionKey::from_bytes(*of.value()), kept.value()),
            None => Ok(None), // a version that knows no other ids has ended it
        }
    }

    pub(super) fn of_user(&self, user: &str) -> Result<Vec<Record>, Error> {
        let user = user_name::key(user);
        let user = user.as_str();
        let mut records = Vec::new();
        for entry in self.of_user.range((user, &[0; 32])..=(user, &[255; 32]))? {
            let (entry, ()) = entry.map(|(entry, nothing)| (entry, nothing.value()))?;
            let key = SessionKey::from_bytes(*entry.value().1);
            records.extend(self.load(&key)?);
        }
        Ok(records)
    }

    /// At most `count` records of those that are wanted.
    pub(super) fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
        wanted: impl Fn(&SessionKey) -> bool,
    ) -> Result<Vec<Record>, Error> {
        let first = first.as_ref().map(SessionKey::as_bytes);
        let mut entries = self
            .sessions
            .range::<&[u8; 32]>((first, Bound::Included(last.as_bytes())))?;
        let mut records = Vec::new();
        while records.len() < count
            && let Some(entry) = entries.next()
        {
            let (key, kept) = entry?;
            let key = SessionKey::from_bytes(*key.value());
            if wanted(&key) {
                records.extend(self.complete(key, kept.value())?);
            }
        }
        Ok(records)
    }

    fn complete(&self, key: SessionKey, kept: &[u8]) -> Result<Option<Record>, Error> {
        let mut record = match codec::decode(key, kept) {
            Ok(record) => record,
            Err(error) => {
                // Left alone: another version may know what to make of it (REL-19).
                self.unreadable.set(Some((key, error)));
                return Ok(None);
            }
        };
        if let Some(accessed) = self.accessed.get(key.as_bytes())? {
            let accessed = Timestamp::from_millis(accessed.value());
            record.last_accessed = record.last_accessed.max(accessed);
        }
        Ok(Some(record))
    }
}
