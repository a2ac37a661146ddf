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
    /// `Host` for an app that is to see its own name.
    pub(super) fn host_header(&self) -> HeaderValue {
        let (host, port, default) = match self {
            Self::Http { host, port } => (host, *port, 80),
            Self::Https { host, port } => (host, *port, 443),
            Self::Unix(_) => return HeaderValue::from_static("localhost"),
        };
        let text = if port == default {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
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
