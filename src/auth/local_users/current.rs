//! The local users as they are now, wherever they live.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::snapshot::Snapshot;
use crate::auth::users_file::{User, Users};

/// Those of one moment, and what has become of others since somebody asked.
pub(super) struct Current {
    generation: AtomicU64,
    /// Who has lost an account, or its password, since somebody asked.
    revoked: Mutex<Vec<String>>,
    snapshot: ArcSwap<Snapshot>,
}

impl Current {
    pub(super) fn new(users: Users) -> Self {
        Self {
            generation: AtomicU64::new(0),
            revoked: Mutex::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::of(users)),
        }
    }

    pub(super) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Takes them over. One at a time: an older reading may not replace a newer one.
    pub(super) fn replace(&self, users: Users) {
        self.install(Snapshot::of(users));
    }

    /// The same for some of them, by canonical name. One at a time.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a node that is alone has its file")
    )]
    pub(super) fn change(&self, changes: impl IntoIterator<Item = (String, Option<User>)>) {
        let next = self.snapshot.load().with(changes);
        self.install(next);
    }

    fn install(&self, next: Snapshot) {
        let next = Arc::new(next);
        let before = self.snapshot.swap(Arc::clone(&next));
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.extend(next.revoked_since(&before));
        drop(revoked);
        self.have_to_be_judged();
    }

    /// Has everybody asked for again who is known by their sessions, tokens and passwords.
    pub(super) fn have_to_be_judged(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(super) fn take_revoked(&self) -> Vec<String> {
        std::mem::take(&mut *self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
