//! The client's address behind trusted proxies, and the `X-Forwarded-*` headers.

mod chain;
pub(crate) mod names;

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use self::chain::{Chain, FOR};

const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Characters that the log shows of what it says cannot be read.
const SHOWN: usize = 64;

/// Networks of proxies that are believed in something: `trusted_proxies` in `X-Forwarded-For` and
/// `Forwarded` (SEC-41), `proxy_protocol_from` in the PROXY header, `auth_from` in what they ask by
/// forward auth (SEC-95). Nobody is by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedSources(Vec<IpNet>);

/// Who sent a request, and by which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The rightmost hop that is not a trusted proxy: counts for throttle and log. The last one
    /// that is named where they all are trusted.
    pub(crate) address: IpAddr,
    /// Whether that is a client, and no proxy that does not say who is beyond.
    is_known: bool,
    /// What trusted proxies said before the peer itself; `None` when the peer is the client.
    via: Option<String>,
    /// What a trusted proxy named and is no address.
    pub(crate) unreadable: Option<Box<Unreadable>>,
}

/// An element of a chain that names no address, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) field: HeaderName,
    pub(crate) element: String,
}

impl TrustedSources {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn networks(&self) -> &[IpNet] {
        &self.0
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Walks the hops from the right as long as trusted proxies vouch for what is left of them. One
    /// that is no address ends the walk: who is beyond is not known.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut client = Client {
            address: peer,
            is_known: !self.contain(peer),
            via: None,
            unreadable: None,
        };
        if client.is_known {
            return client;
        }
        let Chain { field, hops } = Chain::of(headers);
        let mut believed = hops.len();
        for hop in hops.iter().rev() {
            match *hop {
                Ok(address) => {
                    client.address = address;
                    client.is_known = !self.contain(address);
                    believed -= 1;
                }
                Err(element) => {
                    let element = String::from_utf8_lossy(element);
                    let element = element.chars().take(SHOWN).collect();
                    client.unreadable = Some(Box::new(Unreadable { field, element }));
                    break;
                }
            }
            if client.is_known {
                break;
            }
        }
        let mut via = String::new();
        for hop in hops[believed..].iter().flatten() {
            let _ = write!(via, "{hop}, "); // writing to a String cannot fail
        }
        let _ = write!(via, "{peer}");
        client.via = Some(via);
        client
    }

    /// The client whom a proxy names that asks by forward auth: an address, or a chain of which it has
    /// added the last one. `None` if that one is no address.
    pub(crate) fn client_told(&self, chain: &HeaderValue) -> Option<Client> {
        let mut hops = chain::hops(chain).rev();
        let mut address = hops.next()?.ok()?;
        while self.contain(address)
            && let Some(Ok(before)) = hops.next()
        {
            address = before;
        }
        Some(Client {
            address,
            is_known: !self.contain(address),
            via: None,
            unreadable: None,
        })
    }
}

impl Client {
    /// For what asks whether the client is in a network: an address that is not known beyond a
    /// trusted proxy is in none, or everybody would be where the proxy is.
    pub(crate) fn known_address(&self) -> Option<IpAddr> {
        self.is_known.then_some(self.address)
    }

    /// Says to the upstream who asks, and how; `peer` is who does when no proxy vouches for
    /// another. What the client itself had said is gone by now: see [`is_reserved`].
    pub(crate) fn describe(&self, headers: &mut HeaderMap, peer: &HeaderValue, host: HeaderValue) {
        let chain = match &self.via {
            Some(via) => HeaderValue::from_str(via).ok(),
            None => Some(peer.clone()),
        };
        if let Some(chain) = chain {
            headers.insert(FOR, chain);
        }
        headers.insert(HOST, host);
        headers.insert(PROTO, HeaderValue::from_static("https"));
    }
}

/// Whether somebody says of a request that it was for another before.
pub(crate) fn is_told(headers: &HeaderMap) -> bool {
    headers.contains_key(FOR)
        || headers.contains_key(PROTO)
        || headers.contains_key(header::FORWARDED)
}

/// An address as applications read it.
pub(crate) fn header_of(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address is ASCII")
}

/// Whether a header, with every character that is no letter or digit taken for `-`, would tell an
/// upstream who the client is, what it asked for, or what we call its request, or has a name that
/// begins like ours. Never passed on (SEC-33, SEC-36, SEC-41).
///
/// `Proxy` is here for CGI, where it becomes `HTTP_PROXY`, by which many clients of HTTP choose
/// the proxy that they go by (httpoxy, CVE-2016-5385).
pub(crate) fn is_reserved(folded: &str) -> bool {
    folded.starts_with("x-forwarded-")
        || folded.starts_with("x-vestibule-")
        || matches!(
            folded,
            "forwarded"
                | "proxy"
                | "x-real-ip"
                | "x-request-id"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "true-client-ip"
                | "x-envoy-external-address"
                | "x-envoy-original-path"
                | "x-host"
                | "x-http-host-override"
                | "x-original-forwarded-for"
                | "x-original-host"
                | "x-original-method"
                | "x-original-proto"
                | "x-original-uri"
                | "x-original-url"
                | "x-replaced-path"
                | "x-rewrite-url"
                | "x-session-data"
                | "x-session-set"
                | "x-session-unset"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_33_sec_41_what_only_a_proxy_has_to_say_no_client_says() {
        for (name, _) in names::OF_PROXIES {
            assert!(is_reserved(&name.to_ascii_lowercase()), "{name}");
        }
        for (name, _) in names::OF_APPS {
            assert!(!is_reserved(&name.to_ascii_lowercase()), "{name}");
        }
    }

    fn client(trusted: &[&str], peer: &str, chain: &[&str]) -> (String, String) {
        let trusted = TrustedSources::new(trusted.iter().map(|net| net.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for line in chain {
            headers.append(FOR, HeaderValue::from_str(line).unwrap());
        }
        let peer = peer.parse().unwrap();
        let client = trusted.client(peer, &headers);
        let mut sent = HeaderMap::new();
        client.describe(
            &mut sent,
            &header_of(peer),
            HeaderValue::from_static("a.example"),
        );
        (
            client.address.to_string(),
            sent[FOR].to_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn sec_41_the_client_is_the_rightmost_hop_that_is_not_trusted() {
        let net = &["10.0.0.0/8", "fd00::/8"][..];
        for (trusted, peer, chain, address, sent) in [
            (
                &[][..],
                "10.0.0.1",
                &["1.1.1.1"][..],
                "10.0.0.1",
                "10.0.0.1",
            ),
            (net, "192.0.2.1", &["1.1.1.1"], "192.0.2.1", "192.0.2.1"),
            (net, "10.0.0.1", &[], "10.0.0.1", "10.0.0.1"),
            (
                net,
                "10.0.0.1",
                &["1.1.1.1"],
                "1.1.1.1",
                "1.1.1.1, 10.0.0.1",
            ),
            (
                net,
                "10.0.0.1",
                &["9.9.9.9, 1.1.1.1, 10.0.0.2"],
                "1.1.1.1",
                "1.1.1.1, 10.0.0.2, 10.0.0.1",
            ),
            (
                net,
                "10.0.0.1",
                &["9.9.9.9", "1.1.1.1"],
                "1.1.1.1",
                "1.1.1.1, 10.0.0.1",
            ),
            (
                net,
                "10.0.0.1",
                &["1.1.1.1, evil\"x"],
                "10.0.0.1",
                "10.0.0.1",
            ),
            (
                net,
                "10.0.0.1",
                &["10.0.0.3,10.0.0.2"],
                "10.0.0.3",
                "10.0.0.3, 10.0.0.2, 10.0.0.1",
            ),
            (
                net,
                "fd00::1",
                &["2001:db8::5"],
                "2001:db8::5",
                "2001:db8::5, fd00::1",
            ),
            (
                net,
                "10.0.0.1",
                &["::ffff:1.1.1.1"],
                "1.1.1.1",
                "1.1.1.1, 10.0.0.1",
            ),
        ] {
            let expected = (address.to_owned(), sent.to_owned());
            assert_eq!(client(trusted, peer, chain), expected, "{peer} {chain:?}");
        }
    }
    #[test]
    fn sec_95_the_client_of_a_proxy_that_asks_is_the_last_one_that_it_names() {
        let trusted = TrustedSources::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (chain, address, known) in [
            ("192.0.2.7", Some("192.0.2.7"), true),
            ("127.0.0.1, 192.0.2.7", Some("192.0.2.7"), true),
            ("x, 192.0.2.7:50123", Some("192.0.2.7"), true),
            ("127.0.0.1, 192.0.2.7, 10.0.0.2", Some("192.0.2.7"), true),
            ("x, 10.0.0.2", Some("10.0.0.2"), false),
            ("10.0.0.2", Some("10.0.0.2"), false),
            ("::ffff:192.0.2.7", Some("192.0.2.7"), true),
            ("192.0.2.7, x", None, false),
            ("unix:", None, false),
            ("", None, false),
        ] {
            let client = trusted.client_told(&HeaderValue::from_static(chain));
            let told = client.as_ref().map(|client| client.address.to_string());
            assert_eq!(told.as_deref(), address, "{chain}");
            let is_known = client.is_some_and(|client| client.known_address().is_some());
            assert_eq!(is_known, known, "{chain}");
        }
    }

    #[test]
    fn sec_41_a_client_that_no_trusted_proxy_names_is_in_no_network() {
        let trusted = TrustedSources::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (peer, chain, known, unreadable) in [
            ("192.0.2.1", None, Some("192.0.2.1"), None),
            ("192.0.2.1", Some("unknown"), Some("192.0.2.1"), None),
            ("10.0.0.1", None, None, None),
            ("10.0.0.1", Some(""), None, None),
            ("10.0.0.1", Some("10.0.0.2"), None, None),
            ("10.0.0.1", Some("unknown"), None, Some("unknown")),
            ("10.0.0.1", Some("1.1.1.1, x, 10.0.0.2:80"), None, Some("x")),
            ("10.0.0.1", Some("x, 1.1.1.1:80"), Some("1.1.1.1"), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(chain.map(|chain| (FOR, HeaderValue::from_static(chain))));
            let client = trusted.client(peer.parse().unwrap(), &headers);
            let address = client.known_address().map(|address| address.to_string());
            assert_eq!(address.as_deref(), known, "{peer} {chain:?}");
            let element = client.unreadable.map(|unreadable| unreadable.element);
            assert_eq!(element.as_deref(), unreadable, "{peer} {chain:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(FOR, HeaderValue::from_bytes(&[0xff; 200]).unwrap());
        let client = trusted.client("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!(client.unreadable.unwrap().element.chars().count(), SHOWN);
    }
}
