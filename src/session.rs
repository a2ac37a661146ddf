//! Sessions: started by a login, found by a cookie, ended by logout, expiry or an operator.

mod active_streams;
mod administration;
mod cached;
mod codec;
mod connection_cache;
pub(crate) mod cookie;
pub(crate) mod data;
mod disk;
mod end;
mod end_reason;
mod flush;
mod follow;
mod footprint;
mod former_users;
mod freshness;
mod id;
mod lookup;
mod memory;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod start;
mod store;
mod user_key;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{RwLock, mpsc};

use crate::clock::{Clock, Timestamp};
use crate::metrics::SessionCounts;
use crate::nodes::SessionName;

pub(crate) use active_streams::SessionGuard;
use cached::Cached;
pub(crate) use cached::Session;
pub(crate) use connection_cache::ConnectionCache;
use data::{DataChange, DataError};
pub(crate) use disk::has_room;
pub(crate) use end::EndError;
pub(crate) use end_reason::EndReason;
use flush::Flush;
pub(crate) use former_users::FormerUsers;
use freshness::Freshness;
pub(crate) use id::{KeyPrefix, SessionId, SessionKey};
pub(crate) use lookup::Shown;
#[cfg(test)]
pub(crate) use record::tests::record as test_record;
pub(crate) use record::{HostId, Record};
pub(crate) use start::{ClientInfo, StartError};
use store::End;
pub(crate) use store::{
    Connectivity, Obstacle, OpenError, Removed, SessionStore, StoreError, open,
};

/// Sessions that the cache holds; the others are loaded when somebody asks for them. Bounds the
/// memory to about 30 MiB, however many sessions there are.
const CACHED: u64 = 50_000;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In this file; a restart ends none.
    Disk(PathBuf),
    /// In this process; a restart ends them.
    Memory,
    /// In servers that several nodes share.
    Redis(Arc<crate::redis::Settings>),
}

impl Backend {
    /// Where several nodes share them.
    pub(crate) fn shared(&self) -> Option<&Arc<crate::redis::Settings>> {
        match self {
            Self::Redis(settings) => Some(settings),
            Self::Disk(_) | Self::Memory => None,
        }
    }

    /// The file of the sessions, or where it would be: what outlives a restart as they do, and is
    /// of this node alone, lies beside it. `None` where they do not.
    pub(crate) fn local(&self) -> Option<&Path> {
        match self {
            Self::Disk(sessions) => Some(sessions),
            Self::Memory => None,
            Self::Redis(settings) => Some(&settings.state),
        }
    }
}

/// `[session]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) backend: Backend,
    /// Ends a session that sends no request for so long.
    pub(crate) idle_timeout: Duration,
    /// Ends a session this long after its login, whatever it does.
    pub(crate) lifetime: Duration,
    /// Lifetime, without an idle timeout, of those who ask to stay signed in; zero for no such offer.
    pub(crate) remember_for: Duration,
    /// Sessions of one user; the oldest ends when there is one more.
    pub(crate) max_per_user: usize,
    /// Sessions in all; logins are refused above it.
    pub(crate) max_sessions: usize,
}

/// In memory, and no limit is near.
#[cfg(test)]
pub(crate) fn test_settings(idle_timeout: Duration) -> Settings {
    Settings {
        backend: Backend::Memory,
        idle_timeout,
        lifetime: Duration::from_hours(12),
        remember_for: Duration::ZERO,
        max_per_user: 20,
        max_sessions: 20,
    }
}

/// Why a change of session data was not kept.
#[derive(Debug)]
pub(crate) enum ChangeError {
    Data(DataError),
    Store(StoreError),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(DataError::Malformed) => {
                f.write_str("it is no dictionary of Structured Fields (RFC 9651)")
            }
            Self::Data(DataError::TooLarge) => f.write_str("a session keeps 32 keys and 4 KiB"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

/// All sessions: a cache in front of a store.
pub(crate) struct Sessions {
    settings: ArcSwap<Settings>,
    clock: Clock,
    store: Arc<dyn SessionStore>,
    /// What others end in the store, since before anything was cached.
    ends: tokio::sync::Mutex<mpsc::Receiver<End>>,
    cache: Cache<SessionKey, Cached>,
    /// Until when the cache is to be believed.
    freshness: Freshness,
    flush: Flush,
    active_streams: Arc<active_streams::ActiveStreams>,
    /// Goes up whenever sessions end.
    ended: Arc<AtomicU64>,
    /// Goes up whenever connections are to look up again what they remember, though nothing has ended.
    doubts: AtomicU64,
    /// Held by who ends the other sessions of a user: of two at once, each with a session of its own
    /// to keep, the second one finds that its own is over.
    ending_others: tokio::sync::Mutex<()>,
    /// Held by logins, so that none falls into the middle of the end of all sessions.
    starting: RwLock<()>,
    counts: SessionCounts,
    /// The last record that was looked at for garbage.
    garbage_at: Mutex<Option<SessionKey>>,
}

impl Sessions {
    pub(crate) fn new(settings: Settings, store: Arc<dyn SessionStore>, clock: Clock) -> Self {
        let evicted = Arc::clone(&store);
        let cache = Cache::builder()
            .max_capacity(CACHED)
            // The default policy may refuse a place to what is new, and a session that everybody
            // uses has to be the same one for all of its connections.
            .eviction_policy(EvictionPolicy::lru())
            // Collects garbage only: whether a session is good is decided from its record.
            .time_to_idle(settings.idle_timeout.saturating_add(Duration::from_mins(1)))
            .eviction_listener(move |key: Arc<SessionKey>, cached, cause| {
                if let (Cached::Live(session), RemovalCause::Size | RemovalCause::Expired) =
                    (cached, cause)
                    && let Some(at) = session.take_dirty()
                {
                    evicted.touch(*key, at);
                }
            })
            .build();
        let sessions = Self {
            settings: ArcSwap::from_pointee(settings),
            clock,
            ends: store.ends().into(),
            freshness: Freshness::new(store.stale_for()),
            flush: Flush::default(),
            store,
            cache,
            active_streams: Arc::default(),
            ended: Arc::default(),
            doubts: AtomicU64::new(0),
            ending_others: tokio::sync::Mutex::default(),
            starting: RwLock::default(),
            counts: SessionCounts::default(),
            garbage_at: Mutex::default(),
        };
        sessions.flush_for(None, &sessions.settings.load());
        sessions
    }

    /// Counts for the metrics, too.
    #[must_use]
    pub(crate) fn counted(mut self, counts: SessionCounts) -> Self {
        self.counts = counts;
        self
    }

    /// Changes everything but the store: limits and timeouts hold for the sessions that are open,
    /// too, the length of a lifetime for those that begin.
    pub(crate) fn set(&self, settings: &Settings) {
        let before = self.settings.load_full();
        let settings = Arc::new(Settings {
            backend: before.backend.clone(),
            ..settings.clone()
        });
        self.flush_for(Some(&before), &settings);
        self.settings.store(settings);
    }

    /// Applies the change of one response of an app to what the session holds for it now.
    pub(crate) async fn change_data(
        &self,
        session: &Session,
        app: &Arc<str>,
        change: DataChange,
    ) -> Result<(), ChangeError> {
        let changed = self
            .store
            .change_data(session.key(), Arc::clone(app), change)
            .await;
        let changed = changed.map_err(ChangeError::Store)?;
        let Some(record) = changed else {
            return Ok(()); // ended meanwhile: there is nothing to keep it in
        };
        session.update_data(&*record.map_err(ChangeError::Data)?);
        Ok(())
    }

    /// Notes that a stream of the session is in use.
    pub(crate) fn touch(&self, session: &Session) {
        self.note_access(session, self.clock.now());
    }

    /// The time that sessions go by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// For how long the browser is to keep the cookie of the session; `None`: until it is closed.
    pub(crate) fn kept_for(&self, session: &Session) -> Option<Duration> {
        let left = session.expires().since(self.clock.now());
        session.remembered().then_some(left)
    }

    /// For how long the session is still good if nothing more is asked of it.
    pub(crate) fn time_left(&self, session: &Session) -> Duration {
        let now = self.clock.now();
        let idle = session
            .last_accessed()
            .plus(self.idle_timeout(session.remembered()));
        idle.min(session.expires()).since(now)
    }

    /// How many streams each session has open here, of those that have any.
    pub(crate) fn open_streams(&self) -> Vec<(SessionName, u32)> {
        self.active_streams.counts()
    }

    /// Watches a session for a stream that outlives its request's head.
    pub(crate) fn watch(&self, session: &Arc<Session>) -> SessionGuard {
        self.active_streams.watch(session)
    }

    /// Flushes what only this process knows, and gives the store back.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.flush().await;
        self.store.close().await
    }

    fn note_access(&self, session: &Session, now: Timestamp) {
        if session.touch(now, self.flush.every()) {
            self.store.touch(session.key(), now);
        }
    }

    fn idle_timeout(&self, remembered: bool) -> Duration {
        let settings = self.settings.load();
        if remembered && !settings.remember_for.is_zero() {
            Duration::MAX
        } else {
            settings.idle_timeout
        }
    }

    fn is_expired(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.last_accessed()) >= self.idle_timeout(session.remembered())
            || now >= session.expires()
    }
}
