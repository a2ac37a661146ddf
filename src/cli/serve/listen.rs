//! The sockets that the service listens on: its own, or those that systemd hands over.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
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

pub(super) fn bind(
    addresses: &[SocketAddr],
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
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
