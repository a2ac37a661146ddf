//! The quota of each user: what one may take of the users' connections to an address, when they
//! become scarce.
//!
//! An answer that nobody reads holds the connection that it comes over until the write timeout
//! (SEC-27). Whoever asks for many and reads none would shut all others out of the application
//! (REL-13, SEC-87).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that a user may have beside the common ones, where there are enough of them.
const OWN: usize = 8;

/// The half of the connections that is not for whoever comes first.
#[derive(Debug)]
pub(super) struct UserQuotas {
    /// For users that want more than that: half of the half.
    common: Arc<Semaphore>,
    own: usize,
    /// Of those that have any, or wait for one.
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// One connection of a quota, until it is dropped.
pub(super) type QuotaPermit = OwnedSemaphorePermit;

impl UserQuotas {
    /// Of so many connections of users in all.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            common: Arc::new(Semaphore::new((connections / 4).max(1))),
            own: (connections / 8).clamp(1, OWN),
            users: Mutex::default(),
        }
    }

    /// Waits for one of the user's own or a common one, whatever comes first.
    pub(super) async fn take(&self, user: &str) -> Option<QuotaPermit> {
        let own = self.of_user(user);
        let common = Arc::clone(&self.common);
        tokio::select! {
            biased;
            permit = own.acquire_owned() => permit.ok(),
            permit = common.acquire_owned() => permit.ok(),
        }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = users.get(user).and_then(Weak::upgrade) {
            return known;
        }
        users.retain(|_, quota| quota.strong_count() > 0);
        let quota = Arc::new(Semaphore::new(self.own));
        users.insert(user.to_owned(), Arc::downgrade(&quota));
        quota
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ADA: &str = "ada";
    const BOB: &str = "bob";

    fn taken(quotas: &UserQuotas, user: &str) -> Option<QuotaPermit> {
        quotas.take(user).now_or_never().flatten()
    }

    fn all(quotas: &UserQuotas, user: &str) -> Vec<QuotaPermit> {
        std::iter::from_fn(|| taken(quotas, user)).collect()
    }

    #[test]
    fn rel_13_one_user_leaves_some_for_the_others() {
        let quotas = UserQuotas::of(64);
        let of_ada = all(&quotas, ADA);
        assert_eq!(of_ada.len(), OWN + 16, "her own, and all that are common");
        let of_bob = all(&quotas, BOB);
        assert_eq!(of_bob.len(), OWN);
        drop(of_ada);
        assert_eq!(all(&quotas, "cleo").len(), OWN + 16);
        drop(of_bob);
        drop(taken(&quotas, "dan"));
        drop(taken(&quotas, "eve"));
        let remembered = quotas.users.lock().unwrap().len();
        assert_eq!(remembered, 1, "who has none is forgotten");
    }

    #[tokio::test]
    async fn whoever_waits_has_what_comes_first() {
        let quotas = UserQuotas::of(64);
        let of_ada = all(&quotas, ADA);
        let mut of_bob = all(&quotas, BOB);
        let mut waits = Box::pin(quotas.take(BOB));
        assert!(waits.as_mut().now_or_never().is_none());
        of_bob.pop();
        assert!(waits.await.is_some(), "his own");
        let waits = quotas.take(BOB);
        drop(of_ada);
        assert!(waits.await.is_some(), "a common one");
    }

    #[test]
    fn of_few_connections_everybody_has_a_quota() {
        for connections in 1..8 {
            let quotas = UserQuotas::of(connections);
            let _held = [ADA, BOB].map(|user| taken(&quotas, user).unwrap());
            let _common = taken(&quotas, ADA).unwrap();
            assert!(taken(&quotas, BOB).is_none());
        }
    }
}
