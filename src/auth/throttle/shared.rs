//! Tries at an account that is guessed at from everywhere: networks that are new to it share one
//! every ten seconds.
//!
//! A few may be saved up, and who has had some has to leave as many to others (as in `Shares`):
//! a network that has had none yet finds one at once, or within ten seconds of each other network
//! that is as new. So the user at a new address gets in while the attack goes on, and whoever
//! attacks from a few networks waits for longer and longer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Account;
use crate::clock::Timestamp;
use crate::network::Network;

/// One try in this time.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Tries that are saved up at most.
pub(super) const SAVED: u32 = 4;

#[derive(Default)]
pub(super) struct SharedTries(Mutex<HashMap<Account, Bucket>>);

struct Bucket {
    /// When the window of the account began.
    since: Timestamp,
    /// When all tries that may be saved up are there again.
    full: Timestamp,
    /// How many each network has had in this window; bounded by [`EVERY`].
    taken: HashMap<Network, u32>,
}

impl SharedTries {
    /// A try for `network`, or how long until there is one. `since` is when the window of the
    /// account began, which is `window` long.
    pub(super) fn take(
        &self,
        account: Account,
        network: Network,
        (since, window): (Timestamp, Duration),
        now: Timestamp,
    ) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        if !buckets.contains_key(&account) {
            buckets.retain(|_, bucket| now.since(bucket.since) < window);
        }
        let fresh = || Bucket {
            since,
            full: now,
            taken: HashMap::new(),
        };
        let bucket = buckets.entry(account).or_insert_with(fresh);
        if bucket.since != since {
            *bucket = fresh();
        }
        let taken = bucket.taken.get(&network).copied().unwrap_or(0);
        // One that has had some takes the next only where so many more are left.
        let wanted = EVERY * taken.saturating_add(1).min(SAVED);
        let missing = (bucket.full.since(now) + wanted).saturating_sub(EVERY * SAVED);
        if !missing.is_zero() {
            return Err(missing);
        }
        bucket.full = bucket.full.max(now).plus(EVERY);
        *bucket.taken.entry(network).or_default() += 1;
        Ok(())
    }

    /// It was no wrong password.
    pub(super) fn give_back(&self, account: &Account, network: Network, now: Timestamp) {
        let mut buckets = self.buckets();
        let Some(bucket) = buckets.get_mut(account) else {
            return;
        };
        if let Entry::Occupied(mut taken) = bucket.taken.entry(network) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
            let owed = bucket.full.since(now).saturating_sub(EVERY);
            bucket.full = now.plus(owed);
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Account, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Account = [7; 16];
    const WINDOW: Duration = Duration::from_mins(15);

    fn network(n: u8) -> Network {
        Network::of([192, 0, n, 1].into()).site()
    }

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn take(tries: &SharedTries, n: u8, at: u64) -> Result<(), u64> {
        let taken = tries.take(ADA, network(n), (seconds(0), WINDOW), seconds(at));
        taken.map_err(|wait| wait.as_secs())
    }

    #[test]
    fn sec_59_one_network_never_takes_the_try_of_a_newcomer() {
        let tries = SharedTries::default();
        let mut had = 0;
        for second in 0..600 {
            had += u32::from(take(&tries, 1, second).is_ok());
            if second % 100 == 50 {
                let newcomer = u8::try_from(10 + second / 100).unwrap();
                assert_eq!(take(&tries, newcomer, second), Ok(()), "at {second} s");
            }
        }
        assert!((40..=62).contains(&had), "{had} in ten minutes");
    }

    #[test]
    fn sec_59_among_newcomers_each_waits_ten_seconds_for_each_other() {
        let tries = SharedTries::default();
        for n in 0..4 {
            assert_eq!(take(&tries, n, 0), Ok(()));
        }
        assert_eq!(take(&tries, 4, 0), Err(10));
        assert_eq!(take(&tries, 0, 0), Err(20), "who had one waits for longer");
        assert_eq!(take(&tries, 4, 10), Ok(()));
    }

    #[test]
    fn a_try_that_was_given_back_is_there_again() {
        let tries = SharedTries::default();
        for n in 0..4 {
            take(&tries, n, 0).unwrap();
        }
        tries.give_back(&ADA, network(0), seconds(0));
        assert_eq!(take(&tries, 0, 0), Ok(()));
        tries.give_back(&ADA, network(9), seconds(0));
        assert_eq!(take(&tries, 9, 0), Err(10));
    }

    #[test]
    fn another_window_begins_anew_and_what_is_over_goes() {
        let tries = SharedTries::default();
        for n in 0..4 {
            take(&tries, n, 0).unwrap();
        }
        let later = seconds(15 * 60);
        let window = (later, WINDOW);
        let bob = [8; 16];
        tries.take(bob, network(1), window, later).unwrap();
        assert_eq!(tries.buckets().len(), 1);
        tries.take(ADA, network(1), window, later).unwrap();
    }
}
