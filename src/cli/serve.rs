//! `vestibule serve`: builds the gate from its settings and runs it.

mod report;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{ConfigFile, Failure};
use crate::auth::Accounts;
use crate::auth::users_file::UsersFileError;
use crate::clock::Clock;
use crate::config::Config;
use crate::listener::{self, Admission};
use crate::login::Login;
use crate::login::throttle::Throttle;
use crate::pages::{Pages, PagesError};
use crate::proxy::{self, Proxy};
use crate::session::{self, NoRandomness, Sessions};
use crate::systemd::{Manager, Sockets};
use crate::telemetry;
use crate::tls::{self, Certificates, TlsError};
use crate::upstream;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// What a stop takes besides the drain: sessions are written down, and slow disks exist.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// How often streams of ended sessions are looked for, and files that have changed.
const TICK: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load()?;
    // Here there is one thread yet, and nobody else reads the environment.
    let sockets = Sockets::take().map_err(|error| Failure::Invalid(error.to_string()))?;
    run_config(config, sockets, |_| ())
}

/// Serves until SIGTERM or SIGINT; a second one ends without waiting. `ready` gets the first
/// address.
pub(crate) fn run_config(
    config: Config,
    sockets: Sockets,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    telemetry::start(&config.log);
    let manager = Manager::of_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime
        .map_err(|error| Failure::Failed(format!("cannot start the runtime threads: {error}")))?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Signals)?;
        let running = start_on(config, sockets, Clock::system())?;
        for address in running.addresses() {
            tracing::info!(%address, "listening");
        }
        if let Some(address) = running.addresses().first() {
            ready(*address);
        }
        let vitals = running.vitals.clone();
        manager.ready();
        tokio::select! {
            () = signals.next() => {}
            never = report::while_running(&manager, &vitals) => match never? {},
        }
        tracing::info!("stopping: requests that are under way may finish");
        manager.stopping(running.drain + STOP_MARGIN);
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at the second signal"),
            never = report::while_stopping(&manager, &vitals) => match never {},
        }
        Ok(())
    });
    runtime.shutdown_background();
    served.map_err(|error: StartError| error.into_failure())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Why the service does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// A logo that cannot be read, and the like.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Pages(PagesError),
    /// The system has no random bytes.
    NoRandomness,
    /// The sessions cannot be kept where the configuration says.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Sessions(session::OpenError),
    /// Signals cannot be received.
    Signals(io::Error),
    /// A socket that was handed over takes no connections.
    Socket(io::Error),
    /// Certificates or keys that cannot be used.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Tls(TlsError),
    /// An application that could never be reached as configured.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Upstream(String, upstream::OpenError),
    /// The users file is missing, wrong or open to others.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Users(UsersFileError),
}

impl StartError {
    /// What the operator has to mend in files is a configuration error (exit 78), so that systemd
    /// does not start the service again and again.
    fn into_failure(self) -> Failure {
        match self {
            Self::Sessions(ref error) if error.is_invalid() => Failure::Invalid(self.to_string()),
            Self::Bind(..) | Self::NoRandomness | Self::Sessions(_) | Self::Signals(_) => {
                Failure::Failed(self.to_string())
            }
            Self::Pages(_)
            | Self::Socket(_)
            | Self::Tls(_)
            | Self::Upstream(..)
            | Self::Users(_) => Failure::Invalid(self.to_string()),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => f.write_str("; stop the program that does"),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; ports below 1024 need root or CAP_NET_BIND_SERVICE")
                    }
                    _ => Ok(()),
                }
            }
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::Pages(error) => error.fmt(f),
            Self::Sessions(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot receive signals: {error}"),
            Self::Socket(error) => write!(
                f,
                "cannot take connections from a socket that systemd hands over: {error}; its unit \
                 needs Accept=no"
            ),
            Self::Tls(error) => error.fmt(f),
            Self::Upstream(app, error) => write!(f, "app \"{app}\": {error}"),
            Self::Users(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A running service. Dropping it ends everything at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
    redirect_addresses: Vec<SocketAddr>,
    drain: Duration,
    vitals: Vitals,
    /// Accept loops and housekeeping.
    tasks: JoinSet<()>,
}

/// What can be asked of a service while it runs, and while it stops.
#[derive(Clone)]
struct Vitals {
    proxy: Arc<Proxy>,
    sessions: Arc<Sessions>,
    admission: Arc<Admission>,
    acceptor: TlsAcceptor,
    /// Accept loops and housekeeping: none of them ends before the service does.
    tasks: Arc<[AbortHandle]>,
}

impl Running {
    /// Where TLS is spoken, as bound.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where plain HTTP is sent to https, as bound.
    pub fn redirect_addresses(&self) -> &[SocketAddr] {
        &self.redirect_addresses
    }

    /// Stops taking connections at once, lets requests finish up to `drain_timeout`, tells
    /// WebSockets that the service goes away, then ends what is left.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await; // closes the listeners
        let open = self.vitals.proxy.stop(self.drain).await;
        if open > 0 {
            tracing::warn!(
                open,
                "connections did not finish within drain_timeout and are closed"
            );
        }
        if let Err(error) = self.vitals.sessions.close().await {
            tracing::error!(%error, "the last accesses of sessions were not kept");
        }
    }
}

/// Starts the service: reads what the configuration names, binds its addresses, and serves.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    start_on(config, Sockets::default(), clock)
}

/// The same on sockets that are open already, in place of the addresses of the configuration.
/// Within the runtime.
fn start_on(config: Config, sockets: Sockets, clock: Clock) -> Result<Running, StartError> {
    let certificates = Arc::new(Certificates::open(&config.tls).map_err(StartError::Tls)?);
    let tls = tls::server_config(Arc::clone(&certificates)).map_err(StartError::Tls)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let pages = Arc::new(
        Pages::new(&config.branding, config.session.remember_for).map_err(StartError::Pages)?,
    );
    let accounts = Accounts::open(&config.users_file, clock.clone()).map_err(StartError::Users)?;
    let store = session::open(&config.session.backend).map_err(StartError::Sessions)?;
    let behind = clock.catch_up(store.latest());
    if !behind.is_zero() {
        tracing::warn!(
            seconds = behind.as_secs(),
            "the system clock is behind the last time that sessions were kept; for sessions time \
             goes on from there"
        );
    }
    let sessions = Arc::new(Sessions::new(config.session, store, clock.clone()));
    let throttle = Throttle::new(config.throttle, clock.clone());
    let login = Login::new(
        Arc::new(accounts),
        Arc::clone(&sessions),
        Arc::clone(&pages),
        throttle,
        clock.clone(),
    )
    .map_err(|NoRandomness| StartError::NoRandomness)?;
    let settings = proxy::Settings {
        limits: config.limits,
        timeouts: config.timeouts,
        trusted_proxies: config.trusted_proxies,
        access_log: config.log.access,
    };
    let proxy = Proxy::new(settings, config.apps, login, pages, &clock);
    let proxy = Arc::new(proxy.map_err(|error| match error {
        proxy::OpenError::NoRandomness => StartError::NoRandomness,
        proxy::OpenError::Upstream(app, error) => StartError::Upstream(app, error),
    })?);

    let trusting = Arc::clone(&proxy);
    let admission = Admission::new(
        &config.listener,
        move |address| trusting.trusts(address),
        clock,
    );
    for name in &sockets.unused {
        tracing::warn!(name, "this version does not serve the socket of this name");
    }
    let (listeners, addresses) = listen(sockets.tls, &config.listener.listen)?;
    let (redirectors, redirect_addresses) = listen(sockets.http, &config.listener.redirect_http)?;
    let (mut tasks, mut handles) = (JoinSet::new(), Vec::new());
    for listener in listeners {
        let (proxy, admission) = (Arc::clone(&proxy), Arc::clone(&admission));
        handles.push(tasks.spawn(proxy.accept(listener, acceptor.clone(), admission)));
    }
    let port = addresses.first().map_or(443, SocketAddr::port);
    for listener in redirectors {
        let (proxy, admission) = (Arc::clone(&proxy), Arc::clone(&admission));
        let redirecting = proxy::redirect_to_https(proxy, listener, admission, port);
        handles.push(tasks.spawn(redirecting));
    }
    handles.push(tasks.spawn(keep_house(
        Arc::clone(&proxy),
        Arc::clone(&sessions),
        certificates,
    )));
    Ok(Running {
        addresses,
        redirect_addresses,
        drain: config.drain_timeout,
        vitals: Vitals {
            proxy,
            sessions,
            admission,
            acceptor,
            tasks: handles.into(),
        },
        tasks,
    })
}

/// Sockets that were handed over stand in for the addresses of the configuration.
fn listen(
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

/// What has to be done whether requests come or not.
async fn keep_house(proxy: Arc<Proxy>, sessions: Arc<Sessions>, certificates: Arc<Certificates>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        certificates.refresh();
        proxy.tick().await;
        sessions.collect_garbage().await;
    }
}
