//! Finds the session of an id, on the one host that it opens (SEC-88).
//!
//! Browsers send our cookie only to the host that set it. Nothing keeps people, or what runs on
//! their machines, from carrying it to another host by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cached::Cached;
use super::{
    ConnectionCache, EndReason, HostId, Record, Session, SessionId, SessionKey, Sessions,
    StoreError,
};
use crate::clock::Timestamp;
use crate::request::Host;

/// A look-up that again and again meets the end of some session gives up.
const MAX_LOOKUPS: usize = 100;

/// An id as a request shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) id: &'a SessionId,
    /// In a cookie of the name that scripts could set.
    pub(crate) by_old_name: bool,
    /// As `Host` or `:authority` has it, without port.
    pub(crate) host: &'a str,
    /// The name of the app that the request is for.
    pub(crate) app: &'a Arc<str>,
}

impl Sessions {
    /// The session that an id opens where it is shown, if it is good at this moment; counts as an
    /// access. `cache` spares the requests of one connection the hash and the look-up.
    pub(crate) async fn find(
        &self,
        shown: &Shown<'_>,
        cache: &ConnectionCache,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let id = shown.id;
        let now = self.clock.now();
        let is_fresh = self.freshness.is_fresh(now);
        let ends = self.ends();
        let recalled = if is_fresh {
            cache.recall(id, ends, now)
        } else {
            None
        };
        let (session, key) = if let Some(found) = recalled {
            found
        } else {
            let key = id.key();
            let Some(session) = self.get(&key, now).await? else {
                return Ok(None);
            };
            if self.is_sure_of(&session) {
                cache.note((id, key), &session, ends, now);
            }
            (session, key)
        };
        if !self.opens(shown, &key, &session).await? {
            return Ok(None);
        }
        if self.is_expired(&session, now) && self.is_over(&session, now).await? {
            self.end_because(&session.key(), EndReason::Expired).await?;
            return Ok(None);
        }
        self.note_access(&session, now);
        Ok(Some(session))
    }

    /// The same without an access: the session grows older by it.
    pub(crate) async fn peek(&self, shown: &Shown<'_>) -> Result<Option<Arc<Session>>, StoreError> {
        let session = self.known(shown).await?;
        self.unless_over(session, self.clock.now()).await
    }

    /// Whether the session of a key is good at this moment; no access either.
    pub(crate) async fn is_good(&self, key: &SessionKey) -> Result<bool, StoreError> {
        Ok(self.by_key(key).await?.is_some())
    }

    /// The session of a key, if it is good at this moment; no access either.
    pub(crate) async fn by_key(
        &self,
        key: &SessionKey,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let now = self.clock.now();
        let session = self.get(key, now).await?;
        self.unless_over(session, now).await
    }

    /// Has one more id open a session at its host, and gives the session; `None` if it is over.
    pub(crate) async fn add_id(
        &self,
        key: &SessionKey,
        id: HostId,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let Some(session) = self.by_key(key).await? else {
            return Ok(None);
        };
        if !session.has_other_id(&id.key, id.host.as_str()) {
            let Some(record) = self.store.add_id(session.key(), id).await? else {
                return Ok(None);
            };
            session.take_ids(&record);
        }
        self.by_key(key).await // it may have ended meanwhile
    }

    /// The session that an id opens where it is shown, expired or not.
    pub(super) async fn known(
        &self,
        shown: &Shown<'_>,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let key = shown.id.key();
        match self.get(&key, self.clock.now()).await? {
            Some(session) if self.opens(shown, &key, &session).await? => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// Of a key, or of the hash of another id.
    pub(super) async fn get(
        &self,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let mut key = *key;
        let is_fresh = self.freshness.is_fresh(now);
        for _ in 0..MAX_LOOKUPS {
            let ended = self.ended.load(Ordering::Acquire);
            let cached = match self.cache.get(&key) {
                Some(Cached::Ended) => return Ok(None),
                Some(cached) if is_fresh && self.is_sure(&cached) => cached,
                known => match self.load(&key, known.as_ref()).await {
                    // Not what was known before: it may have ended here meanwhile.
                    Err(error) => self.known_still(&key).ok_or(error)?,
                    Ok(None) => {
                        self.forget_lost(&key, known.as_ref());
                        return Ok(None);
                    }
                    Ok(Some(record)) if record.key != key => {
                        // The id may be a new one, of another node.
                        if let Some(Cached::Live(session)) = self.cache.get(&record.key) {
                            session.refresh(&record);
                        }
                        let other = Cached::OtherId(record.key);
                        self.cache.insert(key, other.clone());
                        other
                    }
                    // Whoever ended the session meanwhile has put its tombstone first.
                    Ok(Some(record)) => {
                        let loaded = self.loaded(&record, known);
                        loaded.confirm(now);
                        let loaded = Cached::Live(loaded);
                        let cached = self.cache.entry(key).or_insert(loaded).into_value();
                        // A tombstone may have been pushed out of the cache since, and whoever
                        // ends all sessions puts none.
                        if self.ended.load(Ordering::Acquire) != ended {
                            if let Cached::Live(session) = &cached {
                                self.flush_one(session);
                            }
                            self.cache.invalidate(&key);
                            continue;
                        }
                        cached
                    }
                },
            };
            match cached {
                Cached::Ended => return Ok(None),
                Cached::Live(session) => return Ok(Some(session)),
                Cached::OtherId(of) => key = of,
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Whether the cache may be believed: no end of this can have been missed.
    fn is_sure(&self, cached: &Cached) -> bool {
        match cached {
            Cached::Live(session) => self.is_sure_of(session),
            Cached::Ended | Cached::OtherId(_) => true, // the session itself is looked at
        }
    }

    fn is_sure_of(&self, session: &Session) -> bool {
        self.freshness.is_sure(session.confirmed()) && !session.has_changed()
    }

    /// Asks the store; a change of another node that comes from now on is a later one.
    async fn load(
        &self,
        key: &SessionKey,
        known: Option<&Cached>,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let had_changed = match known {
            Some(Cached::Live(session)) => session.set_changed(false).then_some(session),
            _ => None,
        };
        let loaded = self.store.load(*key).await;
        if let (Some(session), Err(_)) = (had_changed, &loaded) {
            session.set_changed(true);
        }
        loaded
    }

    /// What is known of a key while the store is away, as long as that is to be believed.
    fn known_still(&self, key: &SessionKey) -> Option<Cached> {
        // Streams have a session that the cache may have pushed out.
        let known = self.cache.get(key);
        let known = known.or_else(|| self.active_streams.session(key).map(Cached::Live));
        let now = self.clock.now();
        known.filter(|known| match known {
            Cached::Live(session) => self.freshness.is_known(session.confirmed(), now),
            Cached::Ended | Cached::OtherId(_) => true,
        })
    }

    /// Forgets what is known of a key that the store knows no more: somebody else has ended it, or
    /// the store has lost it, and a node that remembers it may write it again.
    fn forget_lost(&self, key: &SessionKey, known: Option<&Cached>) {
        if matches!(known, None | Some(Cached::Ended)) {
            return;
        }
        // Before, for look-ups that are under way. After, for connections that remember it.
        self.ended.fetch_add(1, Ordering::Release);
        self.cache.invalidate(key);
        self.ended.fetch_add(1, Ordering::Release);
        self.active_streams.end(key);
    }

    /// Whether a session that has expired by what this process knows is over. Others may have seen it
    /// in use: the store is asked before it idles out, and has to know of their last accesses by then.
    pub(super) async fn is_over(
        &self,
        session: &Session,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let may_be_in_use = self.freshness.is_shared() && now < session.expires();
        if !may_be_in_use {
            return Ok(self.is_expired(session, now));
        }
        let Some(record) = self.store.load(session.key()).await? else {
            return Ok(true);
        };
        session.refresh(&record);
        let idle_timeout = self.idle_timeout(session.remembered());
        let latest = idle_timeout.saturating_add(self.slack(now));
        Ok(now.since(session.last_accessed()) >= latest)
    }

    async fn unless_over(
        &self,
        session: Option<Arc<Session>>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        match session {
            Some(session) if self.is_expired(&session, now) => {
                let is_over = self.is_over(&session, now).await?;
                Ok((!is_over).then_some(session))
            }
            session => Ok(session),
        }
    }

    /// One session for all that use it: streams that the cache has outrun note their accesses in
    /// the one that they have.
    fn loaded(&self, record: &Record, known: Option<Cached>) -> Arc<Session> {
        let session = match known {
            Some(Cached::Live(session)) => Some(session),
            _ => self.active_streams.session(&record.key),
        };
        let Some(session) = session else {
            return Arc::new(Session::new(record));
        };
        session.refresh(record);
        session
    }

    /// Whether an id opens its session there. Elsewhere it is as unknown as an invented one
    /// (SEC-53): no answer, and nothing that is done, differs by it.
    async fn opens(
        &self,
        shown: &Shown<'_>,
        key: &SessionKey,
        session: &Session,
    ) -> Result<bool, StoreError> {
        if shown.by_old_name && !session.is_old() {
            return Ok(false); // as a script of an app would have put it there
        }
        if *key != session.key() {
            return Ok(!shown.by_old_name && session.has_other_id(key, shown.host));
        }
        match session.host() {
            Some(host) => Ok(host.is(shown.host)),
            None if session.is_old() => Box::pin(self.bind(shown, session)).await,
            None => Ok(false),
        }
    }

    /// The first use of a session of an earlier version: its id is for this host from now on. Of
    /// two at once on two hosts, one is the first.
    async fn bind(&self, shown: &Shown<'_>, session: &Session) -> Result<bool, StoreError> {
        let Some(host) = Host::parse(shown.host) else {
            return Ok(false);
        };
        let bound = self
            .store
            .bind(session.key(), host.clone(), Arc::clone(shown.app));
        match bound.await {
            Ok(Some(record)) => session.bind(&record),
            Ok(None) => return Ok(false), // ended meanwhile
            // A disk that is full ends no session: until a restart this process knows it.
            Err(error) => {
                tracing::error!(%error, session = %session.key().short(), "the host of a session was not written down");
                session.bind_to(host);
            }
        }
        Ok(session.host().is_some_and(|host| host.is(shown.host)))
    }
}
