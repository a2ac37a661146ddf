//! Sessions in Redis or Valkey, which several nodes share.
//!
//! A record is one sealed value; an end is one step that deletes it and adds to a stream, which all
//! nodes read ([`reader`]). Epochs end all sessions of a user, or all, in one step, whether an index
//! knows of them or not. Indexes serve lists; what is wrong with them is mended when it is met.
//!
//! What this node has ended and written is remembered ([`journal`]): a server that takes over from one
//! that has failed is told of it again.

mod accesses;
mod again;
mod compact;
mod counts;
mod epochs;
mod indexes;
mod journal;
mod keys;
mod load;
mod lost;
mod peers;
mod places;
mod reader;
mod remove;
mod removed;
mod scripts;
mod shared;
mod sweep;
mod value;
mod write;

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::accesses::{Accesses, Pace};
pub(super) use self::journal::MAX_WRITTEN_BYTES;
use self::journal::{EndScope, Journal};
use self::keys::Names;
use self::peers::Met;
use self::remove::Tell;
use self::shared::{all, bytes, failed, number};
use super::data::{DataChange, DataError};
use super::id::SessionKey;
use super::record::{HostId, Record};
use super::store::ends::EndSender;
use super::store::{Answer, Connectivity, End, OpenError, Removed, SessionStore, StoreError};
use super::user_key::UserKey;
use crate::clock::{Clock, Timestamp};
use crate::redis::Link;
use crate::request::Host;
use crate::telemetry::Seldom;

/// Each command has the `timeout` of the configuration. What takes several has so many times as long in
/// all, however slowly the server answers each of them.
const LOOK_UP: u32 = 2;
const END: u32 = 3;
const LOGIN: u32 = 5;
const LIST: u32 = 10;

/// Steps that wait for the server at a time.
const STEPS_AT_ONCE: usize = 16;

/// The store; what it does in the background ends with it.
pub(super) struct Redis {
    shared: Arc<Shared>,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests end it before the others")
    )]
    retrier: AbortOnDropHandle<()>,
    _others: [AbortOnDropHandle<()>; 3],
}

struct Shared {
    link: Link,
    names: Names,
    clock: Clock,
    /// Tells the entries of this node from those of others.
    node: [u8; 8],
    journal: Mutex<Journal>,
    accesses: Accesses,
    /// How many sessions there were, and when.
    counted: Mutex<Option<(Instant, usize)>>,
    removed: removed::LastRemoved,
    /// How far epochs have been looked at.
    swept: Mutex<sweep::Position>,
    /// Milliseconds that a session lasts at most.
    longest: AtomicU64,
    followers: Mutex<Vec<EndSender>>,
    /// When all streams were last read.
    read: watch::Sender<Timestamp>,
    /// Until then, sessions wait for the first time that they are.
    first_read_by: Instant,
    /// Some did not, so that one may have ended unheard.
    has_not_waited: AtomicBool,
    met: Mutex<Met>,
    /// This node goes: nobody is to wait for it.
    has_left: AtomicBool,
    said_unreadable: Seldom,
    said_no_epoch: Seldom,
    said_none_removed: Seldom,
    said_forgotten: Seldom,
    said_not_durable: Seldom,
}

impl Redis {
    /// Reads the streams by this link in the background of this runtime.
    pub(super) fn open(link: Link, clock: &Clock) -> Result<Self, OpenError> {
        let mut node = [0; 8];
        SysRng
            .try_fill_bytes(&mut node)
            .map_err(|_| OpenError::NoRandomness)?;
        let first_read_by = Instant::now() + link.settings().timeout;
        let stale_for = link.settings().stale_for;
        let shared = Arc::new(Shared {
            names: Names::new(link.prefix()),
            link,
            clock: clock.clone(),
            node,
            journal: Mutex::default(),
            accesses: Accesses::default(),
            counted: Mutex::default(),
            removed: removed::LastRemoved::default(),
            swept: Mutex::default(),
            longest: AtomicU64::new(u64::MAX),
            followers: Mutex::default(),
            read: watch::Sender::default(),
            first_read_by,
            has_not_waited: AtomicBool::new(false),
            met: Mutex::new(Met::none(stale_for)),
            has_left: AtomicBool::new(false),
            said_unreadable: Seldom::new(clock.clone()),
            said_no_epoch: Seldom::new(clock.clone()),
            said_none_removed: Seldom::new(clock.clone()),
            said_forgotten: Seldom::new(clock.clone()),
            said_not_durable: Seldom::new(clock.clone()),
        });
        let reader = tokio::spawn(reader::follow(Arc::clone(&shared)));
        let writer = tokio::spawn(accesses::write(Arc::clone(&shared)));
        let retrier = tokio::spawn(again::retry(Arc::clone(&shared)));
        let counter = tokio::spawn(counts::keep(Arc::clone(&shared)));
        Ok(Self {
            shared,
            retrier: AbortOnDropHandle::new(retrier),
            _others: [reader, writer, counter].map(AbortOnDropHandle::new),
        })
    }

    /// Begins an end at once, whether anybody awaits the answer or not, and goes on with it when it is
    /// waited for no longer.
    fn begin<T, F>(&self, end: impl FnOnce(Arc<Shared>) -> F) -> Answer<'static, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(end(Arc::clone(&shared)));
        Box::pin(async move {
            let ended = timeout(shared.limit(END), task).await;
            let ended = ended.map_or(Err(StoreError::Unavailable), |ended| {
                ended.unwrap_or(Err(StoreError::Unavailable))
            });
            ended.map_err(|error| shared.not_everywhere(error))
        })
    }

    /// Ends all sessions of somebody, or of all; gives how many of them are deleted by then. `None` where
    /// the one to keep is over.
    fn begin_end_of(
        &self,
        scope: EndScope,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>> {
        let now = self.shared.clock.now();
        let end = self.shared.journal().begin_end(scope, keep, now);
        let ended = self.begin(move |shared| async move { shared.end_all_of(end).await });
        Box::pin(async move {
            Ok(match ended.await? {
                Some(left) => Some(left.count().await),
                None => None,
            })
        })
    }

    /// What is done in as many steps as there are sessions to list, or to count.
    fn listed<'a, T: 'a>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, T> {
        let limit = self.shared.limit(LIST);
        Box::pin(async move {
            let done = timeout(limit, work).await;
            done.unwrap_or(Err(StoreError::Slow(limit)))
        })
    }

    fn within<'a, T: 'a>(
        &self,
        times: u32,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, T> {
        let limit = self.shared.limit(times);
        Box::pin(async move {
            let done = timeout(limit, work).await;
            done.unwrap_or(Err(StoreError::Unavailable))
        })
    }
}

impl SessionStore for Redis {
    fn insert_below(&self, record: Arc<Record>, most: usize) -> Answer<'_, bool> {
        Box::pin(self.shared.begin_session_below(record, most))
    }

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        self.within(LOOK_UP, self.shared.load(key))
    }

    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        let mut journal = self.shared.journal();
        for key in &keys {
            journal.bury(*key);
        }
        drop(journal);
        self.begin(|shared| async move { shared.end_each(keys).await })
    }

    fn clear(&self) -> Answer<'static, Removed> {
        let cleared = self.begin_end_of(EndScope::All, None);
        Box::pin(async move { Ok(cleared.await?.unwrap_or(Removed::all(0))) })
    }

    fn remove_of_user(
        &self,
        user: String,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>> {
        self.begin_end_of(EndScope::User(UserKey::of(&user)), keep)
    }

    /// No tombstone: nobody asks for it, and each node collects it.
    fn collect(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        self.begin(|shared| async move { shared.remove_each(&keys, Tell::IfThere).await })
    }

    fn forget_ends(&self, longest: Duration) -> Answer<'_, ()> {
        self.within(LOOK_UP, self.shared.forget_ends(longest))
    }

    fn touch(&self, key: SessionKey, at: Timestamp) {
        self.shared.accesses.note(key, at);
    }

    fn gather_accesses_for(&self, longest: Duration, longest_after_failures: Duration) {
        let pace = Pace::new(longest, longest_after_failures);
        self.shared.accesses.set_pace(pace);
    }

    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>> {
        self.within(END, async move {
            let bind = |record: &mut Record| Ok(record.bind(&host, &app));
            let bound = self.shared.change(key, bind).await?;
            Ok(bound.map(|bound: Result<_, DataError>| bound.expect("binding does not fail")))
        })
    }

    fn add_id(&self, key: SessionKey, id: HostId) -> Answer<'_, Option<Arc<Record>>> {
        self.within(END, self.shared.add_id(key, id))
    }

    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>> {
        self.within(END, async move {
            let apply = |record: &mut Record| {
                record.data = record.data.apply(&app, &change)?;
                record.revision += 1;
                Ok(true)
            };
            self.shared.change(key, apply).await
        })
    }

    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>> {
        let user = UserKey::of(&user);
        self.within(LOOK_UP, self.shared.of_user(user))
    }

    fn relist(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        self.within(END, self.shared.relist(key))
    }

    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>> {
        self.listed(self.shared.range(first, last, count))
    }

    fn ends(&self) -> mpsc::Receiver<End> {
        let (sender, receiver) = EndSender::new();
        let mut followers = self.shared.followers();
        followers.retain(|follower| !follower.is_closed());
        followers.push(sender);
        receiver
    }

    fn stale_for(&self) -> Option<Duration> {
        Some(self.shared.link.settings().stale_for)
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.shared.limit(LOGIN))
    }

    fn connectivity(&self) -> Option<Connectivity> {
        let state = self.shared.link.state();
        let servers = state.servers.iter();
        Some(Connectivity {
            is_connected: state.connected,
            since: state.since,
            error: state.error,
            servers: servers.map(|server| server.version.clone()).collect(),
        })
    }

    fn count(&self) -> Answer<'_, usize> {
        self.listed(self.shared.count())
    }

    /// Times in the store are turned into times of this node's clock as they are read.
    fn latest(&self) -> Timestamp {
        Timestamp::default()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.shared.write_unwritten().await;
            let (keys, scope) = self.shared.journal().unwritten();
            if !keys.is_empty() || !scope.is_empty() {
                tracing::error!(
                    sessions = keys.len() + scope.len(),
                    "sessions were ended here while the store was away, and it was not told: end them \
                     again when it is back"
                );
            }
            let left = self.shared.leave().await;
            self.shared.write_accesses().await.and(left)
        })
    }
}

#[cfg(test)]
mod tests;
