//! Finds the session of an id, on the one host that it opens (SEC-88).
//!
//! Browsers send our cookie only to the host that set it. Nothing keeps people, or what runs on
//! their machines, from carrying it to another host by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cached::Cached;
use super::{
    ConnectionCache, EndReason, Record, Session, SessionId, SessionKey, Sessions, StoreError,
};
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
        let ended = self.ended.load(Ordering::Acquire);
        let session = if let Some(session) = cache.recall(id, ended, now) {
            session
        } else {
            let Some(session) = self.get(&id.key()).await? else {
                return Ok(None);
            };
            cache.note(id, &session, ended, now);
            session
        };
        if !self.opens(shown, &session).await? {
            return Ok(None);
        }
        if self.is_expired(&session, now) {
            self.end_because(&session.key(), EndReason::Expired).await?;
            return Ok(None);
        }
        self.note_access(&session, now);
        Ok(Some(session))
    }

    /// The same without an access: the session grows older by it.
    pub(crate) async fn peek(&self, shown: &Shown<'_>) -> Result<Option<Arc<Session>>, StoreError> {
        let session = self.known(shown).await?;
        Ok(session.filter(|session| !self.is_expired(session, self.clock.now())))
    }

    /// Whether the session of a key is good at this moment; no access either.
    pub(crate) async fn is_good(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let session = self.get(key).await?;
        Ok(session.is_some_and(|session| !self.is_expired(&session, self.clock.now())))
    }

    /// The session that an id opens where it is shown, expired or not.
    pub(super) async fn known(
        &self,
        shown: &Shown<'_>,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        match self.get(&shown.id.key()).await? {
            Some(session) if self.opens(shown, &session).await? => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    pub(super) async fn get(&self, key: &SessionKey) -> Result<Option<Arc<Session>>, StoreError> {
        for _ in 0..MAX_LOOKUPS {
            let ended = self.ended.load(Ordering::Acquire);
            let cached = match self.cache.get(key) {
                Some(cached) => cached,
                None => match self.store.load(*key).await? {
                    None => return Ok(None),
                    // Whoever ended the session meanwhile has put its tombstone first.
                    Some(record) => {
                        let loaded = Cached::Live(self.loaded(&record));
                        let cached = self.cache.entry_by_ref(key).or_insert(loaded).into_value();
                        // A tombstone may have been pushed out of the cache since, and whoever
                        // ends all sessions puts none.
                        if self.ended.load(Ordering::Acquire) != ended {
                            self.cache.invalidate(key);
                            continue;
                        }
                        cached
                    }
                },
            };
            return Ok(match cached {
                Cached::Ended => None,
                Cached::Live(session) => Some(session),
            });
        }
        Err(StoreError::Unavailable)
    }

    /// One session for all that use it: streams that the cache has outrun note their accesses in
    /// the one that they have.
    fn loaded(&self, record: &Record) -> Arc<Session> {
        let Some(session) = self.active_streams.session(&record.key) else {
            return Arc::new(Session::new(record));
        };
        session.refresh(record);
        session
    }

    /// Whether an id opens its session there. Elsewhere it is as unknown as an invented one
    /// (SEC-53): no answer, and nothing that is done, differs by it.
    async fn opens(&self, shown: &Shown<'_>, session: &Session) -> Result<bool, StoreError> {
        if shown.by_old_name && !session.is_old() {
            return Ok(false); // as a script of an app would have put it there
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
