//! Sockets: binding, limits on connections, and an accept loop that outlives EMFILE.

use std::net::SocketAddr;

/// Where to listen and how much to take.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// TLS listeners.
    pub(crate) listen: Vec<SocketAddr>,
    /// Plain listeners that answer 308 to https and nothing else (SEC-77).
    pub(crate) redirect_http: Vec<SocketAddr>,
    /// Open client connections in total.
    pub(crate) max_connections: usize,
    /// Open client connections of one address (IPv6: of one /64).
    pub(crate) max_connections_per_address: usize,
}
