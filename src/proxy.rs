//! The way of a request: accept, TLS, parse, decide, session, identity, upstream, response.

use std::time::Duration;

use crate::{access, identity, request, upstream};

/// `[server.timeouts]`; each is a whole, not per byte, unless it says idle.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// TLS handshake.
    pub(crate) handshake: Duration,
    /// From the first byte of a head to its end.
    pub(crate) headers: Duration,
    /// Between two reads of a request body, and two of a response body.
    pub(crate) body_idle: Duration,
    /// A connection without a request.
    pub(crate) keep_alive: Duration,
    /// A client that takes nothing.
    pub(crate) write: Duration,
}

/// One `[[app]]`.
#[derive(Clone, Debug)]
pub(crate) struct AppSettings {
    pub(crate) name: String,
    /// `None` serves every host; only for a single app.
    pub(crate) host: Option<request::Host>,
    pub(crate) upstream: upstream::Settings,
    pub(crate) identity: identity::Headers,
    pub(crate) rules: access::Rules,
    /// Whether the three session data headers are spoken.
    pub(crate) session_data: bool,
    /// Lets `%2F` in a segment pass for this app (SEC-29).
    pub(crate) encoded_slash: bool,
    /// Origins besides the own one that may open a WebSocket (SEC-74).
    pub(crate) websocket_origins: Vec<String>,
}
