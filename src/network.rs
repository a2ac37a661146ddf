//! Networks of clients: whom limits count as one.
//!
//! An IPv4 address is one customer, or one office behind NAT. A customer of IPv6 has a /64 at the
//! least, mostly a /56, and a site a /48 (RFC 6177): counted by address alone, one customer would
//! be 2^80 strangers.

mod quotas;

use std::fmt;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use quotas::{QuotaPermit, Quotas};

/// An IPv4 address, or a /64, /56 or /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The narrowest network of an address. IPv4 in IPv6 notation is IPv4.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self {
                address,
                prefix: 32,
            },
            IpAddr::V6(address) => Self::ipv6(address, 64),
        }
    }

    /// The next wider network that is counted as one; `None` for the widest.
    pub(crate) fn enclosing(self) -> Option<Self> {
        match (self.address, self.prefix) {
            (IpAddr::V6(address), 64) => Some(Self::ipv6(address, 56)),
            (IpAddr::V6(address), 56) => Some(Self::ipv6(address, 48)),
            _ => None,
        }
    }

    /// This network and those around it, the narrowest first.
    pub(crate) fn levels(self) -> impl Iterator<Item = Self> {
        successors(Some(self), |network| network.enclosing())
    }

    /// The widest network around this one: an IPv4 address, or a /48.
    pub(crate) fn widest(self) -> Self {
        self.levels().last().unwrap_or(self)
    }

    /// What a whole provider of a few addresses has: an IPv4 /24, or a /48. For the few things
    /// that cannot be shared among all addresses of IPv4.
    pub(crate) fn site(self) -> Self {
        match self.address {
            IpAddr::V4(address) => Self {
                address: Ipv4Addr::from_bits(address.to_bits() & 0xffff_ff00).into(),
                prefix: 24,
            },
            IpAddr::V6(_) => self.widest(),
        }
    }

    fn ipv6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX << (128 - u32::from(prefix));
        Self {
            address: Ipv6Addr::from_bits(address.to_bits() & mask).into(),
            prefix,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) if self.prefix == 32 => write!(f, "{address}"),
            address => write!(f, "{address}/{}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(address: &str) -> Vec<String> {
        let network = Network::of(address.parse().unwrap());
        network.levels().map(|level| level.to_string()).collect()
    }

    #[test]
    fn sec_87_a_customer_of_ipv6_is_one_at_each_level() {
        assert_eq!(levels("192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(levels("::ffff:192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(
            levels("2001:db8:1:2345:6::7"),
            [
                "2001:db8:1:2345::/64",
                "2001:db8:1:2300::/56",
                "2001:db8:1::/48"
            ]
        );
    }

    #[test]
    fn the_widest_network_is_the_last_level() {
        let network = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(network("192.0.2.1").widest(), network("192.0.2.1"));
        let wide = network("2001:db8:1:2345::1").widest();
        assert_eq!(wide, network("2001:db8:1:ffff::1").widest());
        assert_eq!(wide.to_string(), "2001:db8:1::/48");
        assert_eq!(network("2001:db8:1:2345::1").site(), wide);
        let site = network("192.0.2.1").site();
        assert_eq!(site, network("192.0.2.255").site());
        assert_eq!(site.to_string(), "192.0.2.0/24");
    }
}
