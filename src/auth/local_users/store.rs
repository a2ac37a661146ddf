//! Local users in the session store, the same on all nodes.
//!
//! Each node has all of them in memory and follows what the others change. A user is one record with a
//! revision, which goes up with each change; one who is removed leaves a record that says so. So a
//! record that is missing was lost, by a server that was emptied or took over, and so was a newer one
//! in whose place an older one stands: each node that knows better puts its own back.

mod change;
mod follow;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use self::record::{Field, Record, State};
use super::current::Current;
use crate::auth::users_file::Users;
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::telemetry::Seldom;

pub(crate) use self::change::{ChangeError, Outcome};
pub(crate) use self::follow::read_once;

/// Records that are read at a time.
const BATCH: usize = 100;

/// A look waits for the one before it, asks which records have changed, and reads them.
const STEPS: u32 = 4;

/// Where they are kept; `None` where this node is alone.
fn records(nodes: &Nodes, clock: &Clock) -> Option<Box<dyn Records>> {
    #[cfg(feature = "redis")]
    return nodes
        .link()
        .map(|link| Box::new(redis::Redis::new(link, clock)) as Box<dyn Records>);
    #[cfg(not(feature = "redis"))]
    {
        let _alone = (nodes, clock);
        None
    }
}

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// It cannot be reached. Whether anything was done is not known.
    Away,
    /// It has no memory left.
    Full,
    /// The user is larger than one may be.
    TooLarge,
    /// The limit on the number of users is reached.
    TooMany,
    /// It refuses, or answers what it should not; the details are in the log.
    Unavailable,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "the session store cannot be reached",
            Self::Full => "the session store has no memory left",
            Self::TooLarge => {
                "the groups and the e-mail address of the user are too long for the session store"
            }
            Self::TooMany => "there are too many users in the session store",
            Self::Unavailable => {
                "the session store does not keep or give users; the server's log says why"
            }
        })
    }
}

impl std::error::Error for StoreFault {}

/// What tells a value in the store from every other one.
type Stamp = Vec<u8>;

/// The answer of the store.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreFault>> + Send + 'a>>;

/// Keeps a record for each user. Each call is atomic.
trait Records: Send + Sync {
    /// What has changed since it was `seen` last; `None` if nothing has, and there are still as many.
    fn changes<'a>(&'a self, seen: Option<&'a [u8]>) -> Answer<'a, Option<Changes>>;

    /// What there is at these places now.
    fn read<'a>(&'a self, fields: &'a [Field]) -> Answer<'a, Vec<(Field, Option<Found>)>>;

    /// Puts a record in the place of what has this stamp, or where nothing is if it is empty; gives
    /// the new stamp, or `None` where something else is by now.
    fn put<'a>(
        &'a self,
        field: &'a Field,
        there: &'a [u8],
        record: &'a Record,
    ) -> Answer<'a, Option<Stamp>>;

    /// Puts each in the place of what has its stamp, or where nothing is if it is empty; gives the new
    /// stamps, and `None` where something else is by now.
    fn put_each<'a>(
        &'a self,
        records: &'a [(Field, Stamp, Record)],
    ) -> Answer<'a, Vec<Option<Stamp>>>;

    /// Puts all of them there if there is none at all; gives whether it did.
    fn begin_with<'a>(&'a self, records: &'a [(Field, Record)]) -> Answer<'a, bool>;

    /// Whenever there is something new, and perhaps more often or not at all.
    fn wake_ups(&self) -> mpsc::Receiver<()>;

    /// How long an answer takes at most.
    fn timeout(&self) -> Duration;

    /// For how long a node goes on with what it knows while it cannot read the store.
    fn stale_for(&self) -> Duration;
}

/// What has changed.
struct Changes {
    /// To be shown the next time.
    seen: Vec<u8>,
    /// These are all that there are, and not only those that have changed.
    are_all: bool,
    /// With an empty stamp where there is none.
    fields: Vec<(Field, Stamp)>,
}

/// What was found.
struct Found {
    stamp: Stamp,
    /// Or why it cannot be read: it is damaged, sealed by another key, or of a later version.
    record: Result<Record, String>,
    /// Another key than the first has sealed it.
    is_of_old_key: bool,
}

/// What this node knows of a user.
struct Entry {
    stamp: Stamp,
    /// Of what has this stamp; or if that cannot be read, and so is left alone, the last one that could.
    last: Option<Record>,
    is_unreadable: bool,
}

impl Entry {
    fn readable(stamp: Stamp, record: Record) -> Self {
        Self {
            stamp,
            last: Some(record),
            is_unreadable: false,
        }
    }

    fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    fn record(&self) -> Option<&Record> {
        self.last.as_ref().filter(|_| !self.is_unreadable)
    }
}

#[derive(Default)]
struct Known {
    entries: HashMap<Field, Entry>,
    seen: Option<Vec<u8>>,
    /// Some have changed since logins here have heard of any.
    is_news: bool,
    /// Sealed anew by this process, or about to be: nodes may have their keys in another order.
    sealed_anew: HashSet<Field>,
}

impl Known {
    /// Those that can be read and are not removed.
    fn users(&self) -> Users {
        let records = self.entries.values().filter_map(Entry::record);
        records
            .filter_map(|record| record.user().cloned())
            .collect()
    }
}

/// How often the store was read.
#[derive(Clone, Copy, Default)]
struct Reads {
    begun: u64,
    ended: u64,
    /// Of the last one.
    fault: Option<StoreFault>,
}

pub(crate) struct InStore {
    records: Box<dyn Records>,
    current: Arc<Current>,
    /// A users file, taken over while the store has no users.
    first: Option<PathBuf>,
    clock: Clock,
    known: Mutex<Known>,
    /// Who has it may change what is known.
    turn: tokio::sync::Mutex<()>,
    /// When this node last knew of every user, in milliseconds.
    read: AtomicU64,
    reads: watch::Sender<Reads>,
    asked: Notify,
    changed: Notify,
    said_unreadable: Seldom,
    said_not_put_back: Seldom,
    said_not_taken_over: Seldom,
}

impl InStore {
    /// `None` where this node is alone.
    pub(super) fn open(
        first: Option<PathBuf>,
        current: &Arc<Current>,
        nodes: &Nodes,
        clock: &Clock,
    ) -> Option<Self> {
        Some(Self {
            records: records(nodes, clock)?,
            current: Arc::clone(current),
            first,
            clock: clock.clone(),
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            read: AtomicU64::new(0),
            reads: watch::Sender::default(),
            asked: Notify::new(),
            changed: Notify::new(),
            said_unreadable: Seldom::new(clock.clone()),
            said_not_put_back: Seldom::new(clock.clone()),
            said_not_taken_over: Seldom::new(clock.clone()),
        })
    }

    /// Whether what is known of users still counts (REL-10).
    pub(in crate::auth) fn is_known(&self) -> bool {
        let read = Timestamp::from_millis(self.read.load(Ordering::Acquire));
        self.clock.now().since(read) < self.records.stale_for()
    }

    /// Waits until this node knows what was so when this was called, for a bounded time. Calls at the
    /// same time share one look.
    pub(super) async fn catch_up(&self) -> Result<(), StoreFault> {
        let mut reads = self.reads.subscribe();
        let before = reads.borrow().begun;
        self.asked.notify_one();
        let read = reads.wait_for(|reads| reads.ended > before);
        match timeout(STEPS * self.records.timeout(), read).await {
            Ok(Ok(reads)) => reads.fault.map_or(Ok(()), Err),
            _ => Err(StoreFault::Away),
        }
    }

    /// Resolves when somebody may no longer be permitted what they are doing.
    pub(in crate::auth) async fn have_changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the store says that nobody of this name may sign in. Of a record that is missing, or
    /// cannot be read, it says nothing.
    pub(in crate::auth) fn is_gone(&self, user: &str) -> bool {
        let known = self.known();
        let entry = Field::of(user).and_then(|field| known.entries.get(&field));
        match entry.and_then(|entry| entry.last.as_ref()) {
            Some(Record { state, .. }) => match state {
                State::Here(user) => user.disabled(),
                State::Removed(_) => true,
            },
            None => false,
        }
    }

    /// Logins here go by what is known from now on.
    fn publish(&self) {
        if std::mem::take(&mut self.known().is_news) {
            let users = self.known().users();
            self.current.replace(users);
            self.changed.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
