//! What a place to keep sessions has to do.

pub(super) mod ends;

use std::fmt;
use std::future::ready;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Backend;
use super::data::{DataChange, DataError};
use super::disk::Disk;
use super::id::SessionKey;
use super::memory::Memory;
use super::record::{HostId, Record};
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::regular_file::Distrust;
use crate::request::Host;
use crate::storage::Fault;
pub(crate) use ends::End;

/// A store could not be read or written; the details are in the log.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "disks fail in fewer ways")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// There is no room for more.
    Full,
    /// It has ended in this process. Others could not be told yet, and may go on with it.
    NotEverywhere(Obstacle),
    /// It can be reached, and does not do what it is asked.
    Refused,
    /// It answers, and would have taken longer for all that it was asked.
    Slow(Duration),
    /// It cannot be reached, or what it holds cannot be read.
    Unavailable,
}

/// Why the others could not be told.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "a node alone tells nobody")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The store cannot be reached. Those who cannot reach it either go on for so long.
    Away(Duration),
    /// The store has no room for it.
    Full,
    Refusal,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room for more sessions"),
            Self::NotEverywhere(Obstacle::Away(stale_for)) => write!(
                f,
                "the session store cannot be reached; other nodes may go on with it until this one \
                 reaches it again, or for up to {} seconds (`stale_for` in [session.redis]) where they \
                 cannot reach it either",
                stale_for.as_secs()
            ),
            Self::NotEverywhere(Obstacle::Full) => f.write_str(
                "the session store has no memory left; other nodes go on with it until there is some",
            ),
            Self::NotEverywhere(Obstacle::Refusal) => f.write_str(
                "the session store refuses it, and the log says why; other nodes go on with it until \
                 the store takes it",
            ),
            Self::Refused => f.write_str("the session store refuses what it is asked"),
            Self::Slow(limit) => write!(
                f,
                "the session store takes longer than {} seconds, ten times `timeout` in \
                 [session.redis]; try again when it has less to do, or raise `timeout`",
                limit.as_secs_f32()
            ),
            Self::Unavailable => f.write_str("the sessions cannot be read or written"),
        }
    }
}

impl std::error::Error for StoreError {}

/// How many records were removed, of all or of a user. They are over in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) count: usize,
    /// `false` where there may have been more, which nobody could count.
    pub(crate) is_whole: bool,
}

impl Removed {
    /// These, and no others.
    pub(crate) fn all(count: usize) -> Self {
        Self {
            count,
            is_whole: true,
        }
    }
}

/// Why sessions cannot be kept where the configuration says.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another process has the file open.
    InUse(PathBuf),
    Io(PathBuf, io::Error),
    /// This build keeps none in Redis.
    #[cfg_attr(feature = "redis", expect(dead_code, reason = "this build does"))]
    NotBuilt,
    /// The system gives no random bytes.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "sessions on disk need none")
    )]
    NoRandomness,
    /// Another user owns the file, and so could have written anything into it.
    Owner(PathBuf, u32),
    /// Others than its owner may read or write it (SEC-79).
    TooOpen(PathBuf, u32),
    /// Another user could put another file in its place (SEC-98).
    Untrusted(Distrust),
    /// A file that [session.redis] names cannot be used.
    Redis(crate::redis::FileError),
}

impl OpenError {
    pub(super) fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Damaged(damage) => Self::Io(path, io::Error::other(damage)),
            Fault::InUse => Self::InUse(path),
            Fault::Io(error) => Self::Io(path, error),
            Fault::Owner(owner) => Self::Owner(path, owner),
            Fault::TooOpen(mode) => Self::TooOpen(path, mode),
            Fault::Untrusted(distrust) => Self::Untrusted(distrust),
        }
    }

    /// Whether somebody has to fix something before another try makes sense.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(
            self,
            Self::NotBuilt
                | Self::Owner(..)
                | Self::Redis(_)
                | Self::TooOpen(..)
                | Self::Untrusted(_)
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another process has the sessions in {} open; stop it, or give this one a \
                 `path` of its own in [session]",
                path.display()
            ),
            Self::Io(path, error) if error.kind() == io::ErrorKind::NotFound => write!(
                f,
                "the folder for the sessions file {} is missing; make it, or set `path` in \
                 [session]",
                path.display()
            ),
            Self::Io(path, error) => {
                write!(
                    f,
                    "cannot open the sessions file {}: {error}",
                    path.display()
                )
            }
            Self::NotBuilt => f.write_str(
                "this build cannot keep sessions in Redis: it lacks the feature `redis`; write \
                 store = \"disk\" in [session]",
            ),
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::Redis(error) => error.fmt(f),
            Self::Owner(path, owner) => write!(
                f,
                "the sessions file {path} belongs to another user ({owner}); remove it, or do \
                 `chown` to the user that runs vestibule",
                path = path.display()
            ),
            Self::Untrusted(distrust) => write!(f, "the sessions file: {distrust}"),
            Self::TooOpen(path, mode) => write!(
                f,
                "others may open the sessions file {path} (mode {mode:04o}); do `chmod 600 {path}`",
                path = path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Redis(error) => Some(error),
            Self::InUse(_)
            | Self::NoRandomness
            | Self::NotBuilt
            | Self::Owner(..)
            | Self::TooOpen(..)
            | Self::Untrusted(_) => None,
        }
    }
}

/// How it is with the connections to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connectivity {
    pub(crate) is_connected: bool,
    /// When that changed last.
    pub(crate) since: Timestamp,
    /// Why there is no connection.
    pub(crate) error: Option<String>,
    /// Programs and their versions.
    pub(crate) servers: Vec<String>,
}

/// A store's answer, which may have to wait for a disk or a network.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Sees to it that what the answer stands for is done, though whoever waits for it may go away: an end
/// is no less an end because the browser has closed its connection (SEC-46). Within the runtime.
pub(super) fn carry_through<T: Send + 'static>(
    answer: Answer<'static, T>,
) -> impl Future<Output = Result<T, StoreError>> {
    let task = tokio::spawn(answer);
    async move { task.await.unwrap_or(Err(StoreError::Unavailable)) }
}

/// Keeps records by key. Each call is atomic: of two at once, one sees what the other did.
///
/// A store decides nothing: it hands out what it has, expired or not.
pub(crate) trait SessionStore: Send + Sync {
    /// When this answers, the session outlives the process, as far as sessions here do.
    fn insert(&self, record: Arc<Record>) -> Answer<'_, ()> {
        let inserted = self.insert_below(record, usize::MAX);
        Box::pin(async move { inserted.await.map(drop) })
    }

    /// The same unless there are `most` records already; gives whether it was kept. Of several at once,
    /// wherever they begin, none is one too many (SEC-52).
    fn insert_below(&self, record: Arc<Record>, most: usize) -> Answer<'_, bool>;

    /// The record of this key, or the one that another id of this hash opens.
    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>>;

    /// Gives how many there were. They are gone for this process as soon as this is called, even if that
    /// cannot be written down; when it answers, they never come back. The answer may be what does the
    /// rest: it is to be [carried through](carry_through).
    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'static, usize>;

    /// Removes records that have expired: nobody waits for it, and nobody would miss it.
    fn collect(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        self.remove(keys)
    }

    /// Where the store remembers ends of all sessions of a user: forgets some of those that no session
    /// can be left from, if none lasts longer than `longest`. What this process remembers of them goes at
    /// once, whether the store can be reached or not.
    fn forget_ends(&self, _longest: Duration) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Removes every record, as [`remove`](Self::remove) does.
    fn clear(&self) -> Answer<'static, Removed>;

    /// Removes every record of a user but for that of the key to keep, as [`remove`](Self::remove)
    /// does. `None`, and nothing is removed, where the one to keep is not there any more: of two at
    /// once, each with a record of its own to keep, one is kept.
    fn remove_of_user(
        &self,
        user: String,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>>;

    /// Keeps an access, unless there was a later one. May be lost in a crash for some seconds.
    fn touch(&self, key: SessionKey, at: Timestamp);

    /// Where others share the store: how long accesses may wait for others to be written with, and how long
    /// for another try when the store has refused them.
    fn gather_accesses_for(&self, _longest: Duration, _longest_after_failures: Duration) {}

    /// Binds the id of a record that [is old](Record::is_old) to a host, and what it kept for all
    /// apps to the app there. Gives the record as it is then: whoever comes first has bound it.
    /// `None` when there is no such session.
    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>>;

    /// Has one more id open a record, and gives the record as it is then; `None` when there is no
    /// such session. May be lost in a crash for some seconds.
    fn add_id(&self, key: SessionKey, id: HostId) -> Answer<'_, Option<Arc<Record>>>;

    /// Applies the `change` of an app to its data that is kept now; `None` when there is no such
    /// session. A change that cannot be kept changes nothing.
    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>>;

    /// Names of users have no case.
    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>>;

    /// The record of this key, which [`of_user`](Self::of_user) lists from now on: an index of the store may
    /// have lost it.
    fn relist(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        self.load(key)
    }

    /// At most `count` records from one key on, `last` included, in the order of their keys.
    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>>;

    /// What others end from now on; what is ended here is not told. Ends when the store has no
    /// more to say, at once where nobody else can end its sessions.
    fn ends(&self) -> mpsc::Receiver<End>;

    /// Where others can end sessions: how long one that is known goes on while the store cannot be
    /// asked. Such a store tells with [`ends`](Self::ends) until when it has told of all.
    fn stale_for(&self) -> Option<Duration> {
        None
    }

    /// Where it is across a network, and may be slow: how long a login waits for it in all.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Where others share it: how it is with the connections to it.
    fn connectivity(&self) -> Option<Connectivity> {
        None
    }

    /// How many records there are.
    fn count(&self) -> Answer<'_, usize>;

    /// The latest time that the store has heard of; zero when it has heard of none.
    fn latest(&self) -> Timestamp;

    /// Flushes what is dirty, and gives the store back.
    fn close(&self) -> Answer<'_, ()>;
}

/// The store that the configuration names, which for several nodes is where they meet. Within the
/// runtime; what goes by time goes by `clock`.
pub(crate) fn open(
    backend: &Backend,
    nodes: &Nodes,
    clock: &Clock,
) -> Result<Arc<dyn SessionStore>, OpenError> {
    Ok(match backend {
        Backend::Memory => Arc::new(Memory::default()),
        Backend::Disk(path) => Arc::new(Disk::open(path)?),
        #[cfg(feature = "redis")]
        Backend::Redis(_) => {
            let link = nodes.link().expect("nodes are opened with these settings");
            Arc::new(super::redis::Redis::open(link.clone(), clock)?)
        }
        #[cfg(not(feature = "redis"))]
        Backend::Redis(_) => {
            let (_is_alone, _goes_by_no_time) = (nodes, clock);
            return Err(OpenError::NotBuilt);
        }
    })
}

#[cfg(test)]
pub(super) mod conformance;
