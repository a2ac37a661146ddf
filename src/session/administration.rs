//! Lists of sessions, the sweep of open streams, and garbage.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::cached::Cached;
use super::flush::GRACE;
use super::{
    Connectivity, EndReason, KeyPrefix, Record, Session, SessionKey, Sessions, Settings, StoreError,
};
use crate::clock::Timestamp;

/// Records that one look for garbage walks over: called twice a second, it gets around a million
/// sessions in four minutes and keeps nobody waiting.
const GARBAGE_BATCH: usize = 2000;

/// The same where others share the store: it drops itself what has expired, and each of its nodes
/// looks for the rest.
const SHARED_GARBAGE_BATCH: usize = 200;

/// How long the sweep waits for the store.
const SWEEP_PATIENCE: Duration = Duration::from_secs(1);

/// Look-ups of one sweep that wait for the store at a time.
const SWEPT_AT_ONCE: usize = 64;

/// How it is with a session that streams.
enum StreamState {
    Expired,
    Gone,
    Good,
    /// The store has been away for too long.
    Unknown,
}

impl Sessions {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The good sessions of a user, the latest login first.
    pub(crate) async fn of_user(&self, user: &str) -> Result<Vec<Arc<Record>>, StoreError> {
        let records = self.store.of_user(user.to_owned()).await?;
        let mut good = self.good(records);
        good.sort_by_key(|record| std::cmp::Reverse(record.created));
        Ok(good)
    }

    /// The same for somebody whose session is good, whether the store lists it or not.
    pub(crate) async fn of_user_with(
        &self,
        user: &str,
        own: &SessionKey,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let mut good = self.of_user(user).await?;
        if good.iter().all(|record| record.key != *own) {
            let lost = self.store.relist(*own).await?;
            good.extend(self.good(lost.into_iter().collect()));
        }
        Ok(good)
    }

    /// Good sessions in the order of their keys, from one of at most `count` records that come
    /// after `after`; and the key to go on from, until there are no more.
    pub(crate) async fn list(
        &self,
        after: Option<SessionKey>,
        count: usize,
    ) -> Result<(Vec<Arc<Record>>, Option<SessionKey>), StoreError> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let records = self.store.range(first, SessionKey::LAST, count).await?;
        let last = records.last().map(|record| record.key);
        Ok((self.good(records), last))
    }

    /// The good sessions whose keys begin so; at most `count`.
    pub(crate) async fn beginning_with(
        &self,
        prefix: &KeyPrefix,
        count: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (first, last) = prefix.range();
        let records = self
            .store
            .range(Bound::Included(first), last, count)
            .await?;
        Ok(self.good(records))
    }

    /// Sessions that this process knows, whose keys begin so: what it can say while the store is
    /// away.
    pub(crate) fn known_beginning_with(&self, prefix: &KeyPrefix) -> Vec<Arc<Session>> {
        let (first, last) = prefix.range();
        let cached = self.cache.iter().filter_map(|(_, cached)| match cached {
            Cached::Live(session) => Some(session),
            Cached::Ended | Cached::OtherId(_) => None,
        });
        let all = cached.chain(self.active_streams.sessions());
        let mut known: Vec<_> = all
            .filter(|session| (first..=last).contains(&session.key()))
            .collect();
        known.sort_unstable_by_key(|session| session.key());
        known.dedup_by_key(|session| session.key());
        known
    }

    /// Whether other nodes begin and end sessions, too.
    pub(crate) fn are_shared(&self) -> bool {
        self.freshness.is_shared()
    }

    /// Where other nodes share the store: how it is with the connections to it.
    pub(crate) fn connectivity(&self) -> Option<Connectivity> {
        self.store.connectivity()
    }

    /// How many records there are, those included that have expired and are not collected yet.
    pub(crate) async fn count(&self) -> Result<usize, StoreError> {
        self.store.count().await
    }

    /// How many sessions there may be.
    pub(crate) fn max(&self) -> usize {
        self.settings.load().max_sessions
    }

    /// Whether the store gives out what it has, and why not.
    pub(crate) async fn can_be_read(&self) -> Result<(), StoreError> {
        self.store.load(SessionKey::LAST).await.map(drop)
    }

    /// Ends every session with a stream that has expired or that `is_good` refuses. Called about
    /// twice a second, so that streams end soon after their session (SEC-75).
    pub(crate) async fn sweep(&self, is_good: impl Fn(&Session) -> bool) {
        let now = self.clock.now();
        let (mut expired, mut revoked) = (Vec::new(), Vec::new());
        let sessions = stream::iter(self.active_streams.sessions());
        let mut looked_up = sessions
            .map(|session| async move { (self.look_up_stream(&session, now).await, session) })
            .buffer_unordered(SWEPT_AT_ONCE);
        while let Some((state, session)) = looked_up.next().await {
            match state {
                StreamState::Expired => expired.push(session),
                StreamState::Good if is_good(&session) => {}
                StreamState::Good | StreamState::Gone => revoked.push(session),
                StreamState::Unknown => self.active_streams.end(&session.key()),
            }
        }
        drop(looked_up);
        self.cache.run_pending_tasks();
        if expired.is_empty() && revoked.is_empty() {
            return;
        }
        for session in expired.iter().chain(&revoked) {
            tracing::info!(
                target: "audit", user = session.user(), session = %session.key().short(),
                "session ended"
            );
        }
        let keys = |sessions: Vec<Arc<Session>>| sessions.iter().map(|s| s.key()).collect();
        let expired = self.end_each_because(keys(expired), EndReason::Expired);
        let revoked = self.end_each_because(keys(revoked), EndReason::Account);
        let ends = async { tokio::try_join!(expired, revoked) };
        // They are over by now; whether that is written down soon is not to hold up the others.
        match tokio::time::timeout(SWEEP_PATIENCE, ends).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the end of sessions was not written down"),
            Err(_) => tracing::error!("the end of sessions takes long to be written down"),
        }
    }

    /// This also keeps the cache from forgetting a session that only streams.
    async fn look_up_stream(&self, session: &Session, now: Timestamp) -> StreamState {
        let found = match self.get(&session.key(), now).await {
            Ok(found) => Ok(found.is_some()),
            // What cannot be read is not known to have ended.
            Err(error) if !(self.freshness).is_known(session.confirmed(), self.clock.now()) => {
                Err(error)
            }
            Err(_) => Ok(true),
        };
        let is_expired = self.is_expired(session, now);
        match found {
            Err(_) => StreamState::Unknown,
            Ok(false) if is_expired => StreamState::Expired,
            Ok(false) => StreamState::Gone,
            // Where the store is away, another node may have seen the session in use.
            Ok(true) if is_expired && self.is_over(session, now).await.unwrap_or(false) => {
                StreamState::Expired
            }
            Ok(true) => StreamState::Good,
        }
    }

    /// Drops records that have expired or that are not to stay: looks at some of them each time,
    /// and in the end at all.
    pub(crate) async fn collect_garbage(&self, may_stay: impl Fn(&Record) -> bool) {
        let garbage_at = || {
            self.garbage_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let longest = {
            let settings = self.settings.load();
            settings.lifetime.max(settings.remember_for)
        };
        // First, and whether the store is there or not. The next round goes on with it.
        let _forgotten = self.store.forget_ends(longest).await;
        let first = garbage_at().map_or(Bound::Unbounded, Bound::Excluded);
        let batch = if self.freshness.is_shared() {
            SHARED_GARBAGE_BATCH
        } else {
            GARBAGE_BATCH
        };
        let range = self.store.range(first, SessionKey::LAST, batch);
        let records = match range.await {
            Ok(records) => records,
            Err(_) if self.freshness.is_shared() => return, // the store tells that it is away
            Err(error) => return tracing::error!(%error, "cannot look for expired sessions"),
        };
        let more = records.len() == batch;
        *garbage_at() = records.last().filter(|_| more).map(|record| record.key);
        let now = self.clock.now();
        let (mut expired, mut revoked) = (Vec::new(), Vec::new());
        for record in &records {
            let (user, session) = (record.user(), record.key.short());
            // By records alone: a look into the cache would count as a use there.
            if now >= record.expires || self.idles(record, now, GRACE) {
                tracing::info!(target: "audit", user, %session, "session expired");
                expired.push(record.key);
            } else if !may_stay(record) {
                tracing::info!(
                    target: "audit", user, %session,
                    "session ended: the user is gone, disabled or has another password"
                );
                revoked.push(record.key);
            }
        }
        let dropped = async {
            self.collect(expired).await?;
            self.end_each_because(revoked, EndReason::Account).await
        };
        if let Err(error) = dropped.await {
            tracing::error!(%error, "cannot drop sessions that are over");
        }
    }

    async fn collect(&self, expired: Vec<SessionKey>) -> Result<(), StoreError> {
        if expired.is_empty() {
            return Ok(());
        }
        let known = expired.iter().filter(|key| self.cache.contains_key(*key));
        known.for_each(|key| self.forget(key));
        let collected = self.store.collect(expired).await?;
        EndReason::Expired.of(&self.counts).inc_by(collected as u64);
        Ok(())
    }

    /// Those that have not expired, with their last access as the cache has it.
    fn good(&self, records: Vec<Arc<Record>>) -> Vec<Arc<Record>> {
        let now = self.clock.now();
        let current = records.into_iter().filter_map(|mut record| {
            match self.cache.get(&record.key) {
                Some(Cached::Ended) => return None,
                Some(Cached::Live(session)) if session.last_accessed() > record.last_accessed => {
                    Arc::make_mut(&mut record).last_accessed = session.last_accessed();
                }
                _ => {}
            }
            Some(record)
        });
        current
            .filter(|record| !self.has_expired(record, now))
            .collect()
    }

    fn has_expired(&self, record: &Record, now: Timestamp) -> bool {
        now >= record.expires || self.idles(record, now, self.slack(now))
    }

    fn idles(&self, record: &Record, now: Timestamp, grace: Duration) -> bool {
        let timeout = self.idle_timeout(record.remembered);
        now.since(record.last_accessed) >= timeout.saturating_add(grace)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::super::record::tests::record;
    use super::super::{Backend, Removed, open};
    use super::*;
    use crate::clock::Clock;
    use crate::nodes::Nodes;

    const MANY: usize = 100_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn sec_46_a_hundred_thousand_sessions_end_at_once_and_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::Disk(folder.path().join("sessions.redb"));
        let store = open(&backend, &Nodes::alone(), &Clock::system()).unwrap();
        let clock = Clock::system();
        let settings = Settings {
            backend: backend.clone(),
            idle_timeout: Duration::from_mins(30),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: MANY,
            max_sessions: MANY,
        };
        let sessions = Sessions::new(settings, Arc::clone(&store), clock.clone());
        let now = clock.now();
        let records: Vec<_> = (0..MANY)
            .map(|n| {
                let user = if n % 4 == 0 { "ada" } else { "bob" };
                let record = Record {
                    created: now,
                    last_accessed: now,
                    expires: now.plus(Duration::from_hours(12)),
                    ..Arc::unwrap_or_clone(record(user))
                };
                Arc::new(record)
            })
            .collect();
        for batch in records.chunks(1000) {
            let kept = batch.iter().map(|record| store.insert(Arc::clone(record)));
            assert!(join_all(kept).await.iter().all(Result::is_ok));
        }
        let some: Vec<_> = records.iter().step_by(97).collect();
        for record in &some {
            assert!(sessions.is_good(&record.key).await.unwrap());
        }

        let started = Clock::stopwatch();
        assert_eq!(
            sessions
                .end_of_user("ada", |_| false)
                .await
                .map(|keys| keys.len()),
            Ok(MANY / 4)
        );
        let of_user = started.elapsed();
        for record in &some {
            let open = sessions.is_good(&record.key).await.unwrap();
            assert_eq!(open, record.user() == "bob");
        }
        let started = Clock::stopwatch();
        assert_eq!(sessions.end_all().await, Ok(Removed::all(MANY / 4 * 3)));
        let all = started.elapsed();
        println!("of a user: {of_user:?}, all: {all:?}");
        assert!(of_user < Duration::from_secs(10) && all < Duration::from_secs(3));
        for record in &some {
            assert!(!sessions.is_good(&record.key).await.unwrap());
        }
        assert_eq!(sessions.count().await, Ok(0));
        sessions.close().await.unwrap();
        drop((sessions, store));
        assert_eq!(
            open(&backend, &Nodes::alone(), &clock)
                .unwrap()
                .count()
                .await,
            Ok(0)
        );
    }
}
