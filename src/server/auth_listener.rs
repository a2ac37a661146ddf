//! `[server] auth_listen`: where proxies ask whether their clients may send what they send (SEC-95).
//!
//! A listener of its own, in plain HTTP: nobody who reaches those of visitors can ask, and only
//! networks of the configuration are let in here. Loopback is not among them by itself: whoever has a
//! shell on the machine could ask in the name of every client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};

use super::StartError;
use super::connection::serve_http1;
use super::socket::Socket;
use super::systemd::AuthSocket;
use super::transport::Transport;
use crate::listener::{self, AuthAddress};
use crate::load::{Admission, Admitted};
use crate::proxy::{ClientConn, Purpose, Service};
use crate::socket_file::{self, SocketFile};

/// The permission to connect to a socket file, for everybody else (unix(7)).
const WRITE_BY_OTHERS: u32 = 0o002;

/// Open, and nobody accepted yet.
pub(super) enum AuthListener {
    Tcp(TcpListener),
    /// Of one that systemd hands over, the file is its own.
    Unix(UnixListener, Option<SocketFile>),
}

/// Sockets that were handed over stand in for the addresses of the configuration. Gives what people
/// read as well.
pub(super) fn listen(
    sockets: Vec<AuthSocket>,
    addresses: &[AuthAddress],
) -> Result<(Vec<AuthListener>, Vec<AuthAddress>), StartError> {
    if sockets.is_empty() {
        let bound: Result<Vec<_>, _> = addresses.iter().map(bind).collect();
        return Ok(bound?.into_iter().unzip());
    }
    let adopted: Result<Vec<_>, _> = sockets.into_iter().map(adopt).collect();
    Ok(adopted?.into_iter().unzip())
}

fn bind(address: &AuthAddress) -> Result<(AuthListener, AuthAddress), StartError> {
    match address {
        AuthAddress::Tcp(address) => {
            let bound = listener::bind(*address);
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = bound.map_err(|error| StartError::Bind(*address, error))?;
            Ok((AuthListener::Tcp(listener), AuthAddress::Tcp(address)))
        }
        AuthAddress::Unix(path) => {
            let bound = socket_file::bind(path, &socket_file::AUTH);
            let (listener, file) = bound.map_err(StartError::AuthSocket)?;
            Ok((AuthListener::Unix(listener, Some(file)), address.clone()))
        }
    }
}

fn adopt(socket: AuthSocket) -> Result<(AuthListener, AuthAddress), StartError> {
    match socket {
        AuthSocket::Tcp(socket) => adopt_tcp(socket).map_err(StartError::Socket),
        AuthSocket::Unix(socket) => {
            let path = private_path(&socket)?;
            let listener = socket
                .set_nonblocking(true)
                .and_then(|()| UnixListener::from_std(socket));
            let listener = AuthListener::Unix(listener.map_err(StartError::Socket)?, None);
            Ok((listener, AuthAddress::Unix(path)))
        }
    }
}

fn adopt_tcp(socket: std::net::TcpListener) -> io::Result<(AuthListener, AuthAddress)> {
    let listener = listener::adopt(socket)?;
    let address = AuthAddress::Tcp(listener.local_addr()?);
    Ok((AuthListener::Tcp(listener), address))
}

/// The file of a socket, which says by its mode who may connect: by default, systemd lets everybody.
/// An abstract socket has no mode at all (unix(7)).
fn private_path(socket: &std::os::unix::net::UnixListener) -> Result<PathBuf, StartError> {
    let address = socket.local_addr().map_err(StartError::Socket)?;
    let path = address
        .as_pathname()
        .ok_or(StartError::AuthSocketOpen(None))?;
    let mode = fs::metadata(path).map_err(StartError::Socket)?.mode() & 0o7777;
    let path = path.to_owned();
    if mode & WRITE_BY_OTHERS != 0 {
        return Err(StartError::AuthSocketOpen(Some((path, mode))));
    }
    Ok(path)
}

/// Those of TCP, as bound.
pub(super) fn tcp_addresses(addresses: &[AuthAddress]) -> Vec<SocketAddr> {
    addresses.iter().filter_map(AuthAddress::tcp).collect()
}

/// Takes connections until the service stops or `accepting` is dropped; `tasks` learns of what may
/// not end before.
pub(super) fn begin(
    listeners: Vec<AuthListener>,
    service: &Arc<Service>,
    admission: &Arc<Admission>,
    accepting: &mut JoinSet<()>,
    tasks: &mut Vec<AbortHandle>,
) {
    for listener in listeners {
        let (service, admission) = (Arc::clone(service), Arc::clone(admission));
        tasks.push(match listener {
            AuthListener::Tcp(listener) => {
                accepting.spawn(accept_tcp(service, listener, admission))
            }
            AuthListener::Unix(listener, file) => accepting.spawn(async move {
                let _file = file;
                accept_unix(service, listener, admission).await;
            }),
        });
    }
}

async fn accept_tcp(service: Arc<Service>, listener: TcpListener, admission: Arc<Admission>) {
    let stop = service.shutdown().token();
    let admit = |address| {
        if service.settings().auth_from.contain(address) {
            return admission.admit_proxy(address);
        }
        admission.report_stranger(address);
        None
    };
    let next = || listener::accept_from(&listener, &admission, admit);
    while let Some((stream, peer, admitted)) = stop.run_until_cancelled(next()).await {
        serve(&service, stream, (peer, Purpose::Questions), admitted);
    }
}

async fn accept_unix(service: Arc<Service>, listener: UnixListener, admission: Arc<Admission>) {
    let stop = service.shutdown().token();
    let next = || listener::next(&admission, || listener.accept());
    while let Some((stream, _)) = stop.run_until_cancelled(next()).await {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if let Some(admitted) = admission.admit_proxy(peer) {
            let purpose = Purpose::QuestionsByFile;
            serve(&service, stream, (peer, purpose), admitted);
        }
    }
}

fn serve<S: Transport>(
    service: &Arc<Service>,
    stream: S,
    (peer, purpose): (IpAddr, Purpose),
    admitted: Admitted,
) {
    let load = Arc::clone(service.load());
    let connection = Arc::new(ClientConn::of_proxy(peer, purpose, load, admitted));
    let socket = Socket::new(stream, Arc::clone(&connection), true);
    let served = serve_http1(Arc::clone(service), connection, socket);
    service.shutdown().connections().spawn(served);
}
