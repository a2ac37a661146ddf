//! What one user may take of the connections to an address, when they become scarce.
//!
//! An answer that nobody reads holds the connection that it comes over until the write timeout
//! (SEC-27). Whoever asks for many and reads none would shut all others out of the application
//! (REL-13).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that a user, or all visitors whom nobody knows together, may have beside the common
/// ones, where there are enough of them.
const FEW: usize = 8;

/// The half of the connections that is not for whoever comes first.
#[derive(Debug)]
pub(super) struct Shares {
    /// For what is more than that: half of the half.
    common: Arc<Semaphore>,
    own: usize,
    /// Of those who have any, or wait for one.
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// One connection's worth, until it is dropped.
pub(super) type Share = OwnedSemaphorePermit;

impl Shares {
    /// Of so many connections in all.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            common: Arc::new(Semaphore::new((connections / 4).max(1))),
            own: (connections / 8).clamp(1, FEW),
            users: Mutex::default(),
        }
    }

    /// Waits for one of the user's own or a common one, whatever comes first.
    pub(super) async fn take(&self, user: Option<&str>) -> Option<Share> {
        let own = self.of_user(user.unwrap_or_default()); // nobody has an empty name
        let common = Arc::clone(&self.common);
        tokio::select! {
            biased;
            share = own.acquire_owned() => share.ok(),
            share = common.acquire_owned() => share.ok(),
        }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = users.get(user).and_then(Weak::upgrade) {
            return known;
        }
        users.retain(|_, shares| shares.strong_count() > 0);
        let shares = Arc::new(Semaphore::new(self.own));
        users.insert(user.to_owned(), Arc::downgrade(&shares));
        shares
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn taken(shares: &Shares, user: Option<&str>) -> Option<Share> {
        shares.take(user).now_or_never().flatten()
    }

    fn all(shares: &Shares, user: Option<&str>) -> Vec<Share> {
        std::iter::from_fn(|| taken(shares, user)).collect()
    }

    #[test]
    fn rel_13_one_user_leaves_some_for_the_others() {
        let shares = Shares::of(64);
        let of_ada = all(&shares, Some("ada"));
        assert_eq!(of_ada.len(), FEW + 16, "her own, and all that are common");
        let others = [None, Some("bob")].map(|user| all(&shares, user));
        assert_eq!(others.each_ref().map(Vec::len), [FEW, FEW]);
        drop(of_ada);
        assert_eq!(all(&shares, Some("cleo")).len(), FEW + 16);
        drop(others);
        drop(taken(&shares, Some("dan")));
        drop(taken(&shares, Some("eve")));
        let remembered = shares.users.lock().unwrap().len();
        assert_eq!(remembered, 1, "who has none is forgotten");
    }

    #[tokio::test]
    async fn whoever_waits_has_what_comes_first() {
        let shares = Shares::of(64);
        let of_ada = all(&shares, Some("ada"));
        let mut of_bob = all(&shares, Some("bob"));
        let mut waits = Box::pin(shares.take(Some("bob")));
        assert!(waits.as_mut().now_or_never().is_none());
        of_bob.pop();
        assert!(waits.await.is_some(), "his own");
        let waits = shares.take(Some("bob"));
        drop(of_ada);
        assert!(waits.await.is_some(), "a common one");
    }

    #[test]
    fn of_few_connections_everybody_has_a_share() {
        for connections in 1..8 {
            let shares = Shares::of(connections);
            let _held = [Some("ada"), Some("bob"), None].map(|user| taken(&shares, user).unwrap());
            let _common = taken(&shares, Some("ada")).unwrap();
            assert!(taken(&shares, Some("bob")).is_none());
        }
    }
}
