//! Which uses of a token the audit log has: enough to see who uses it from where, and no line for
//! each request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

const DAY: u64 = 24 * 60;

/// The minute and the network of the last one.
#[derive(Debug, Default)]
pub(super) struct LastTold(AtomicU64);

impl LastTold {
    /// Whether to tell of a use now; whoever asks does. The first one is told, one from another
    /// network than the last, and one a day, but no two within a minute.
    pub(super) fn is_due(&self, client: IpAddr, now: Timestamp) -> bool {
        let minute = (now.as_millis() / 60_000) & u64::from(u32::MAX);
        let told = self.0.load(Ordering::Relaxed);
        let (told_minute, told_network) = (told >> 32, told & u64::from(u32::MAX));
        let network = u64::from(network(client));
        let is_known = network == told_network && minute.saturating_sub(told_minute) < DAY;
        if is_known || minute == told_minute {
            return false;
        }
        let telling = (minute << 32) | network;
        let order = Ordering::Relaxed;
        self.0.compare_exchange(told, telling, order, order).is_ok()
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
            ("192.0.2.7", 5, false), // at most once a minute
            ("192.0.2.7", 6, true),
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
}
