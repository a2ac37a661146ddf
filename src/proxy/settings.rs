//! What holds for all apps.

use std::path::PathBuf;
use std::time::Duration;

use crate::forwarded::TrustedSources;
use crate::request::{Host, Limits};

/// `[server]`, as far as requests and connections are concerned.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) trusted_proxies: TrustedSources,
    /// Load balancers that begin each connection with a PROXY header.
    pub(crate) proxy_protocol_from: TrustedSources,
    /// Proxies that may ask by forward auth.
    pub(crate) auth_from: TrustedSources,
    /// Of this service, as browsers see it; `None` for that of `Host`, or the one listened on.
    pub(crate) public_port: Option<u16>,
    /// Of one login for all apps.
    pub(crate) login_host: Option<Host>,
    /// The folder with the responses to HTTP-01 challenges.
    pub(crate) acme_challenges: Option<PathBuf>,
    pub(crate) access_log: bool,
    /// Whether an app gets header names with the client's letters: hyper has to keep them from
    /// where they are read.
    pub(crate) preserve_header_case: bool,
    /// Bytes of forms that met an ended session.
    pub(crate) kept_forms: usize,
}

/// `[server.timeouts]`; each is a whole, not per byte, unless it says idle.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// TLS handshake.
    pub(crate) handshake: Duration,
    /// From the first byte of a head to its end.
    pub(crate) headers: Duration,
    /// Between two reads of a request body.
    pub(crate) body_idle: Duration,
    /// A connection without a request.
    pub(crate) keep_alive: Duration,
    /// A client that takes nothing.
    pub(crate) write: Duration,
}
