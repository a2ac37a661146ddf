//! Counts failed logins and makes who guesses wait (SEC-59, ASVS 6.1.1).
//!
//! Three counters, each over a window that begins with the first failure:
//! - an account from one address: after `account_failures` that address waits;
//! - an address, whatever the account: after `address_failures` it waits;
//! - an account from everywhere: after ten times `account_failures`, addresses that never signed in
//!   to it wait (NIST 800-63B: at most 100 failures in a row).
//!
//! So nobody can lock a user out of an address that they use, and no live session ends. A try
//! counts before its password is looked at: a thousand at once are a thousand.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::listener::network;

/// `[login.throttle]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Failures of one account from one address within the window.
    pub(crate) account_failures: u32,
    /// Failures of one address, whatever the account, within the window.
    pub(crate) address_failures: u32,
    pub(crate) window: Duration,
}

/// How much more an account takes from everywhere than from one address.
const EVERYWHERE: u32 = 10;

/// Of each counter. An entry is small, whatever was typed for a name, and goes with its window.
const MAX_ENTRIES: u64 = 100_000;

pub(crate) struct Throttle {
    settings: Settings,
    clock: Clock,
    account_at_address: Counters<(Account, IpAddr)>,
    address: Counters<IpAddr>,
    account: Counters<Account>,
    /// Where somebody has signed in to an account.
    known: Cache<(Account, IpAddr), ()>,
}

/// A try that is under way. It stays counted unless it [succeeds](Attempt::succeeded) or turns
/// out to be [no try](Attempt::withdraw).
#[must_use]
pub(crate) struct Attempt<'a> {
    throttle: &'a Throttle,
    account: Account,
    network: IpAddr,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Duration);

impl Throttle {
    pub(crate) fn new(settings: Settings, clock: Clock) -> Self {
        let known = Cache::builder().max_capacity(MAX_ENTRIES).build();
        Self {
            account_at_address: Counters::new(settings.window),
            address: Counters::new(settings.window),
            account: Counters::new(settings.window),
            known,
            settings,
            clock,
        }
    }

    /// About how many entries each counter has.
    pub(crate) fn entries(&self) -> [(&'static str, u64); 3] {
        [
            ("account", self.account.0.entry_count()),
            (
                "account_at_address",
                self.account_at_address.0.entry_count(),
            ),
            ("address", self.address.0.entry_count()),
        ]
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts a try at `account`, by its canonical name, from `address`.
    pub(crate) fn begin(&self, account: &str, address: IpAddr) -> Result<Attempt<'_>, Wait> {
        let network = network(address);
        let account = account_of(account);
        let pair = (account, network);
        let everywhere = self.settings.account_failures.saturating_mul(EVERYWHERE);
        let (now, window) = (self.clock.now(), self.settings.window);
        let waits = [
            self.account_at_address
                .wait(&pair, self.settings.account_failures, now, window),
            self.address
                .wait(&network, self.settings.address_failures, now, window),
            (!self.known.contains_key(&pair))
                .then(|| self.account.wait(&pair.0, everywhere, now, window))
                .flatten(),
        ];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(Wait(wait));
        }
        self.account_at_address.add(pair, now, window);
        self.address.add(network, now, window);
        self.account.add(account, now, window);
        Ok(Attempt {
            throttle: self,
            account,
            network,
        })
    }
}

impl Attempt<'_> {
    /// Forgets the failures of this account at this address. Those of the address stay: who has
    /// an account of their own could reset them for others.
    pub(crate) fn succeeded(self) {
        let pair = (self.account, self.network);
        self.throttle.account_at_address.forget(&pair);
        self.throttle.account.take_back(&pair.0);
        self.throttle.address.take_back(&pair.1);
        self.throttle.known.insert(pair, ());
    }

    /// The password was not looked at: nothing was learned.
    pub(crate) fn withdraw(self) {
        self.throttle
            .account_at_address
            .take_back(&(self.account, self.network));
        self.throttle.account.take_back(&self.account);
        self.throttle.address.take_back(&self.network);
    }

    /// The password was wrong; how long to wait when that was the last try for now.
    pub(crate) fn failed(self) -> Option<Wait> {
        let throttle = self.throttle;
        let (now, window) = (throttle.clock.now(), throttle.settings.window);
        let pair = (self.account, self.network);
        let of_account = throttle.settings.account_failures;
        let of_address = throttle.settings.address_failures;
        let wait = throttle
            .account_at_address
            .wait(&pair, of_account, now, window);
        wait.max(
            throttle
                .address
                .wait(&self.network, of_address, now, window),
        )
        .map(Wait)
    }
}

struct Counters<K>(Cache<K, Arc<Mutex<Counter>>>);

#[derive(Debug, Default)]
struct Counter {
    failures: u32,
    since: Timestamp,
}

impl<K: std::hash::Hash + Eq + Send + Sync + 'static> Counters<K> {
    fn new(window: Duration) -> Self {
        let cache = Cache::builder().max_capacity(MAX_ENTRIES);
        Self(cache.time_to_idle(window).build())
    }

    /// What is left of the window once the counter is full.
    fn wait(&self, key: &K, limit: u32, now: Timestamp, window: Duration) -> Option<Duration> {
        let counter = self.0.get(key)?;
        let counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
        let left = window.saturating_sub(now.since(counter.since));
        (counter.failures >= limit && !left.is_zero()).then_some(left)
    }

    fn add(&self, key: K, now: Timestamp, window: Duration) {
        let counter = self.0.get_with(key, Arc::default);
        let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
        if counter.failures == 0 || now.since(counter.since) >= window {
            *counter = Counter {
                failures: 0,
                since: now,
            };
        }
        counter.failures = counter.failures.saturating_add(1);
    }

    fn take_back(&self, key: &K) {
        if let Some(counter) = self.0.get(key) {
            let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
            counter.failures = counter.failures.saturating_sub(1);
        }
    }

    fn forget(&self, key: &K) {
        self.0.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(15);

    fn throttle() -> (Throttle, Clock) {
        let clock = Clock::system();
        let settings = Settings {
            account_failures: 10,
            address_failures: 50,
            window: WINDOW,
        };
        (Throttle::new(settings, clock.clone()), clock)
    }

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn sec_59_guessing_at_one_account_has_to_wait_and_may_go_on_later() {
        let (throttle, clock) = throttle();
        for n in 0..10 {
            let wait = throttle.begin("ada", address(1)).ok().unwrap().failed();
            assert_eq!(wait.is_some(), n == 9, "try {n}");
        }
        let Err(Wait(wait)) = throttle.begin("ada", address(1)) else {
            panic!("no wait")
        };
        assert!(wait <= WINDOW && wait > WINDOW / 2);
        assert!(
            throttle.begin("ada", address(2)).is_ok(),
            "the user elsewhere signs in"
        );
        assert!(
            throttle.begin("bob", address(1)).is_ok(),
            "others at the address sign in"
        );
        clock.advance(WINDOW);
        assert!(throttle.begin("ada", address(1)).is_ok());
    }

    #[test]
    fn sec_59_tries_at_the_same_time_all_count() {
        let (throttle, _) = throttle();
        let under_way: Vec<_> = (0..20)
            .filter_map(|_| throttle.begin("ada", address(1)).ok())
            .collect();
        assert_eq!(under_way.len(), 10);
    }

    #[test]
    fn sec_59_one_address_may_not_try_many_accounts() {
        let (throttle, _) = throttle();
        for n in 0..50 {
            let _ = throttle
                .begin(&format!("user{n}"), address(1))
                .ok()
                .unwrap()
                .failed();
        }
        assert!(throttle.begin("ada", address(1)).is_err());
    }

    #[test]
    fn sec_59_an_account_under_attack_from_everywhere_is_open_where_its_user_signed_in_before() {
        let (throttle, _) = throttle();
        throttle
            .begin("ada", address(200))
            .ok()
            .unwrap()
            .succeeded();
        for n in 0..100 {
            let _ = throttle.begin("ada", address(n)).ok().unwrap().failed();
        }
        assert!(throttle.begin("ada", address(150)).is_err());
        assert!(throttle.begin("ada", address(200)).is_ok());
    }

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
        assert!(throttle.begin("ada", address(1)).is_ok());
    }
}
