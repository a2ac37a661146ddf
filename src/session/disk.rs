//! Sessions in one file: they outlive a restart, a crash and `kill -9`.
//!
//! One thread writes. What waits for it while it commits goes into the next commit together, so a
//! thousand logouts a second share a few calls of `fsync`. Logins and logouts are answered when
//! they are durable; accesses and session data are written in batches. Reads see a snapshot and
//! wait for nobody.

mod command;
mod file;
mod tables;
mod writer;

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use self::command::{Command, Reply};
pub(super) use self::file::CACHE;
use self::tables::Snapshot;
use self::writer::Writer;
pub(crate) use self::writer::has_room;
use super::data::{DataChange, DataError};
use super::id::SessionKey;
use super::record::{HostId, Record};
use super::store::{Answer, End, OpenError, Removed, SessionStore, StoreError, ends};
use crate::clock::Timestamp;
use crate::request::Host;

/// The store in a file; closes it when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Disk {
    shared: Arc<Shared>,
    commands: Sender<Command>,
}

/// What the writing thread shares with those who read.
struct Shared {
    path: PathBuf,
    /// `None` while it cannot be opened, and after the end.
    database: RwLock<Option<Database>>,
    pending_deletes: Mutex<PendingDeletes>,
    /// Held by who removes the records of a user.
    removing: tokio::sync::Mutex<()>,
    /// Accesses that are not in the file yet.
    touched: Mutex<HashMap<SessionKey, Timestamp>>,
    count: AtomicUsize,
    /// The latest time in the file, in milliseconds.
    latest: AtomicU64,
    /// The log has heard of a record that cannot be read. It stays where it is, and is met again
    /// with each look for garbage.
    said_unreadable: AtomicBool,
}

/// Records that were deleted and may still be in the file: nobody reads them any more.
#[derive(Clone, Default)]
struct PendingDeletes {
    keys: HashSet<SessionKey>,
    all: bool,
}

impl PendingDeletes {
    fn has(&self, key: &SessionKey) -> bool {
        self.all || self.keys.contains(key)
    }
}

impl Shared {
    fn pending_deletes(&self) -> MutexGuard<'_, PendingDeletes> {
        self.pending_deletes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn touched(&self) -> MutexGuard<'_, HashMap<SessionKey, Timestamp>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records as they are now: without those that have been removed, with the accesses that are
    /// not written yet.
    fn read(
        &self,
        look: impl FnOnce(&Snapshot, &PendingDeletes) -> Result<Vec<Record>, redb::Error>,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Unavailable)?;
        // Before the snapshot: afterwards, what the snapshot still has may have been written off.
        let pending = self.pending_deletes().clone();
        let found = database
            .begin_read()
            .map_err(redb::Error::from)
            .and_then(|transaction| {
                let snapshot = Snapshot::of(&transaction)?;
                let records = look(&snapshot, &pending)?;
                self.tell_of_unreadable(snapshot);
                Ok(records)
            });
        let mut records = found.map_err(|error| {
            tracing::error!(%error, "cannot read the sessions file");
            StoreError::Unavailable
        })?;
        records.retain(|record| !pending.has(&record.key));
        let touched = self.touched();
        for record in &mut records {
            if let Some(at) = touched.get(&record.key) {
                record.last_accessed = record.last_accessed.max(*at);
            }
        }
        Ok(records.into_iter().map(Arc::new).collect())
    }

    fn tell_of_unreadable(&self, snapshot: Snapshot) {
        if let Some((key, error)) = snapshot.into_unreadable()
            && !self.said_unreadable.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                session = %key.short(), %error,
                "a session in the file cannot be read and is left alone; told once"
            );
        }
    }
}

impl Disk {
    /// Opens the file, or makes it. A damaged one is moved aside, which the log says loudly.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let (database, contents) = file::open(path)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            pending_deletes: Mutex::default(),
            removing: tokio::sync::Mutex::default(),
            touched: Mutex::default(),
            count: AtomicUsize::new(contents.count),
            latest: AtomicU64::new(contents.latest.as_millis()),
            said_unreadable: AtomicBool::new(false),
        });
        let (commands, queue) = mpsc::channel();
        Writer::start(Arc::clone(&shared), queue)
            .map_err(|error| OpenError::Io(path.to_owned(), error))?;
        Ok(Self { shared, commands })
    }

    /// Gives the command to the writing thread at once, whether anybody awaits the answer or not.
    fn write<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Answer<'static, T> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).is_ok();
        Box::pin(async move {
            match answer.await {
                Ok(answer) if sent => answer,
                _ => Err(StoreError::Unavailable),
            }
        })
    }

    fn read(
        &self,
        look: impl FnOnce(&Snapshot, &PendingDeletes) -> Result<Vec<Record>, redb::Error>
        + Send
        + 'static,
    ) -> Answer<'static, Vec<Arc<Record>>> {
        let shared = Arc::clone(&self.shared);
        // A disk may take its time; the threads that serve requests do not wait for it.
        let found = tokio::task::spawn_blocking(move || shared.read(look));
        Box::pin(async move { found.await.unwrap_or(Err(StoreError::Unavailable)) })
    }
}

impl SessionStore for Disk {
    fn insert_below(&self, record: Arc<Record>, most: usize) -> Answer<'_, bool> {
        self.write(|reply| Command::Insert(record, most, reply))
    }

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        let found = self.read(move |snapshot, _| Ok(Vec::from_iter(snapshot.load(&key)?)));
        Box::pin(async move { Ok(found.await?.pop()) })
    }

    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        self.shared.pending_deletes().keys.extend(&keys);
        self.write(|reply| Command::Remove(keys, reply))
    }

    /// Of two at once, none is to find what the other is about to remove: they come one by one.
    fn remove_of_user(
        &self,
        user: String,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>> {
        let disk = self.clone();
        Box::pin(async move {
            let _one_by_one = disk.shared.removing.lock().await;
            let records = disk.of_user(user).await?;
            let mut keys: Vec<_> = records.iter().map(|record| record.key).collect();
            if keep.is_some_and(|keep| !keys.contains(&keep)) {
                return Ok(None);
            }
            keys.retain(|key| Some(*key) != keep);
            Ok(Some(Removed::all(disk.remove(keys).await?)))
        })
    }

    fn clear(&self) -> Answer<'static, Removed> {
        self.shared.pending_deletes().all = true;
        let cleared = self.write(Command::Clear);
        Box::pin(async move { cleared.await.map(Removed::all) })
    }

    fn touch(&self, key: SessionKey, at: Timestamp) {
        let mut touched = self.shared.touched();
        let last = touched.entry(key).or_insert(at);
        *last = at.max(*last);
    }

    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>> {
        self.write(|reply| Command::Bind(key, host, app, reply))
    }

    fn add_id(&self, key: SessionKey, id: HostId) -> Answer<'_, Option<Arc<Record>>> {
        self.write(|reply| Command::AddId(key, id, reply))
    }

    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>> {
        self.write(|reply| Command::Change(key, app, change, reply))
    }

    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>> {
        self.read(move |snapshot, _| snapshot.of_user(&user))
    }

    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>> {
        self.read(move |snapshot, pending| {
            // Whoever pages takes an empty page for the end: a pending delete takes no place in one.
            let wanted = |key: &SessionKey| !pending.has(key);
            snapshot.range(first, last, count, wanted)
        })
    }

    /// The file belongs to this process, which opens it once.
    fn ends(&self) -> tokio_mpsc::Receiver<End> {
        ends::none()
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(ready(Ok(self.shared.count.load(Ordering::Relaxed))))
    }

    fn latest(&self) -> Timestamp {
        Timestamp::from_millis(self.shared.latest.load(Ordering::Relaxed))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.write(Command::Close)
    }
}

#[cfg(test)]
mod tests;
