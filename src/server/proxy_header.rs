//! Who a connection is from, where a load balancer says it by the PROXY protocol.

use std::net::IpAddr;

use tokio::net::TcpStream;

use crate::listener::proxy_protocol;
use crate::load::Admitted;
use crate::proxy::Service;

/// The client of a connection whose other end is `peer`: from here on counted, throttled, logged
/// and passed on. `None` when the connection is to be closed: a peer that has to name its
/// clients and does not could be anybody.
pub(super) async fn client(
    service: &Service,
    stream: &mut TcpStream,
    peer: IpAddr,
    admitted: &mut Admitted,
) -> Option<IpAddr> {
    let settings = service.settings();
    if !settings.proxy_protocol_from.contain(peer) {
        return Some(peer);
    }
    match proxy_protocol::read(stream).await {
        Ok(None) => Some(peer),
        Ok(Some(client)) => {
            let proxy = settings.trusted_proxies.contain(client);
            admitted.reassign(client, proxy).then_some(client)
        }
        Err(error) => {
            admitted.report(peer, &error);
            None
        }
    }
}
