//! Sockets: binding, and an accept loop that outlives EMFILE.

pub(crate) mod proxy_protocol;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::load::{Admission, Admitted, ConnectionLimits};

/// Where to listen and how much to take.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// TLS listeners.
    pub(crate) listen: Vec<SocketAddr>,
    /// Plain listeners that answer 308 to https and nothing else (SEC-77).
    pub(crate) redirect_http: Vec<SocketAddr>,
    /// Where proxies ask by forward auth.
    pub(crate) auth: Vec<AuthAddress>,
    pub(crate) limits: ConnectionLimits,
}

/// One of `auth_listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthAddress {
    Tcp(SocketAddr),
    /// The file of a socket.
    Unix(PathBuf),
}

impl AuthAddress {
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for AuthAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Finds clients that are gone without a word (REL-07).
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Accept goes on after a pause when descriptors or memory have run out (REL-05).
const PAUSE: Duration = Duration::from_millis(100);

/// Binds an address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether the address could be bound now; nobody is let in for that.
pub(crate) fn try_bind(address: SocketAddr) -> io::Result<()> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Takes over a socket that somebody else has bound. One that does not listen, such as a single
/// connection, is an error: nothing would ever be accepted from it.
pub(crate) fn adopt(inherited: std::net::TcpListener) -> io::Result<TcpListener> {
    let socket = SockRef::from(&inherited);
    if !socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it does not listen",
        ));
    }
    prepare(&socket)?;
    TcpListener::from_std(inherited)
}

/// What is set here, accepted connections inherit: no syscalls for each.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE / 4),
    )?;
    socket.set_nonblocking(true)
}

/// The next connection that is within the limits. Never ends and never spins, whatever accept
/// says (REL-05).
pub(crate) async fn accept(
    listener: &TcpListener,
    admission: &Arc<Admission>,
) -> (TcpStream, IpAddr, Admitted) {
    accept_from(listener, admission, |address| admission.admit(address)).await
}

/// The same of those that `admit` lets in.
pub(crate) async fn accept_from(
    listener: &TcpListener,
    admission: &Admission,
    admit: impl Fn(IpAddr) -> Option<Admitted>,
) -> (TcpStream, IpAddr, Admitted) {
    loop {
        let (stream, peer) = next(admission, || listener.accept()).await;
        let address = peer.ip().to_canonical();
        if let Some(admitted) = admit(address) {
            return (stream, address, admitted);
        }
    }
}

/// The next connection, however often there is none to be had.
pub(crate) async fn next<T, A: Future<Output = io::Result<T>>>(
    admission: &Admission,
    accept: impl Fn() -> A,
) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                admission.report(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the error says something about the one connection that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_does_not_listen_is_not_adopted() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let connection = std::net::TcpStream::connect(address).unwrap();
        let descriptor = std::os::fd::OwnedFd::from(connection);
        assert!(adopt(descriptor.into()).is_err());
        assert_eq!(adopt(listening).unwrap().local_addr().unwrap(), address);
    }
}
