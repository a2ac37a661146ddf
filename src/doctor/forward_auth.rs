//! `[server] auth_listen` and `auth_from`: who could ask in the name of any client.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Auth, Finding};
use crate::listener::AuthAddress;

/// A container network of Docker has 16 bits; of IPv6, a site has 48.
const WIDEST_IPV4: u8 = 16;
const WIDEST_IPV6: u8 = 48;

pub(super) fn examine(auth: &Auth) -> Vec<Finding> {
    let (of_listen, of_from) = auth.lines;
    let mut findings = Vec::new();
    if auth.listen.is_empty() {
        if !auth.from.is_empty() {
            let message = "it does nothing: there is no `auth_listen`";
            let help = "write where the proxies ask, as in auth_listen = [\"127.0.0.1:9091\"]";
            findings.push(Finding::warning("[server] auth_from", message, help).at(of_from));
        }
        return findings;
    }
    let wide = auth.from.networks().iter().filter(|net| is_wide(net));
    findings.extend(wide.map(|network| {
        let message = format!(
            "everybody in {network} may ask, in the name of any client and from any address"
        );
        let help = "name the proxies themselves, each by its address";
        Finding::warning("[server] auth_from", message, help).at(of_from)
    }));
    let addresses = auth.listen.iter().filter_map(AuthAddress::tcp);
    let public = addresses.filter(|address| is_public(address.ip().to_canonical()));
    findings.extend(public.map(|address| {
        let message = format!(
            "{address} can be reached from other networks, and sessions pass it without TLS"
        );
        let help = "listen on 127.0.0.1, on an address of a private network, or on a socket: \
                    \"unix:/run/vestibule/auth.sock\"";
        Finding::warning("[server] auth_listen", message, help).at(of_listen)
    }));
    findings
}

fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_IPV4,
        IpNet::V6(network) => network.prefix_len() < WIDEST_IPV6,
    }
}

/// Every address is one, too.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_private() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::doctor::permission::Perspective;

    #[test]
    fn sec_95_wide_networks_and_public_addresses_are_warned_of() {
        let sock = "\"unix:/run/vestibule/auth.sock\"";
        for (listen, from, expected) in [
            ("\"127.0.0.1:9091\"", "\"127.0.0.1\"", &[][..]),
            ("\"10.0.0.2:9091\"", "\"172.17.0.0/16\"", &[]),
            ("\"[::1]:9091\", \"[fd00::2]:9091\"", "\"fd00::/48\"", &[]),
            (sock, "", &[]),
            ("", "\"127.0.0.1\"", &["3 it does nothing"]),
            (
                "\"127.0.0.1:9091\"",
                "\"10.0.0.0/8\"",
                &["3 everybody in 10.0.0.0/8"],
            ),
            (sock, "\"::/0\"", &["3 everybody in ::/0"]),
            (
                "\"0.0.0.0:9091\", \"192.0.2.1:9091\"",
                "\"127.0.0.1\"",
                &["2 0.0.0.0:9091 can be", "2 192.0.2.1:9091 can be"],
            ),
            ("\"[::]:9091\"", "\"::1\"", &["2 [::]:9091 can be"]),
        ] {
            let text = format!(
                "[server]\nauth_listen = [{listen}]\nauth_from = [{from}]\n[tls]\ncert = \"c\"\n\
                 key = \"k\"\n[[app]]\nupstream = \"http://a:1\"\n"
            );
            let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
            let findings = examine(&config.examined(Perspective::Person).auth);
            assert_eq!(findings.len(), expected.len(), "{text}: {findings:?}");
            for (finding, expected) in findings.iter().zip(expected) {
                let shown = format!("{} {}", finding.line.unwrap(), finding.message);
                assert!(shown.starts_with(expected), "{shown}");
            }
        }
    }
}
