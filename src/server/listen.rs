//! The sockets that the service listens on: its own, or those that systemd hands over.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::StartError;
use super::metrics_listener::{self, Monitoring};
use super::systemd::Sockets;
use crate::listener;

/// Sockets that were handed over stand in for the addresses of the configuration.
pub(super) fn listen(
    sockets: Vec<std::net::TcpListener>,
    addresses: &[SocketAddr],
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    if sockets.is_empty() {
        return bind(addresses);
    }
    let adopt = |socket| {
        let listener = listener::adopt(socket)?;
        Ok((listener.local_addr()?, listener))
    };
    let adopted = sockets.into_iter().map(adopt);
    let adopted: Result<(Vec<_>, Vec<_>), _> = adopted.collect();
    adopted
        .map(|(addresses, listeners)| (listeners, addresses))
        .map_err(StartError::Socket)
}

/// Names that systemd gave to sockets which are for nothing here.
pub(super) fn warn_of_unused(sockets: &Sockets) {
    for name in &sockets.unused {
        tracing::warn!(name, "this version does not serve the socket of this name");
    }
}

/// Tells metrics and health, if there is an address for it; gives the one that was bound.
pub(super) fn monitor(
    told: Monitoring,
    address: Option<SocketAddr>,
) -> Result<(JoinSet<()>, Option<SocketAddr>), StartError> {
    let (listeners, addresses) = bind(address.as_slice())?;
    let told = Arc::new(told);
    let mut monitoring = JoinSet::new();
    for listener in listeners {
        monitoring.spawn(metrics_listener::serve(Arc::clone(&told), listener));
    }
    Ok((monitoring, addresses.first().copied()))
}

fn bind(addresses: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let bind = |&address| {
        let bound =
            listener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        bound
            .map(|(bound, listener)| (listener, bound))
            .map_err(|error| StartError::Bind(address, error))
    };
    addresses
        .iter()
        .map(bind)
        .collect::<Result<Vec<_>, _>>()
        .map(|bound| bound.into_iter().unzip())
}
