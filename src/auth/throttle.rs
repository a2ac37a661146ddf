//! Counts failed logins and makes whoever guesses wait (SEC-59, ASVS 6.1.1).
//!
//! Counters, each over a window that begins with the first failure:
//! - an account from one network: after `account_failures` that network waits;
//! - a network, whatever the account: after `address_failures` it waits;
//! - an account from everywhere: after ten times `account_failures`, networks that are new to it
//!   share one try every ten seconds (NIST 800-63B: no more than 100 failures in a row).
//!
//! A network is counted at each of its levels, because a customer of IPv6 has many /64: with a
//! fifth more for a /56, which is the usual home, and twice as many for a /48.
//!
//! A network that somebody has signed in to the account from has a counter of its own, and never
//! waits for others. All accounts that are known at a network have one more together, which is
//! wide: an office behind NAT has many users, and one of them may guess at all others. So nobody can lock users out where they have been before, and nobody for more
//! than moments elsewhere; and no live session ends. A try counts before its password is looked
//! at: a thousand at once are a thousand.

mod attempt;
mod counters;
mod known;
mod nodes;
#[cfg(not(feature = "redis"))]
#[path = "throttle/no_store.rs"]
mod redis;
#[cfg(feature = "redis")]
mod redis;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::attempt::{Counted, LocalAttempt};
use self::counters::{Counters, Full};
use self::known::Pair;
use self::shared::SharedTries;
use crate::clock::{Clock, Timestamp};
use crate::network::Network;

pub(crate) use self::known::{KnownError, KnownNetworks};
pub(crate) use self::nodes::{Attempt, Throttle};
#[cfg(feature = "redis")]
pub(crate) use self::redis::SharedCounts;

/// `[login.throttle]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Failures of one account from one address within the window.
    pub(crate) account_failures: u32,
    /// Failures of one address, whatever the account, within the window.
    pub(crate) address_failures: u32,
    pub(crate) window: Duration,
}

/// How much more an account takes from everywhere than from one network.
const EVERYWHERE: u32 = 10;

/// How much more a network may try at accounts that are known there than at others.
const KNOWN: u32 = 10;

/// What each level of a network may have, in tenths of the setting: an IPv4 address or a /64, a
/// /56, a /48.
const LEVELS: [u32; 3] = [10, 12, 20];

/// The counters of this node.
struct LocalThrottle {
    settings: Settings,
    clock: Clock,
    account_at_network: Counters<(Account, Network)>,
    network: Counters<Network>,
    /// At accounts that are known there.
    known_network: Counters<Network>,
    account: Counters<Account>,
    shared: SharedTries,
    known: Arc<KnownNetworks>,
}

/// An account by the hash of its canonical name: a name of 16 KiB takes no more room than another.
type Account = [u8; 16];

fn account_of(name: &str) -> Account {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let mut account = Account::default();
    account.copy_from_slice(&digest[..16]);
    account
}

/// How long to wait before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wait(pub(crate) Duration);

impl LocalThrottle {
    fn new(settings: Settings, known: Arc<KnownNetworks>, clock: Clock) -> Self {
        Self {
            account_at_network: Counters::new(settings.window),
            network: Counters::new(settings.window),
            known_network: Counters::new(settings.window),
            account: Counters::new(settings.window),
            shared: SharedTries::default(),
            known,
            settings,
            clock,
        }
    }

    /// The same with other limits, and all counters at zero.
    fn with(&self, settings: Settings) -> Self {
        Self::new(settings, Arc::clone(&self.known), self.clock.clone())
    }

    /// How many entries each counter has.
    fn entries(&self) -> [(&'static str, u64); 3] {
        let now = self.clock.now();
        [
            ("account", self.account.count(now)),
            ("account_at_address", self.account_at_network.count(now)),
            (
                "address",
                self.network.count(now) + self.known_network.count(now),
            ),
        ]
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn pair(&self, account: &str, network: Network) -> Pair {
        self.known.pair(account, network)
    }

    fn knows(&self, pair: &Pair) -> bool {
        self.known.contains(pair, self.clock.now())
    }

    /// Somebody has signed in then, on another node.
    fn learn(&self, pair: Pair, at: Timestamp) {
        self.known.note(pair, at.min(self.clock.now()));
    }

    /// Counts a try at `account`, by its canonical name, from a network; `pair` is both, where the
    /// network is that of the client, and no proxy's that does not name it.
    fn begin_at(
        &self,
        account: &str,
        network: Network,
        pair: Option<Pair>,
    ) -> Result<LocalAttempt<'_>, Wait> {
        let account = account_of(account);
        let now = self.clock.now();
        let mut counted = Counted::default();
        let is_known = pair.is_some_and(|pair| self.known.contains(&pair, now));
        let begun = if is_known {
            self.count_known(account, network, &mut counted, now)
        } else {
            self.count(account, network, &mut counted, now)
        };
        if let Err(wait) = begun {
            self.take_back(&counted, account, network, now);
            return Err(Wait(wait));
        }
        Ok(LocalAttempt {
            throttle: self,
            account,
            network,
            pair,
            counted,
        })
    }

    /// Failures of others do not matter here, and these not for others.
    fn count_known(
        &self,
        account: Account,
        network: Network,
        counted: &mut Counted,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let limit = self.settings.account_failures;
        let claim = self
            .account_at_network
            .claim((account, network), limit, now)
            .map_err(|full| full.left)?;
        counted.account_at_network.push(claim);
        let claim = self
            .known_network
            .claim(network, self.known_limit(), now)
            .map_err(|full| full.left)?;
        counted.known_network = Some(claim);
        Ok(())
    }

    fn known_limit(&self) -> u32 {
        self.settings.address_failures.saturating_mul(KNOWN)
    }

    /// At every level that has room; else for how long it has none.
    fn count(
        &self,
        account: Account,
        network: Network,
        counted: &mut Counted,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let mut longest = None;
        for (level, tenths) in network.levels().zip(LEVELS) {
            let limit = scaled(self.settings.account_failures, tenths);
            let at = (account, level);
            match self.account_at_network.claim(at, limit, now) {
                Ok(claim) => counted.account_at_network.push(claim),
                Err(full) => longest = longest.max(Some(full.left)),
            }
            let limit = scaled(self.settings.address_failures, tenths);
            match self.network.claim(level, limit, now) {
                Ok(claim) => counted.network.push(claim),
                Err(full) => longest = longest.max(Some(full.left)),
            }
        }
        if let Some(wait) = longest {
            return Err(wait);
        }
        let everywhere = self.settings.account_failures.saturating_mul(EVERYWHERE);
        match self.account.claim(account, everywhere, now) {
            Ok(claim) => counted.account = Some(claim),
            Err(Full { since, .. }) => {
                let window = (since, self.settings.window);
                self.shared.take(account, network.site(), window, now)?;
                counted.shared = true;
            }
        }
        Ok(())
    }

    fn take_back(&self, counted: &Counted, account: Account, network: Network, now: Timestamp) {
        for claim in &counted.account_at_network {
            self.account_at_network.take_back(claim);
        }
        for claim in &counted.network {
            self.network.take_back(claim);
        }
        if let Some(claim) = &counted.known_network {
            self.known_network.take_back(claim);
        }
        if let Some(claim) = &counted.account {
            self.account.take_back(claim);
        }
        if counted.shared {
            self.shared.give_back(&account, network.site(), now);
        }
    }
}

fn scaled(limit: u32, tenths: u32) -> u32 {
    limit.saturating_mul(tenths).div_ceil(10)
}

#[cfg(test)]
mod tests;
