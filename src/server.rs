//! What runs: builds the service from its settings, serves, reloads, and stops.

mod accept;
mod acme_challenges;
mod auth_connection;
mod auth_listener;
mod auth_threads;
mod background;
mod batch;
mod build;
mod connection;
mod deadline;
mod error;
mod heads;
mod linger;
mod listen;
mod malformed;
mod metrics_listener;
mod plain_http;
mod proxy_header;
mod redirect;
mod reload;
mod restart_only;
mod signals;
mod slices;
mod socket;
mod streams;
pub(crate) mod systemd;
mod transport;
mod watchdog;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::admin::{Admin, Outcome, Reloads};
use crate::auth::api_token::ApiTokens;
use crate::auth::throttle::KnownNetworks;
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor;
use crate::identity::token::Signer;
use crate::listener::AuthAddress;
use crate::load::Admission;
use crate::nodes::Heartbeat;
use crate::proxy::Service;
use crate::session::Sessions;
use crate::telemetry::{self, Logs};
use crate::tls::Certificates;

use auth_threads::AuthThreads;
pub use build::start;
use build::start_on;
pub use error::StartError;
use listen::warn_of_unused;
use restart_only::RestartOnly;
pub(crate) use signals::Signal;
use signals::Signals;
use systemd::{Manager, Sockets};
use watchdog::Pulse;

/// What a stop takes besides the drain: sessions are written down, and slow disks exist.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Serves until SIGTERM or SIGINT; a second one ends without waiting. A reload reads the file at
/// `path` again; `hang_up` says what SIGHUP means. `ready` gets the first address.
pub(crate) fn run(
    config: Config,
    path: &Path,
    hang_up: Signal,
    sockets: Sockets,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), StartError> {
    let logs = telemetry::start(&config.log).map_err(StartError::Logs)?;
    warn_of_unused(&sockets);
    let manager = Manager::of_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new(hang_up).map_err(StartError::Signals)?;
        let mut running = start_on(config, sockets, Clock::system())?;
        running.watch_memory();
        for address in running.addresses() {
            tracing::info!(%address, "listening");
        }
        for address in &running.auth_addresses {
            tracing::info!(%address, "listening for forward auth");
        }
        if let Some(address) = running.metrics_address() {
            tracing::info!(%address, "listening for metrics");
        }
        if let Some(address) = running.addresses().first() {
            ready(*address);
        }
        let handles = running.handles.clone();
        manager.ready();
        tokio::select! {
            () = running.reload_until_stopped(&mut signals, path, &logs, &manager) => {}
            never = watchdog::while_running(&manager, &handles) => match never {},
        }
        tracing::info!("stopping: requests in flight may finish");
        manager.stopping(running.drain + STOP_MARGIN);
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            () = signals.stop() => tracing::warn!("stopped at the second signal"),
            never = watchdog::while_stopping(&manager, &handles) => match never {},
        }
        Ok(())
    });
    runtime.shutdown_background();
    served
}

/// A running service. Dropping it ends everything at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
    redirect_addresses: Vec<SocketAddr>,
    auth_addresses: Vec<AuthAddress>,
    admission: Arc<Admission>,
    certificates: Arc<Certificates>,
    doctor: Arc<doctor::Live>,
    clock: Clock,
    restart_only: RestartOnly,
    drain: Duration,
    handles: Handles,
    accepting: JoinSet<()>,
    /// Connections of proxies that ask end with it.
    _auth_threads: Arc<AuthThreads>,
    housekeeping: JoinSet<()>,
    metrics_address: Option<SocketAddr>,
    /// Tells of the end, too, and so outlives the others.
    monitoring: JoinSet<()>,
    admin: Option<Admin>,
    reloads: Reloads,
    reload_requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
}

/// What can be asked of a service while it runs, and while it stops.
#[derive(Clone)]
struct Handles {
    service: Arc<Service>,
    sessions: Arc<Sessions>,
    signer: Arc<Signer>,
    tokens: Arc<ApiTokens>,
    known: Arc<KnownNetworks>,
    heartbeat: Arc<Heartbeat>,
    admission: Arc<Admission>,
    /// Accept loops and housekeeping: none of them ends before the service does.
    tasks: Arc<[AbortHandle]>,
    /// Of this event loop and those of the threads for forward auth.
    pulses: Arc<Mutex<Vec<Pulse>>>,
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

    /// Where proxies ask by forward auth over TCP, as bound.
    pub fn auth_addresses(&self) -> Vec<SocketAddr> {
        auth_listener::tcp_addresses(&self.auth_addresses)
    }

    /// Where metrics and health are told, as bound.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Has requests turned away, too, when the process takes more memory than the configuration
    /// asks for; only where all of it is the service's.
    fn watch_memory(&mut self) {
        let service = Arc::clone(&self.handles.service);
        let watched = async move { service.load().watch_memory().await };
        self.housekeeping.spawn(watched);
    }

    /// Stops taking connections at once, lets requests finish up to `drain_timeout`, tells
    /// WebSockets that the service goes away, then ends what is left.
    pub async fn stop(mut self) {
        self.accepting.shutdown().await; // closes the listeners
        let open = self.handles.service.stop(self.drain).await;
        self.housekeeping.shutdown().await; // up to here sessions end as ever (SEC-75)
        if open > 0 {
            tracing::warn!(
                open,
                "connections did not finish within drain_timeout and are closed"
            );
        }
        // Up to here, so that who still has a request open can be shut out.
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        self.handles.heartbeat.leave().await;
        if let Err(error) = self.handles.sessions.close().await {
            tracing::error!(%error, "the last accesses of sessions were not kept");
        }
        self.handles.tokens.close().await;
        let known = self.handles.known;
        let _written = tokio::task::spawn_blocking(move || known.close()).await;
        self.monitoring.shutdown().await;
    }
}
