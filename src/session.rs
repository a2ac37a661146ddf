//! Sessions: started by a login, found by a cookie, ended by logout, expiry or an operator.

pub(crate) mod cookie;
pub(crate) mod data;
mod id;
mod live;
mod memo;
mod memory;
mod store;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::auth::SignedIn;
use crate::clock::{Clock, Timestamp};
use crate::identity::Identity;

use data::{DataChange, DataError};
pub(crate) use id::{NoRandomness, SessionId, SessionKey};
pub(crate) use live::Watch;
pub(crate) use memo::Memo;
pub(crate) use store::{Record, SessionStore, StoreError, open};

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In this process; a restart ends them.
    Memory,
}

/// `[session]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) backend: Backend,
    /// Ends a session that sends no request for so long.
    pub(crate) idle_timeout: Duration,
    /// Ends a session this long after its login, whatever it does.
    pub(crate) lifetime: Duration,
    /// Sessions of one user; the oldest ends when there is one more.
    pub(crate) max_per_user: usize,
    /// Sessions in all; logins are refused above it.
    pub(crate) max_sessions: usize,
}

/// Where a login came from; kept so that people recognise their sessions.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) client: IpAddr,
    pub(crate) user_agent: String,
}

/// Why no session was started.
#[derive(Debug)]
pub(crate) enum StartError {
    /// `max_sessions` are open; none of them is ended for a new one (SEC-52).
    Full,
    NoRandomness,
    Store(StoreError),
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

/// A session in use.
#[derive(Debug)]
pub(crate) struct Session {
    record: ArcSwap<Record>,
    last_accessed: AtomicU64,
    /// Who the session is by the users file of that generation.
    identity: ArcSwapOption<(u64, Arc<Identity>)>,
}

impl Session {
    fn new(record: Arc<Record>) -> Self {
        Self {
            last_accessed: AtomicU64::new(record.last_accessed.as_millis()),
            record: ArcSwap::new(record),
            identity: ArcSwapOption::empty(),
        }
    }

    pub(crate) fn record(&self) -> Arc<Record> {
        self.record.load_full()
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.record.load().key
    }

    pub(crate) fn last_accessed(&self) -> Timestamp {
        Timestamp::from_millis(self.last_accessed.load(Ordering::Relaxed))
    }

    /// Notes that the session is in use; keeps it from its idle timeout.
    fn touch(&self, now: Timestamp) {
        self.last_accessed.store(now.as_millis(), Ordering::Relaxed);
    }

    /// The identity that was remembered for this generation of the users file.
    pub(crate) fn identity(&self, generation: u64) -> Option<Arc<Identity>> {
        let remembered = self.identity.load();
        let (of, identity) = remembered.as_deref()?;
        (*of == generation).then(|| Arc::clone(identity))
    }

    pub(crate) fn remember_identity(&self, generation: u64, identity: Arc<Identity>) {
        self.identity.store(Some(Arc::new((generation, identity))));
    }
}

/// What the cache knows of a key.
#[derive(Clone)]
enum Cached {
    /// Ended: keeps a lookup that was under way meanwhile from bringing the session back.
    Ended,
    Live(Arc<Session>),
}

/// All sessions: a cache in front of a store.
pub(crate) struct Sessions {
    settings: Settings,
    clock: Clock,
    store: Arc<dyn SessionStore>,
    cache: Cache<SessionKey, Cached>,
    live: Arc<live::Live>,
    /// How many sessions have ended so far.
    ended: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(settings: Settings, store: Arc<dyn SessionStore>, clock: Clock) -> Self {
        let evicted = Arc::clone(&store);
        let cache = Cache::builder()
            // Twice, because what has ended takes a place for a while, too.
            .max_capacity((settings.max_sessions as u64).saturating_mul(2))
            // Collects garbage only: whether a session is good is decided from its record.
            .time_to_idle(settings.idle_timeout.saturating_add(Duration::from_mins(1)))
            .eviction_listener(move |key: Arc<SessionKey>, cached, cause| {
                if let (Cached::Live(session), RemovalCause::Size) = (cached, cause) {
                    evicted.touch(&key, session.last_accessed());
                }
            })
            .build();
        Self {
            settings,
            clock,
            store,
            cache,
            live: Arc::default(),
            ended: AtomicU64::new(0),
        }
    }

    /// Starts a session for a finished login, under a new id (SEC-45). Ends the oldest ones of
    /// the user above `max_per_user`.
    pub(crate) async fn start(
        &self,
        signed_in: &SignedIn,
        origin: Origin,
    ) -> Result<SessionId, StartError> {
        let id = SessionId::generate().map_err(|NoRandomness| StartError::NoRandomness)?;
        if self.store.count() >= self.settings.max_sessions {
            return Err(StartError::Full);
        }
        let now = self.clock.now();
        let identity = signed_in.account().identity();
        let record = Arc::new(Record {
            key: id.key(),
            user: identity.user().to_owned(),
            groups: identity.groups().to_vec(),
            email: identity.email().map(str::to_owned),
            method: signed_in.method().to_owned(),
            credential: signed_in.account().credential(),
            created: now,
            last_accessed: now,
            expires: now.plus(self.settings.lifetime),
            client: origin.client,
            user_agent: origin.user_agent,
            data: data::SessionData::default(),
            revision: 0,
        });
        self.store
            .insert(Arc::clone(&record))
            .await
            .map_err(StartError::Store)?;
        self.end_oldest_of(&record.user)
            .await
            .map_err(StartError::Store)?;
        let key = record.key;
        let session = Cached::Live(Arc::new(Session::new(record)));
        // Not over the tombstone of whoever ended it meanwhile.
        self.cache.entry(key).or_insert(session);
        Ok(id)
    }

    /// The session of an id, if it is good at this moment; counts as an access. `memo` spares the
    /// requests of one connection the hash and the look-up.
    pub(crate) async fn find(
        &self,
        id: &SessionId,
        memo: &Memo,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let now = self.clock.now();
        let ended = self.ended.load(Ordering::Acquire);
        let session = if let Some(session) = memo.recall(id, ended, now) {
            session
        } else {
            let Some(session) = self.get(&id.key()).await? else {
                return Ok(None);
            };
            memo.note(id, &session, ended, now);
            session
        };
        let key = session.key();
        if self.is_expired(&session, now) {
            self.end(&key).await?;
            return Ok(None);
        }
        session.touch(now);
        Ok(Some(session))
    }

    /// The session of a key, if it is good at this moment; no access, so it grows older by it.
    pub(crate) async fn peek(&self, key: &SessionKey) -> Result<Option<Arc<Session>>, StoreError> {
        let session = self.get(key).await?;
        Ok(session.filter(|session| !self.is_expired(session, self.clock.now())))
    }

    /// Ends a session everywhere: no request and no stream of it goes on (SEC-46, SEC-75). Gives
    /// whether there was one.
    pub(crate) async fn end(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.cache.insert(*key, Cached::Ended);
        self.ended.fetch_add(1, Ordering::Release); // after the tombstone: see `Memo`
        let existed = self.store.remove(key).await;
        self.live.end(key);
        existed
    }

    /// Applies one response's change to what the session holds now.
    pub(crate) async fn change_data(
        &self,
        session: &Session,
        change: &DataChange,
    ) -> Result<(), ChangeError> {
        let changed = self.store.change_data(&session.key(), change).await;
        let changed = changed.map_err(ChangeError::Store)?;
        let Some(record) = changed else {
            return Ok(()); // ended meanwhile: there is nothing to keep it in
        };
        let record = record.map_err(ChangeError::Data)?;
        session.record.rcu(|current| {
            let newer = if record.revision > current.revision {
                &record
            } else {
                current
            };
            Arc::clone(newer)
        });
        Ok(())
    }

    /// Notes that a stream of the session is in use.
    pub(crate) fn touch(&self, session: &Session) {
        session.touch(self.clock.now());
    }

    /// For how long the session is still good if nothing more is asked of it.
    pub(crate) fn time_left(&self, session: &Session) -> Duration {
        let now = self.clock.now();
        let idle = session.last_accessed().plus(self.settings.idle_timeout);
        idle.min(session.record.load().expires).since(now)
    }

    /// Watches a session for a stream that outlives its request's head.
    pub(crate) fn watch(&self, session: &Arc<Session>) -> Watch {
        self.live.watch(session)
    }

    /// Ends what has expired, and every live session that `is_good` refuses. Called about once a
    /// second, so that streams end soon after their session (SEC-75).
    pub(crate) async fn sweep(&self, is_good: impl Fn(&Session) -> bool) {
        let now = self.clock.now();
        for session in self.live.sessions() {
            let key = session.key();
            // This also keeps the cache from forgetting a session that only streams.
            let known = self.get(&key).await.is_ok_and(|session| session.is_some());
            if !known || self.is_expired(&session, now) || !is_good(&session) {
                self.end_quietly(&key).await;
            }
        }
        self.cache.run_pending_tasks();
    }

    /// Drops records that have expired; called now and then, it costs a walk over the store.
    pub(crate) async fn collect_garbage(&self) {
        let now = self.clock.now();
        match self.store.all().await {
            Ok(records) => {
                for record in records {
                    if now >= record.expires || self.idles(&record, now) {
                        self.end_quietly(&record.key).await;
                    }
                }
            }
            Err(error) => tracing::error!(%error, "cannot look for expired sessions"),
        }
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Arc<Session>>, StoreError> {
        let cached = match self.cache.get(key) {
            Some(cached) => cached,
            None => match self.store.load(key).await? {
                None => return Ok(None),
                // Whoever ended the session meanwhile has put its tombstone first.
                Some(record) => {
                    let loaded = Cached::Live(Arc::new(Session::new(record)));
                    self.cache.entry_by_ref(key).or_insert(loaded).into_value()
                }
            },
        };
        Ok(match cached {
            Cached::Ended => None,
            Cached::Live(session) => Some(session),
        })
    }

    async fn end_oldest_of(&self, user: &str) -> Result<(), StoreError> {
        let mut records = self.store.of_user(user).await?;
        records.sort_by_key(|record| std::cmp::Reverse(record.created));
        for record in records.iter().skip(self.settings.max_per_user) {
            self.end(&record.key).await?;
            tracing::info!(target: "audit", user, session = %record.key.short(), "session ended: the user has too many");
        }
        Ok(())
    }

    async fn end_quietly(&self, key: &SessionKey) {
        match self.end(key).await {
            Ok(true) => tracing::info!(target: "audit", session = %key.short(), "session ended"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, session = %key.short(), "cannot end a session"),
        }
    }

    fn is_expired(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.last_accessed()) >= self.settings.idle_timeout
            || now >= session.record.load().expires
    }

    fn idles(&self, record: &Record, now: Timestamp) -> bool {
        let last = match self.cache.get(&record.key) {
            Some(Cached::Live(session)) => session.last_accessed(),
            _ => record.last_accessed,
        };
        now.since(last) >= self.settings.idle_timeout
    }
}
