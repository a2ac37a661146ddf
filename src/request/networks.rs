//! From where an app, or a part of it, may be opened.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Networks of clients; none is no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(Box<[IpNet]>);

impl Networks {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(canonical).collect())
    }

    /// Whether a client may be anywhere.
    pub(crate) fn are_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a client at this address may go on. A client with an unknown address is in no network
    /// (SEC-41).
    pub(crate) fn admit(&self, client: Option<IpAddr>) -> bool {
        self.are_any() || client.is_some_and(|client| self.contain(client))
    }

    fn contain(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.0.iter().any(|network| network.contains(&client))
    }

    /// Each of them, as an operator writes it.
    pub(crate) fn list(&self) -> Vec<String> {
        let shown = self.0.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        });
        shown.collect()
    }

    /// Whether each client that these admit is admitted by `other`, as far as single networks show
    /// it.
    pub(crate) fn are_within(&self, other: &Self) -> bool {
        let covers = |network| other.0.iter().any(|wide| wide.contains(network));
        other.are_any() || !self.are_any() && self.0.iter().all(covers)
    }

    /// Whether some client is admitted by both.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        let meets = |one: &IpNet| {
            let mut others = other.0.iter();
            others.any(|other| one.contains(other) || other.contains(one))
        };
        self.are_any() || other.are_any() || self.0.iter().any(meets)
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: addresses are compared in their shorter form.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let (Some(address), Some(length)) = (
        mapped.addr().to_ipv4_mapped(),
        mapped.prefix_len().checked_sub(96),
    ) else {
        return network;
    };
    Ipv4Net::new(address, length).map_or(network, IpNet::V4)
}

/// As in `10.0.0.0/8, ::1`.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        let parse = |network: &&str| {
            let address = network.parse::<IpAddr>().map(IpNet::from);
            address.unwrap_or_else(|_| network.parse().unwrap())
        };
        Networks::new(list.iter().map(parse).collect())
    }

    #[test]
    fn sec_41_a_client_is_in_a_network_by_its_address_in_whichever_form() {
        let inside = networks(&["10.0.0.0/8", "::ffff:192.0.2.0/120", "fd00::/8", "::1"]);
        for (client, admitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("::1", true),
            ("::2", false),
            ("::a01:203", false), // IPv4-compatible, which nobody uses: another address
        ] {
            let client = client.parse().unwrap();
            assert_eq!(inside.admit(Some(client)), admitted, "{client}");
        }
        assert!(!inside.admit(None));
        assert!(!networks(&["0.0.0.0/0", "::/0"]).admit(None));
        assert!(!networks(&["::/0"]).admit(Some("10.1.2.3".parse().unwrap())));
        assert!(networks(&[]).admit(None));
    }

    #[test]
    fn networks_are_compared_and_shown() {
        let all = [
            (&[][..], &[][..], true, true),
            (&["10.0.0.0/8"], &[], true, true),
            (&[], &["10.0.0.0/8"], false, true),
            (&["10.1.0.0/16", "10.2.0.1"], &["10.0.0.0/8"], true, true),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], false, true),
            (&["10.0.0.0/8"], &["192.0.2.0/24", "::1"], false, false),
        ];
        for (one, other, within, overlap) in all {
            let (one, other) = (networks(one), networks(other));
            assert_eq!(one.are_within(&other), within, "{one} in {other}");
            assert_eq!(one.overlap(&other), overlap, "{one} and {other}");
            assert_eq!(other.overlap(&one), overlap, "{other} and {one}");
        }
        let shown = networks(&["10.0.0.0/8", "::ffff:192.0.2.7", "::1"]).to_string();
        assert_eq!(shown, "10.0.0.0/8, 192.0.2.7, ::1");
    }
}
