//! Follows what others end in the store.

use std::future::pending;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream};

use super::cached::Cached;
use super::end::Fate;
use super::store::End;
use super::user_key::UserKey;
use super::{SessionKey, Sessions};
use crate::clock::Clock;

/// Look-ups of streams that wait for the store at a time.
const AT_ONCE: usize = 64;

impl Sessions {
    /// Drops what this process holds of sessions that others have ended, as soon as the store
    /// tells of them (SEC-75). Never ends. To be run by one at a time.
    pub(crate) async fn follow_store(&self) {
        let mut ends = self.ends.lock().await;
        while let Some(end) = ends.recv().await {
            match end {
                End::One(key) => self.forget(&key),
                End::Changed(key) => self.note_changed(&key),
                End::User(user) => self.look_up_user_again(user).await,
                End::All => self.forget_all(),
                End::Lagged => self.note_gap(),
                End::MadeAt(at) => {
                    let delay = Clock::stopwatch().saturating_duration_since(at);
                    self.counts.end_delay.note(delay);
                }
                // Only now: what was told before is forgotten.
                End::NoMoreUntil(at) => self.freshness.note(at),
            }
        }
        pending::<()>().await; // a store that has nothing to tell
    }

    /// Drops what is cached of a user, who may have signed in again since: the store says of each
    /// session whether it is over.
    async fn look_up_user_again(&self, user: UserKey) {
        self.drop_user(user, None, Fate::InDoubt).await;
        let streams = self.active_streams.sessions();
        let theirs = streams.into_iter().filter(|it| it.user_key() == user);
        let now = self.clock.now();
        let mut looked_up = stream::iter(theirs)
            .map(|session| async move { (self.get(&session.key(), now).await, session) })
            .buffer_unordered(AT_ONCE);
        while let Some((found, session)) = looked_up.next().await {
            if matches!(found, Ok(None)) {
                self.forget(&session.key());
            }
        }
    }

    /// Another node has changed a session: who asks for it next gets the record as it is now.
    fn note_changed(&self, key: &SessionKey) {
        if let Some(Cached::Live(session)) = self.cache.get(key) {
            session.set_changed(true);
            // After it: a connection that remembers the session asks the cache.
            self.doubts.fetch_add(1, Ordering::Release);
        }
    }

    /// Each look-up asks the store again, for a request as it comes, for open streams at the next
    /// [`sweep`](Self::sweep): a session that has ended is not there. What is known is kept for as
    /// long as the store cannot be asked, and so is what look-ups and logins that are under way bring
    /// in: nothing has ended by it.
    fn note_gap(&self) {
        self.freshness.note_gap(self.clock.now());
        // After it: a connection that remembers a session asks the cache, which goes by this gap.
        self.doubts.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::session::memory::Memory;
    use crate::session::store::SessionStore;
    use crate::session::{Record, Session, test_record, test_settings};

    #[tokio::test(flavor = "multi_thread")]
    async fn sec_50_what_is_looked_up_again_loses_no_use_of_it() {
        let (memory, ada, bob) = (Memory::default(), test_record("ada"), test_record("bob"));
        let settings = test_settings(Duration::from_mins(30));
        let sessions = Sessions::new(settings, Arc::new(memory.clone()), Clock::still());
        let sessions = Arc::new(sessions);
        let last = ada.last_accessed.plus(Duration::from_secs(1));
        for record in [&ada, &bob] {
            memory.insert(Arc::clone(record)).await.unwrap();
            let session = Arc::new(Session::new(record));
            session.touch(last, Duration::MAX);
            sessions.cache.insert(record.key, Cached::Live(session));
        }
        let is_cached = |record: &Record| sessions.cache.contains_key(&record.key);
        let nobody_is_answered = memory.hold();
        let here = Arc::clone(&sessions);
        let looking_up =
            tokio::spawn(async move { here.look_up_user_again(UserKey::of("ada")).await });
        let dropped = async {
            while is_cached(&ada) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Before its last use is taken: no request uses it after that.
        let dropped = timeout(Duration::from_secs(10), dropped).await;
        dropped.expect("it is dropped");
        drop(nobody_is_answered);
        looking_up.await.unwrap();
        assert!(is_cached(&bob));
        let there = memory.load(ada.key).await.unwrap().unwrap();
        assert_eq!(there.last_accessed, last);
    }
}
