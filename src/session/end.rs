//! Ends sessions: one, those of a user, or all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cached::Cached;
use super::flush::{flush_to, walk};
use super::store::carry_through;
use super::user_key::UserKey;
use super::{EndReason, Record, Removed, SessionKey, Sessions, StoreError};

/// Why many sessions were not ended as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndError {
    /// It could not be found out which: none has ended.
    Unread(StoreError),
    /// They are over for this process; that could not be written down, and is tried again.
    Unwritten(StoreError),
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(error) | Self::Unwritten(error) => error.fmt(f),
        }
    }
}

/// What is known of sessions that are dropped from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Over,
    /// The store says whether they are.
    InDoubt,
}

impl Sessions {
    /// Ends a session everywhere: no request and no stream of it goes on (SEC-46, SEC-75). Gives
    /// whether there was one. It is over even if that cannot be written down, which is an error.
    pub(crate) async fn end_because(
        &self,
        key: &SessionKey,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        Ok(self.end_each_because(vec![*key], reason).await? > 0)
    }

    /// Ends one session, because somebody wants it so; see [`end_because`](Self::end_because).
    pub(crate) async fn end(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.end_because(key, EndReason::Revoked).await
    }

    /// Ends the sessions of a user that the store can list, but for those to keep; gives which.
    pub(crate) async fn end_of_user(
        &self,
        user: &str,
        keep: impl Fn(&Record) -> bool,
    ) -> Result<Vec<SessionKey>, EndError> {
        let records = self.listed(user).await?;
        let over = records.iter().filter(|record| !keep(record));
        self.end_listed(over.map(|record| record.key).collect())
            .await
    }

    async fn listed(&self, user: &str) -> Result<Vec<Arc<Record>>, EndError> {
        let records = self.store.of_user(user.to_owned()).await;
        records.map_err(EndError::Unread)
    }

    async fn end_listed(&self, keys: Vec<SessionKey>) -> Result<Vec<SessionKey>, EndError> {
        let ended = self.end_each(keys.clone()).await;
        ended.map_err(EndError::Unwritten)?;
        Ok(keys)
    }

    /// Ends all sessions of a user, those included that no index knows of; gives how many.
    pub(crate) async fn end_all_of_user(&self, user: &str) -> Result<Removed, EndError> {
        if !self.freshness.is_shared() {
            let ended = self.end_of_user(user, |_| false).await;
            return ended.map(|keys| Removed::all(keys.len()));
        }
        let removed = self.end_whole_user(user, None).await?;
        Ok(removed.unwrap_or(Removed::all(0)))
    }

    /// The same but for one session; gives those that an index knows of. `None`: the session to keep is
    /// over, and so none of the others is ended. Where two end the others at once, it is one of the two
    /// that stays (SEC-46).
    pub(crate) async fn end_others_of_user(
        &self,
        user: &str,
        keep: Option<SessionKey>,
    ) -> Result<Option<Vec<SessionKey>>, EndError> {
        let is_shared = self.freshness.is_shared();
        let _one_by_one = if is_shared {
            None // the store sees to it
        } else {
            Some(self.ending_others.lock().await)
        };
        let listed = self.listed(user).await?;
        let mut keys: Vec<_> = listed.iter().map(|record| record.key).collect();
        let keeps_none = keep.is_some_and(|keep| !keys.contains(&keep));
        keys.retain(|key| Some(*key) != keep);
        if is_shared {
            // What is listed is for the log only.
            let removed = self.end_whole_user(user, keep).await?;
            return Ok(removed.map(|_| keys));
        }
        if keeps_none {
            return Ok(None);
        }
        self.end_listed(keys).await.map(Some)
    }

    async fn end_whole_user(
        &self,
        user: &str,
        keep: Option<SessionKey>,
    ) -> Result<Option<Removed>, EndError> {
        let removed = carry_through(self.store.remove_of_user(user.to_owned(), keep));
        let others = self.forget_user(UserKey::of(user), keep).await;
        let removed = removed.await;
        if removed != Ok(None) {
            for key in &others {
                self.active_streams.end(key);
            }
        }
        let removed = removed.map_err(EndError::Unwritten)?;
        let count = removed.map_or(0, |removed| removed.count);
        self.counts.revoked.inc_by(count as u64);
        Ok(removed)
    }

    /// Ends every session there is; gives how many.
    pub(crate) async fn end_all(&self) -> Result<Removed, StoreError> {
        let _nobody_signs_in = self.starting.write().await;
        self.forget_all();
        let removed = carry_through(self.store.clear()).await;
        self.forget_all(); // what look-ups brought in from the store meanwhile
        let removed = removed?;
        self.counts.revoked.inc_by(removed.count as u64);
        Ok(removed)
    }

    /// How many times sessions were ended, or came into doubt: another number than before says that
    /// one may have ended.
    pub(crate) fn ends(&self) -> u64 {
        // Both only grow: the sum is the same if, and only if, each of them is.
        let ended = self.ended.load(Ordering::Acquire);
        ended.wrapping_add(self.doubts.load(Ordering::Acquire))
    }

    async fn end_each(&self, keys: Vec<SessionKey>) -> Result<usize, StoreError> {
        self.end_each_because(keys, EndReason::Revoked).await
    }

    pub(super) async fn end_each_because(
        &self,
        keys: Vec<SessionKey>,
        reason: EndReason,
    ) -> Result<usize, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let ending = keys.clone();
        // From here on the store gives their records out no more: what was found before that is
        // not trusted once they are forgotten, and nothing is found afterwards.
        let removed = carry_through(self.store.remove(keys));
        for key in &ending {
            self.forget(key);
        }
        let removed = removed.await?;
        reason.of(&self.counts).inc_by(removed as u64);
        Ok(removed)
    }

    pub(super) async fn end_oldest_of(&self, user: &str) -> Result<(), StoreError> {
        let mut records = self.store.of_user(user.to_owned()).await?;
        let max_per_user = self.settings.load().max_per_user;
        if records.len() <= max_per_user {
            return Ok(());
        }
        // Of those that began at once, each node is to take the same for the oldest.
        records.sort_by_key(|record| std::cmp::Reverse((record.created, record.key)));
        let oldest = records.split_off(max_per_user);
        for record in &oldest {
            tracing::info!(target: "audit", user, session = %record.key.short(), "session ended: the user has too many");
        }
        let oldest = oldest.iter().map(|record| record.key).collect();
        self.end_each_because(oldest, EndReason::Limit).await?;
        Ok(())
    }

    /// Drops what this process holds of a session that is over, whoever has ended it: its place in
    /// the cache, what connections remember of it, and its streams.
    pub(super) fn forget(&self, key: &SessionKey) {
        self.cache.insert(*key, Cached::Ended);
        // After the tombstone: a connection whose `ConnectionCache` is void asks the cache.
        self.ended.fetch_add(1, Ordering::Release);
        self.active_streams.end(key);
    }

    /// The same for the sessions of a user that this process knows, but for one. With one to keep it is the
    /// store that says which are over: that one may be, and then the others are not. Gives those whose
    /// streams are to end as soon as it has.
    async fn forget_user(&self, user: UserKey, keep: Option<SessionKey>) -> Vec<SessionKey> {
        let fate = if keep.is_none() {
            Fate::Over
        } else {
            Fate::InDoubt
        };
        self.drop_user(user, keep, fate).await
    }

    /// Drops what is cached of a user, but for one session; gives what was dropped, and what streams.
    /// It is done to the end, whether the answer is awaited or not.
    pub(super) async fn drop_user(
        &self,
        user: UserKey,
        keep: Option<SessionKey>,
        fate: Fate,
    ) -> Vec<SessionKey> {
        // Before, for look-ups that are under way: what they have found is over, or may be.
        self.ended.fetch_add(1, Ordering::Release);
        let (cache, ended) = (self.cache.clone(), Arc::clone(&self.ended));
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.active_streams));
        let drop_theirs = move || {
            let cached = cache.iter().filter_map(|(_, cached)| match cached {
                Cached::Live(session) => Some(session),
                Cached::Ended | Cached::OtherId(_) => None,
            });
            let mut dropped = Vec::new();
            for session in cached.chain(streams.sessions()) {
                let key = session.key();
                if session.user_key() != user || Some(key) == keep {
                    continue;
                }
                match fate {
                    Fate::Over => cache.insert(key, Cached::Ended),
                    Fate::InDoubt => cache.invalidate(&key),
                }
                dropped.push(session);
            }
            // After it, for connections that remember a session.
            ended.fetch_add(1, Ordering::Release);
            // Only now nobody uses them any more.
            for session in &dropped {
                match fate {
                    Fate::Over => streams.end(&session.key()),
                    Fate::InDoubt => flush_to(&*store, session),
                }
            }
            dropped.iter().map(|session| session.key()).collect()
        };
        walk(drop_theirs).await.unwrap_or_default()
    }

    /// The same for every session.
    pub(super) fn forget_all(&self) {
        // Before, for look-ups that are under way: what they have found is over.
        self.ended.fetch_add(1, Ordering::Release);
        self.cache.invalidate_all();
        self.ended.fetch_add(1, Ordering::Release);
        self.active_streams.end_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::memory::Memory;
    use super::super::record::tests::record;
    use super::super::{
        Backend, ConnectionCache, Session, SessionId, Settings, Shown, open, test_settings,
    };
    use super::*;
    use crate::clock::Clock;
    use crate::nodes::Nodes;

    fn settings() -> Settings {
        test_settings(Duration::from_mins(30))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sec_46_of_two_who_end_the_others_at_once_one_stays_signed_in() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Backend::Disk(folder.path().join("sessions.redb"));
        for backend in [Backend::Memory, disk] {
            let (nodes, clock) = (Nodes::alone(), Clock::system());
            let store = open(&backend, &nodes, &clock).unwrap();
            let sessions = Sessions::new(settings(), Arc::clone(&store), clock.clone());
            for round in 0..20 {
                let keys = [(); 3].map(|()| {
                    let mut ada = Arc::unwrap_or_clone(record("ada"));
                    (ada.last_accessed, ada.expires) =
                        (clock.now(), clock.now().plus(Duration::from_hours(1)));
                    (ada.key, store.insert(Arc::new(ada)))
                });
                let mut good = Vec::new();
                for (key, kept) in keys {
                    kept.await.unwrap();
                    good.push(key);
                }
                let ended = tokio::join!(
                    sessions.end_others_of_user("ada", Some(good[0])),
                    sessions.end_others_of_user("ada", Some(good[1])),
                );
                let ended = [ended.0.unwrap(), ended.1.unwrap()];
                let by = ended.iter().filter(|ended| ended.is_some()).count();
                assert_eq!(by, 1, "round {round}: {ended:?}");
                for (at, key) in good.iter().enumerate() {
                    let stays = ended.get(at).is_some_and(Option::is_some);
                    assert_eq!(sessions.is_good(key).await, Ok(stays), "round {round}");
                }
                assert_eq!(sessions.end_all_of_user("ada").await, Ok(Removed::all(1)));
            }
        }
    }

    /// One thread serves them, and is asked to end the others.
    #[tokio::test]
    async fn requests_do_not_wait_while_the_sessions_of_a_user_are_forgotten() {
        let (memory, ada) = (Memory::default(), record("ada"));
        let sessions = Sessions::new(settings(), Arc::new(memory.clone()), Clock::still());
        let session = Arc::new(Session::new(&ada));
        session.touch(
            ada.last_accessed.plus(Duration::from_secs(1)),
            Duration::MAX,
        );
        let cached = Cached::Live(Arc::clone(&session));
        sessions.cache.insert(ada.key, cached);
        let keep = record("ada").key;
        let forgetting = async move { sessions.forget_user(UserKey::of("ada"), Some(keep)).await };
        let forgotten = memory.answers_nobody_before_a_request(forgetting).await;
        assert_eq!(forgotten, [ada.key]);
        assert_eq!(session.take_dirty(), None);
    }

    #[tokio::test]
    async fn sec_46_a_session_that_is_forgotten_is_over_here_and_stays_in_the_store() {
        let store = open(&Backend::Memory, &Nodes::alone(), &Clock::system()).unwrap();
        let here = || Sessions::new(settings(), Arc::clone(&store), Clock::system());
        let (sessions, clock) = (here(), Clock::system());
        let id = SessionId::generate().unwrap();
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        ada.key = id.key();
        ada.ids[0].key = id.key();
        ada.last_accessed = clock.now();
        ada.expires = clock.now().plus(Duration::from_hours(1));
        store.insert(Arc::new(ada)).await.unwrap();
        let (memo, app) = (ConnectionCache::default(), Arc::from("wiki"));
        let shown = Shown {
            id: &id,
            by_old_name: false,
            host: "gate.test",
            app: &app,
        };
        let session = sessions.find(&shown, &memo).await.unwrap().unwrap();
        let (stream, ends) = (sessions.watch(&session), sessions.ends());

        sessions.forget(&id.key());
        assert!(stream.ended().is_cancelled());
        assert_ne!(sessions.ends(), ends, "requests under way ask again");
        assert!(sessions.find(&shown, &memo).await.unwrap().is_none());
        assert!(store.load(id.key()).await.unwrap().is_some());
        assert!(here().is_good(&id.key()).await.unwrap(), "another process");
    }
}
