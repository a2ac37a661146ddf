//! Something that there is only so much of, shared among networks (SEC-87).
//!
//! Whoever asks gets more as long as its network holds no more than what is left for all others,
//! which is the dynamic threshold of switches with a common buffer (Choudhury and Hahne, 1998).
//! One network alone can have half; with sixteen that take all they get, each has a
//! seventeenth, and a seventeenth stays free for whoever comes next. Nothing has to be taken back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Network;

/// Quotas of `capacity` units: bytes, or places in a queue.
pub(crate) struct Quotas {
    state: Mutex<State>,
}

struct State {
    capacity: u64,
    total: u64,
    held: HashMap<Network, u64>,
}

/// What a network holds of it, until this is dropped.
pub(crate) struct QuotaPermit {
    quotas: Arc<Quotas>,
    network: Network,
    amount: u64,
}

impl Quotas {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                capacity,
                total: 0,
                held: HashMap::new(),
            }),
        })
    }

    /// Another capacity, for those who ask from now on; what is held stays.
    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.lock().capacity = capacity;
    }

    /// How much is held in all.
    pub(crate) fn total(&self) -> u64 {
        self.lock().total
    }

    /// Takes `amount` for a network, unless it would hold more than its share.
    pub(crate) fn take(self: &Arc<Self>, network: Network, amount: u64) -> Option<QuotaPermit> {
        self.lock().add(network, amount).then(|| QuotaPermit {
            quotas: Arc::clone(self),
            network,
            amount,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QuotaPermit {
    /// Takes `amount` more; `false`, and nothing has changed, when that is above the network's share.
    pub(crate) fn grow(&mut self, amount: u64) -> bool {
        let grown = self.quotas.lock().add(self.network, amount);
        if grown {
            self.amount += amount;
        }
        grown
    }

    /// How much it is.
    #[cfg(test)]
    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quotas.lock().remove(self.network, self.amount);
    }
}

impl State {
    fn add(&mut self, network: Network, amount: u64) -> bool {
        if !self.allows(network, amount) {
            return false;
        }
        self.total += amount;
        for level in network.levels() {
            *self.held.entry(level).or_default() += amount;
        }
        true
    }

    /// Each level of a network shares what is left to the level around it.
    fn allows(&self, network: Network, amount: u64) -> bool {
        let Some(total) = self.total.checked_add(amount) else {
            return false;
        };
        let Some(mut left) = self.capacity.checked_sub(total) else {
            return false;
        };
        let mut levels: Vec<_> = network.levels().collect();
        levels.reverse();
        levels.into_iter().all(|level| {
            let held = self.held.get(&level).copied().unwrap_or(0);
            // The first of a network is never too much, or a small capacity would be nobody's.
            let within = held == 0 || held + amount <= left;
            left = left.saturating_sub(held + amount);
            within
        })
    }

    fn remove(&mut self, network: Network, amount: u64) {
        self.total -= amount;
        for level in network.levels() {
            if let Entry::Occupied(mut held) = self.held.entry(level) {
                *held.get_mut() -= amount;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    /// Takes one by one until there is no more.
    fn take_all(quotas: &Arc<Quotas>, address: &str) -> Vec<QuotaPermit> {
        std::iter::from_fn(|| quotas.take(network(address), 1)).collect()
    }

    #[test]
    fn sec_87_one_network_alone_has_half() {
        let quotas = Quotas::new(100);
        let held = take_all(&quotas, "192.0.2.1");
        assert_eq!(held.len(), 50);
        drop(held);
        assert_eq!(quotas.total(), 0);
        assert!(quotas.lock().held.is_empty());
    }

    #[test]
    fn sec_87_sixteen_networks_leave_a_share_for_the_next() {
        let quotas = Quotas::new(170);
        let mut held: Vec<Vec<QuotaPermit>> = (1..=16).map(|_| Vec::new()).collect();
        for _ in 0..170 {
            for (n, held) in held.iter_mut().enumerate() {
                held.extend(quotas.take(network(&format!("192.0.2.{n}")), 1));
            }
        }
        assert_eq!(held.iter().map(Vec::len).max(), Some(10));
        assert_eq!(take_all(&quotas, "198.51.100.1").len(), 5);
    }

    #[test]
    fn sec_87_a_wide_network_is_one_and_shares_within() {
        let quotas = Quotas::new(100);
        let first = take_all(&quotas, "2001:db8:0:1::1").len();
        let held: Vec<_> = (0..0x400_u32)
            .flat_map(|n| take_all(&quotas, &format!("2001:db8:0:{n:x}::1")))
            .collect();
        assert!(first < 50, "a /64 leaves something to its /48");
        assert!(held.len() <= 50, "all /64 of a /48: {}", held.len());
        assert!(!take_all(&quotas, "2001:db8:1::1").is_empty());
    }

    #[test]
    fn the_first_of_a_network_is_never_too_much() {
        let quotas = Quotas::new(2);
        let first = quotas.take(network("192.0.2.1"), 1);
        let second = quotas.take(network("192.0.2.2"), 1);
        assert!(first.is_some() && second.is_some());
        assert!(quotas.take(network("192.0.2.3"), 1).is_none());
    }

    #[test]
    fn a_share_grows_within_what_is_left() {
        let quotas = Quotas::new(100);
        let mut share = quotas.take(network("192.0.2.1"), 20).unwrap();
        assert!(share.grow(30));
        assert!(!share.grow(1));
        assert_eq!((share.amount(), quotas.total()), (50, 50));
        quotas.set_capacity(200);
        assert!(share.grow(1));
        assert!(quotas.take(network("192.0.2.2"), u64::MAX).is_none());
    }
}
