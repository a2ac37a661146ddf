//! Where an application is.

use std::fmt;
use std::path::PathBuf;

use http::HeaderValue;

/// One address of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://host:port`
    Http { host: String, port: u16 },
    /// `https://host:port`
    Https { host: String, port: u16 },
    /// `unix:/path`
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn is_https(&self) -> bool {
        matches!(self, Self::Https { .. })
    }

    /// `Host` for an app that is to see its own name.
    pub(crate) fn host_header(&self) -> HeaderValue {
        let (host, port, default) = match self {
            Self::Http { host, port } => (host, *port, 80),
            Self::Https { host, port } => (host, *port, 443),
            Self::Unix(_) => return HeaderValue::from_static("localhost"),
        };
        let mut text = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        if port != default {
            text = format!("{text}:{port}");
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    }
}

/// As the configuration writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Http { host, port } => ("http", host, port),
            Self::Https { host, port } => ("https", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_client_would_send() {
        let http = |host: &str, port| Address::Http {
            host: host.into(),
            port,
        };
        for (address, host) in [
            (http("wiki.internal", 80), "wiki.internal"),
            (http("wiki.internal", 443), "wiki.internal:443"),
            (http("::1", 3000), "[::1]:3000"),
            (Address::Unix("/run/x.sock".into()), "localhost"),
        ] {
            assert_eq!(address.host_header(), host);
        }
    }
}
