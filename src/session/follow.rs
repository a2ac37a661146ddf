//! Follows what others end in the store.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream};

use super::cached::Cached;
use super::flush::{flush_to, walk};
use super::store::End;
use super::user_key::UserKey;
use super::{Session, SessionKey, Sessions};
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
        let is_theirs = move |session: &Session| UserKey::of(session.user()) == user;
        // Before, for look-ups that are under way: what they have found may be over. After, for
        // connections that remember a session.
        self.ended.fetch_add(1, Ordering::Release);
        let (cache, store) = (self.cache.clone(), Arc::clone(&self.store));
        let drop_theirs = move || {
            for (key, cached) in &cache {
                if let Cached::Live(session) = cached
                    && is_theirs(&session)
                {
                    flush_to(&*store, &session);
                    cache.invalidate(&*key);
                }
            }
        };
        walk(drop_theirs).await;
        self.ended.fetch_add(1, Ordering::Release);
        let theirs = self
            .active_streams
            .sessions()
            .into_iter()
            .filter(|it| is_theirs(it));
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
