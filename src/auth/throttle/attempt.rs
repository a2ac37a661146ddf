//! One try to sign in, from its count to its outcome.

use super::counters::Claim;
use super::known::Pair;
use super::{Account, LEVELS, LocalThrottle, Wait, scaled};
use crate::network::Network;

/// A try that is under way. It stays counted unless it [succeeds](LocalAttempt::succeeded) or turns
/// out to be [no try](LocalAttempt::withdraw).
#[must_use]
pub(super) struct LocalAttempt<'a> {
    pub(super) throttle: &'a LocalThrottle,
    pub(super) account: Account,
    pub(super) network: Network,
    /// `None` where the network of the client is not known.
    pub(super) pair: Option<Pair>,
    pub(super) counted: Counted,
}

/// Where a try is counted.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) account_at_network: Vec<Claim<(Account, Network)>>,
    pub(super) network: Vec<Claim<Network>>,
    pub(super) known_network: Option<Claim<Network>>,
    pub(super) account: Option<Claim<Account>>,
    /// It is one of those that networks share.
    pub(super) shared: bool,
}

impl LocalAttempt<'_> {
    /// Forgets the failures of this account at this network, which is known from now on. Those of
    /// the network stay: users with an account of their own could reset them for others.
    pub(super) fn succeeded(self) {
        let (throttle, now) = (self.throttle, self.throttle.clock.now());
        throttle.take_back(&self.counted, self.account, self.network, now);
        let own = (self.account, self.network);
        throttle.account_at_network.forget(&own);
        if let Some(pair) = self.pair {
            throttle.known.note(pair, now);
        }
    }

    /// The password was not looked at: nothing was learned, and nothing stays counted.
    pub(super) fn withdraw(self) {
        let now = self.throttle.clock.now();
        self.throttle
            .take_back(&self.counted, self.account, self.network, now);
    }

    /// A login on another node has made failures of this account at this network forgotten; there
    /// have been so many since, on all nodes.
    pub(super) fn has_since_login(&self, failures: u32) {
        if let Some(claim) = self.counted.account_at_network.first() {
            self.throttle.account_at_network.lower(claim, failures);
        }
    }

    /// The password was wrong; how long to wait when that was the last try for now.
    pub(super) fn failed(self) -> Option<Wait> {
        let (throttle, now) = (self.throttle, self.throttle.clock.now());
        let settings = &throttle.settings;
        let levels = self.network.levels().zip(LEVELS);
        // A known network has been counted at one level only.
        let levels = levels.take(self.counted.account_at_network.len());
        let full = levels.filter_map(|(level, tenths)| {
            let of_account = scaled(settings.account_failures, tenths);
            let at = (self.account, level);
            let of_account = throttle.account_at_network.is_full(&at, of_account, now);
            let of_network = scaled(settings.address_failures, tenths);
            let of_network = throttle.network.is_full(&level, of_network, now);
            let of_network = of_network.filter(|_| !self.counted.network.is_empty());
            [of_account, of_network]
                .into_iter()
                .flatten()
                .map(|full| full.left)
                .max()
        });
        let known = self.counted.known_network.as_ref().and_then(|_| {
            let limit = throttle.known_limit();
            let full = throttle.known_network.is_full(&self.network, limit, now);
            full.map(|full| full.left)
        });
        full.chain(known).max().map(Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{address, throttle};

    #[test]
    fn a_login_forgets_the_failures_before_it() {
        let (throttle, _) = throttle();
        for _ in 0..9 {
            let _ = throttle.begin("ada", address(1)).ok().unwrap().failed();
        }
        throttle.begin("ada", address(1)).ok().unwrap().succeeded();
        assert!(
            throttle
                .begin("ada", address(1))
                .ok()
                .unwrap()
                .failed()
                .is_none()
        );
    }

    #[test]
    fn a_try_whose_password_was_not_looked_at_does_not_count() {
        let (throttle, _) = throttle();
        for _ in 0..100 {
            throttle.begin("ada", address(1)).ok().unwrap().withdraw();
        }
        assert!(throttle.entries().iter().all(|&(_, entries)| entries == 0));
        assert!(throttle.begin("ada", address(1)).is_ok());
    }
}
