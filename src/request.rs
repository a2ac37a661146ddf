//! Parses a request once: host, normal path, limits. What is matched is what is sent.

use std::collections::HashSet;

use http::Method;

/// Limits on the head of a request (SEC-10, SEC-13), `[server.limits]`.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of the whole head.
    pub(crate) head: usize,
    /// Header fields.
    pub(crate) fields: usize,
    /// Bytes of the request target.
    pub(crate) target: usize,
    /// Bytes of all Cookie fields together.
    pub(crate) cookie: usize,
    /// Methods that are let in; CONNECT and TRACE never are.
    pub(crate) methods: HashSet<Method>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            fields: 100,
            target: 8 * 1024,
            cookie: 8 * 1024,
            methods: [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ]
            .into_iter()
            .collect(),
        }
    }
}

/// A host name or IP address without port, lower case, without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host(String);

impl Host {
    /// Parses a host as configuration and `Host` fields have it; no port, no userinfo.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let valid = match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                name.len() <= 253
                    && name.split('.').all(|label| {
                        !label.is_empty()
                            && label.len() <= 63
                            && label
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                    })
            }
        };
        valid.then_some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
