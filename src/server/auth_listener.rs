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

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use super::StartError;
use super::auth_connection::serve_auth_requests;
use super::auth_threads::AuthThreads;
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

/// For each thread that the service works with, if there is anything to answer.
pub(super) fn threads(listeners: &[AuthListener]) -> io::Result<Arc<AuthThreads>> {
    let count = if listeners.is_empty() {
        0
    } else {
        Handle::current().metrics().num_workers()
    };
    AuthThreads::start(count).map(Arc::new)
}

/// Who takes the connections.
pub(super) struct Asked<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) admission: &'a Arc<Admission>,
    pub(super) threads: &'a Arc<AuthThreads>,
}

impl Asked<'_> {
    /// Takes connections until the service stops or `accepting` is dropped; `tasks` learns of what
    /// may not end before.
    pub(super) fn begin(
        &self,
        listeners: Vec<AuthListener>,
        accepting: &mut JoinSet<()>,
        tasks: &mut Vec<AbortHandle>,
    ) {
        // A thread that has ended has dropped it.
        let pending = |runtime: &Handle| runtime.spawn(std::future::pending::<()>());
        let pending = self.threads.runtimes().map(pending);
        tasks.extend(pending.map(|task| task.abort_handle()));
        for listener in listeners {
            let connections = Connections {
                service: Arc::clone(self.service),
                admission: Arc::clone(self.admission),
                threads: Arc::clone(self.threads),
            };
            tasks.push(match listener {
                AuthListener::Tcp(listener) => accepting.spawn(connections.accept_tcp(listener)),
                AuthListener::Unix(listener, file) => accepting.spawn(async move {
                    let _file = file;
                    connections.accept_unix(listener).await;
                }),
            });
        }
    }
}

/// Those of one listener.
struct Connections {
    service: Arc<Service>,
    admission: Arc<Admission>,
    threads: Arc<AuthThreads>,
}

impl Connections {
    async fn accept_tcp(self, listener: TcpListener) {
        let stop = self.service.shutdown().token();
        let admit = |address| {
            if self.service.settings().auth_from.contain(address) {
                return self.admission.admit_proxy(address);
            }
            self.admission.report_stranger(address);
            None
        };
        let next = || listener::accept_from(&listener, &self.admission, admit);
        while let Some((stream, peer, admitted)) = stop.run_until_cancelled(next()).await {
            if let Ok(stream) = stream.into_std() {
                let stream = || TcpStream::from_std(stream);
                self.serve(stream, (peer, Purpose::AuthRequests), admitted);
            }
        }
    }

    async fn accept_unix(self, listener: UnixListener) {
        let stop = self.service.shutdown().token();
        let next = || listener::next(&self.admission, || listener.accept());
        while let Some((stream, _)) = stop.run_until_cancelled(next()).await {
            let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
            if let Some(admitted) = self.admission.admit_proxy(peer)
                && let Ok(stream) = stream.into_std()
            {
                let stream = || UnixStream::from_std(stream);
                self.serve(stream, (peer, Purpose::AuthRequestsByFile), admitted);
            }
        }
    }

    /// Serves a connection on one of the threads, whose events `stream` is to have.
    fn serve<S: Transport>(
        &self,
        stream: impl FnOnce() -> io::Result<S> + Send + 'static,
        (peer, purpose): (IpAddr, Purpose),
        admitted: Admitted,
    ) {
        let Some(runtime) = self.threads.next() else {
            return;
        };
        let service = Arc::clone(&self.service);
        let served = async move {
            let stream = match stream() {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(client = %peer, %error, "a connection cannot be served");
                    return;
                }
            };
            let load = Arc::clone(service.load());
            let connection = Arc::new(ClientConn::of_proxy(peer, purpose, load, admitted));
            let socket = Socket::new(stream, Arc::clone(&connection), true);
            // Boxed, so that the task has no room for what it begins with once that is gone.
            Box::pin(serve_auth_requests(service, connection, socket)).await;
        };
        let connections = self.service.shutdown().connections();
        connections.spawn_on(served, runtime);
    }
}
