//! The local users as they are now, wherever they live.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::snapshot::{Change, Snapshot};
use crate::auth::users_file::Users;
use crate::clock::{Clock, Timestamp};

/// Somebody who may no longer be signed in as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    pub(crate) user: String,
    /// When this process saw that they could not sign in at all, whatever they may by now: without an
    /// id, nothing else tells that.
    pub(crate) gone: Option<Timestamp>,
}

/// Those of one moment, and what has become of others since somebody asked.
pub(super) struct Current {
    generation: AtomicU64,
    clock: Clock,
    /// Who has lost an account, or its password, since somebody asked.
    revoked: Mutex<Vec<Revoked>>,
    snapshot: ArcSwap<Snapshot>,
}

impl Current {
    pub(super) fn new(users: Users, clock: &Clock) -> Self {
        Self {
            generation: AtomicU64::new(0),
            clock: clock.clone(),
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
        let next = self.load().replaced_by(users, self.generation() + 1);
        self.install(next);
    }

    /// The same for some of them, by canonical name. One at a time.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a node that is alone has its file")
    )]
    pub(super) fn change(&self, changes: impl IntoIterator<Item = (String, Change)>) {
        let next = self.load().with(changes, self.generation() + 1);
        self.install(next);
    }

    fn install(&self, next: Snapshot) {
        let next = Arc::new(next);
        let before = self.snapshot.swap(Arc::clone(&next));
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        revoked.extend(next.revoked_since(&before).into_iter().map(|user| Revoked {
            gone: next.account(&user).is_none().then_some(now),
            user,
        }));
        drop(revoked);
        self.have_to_be_judged();
    }

    /// Has everybody asked for again who is known by their sessions, tokens and passwords.
    pub(super) fn have_to_be_judged(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(super) fn take_revoked(&self) -> Vec<Revoked> {
        std::mem::take(&mut *self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those whose sessions could not be ended are to be given once more. Of one user, the latest time at
    /// which they were gone holds.
    pub(super) fn give_again(&self, revoked: Revoked) {
        let mut waiting = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.iter_mut().find(|other| other.user == revoked.user) {
            Some(other) => other.gone = other.gone.max(revoked.gone),
            None => waiting.push(revoked),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::StoredHash;
    use crate::auth::users_file::User;

    #[test]
    fn who_could_not_be_judged_is_given_again_with_the_latest_time() {
        let current = Current::new(Users::default(), &Clock::system());
        let gone = |at: u64| Revoked {
            user: "ada".to_owned(),
            gone: Some(Timestamp::from_millis(at)),
        };
        let changed = |user: &str| Revoked {
            user: user.to_owned(),
            gone: None,
        };
        for revoked in [gone(7), changed("bob"), changed("ada"), gone(9), gone(8)] {
            current.give_again(revoked);
        }
        assert_eq!(current.take_revoked(), [gone(9), changed("bob")]);
        assert_eq!(current.take_revoked(), []);
    }

    #[test]
    fn who_could_not_be_read_for_a_while_is_the_same_user_and_who_was_removed_is_not() {
        let hash = StoredHash::dummy().unwrap();
        let here = |name: &str| Change::Here(User::new(name.to_owned(), hash.clone()));
        let current = Current::new(Users::default(), &Clock::system());
        let change = |ada: Change, bob: Change| {
            current.change([("ada".to_owned(), ada), ("bob".to_owned(), bob)]);
        };
        let since = |name| current.load().account(name).unwrap().incarnation().since;
        change(here("ada"), here("bob"));
        assert_eq!((since("ada"), since("bob")), (1, 1));
        change(Change::Unreadable, Change::Gone);
        change(Change::Unreadable, Change::Gone);
        change(here("ada"), here("bob"));
        assert_eq!((since("ada"), since("bob")), (1, 4));
        // Whoever could not be read may turn out to be gone.
        change(Change::Unreadable, here("bob"));
        change(Change::Gone, here("bob"));
        change(here("ada"), here("bob"));
        assert_eq!((since("ada"), since("bob")), (7, 4));
        let disabled = User::new("ada".to_owned(), hash.clone()).set_disabled(true);
        change(Change::Here(disabled), here("bob"));
        change(here("ada"), here("bob"));
        assert_eq!((since("ada"), since("bob")), (9, 4));
        // Whoever is not among all of them is gone.
        let bob = || User::new("bob".to_owned(), hash.clone());
        current.replace([bob()].into_iter().collect());
        let ada = User::new("ada".to_owned(), hash.clone());
        current.replace([ada, bob()].into_iter().collect());
        assert_eq!((since("ada"), since("bob")), (11, 4));
    }
}
