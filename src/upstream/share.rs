//! What one user may take of the connections to an address, when they become scarce.
//!
//! An answer that nobody reads holds the connection that it comes over until the write timeout
//! (SEC-27). Whoever asks for many and reads none would shut all others out of the application
//! (REL-13).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    users: Mutex<HashMap<String, usize>>,
}

/// One connection's worth, until it is dropped.
#[derive(Debug)]
pub(super) enum Share {
    Common(
        #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
    ),
    Own {
        shares: Arc<Shares>,
        user: String,
    },
}

impl Shares {
    /// Of so many connections in all.
    pub(super) fn of(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            common: Arc::new(Semaphore::new((connections / 4).max(1))),
            own: (connections / 8).clamp(1, FEW),
            users: Mutex::default(),
        })
    }

    /// Waits for one of the common ones when the user has no more of their own.
    pub(super) async fn take(self: &Arc<Self>, user: Option<&str>) -> Option<Share> {
        let user = user.unwrap_or_default(); // nobody has an empty name
        if self.take_own(user) {
            return Some(Share::Own {
                shares: Arc::clone(self),
                user: user.to_owned(),
            });
        }
        let common = Arc::clone(&self.common).acquire_owned();
        common.await.ok().map(Share::Common)
    }

    fn take_own(&self, user: &str) -> bool {
        let mut users = self.users();
        match users.get_mut(user) {
            Some(taken) if *taken >= self.own => return false,
            Some(taken) => *taken += 1,
            None => drop(users.insert(user.to_owned(), 1)),
        }
        true
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Self::Own { shares, user } = self else {
            return;
        };
        let mut users = shares.users();
        if let Some(taken) = users.get_mut(user) {
            *taken -= 1;
            if *taken == 0 {
                users.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn taken(shares: &Arc<Shares>, user: Option<&str>) -> Option<Share> {
        shares.take(user).now_or_never().flatten()
    }

    #[test]
    fn rel_13_one_user_leaves_some_for_the_others() {
        let shares = Shares::of(64);
        let many = |user| -> Vec<_> { std::iter::from_fn(|| taken(&shares, user)).collect() };
        let of_ada = many(Some("ada"));
        assert_eq!(of_ada.len(), FEW + 16, "her own, and all that are common");
        let others = [None, Some("bob")].map(&many);
        assert_eq!(others.each_ref().map(Vec::len), [FEW, FEW]);
        drop(of_ada);
        assert_eq!(many(Some("cleo")).len(), FEW + 16);
        drop(others);
        assert!(shares.users().is_empty(), "who has none is not remembered");
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
