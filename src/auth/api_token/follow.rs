//! What other nodes make and revoke, where they share the store.

use std::collections::HashSet;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::buried::Buried;
use super::{ApiTokens, TokenKey};
use crate::auth::authenticators::{Listed, Shared, StoreError};
use crate::clock::Timestamp;

/// How often the store is asked what has changed, whether anything wakes this node or not.
const EVERY: Duration = Duration::from_millis(250);

/// At least so long passes between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// After this without an answer, a token that is not known may be one that another node has made.
const CURRENT_FOR: Duration = Duration::from_secs(1);

/// Tokens that are read at a time.
const BATCH: usize = 100;

/// When this node last knew of every token.
pub(super) struct Freshness {
    /// In milliseconds.
    read: AtomicU64,
    /// `None` where nobody else makes and revokes tokens.
    stale_for: Option<Duration>,
}

impl Freshness {
    pub(super) fn new(stale_for: Option<Duration>) -> Self {
        Self {
            read: AtomicU64::new(0),
            stale_for,
        }
    }

    fn note(&self, at: Timestamp) {
        self.read.fetch_max(at.as_millis(), Ordering::Release);
    }

    fn is_within(&self, most: Duration, now: Timestamp) -> bool {
        let read = Timestamp::from_millis(self.read.load(Ordering::Acquire));
        self.stale_for.is_none() || now.since(read) < most
    }

    /// Whether every token that there is is known.
    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        self.is_within(CURRENT_FOR, now)
    }

    /// Whether tokens that are known still open something (REL-10).
    pub(super) fn is_known(&self, now: Timestamp) -> bool {
        self.is_within(self.stale_for.unwrap_or_default(), now)
    }
}

/// What was found in the store so far.
#[derive(Default)]
struct Seen {
    /// `None` where that is to be looked at anew.
    version: Option<Vec<u8>>,
    life: Option<Vec<u8>>,
    /// Of tokens that are left alone: they are not read again and again.
    unreadable: HashSet<TokenKey>,
}

impl ApiTokens {
    /// Keeps up with the other nodes; does not end.
    pub(crate) async fn follow(&self) {
        let Some(shared) = self.store.shared() else {
            return std::future::pending().await;
        };
        let mut wake_ups = shared.wake_ups();
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut was_known) = (Seen::default(), false);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(()) = wake_ups.recv() => {}
            }
            let at = self.clock.now();
            match self.catch_up(shared, &mut seen).await {
                Ok(()) => self.freshness.note(at),
                Err(error) => tracing::debug!(%error, "the API tokens cannot be read"),
            }
            let is_known = self.freshness.is_known(self.clock.now());
            if was_known && !is_known {
                self.ended.notify_one();
            }
            was_known = is_known;
            sleep(PAUSE).await;
        }
    }

    /// Takes over what has changed in the store.
    async fn catch_up(&self, shared: &dyn Shared, seen: &mut Seen) -> Result<(), StoreError> {
        // What this node makes meanwhile is not among the keys, and is not gone either.
        let _making = self.making.lock().await;
        if self.has_changed.swap(false, Ordering::Relaxed) {
            seen.version = None;
        }
        let Some(listed) = shared.changes(seen.version.as_deref()).await? else {
            return Ok(());
        };
        let Listed {
            version,
            life,
            keys,
        } = listed;
        let there: HashSet<_> = keys.into_iter().collect();
        seen.unreadable.retain(|key| there.contains(key));
        let (gone, new, again) = self.compare(&there, &seen.unreadable);
        if seen.life.as_ref() == Some(&life) && !life.is_empty() {
            // Who has revoked them may not be there any more to say so again. A store that was emptied
            // says nothing of the kind: what it had may be put back.
            self.bury(&gone);
        }
        self.forget(&gone);
        for some in new.chunks(BATCH) {
            let read = shared.read(some).await?;
            let keys = read.unreadable.into_iter().map(|(key, _)| key);
            seen.unreadable.extend(keys);
            let mut index = self.write();
            let buried = self.buried();
            for record in read.tokens {
                if !buried.has(&record.key) {
                    index.insert(record);
                }
            }
        }
        if seen.life.replace(life).is_none() {
            // Whose users are gone since they were made is to be looked at now.
            self.look_again();
        }
        // Those that cannot be removed open nothing here, and are looked at again.
        let is_done = again.is_empty() || self.remove(again).await.is_ok();
        seen.version = is_done.then_some(version);
        Ok(())
    }

    /// What is gone, what is new, and what has come back though it was revoked here.
    fn compare(
        &self,
        there: &HashSet<TokenKey>,
        unreadable: &HashSet<TokenKey>,
    ) -> (Vec<TokenKey>, Vec<TokenKey>, Vec<TokenKey>) {
        let (index, buried) = (self.read(), self.buried());
        let gone = index.tokens.keys().filter(|key| !there.contains(key));
        let gone = gone.copied().collect();
        let (again, others): (Vec<_>, Vec<_>) = there.iter().partition(|key| buried.has(key));
        let is_new = |key: &TokenKey| !index.tokens.contains_key(key) && !unreadable.contains(key);
        let new = others.into_iter().filter(is_new).collect();
        (gone, new, again)
    }

    /// What is revoked here stays so, whatever the store says. Before it is forgotten, so that nobody
    /// reads it again meanwhile.
    pub(super) fn bury(&self, keys: &[TokenKey]) {
        if self.store.shared().is_some() {
            let mut buried = self.buried();
            for key in keys {
                buried.add(*key);
            }
        }
    }

    /// When other nodes have seen tokens in use.
    pub(super) async fn learn_uses(&self) {
        let Some(shared) = self.store.shared() else {
            return;
        };
        let Ok(uses) = shared.uses().await else {
            return; // they are asked for again
        };
        for token in self.read().tokens.values() {
            if let Some(at) = uses.get(&token.key()) {
                token.learn_use(*at);
            }
        }
    }

    fn buried(&self) -> MutexGuard<'_, Buried> {
        self.buried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
