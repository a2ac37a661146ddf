//! Which uses of a token the audit log has: enough to see who uses it from where, and no line for
//! each request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

const DAY: u64 = 24 * 60;

/// Networks that are remembered, and so the lines that one token writes within a minute at most.
const REMEMBERED: usize = 8;

/// The minute and the network of the last lines.
#[derive(Debug, Default)]
pub(super) struct LastTold([AtomicU64; REMEMBERED]);

impl LastTold {
    /// Whether to tell of a use now; whoever asks does. Each network is told of once a day. The one
    /// that was told of longest ago makes room for another, unless all were within this minute.
    pub(super) fn is_due(&self, client: IpAddr, now: Timestamp) -> bool {
        let minute = (now.as_millis() / 60_000) & u64::from(u32::MAX);
        let network = u64::from(network(client));
        let is_known = |told: u64| {
            let of_network = told & u64::from(u32::MAX) == network;
            of_network && minute.saturating_sub(told >> 32) < DAY
        };
        let telling = (minute << 32) | network;
        let order = Ordering::Relaxed;
        loop {
            // Whoever is first takes the place that all of them found: two that come from one network
            // at once are told of once.
            let (mut oldest, mut place) = (u64::MAX, &self.0[0]);
            for each in &self.0 {
                let told = each.load(order);
                if is_known(told) {
                    return false;
                }
                if told >> 32 < oldest >> 32 {
                    (oldest, place) = (told, each);
                }
            }
            if oldest >> 32 >= minute {
                return false;
            }
            if place
                .compare_exchange(oldest, telling, order, order)
                .is_ok()
            {
                return true;
            }
        }
    }
}

/// An IPv4 address, or what tells a /64 of IPv6 from most others.
fn network(client: IpAddr) -> u32 {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let word = |from: u32| u32::try_from((bits >> from) & u128::from(u32::MAX));
            word(96).unwrap_or(0).rotate_left(16) ^ word(64).unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_told_when_it_is_news() {
        let told = LastTold::default();
        let at = |minutes: u64| Timestamp::from_millis((29_000_000 + minutes) * 60_000);
        for (client, minutes, expected) in [
            ("192.0.2.7", 0, true),
            ("192.0.2.7", 0, false),
            ("::ffff:192.0.2.7", 5, false),
            ("192.0.2.8", 5, true),
            ("192.0.2.9", 5, true), // within the same minute
            ("192.0.2.7", 6, false),
            ("2001:db8::1", 7, true),
            ("2001:db8::2", 8, false), // of the same network
            ("2001:db8:0:1::2", 9, true),
            ("2001:db8:0:1::2", 9 + DAY - 1, false),
            ("2001:db8:0:1::2", 9 + DAY, true),
        ] {
            let is_due = told.is_due(client.parse().unwrap(), at(minutes));
            assert_eq!(is_due, expected, "{client} at {minutes}");
        }
    }

    #[test]
    fn a_token_that_is_everywhere_writes_eight_lines_a_minute() {
        let told = LastTold::default();
        let at = |minutes: u64| Timestamp::from_millis((29_000_000 + minutes) * 60_000);
        let count = |minutes, hosts: std::ops::Range<u8>| {
            let is_due = |host| told.is_due([192, 0, 2, host].into(), at(minutes));
            hosts.filter(|&host| is_due(host)).count()
        };
        assert_eq!(count(0, 0..100), REMEMBERED);
        assert_eq!(count(0, 0..100), 0);
        assert_eq!(count(1, 100..104), 4, "the oldest make room");
        assert_eq!(count(1, 100..200), 4);
    }

    #[test]
    fn a_use_that_several_threads_note_at_once_is_told_once() {
        let told = LastTold::default();
        let now = Timestamp::from_millis(29_000_000 * 60_000);
        let lines = std::thread::scope(|scope| {
            let note = || {
                (0..4)
                    .filter(|&host| told.is_due([192, 0, 2, host].into(), now))
                    .count()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(note)).collect();
            threads
                .into_iter()
                .map(|it| it.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(lines, 4);
    }
}
