//! The client's address behind trusted proxies, and the `X-Forwarded-*` headers.

use ipnet::IpNet;

/// Networks whose `X-Forwarded-For` is believed; empty by default (SEC-41).
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }
}
