//! Sockets: binding, limits on connections, and an accept loop that outlives EMFILE.

pub(crate) mod proxy_protocol;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::{Clock, Timestamp};

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

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Finds clients that are gone without a word (REL-07).
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Accept goes on after a pause when descriptors or memory have run out (REL-05).
const PAUSE: Duration = Duration::from_millis(100);

/// One line a minute says it, not one a connection (SEC-28).
const LOG_EVERY: Duration = Duration::from_mins(1);

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

/// How many connections are open, in all and from each address.
pub(crate) struct Admission {
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    /// Proxies that stand for many clients are bound by the total alone.
    is_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    clock: Clock,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    refused: u64,
    refusal_logged: Option<Timestamp>,
    failure_logged: Option<Timestamp>,
    header_logged: Option<Timestamp>,
}

/// One open connection; counts until it is dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    network: IpAddr,
}

impl Admission {
    pub(crate) fn new(
        settings: &Settings,
        is_proxy: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(settings.max_connections),
            max_per_address: AtomicUsize::new(settings.max_connections_per_address),
            is_proxy: Box::new(is_proxy),
            clock,
            open: Mutex::default(),
        })
    }

    /// Other limits, for the connections that come; those that are open stay.
    pub(crate) fn set(&self, settings: &Settings) {
        let (max, max_per_address) = (
            settings.max_connections,
            settings.max_connections_per_address,
        );
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address
            .store(max_per_address, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().total
    }

    /// How many may be.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// How many have been closed because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Counts a connection, or refuses it and says so in the log now and then.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let network = network(address);
        let proxy = (self.is_proxy)(address);
        let mut open = self.lock();
        if open.total >= self.max() || self.is_full(&open, network, proxy) {
            self.refuse(&mut open, address);
            return None;
        }
        open.total += 1;
        *open.by_address.entry(network).or_default() += 1;
        Some(Admitted {
            admission: Arc::clone(self),
            network,
        })
    }

    fn is_full(&self, open: &Open, network: IpAddr, proxy: bool) -> bool {
        let of_address = open.by_address.get(&network).copied().unwrap_or(0);
        of_address >= self.max_per_address.load(Ordering::Relaxed) && !proxy
    }

    fn refuse(&self, open: &mut Open, address: IpAddr) {
        open.refused += 1;
        if is_time(&mut open.refusal_logged, self.clock.now()) {
            let of_address = open.by_address.get(&network(address)).copied().unwrap_or(0);
            tracing::warn!(
                client = %address, open = open.total, of_address, refused = open.refused,
                "too many connections: closing new ones; see max_connections and max_connections_per_address"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the log, now and then, that nobody can be accepted.
    fn report(&self, error: &io::Error) {
        let mut open = self.lock();
        if is_time(&mut open.failure_logged, self.clock.now()) {
            tracing::error!(%error, "cannot accept connections for now; raise LimitNOFILE if descriptors have run out");
        }
    }
}

impl Admitted {
    /// Counts the connection for the client that a load balancer named, from now on; `false` when
    /// that one has too many. `proxy` says that it stands for many itself.
    pub(crate) fn reassign(&mut self, client: IpAddr, proxy: bool) -> bool {
        let network = network(client);
        let mut open = self.admission.lock();
        if self.admission.is_full(&open, network, proxy) {
            self.admission.refuse(&mut open, client);
            return false;
        }
        open.leave(self.network);
        *open.by_address.entry(network).or_default() += 1;
        self.network = network;
        true
    }

    /// Says in the log, now and then, that a load balancer does not say who its clients are.
    pub(crate) fn report(&self, peer: IpAddr, error: &proxy_protocol::HeaderError) {
        let mut open = self.admission.lock();
        if is_time(&mut open.header_logged, self.admission.clock.now()) {
            tracing::warn!(
                %peer, %error,
                "a connection from proxy_protocol_from has no PROXY header that can be used: closing it"
            );
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.total -= 1;
        open.leave(self.network);
    }
}

impl Open {
    fn leave(&mut self, network: IpAddr) {
        if let Entry::Occupied(mut entry) = self.by_address.entry(network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The next connection that is within the limits. Never ends and never spins, whatever accept
/// says (REL-05).
pub(crate) async fn accept(
    listener: &TcpListener,
    admission: &Arc<Admission>,
) -> (TcpStream, IpAddr, Admitted) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let address = peer.ip().to_canonical();
                if let Some(admitted) = admission.admit(address) {
                    return (stream, address, admitted);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                admission.report(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether a line that was written at `last` may be written again; if so, notes it.
fn is_time(last: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let due = last.is_none_or(|last| now.since(last) >= LOG_EVERY);
    if due {
        *last = Some(now);
    }
    due
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

/// One customer has at least a /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
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

    fn admission(max: usize, max_per_address: usize) -> Arc<Admission> {
        let settings = Settings {
            listen: vec![],
            redirect_http: vec![],
            max_connections: max,
            max_connections_per_address: max_per_address,
        };
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        Admission::new(&settings, move |address| address == proxy, Clock::system())
    }

    #[test]
    fn sec_28_connections_are_bounded_in_all_and_for_each_address() {
        let admission = admission(3, 2);
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let first = admit("192.0.2.1");
        let second = admit("192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(admit("192.0.2.1").is_none(), "two of one address");
        let other = admit("192.0.2.2");
        assert!(other.is_some());
        assert!(admit("192.0.2.3").is_none(), "three in all");
        assert_eq!((admission.open(), admission.max()), (3, 3));
        drop(second);
        assert!(admit("192.0.2.3").is_some());
    }

    #[test]
    fn sec_28_one_ipv6_network_is_one_address() {
        let admission = admission(10, 1);
        let first = admission.admit("2001:db8:1:2::3".parse().unwrap());
        assert!(first.is_some());
        assert!(
            admission
                .admit("2001:db8:1:2:ffff::9".parse().unwrap())
                .is_none()
        );
        assert!(
            admission
                .admit("2001:db8:1:3::3".parse().unwrap())
                .is_some()
        );
    }

    #[test]
    fn a_trusted_proxy_is_bound_by_the_total_alone() {
        let admission = admission(3, 1);
        let admit = || admission.admit("10.0.0.1".parse().unwrap());
        let open = [admit(), admit(), admit()];
        assert!(open.iter().all(Option::is_some));
        assert!(admit().is_none());
    }

    #[test]
    fn sec_28_a_client_that_a_load_balancer_names_counts_for_itself() {
        let admission = admission(9, 1);
        let admit = || admission.admit("10.0.0.1".parse().unwrap()).unwrap();
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let (mut first, mut second, mut third) = (admit(), admit(), admit());
        assert!(first.reassign(client, false));
        assert!(!second.reassign(client, false), "two of one client");
        let counted = |open: &Open| (open.total, open.refused);
        assert_eq!(counted(&admission.lock()), (3, 1));
        assert!(second.reassign("192.0.2.2".parse().unwrap(), false));
        assert!(third.reassign(client, true), "for many others");
        drop((first, third));
        assert!(admission.admit(client).is_some(), "its place is free again");
        drop(second);
        assert_eq!(counted(&admission.lock()), (0, 1));
        assert!(admission.lock().by_address.is_empty());
    }
}
