//! The client to the applications: pooled, balanced, streaming.

use std::path::PathBuf;
use std::time::Duration;

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

/// How the requests of one app are sent.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Balanced when there is more than one.
    pub(crate) addresses: Vec<Address>,
    /// Send the browser's `Host`; else the address's own.
    pub(crate) preserve_host: bool,
    /// PEM file of the authorities for https upstreams; the system's when there is none.
    pub(crate) ca: Option<PathBuf>,
    /// Connections to one address at a time; more requests wait.
    pub(crate) max_connections: usize,
    pub(crate) connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub(crate) response_timeout: Duration,
    /// How long an unused connection is kept.
    pub(crate) idle_timeout: Duration,
}
