//! Local users in the session store, the same on all nodes.
//!
//! Each node has all of them in memory and follows what the others change. A user is one record with a
//! revision, which goes up with each change; one who is removed leaves a record that says so. So a
//! record that is missing was lost, by a server that was emptied or took over, and so was a newer one
//! in whose place an older one stands: each node that knows better puts its own back.

mod change;
mod first;
mod follow;
mod import;
mod once;
mod put_back;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod sweep;
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
use super::snapshot::Change;
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::principal::user_name::canonical;
use crate::telemetry::Seldom;

pub(crate) use self::change::ChangeError;
pub(crate) use self::import::Outcome;
pub(crate) use self::once::{StoredUsers, read_once, read_one};

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
    /// It answers, but not in time.
    Slow,
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
            Self::Slow => {
                "the session store takes too long; try again when it has less to do, or raise \
                 `timeout` in [session.redis]"
            }
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

    /// Puts each in the place of what has its stamp, or where nothing is if that is empty; gives what
    /// became of each.
    fn put<'a>(&'a self, records: &'a [ToPut], memory: Memory) -> Answer<'a, Vec<Put>>;

    /// Puts all of them there if there is none at all; gives whether it did.
    fn begin_with<'a>(&'a self, records: &'a [(Field, Record)]) -> Answer<'a, bool>;

    /// The command by which a person removes what there is of these users.
    fn removal(&self, fields: &[Field]) -> String;

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
    /// By another server than the one that was asked the last time.
    of_other_server: bool,
    /// These are all that there are, and not only those that have changed.
    are_all: bool,
    /// With an empty stamp where there is none.
    fields: Vec<(Field, Stamp)>,
    /// How many fields there are in all, those included that are no user's.
    count: usize,
}

/// A record for the store, and the stamp of what it takes the place of.
type ToPut = (Field, Stamp, Record);

/// What of its memory the store may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    WhatIsFree,
    /// What keeps somebody out is worth the last bytes.
    AllOfIt,
}

/// What became of a record that was to be put into the store.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    /// It is there, with this stamp.
    Done(Stamp),
    /// Something else is by now.
    Overtaken,
    TooLarge,
    TooMany,
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

    fn record(&self) -> Option<&Record> {
        self.last.as_ref().filter(|_| !self.is_unreadable)
    }
}

#[derive(Default)]
struct Known {
    entries: HashMap<Field, Entry>,
    /// How many of them cannot be read, and one of those with the reason, if it is to be told.
    unreadable: usize,
    untold: Option<(Field, String)>,
    seen: Option<Vec<u8>>,
    /// Fields in the store that are no user's.
    foreign: usize,
    /// Of whom logins here have not heard what became of them.
    news: HashSet<Field>,
    /// Sealed anew by this process, or about to be: nodes may have their keys in another order.
    sealed_anew: HashSet<Field>,
    /// There is no user without a record here. Not so soon after the store may have lost some, because
    /// it was emptied or another server took over: nodes that know better tell it. Nor while somebody
    /// may be bringing users there for the first time.
    is_whole: bool,
    /// When that was in doubt last.
    doubted: Timestamp,
    /// When the store did not take the first users.
    first_refused: Option<Timestamp>,
}

impl Known {
    fn insert(&mut self, field: Field, entry: Entry, now: Timestamp) {
        self.unreadable += usize::from(entry.is_unreadable);
        match self.entries.insert(field, entry) {
            Some(before) => self.unreadable -= usize::from(before.is_unreadable),
            None if self.is_whole => {}
            None => self.doubt(now), // more may follow
        }
    }

    /// Whether as many users are known as there are by now. Else somebody was removed by hand, of whom
    /// nothing was told, while others came: all of them are to be looked at.
    fn counts(&mut self, changes: &Changes) -> bool {
        if changes.are_all {
            self.foreign = changes.count.saturating_sub(changes.fields.len());
            return true;
        }
        let there = self
            .entries
            .values()
            .filter(|entry| !entry.stamp.is_empty());
        there.count() + self.foreign == changes.count
    }

    /// For what is not in the store any more, and of which this node has never read anything.
    fn forget(&mut self, field: &Field) {
        let forgotten = self.entries.remove(field);
        self.unreadable -= usize::from(forgotten.is_some_and(|entry| entry.is_unreadable));
    }

    /// Whether there is somebody, and nobody could ever be read: all have another key, or few are there and
    /// all of them are damaged.
    fn has_other_key(&self) -> bool {
        self.unreadable > 0
            && self.unreadable == self.entries.len()
            && self.entries.values().all(|entry| entry.last.is_none())
    }

    fn doubt(&mut self, now: Timestamp) {
        (self.is_whole, self.doubted) = (false, now);
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

pub(crate) struct SharedUsers {
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
    said_none_readable: Seldom,
    said_damaged: Seldom,
    said_slow: Seldom,
    said_not_put_back: Seldom,
    said_not_taken_over: Seldom,
}

impl SharedUsers {
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
            said_none_readable: Seldom::new(clock.clone()),
            said_damaged: Seldom::new(clock.clone()),
            said_slow: Seldom::new(clock.clone()),
            said_not_put_back: Seldom::new(clock.clone()),
            said_not_taken_over: Seldom::new(clock.clone()),
        })
    }

    /// Whether what is known of users still counts (REL-10).
    pub(in crate::auth) fn is_known(&self) -> bool {
        let read = Timestamp::from_millis(self.read.load(Ordering::Acquire));
        self.clock.now().since(read) < self.records.stale_for()
    }

    /// Records of users who are not there any more, or cannot be read.
    pub(super) fn removed(&self) -> usize {
        let users = self.current.load().len();
        self.known().entries.len().saturating_sub(users)
    }

    /// Waits until this node knows what was so when this was called, for a bounded time. Calls at the
    /// same time share one look.
    pub(super) async fn catch_up(&self) -> Result<(), StoreFault> {
        let mut reads = self.reads.subscribe();
        let before = reads.borrow().begun;
        self.asked.notify_one();
        let read = reads.wait_for(|reads| reads.ended > before);
        let limit = STEPS * self.records.timeout();
        match timeout(limit, read).await {
            Ok(Ok(reads)) => reads.fault.map_or(Ok(()), Err),
            Ok(Err(_)) => Err(StoreFault::Away), // the runtime ends
            Err(_) => {
                if self.said_slow.is_due() {
                    tracing::warn!(
                        seconds = limit.as_secs_f32(),
                        "the session store does not give the users in time: nobody can sign in until \
                         it does; see `timeout` in [session.redis]"
                    );
                }
                Err(StoreFault::Slow)
            }
        }
    }

    /// Resolves when somebody may no longer be permitted what they are doing.
    pub(in crate::auth) async fn have_changed(&self) {
        self.changed.notified().await;
    }

    /// Whether nobody of this name may sign in: the store says so, or has no such user. Of a record that
    /// cannot be read, or may have been lost, it says nothing.
    pub(in crate::auth) fn is_gone(&self, user: &str) -> bool {
        let known = self.known();
        let Some(entry) = Field::of(user).and_then(|field| known.entries.get(&field)) else {
            return known.is_whole;
        };
        match &entry.last {
            Some(Record { state, .. }) => match state {
                State::Here(user) => user.disabled(),
                State::Removed(_) => true,
            },
            None => false,
        }
    }

    /// Whether there is somebody of this name of whom this node cannot read more.
    pub(super) fn is_unreadable(&self, user: &str) -> bool {
        let known = self.known();
        let entry = Field::of(user).and_then(|field| known.entries.get(&field));
        entry.is_some_and(|entry| entry.is_unreadable)
    }

    /// Notes what this node has put there.
    fn insert_own(&self, field: Field, stamp: Stamp, record: Record) {
        let (now, mut known) = (self.clock.now(), self.known());
        known.insert(field, Entry::readable(stamp, record), now);
        known.news.insert(field);
    }

    /// Logins here go by what is known from now on. To be called by whoever has the turn.
    fn publish(&self) {
        let changes: Vec<_> = {
            let mut known = self.known();
            let news = std::mem::take(&mut known.news).into_iter();
            let change = |field| {
                let entry = known.entries.get(&field)?;
                let name = canonical(entry.last.as_ref()?.name())?.into_owned();
                let change = match entry.record() {
                    Some(record) => record.user().cloned().map_or(Change::Gone, Change::Here),
                    None => Change::Unreadable,
                };
                Some((name, change))
            };
            news.filter_map(change).collect()
        };
        if !changes.is_empty() {
            self.current.change(changes);
            self.changed.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
