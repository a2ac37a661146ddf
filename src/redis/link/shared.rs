//! What all of a link has in common, and what is told of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::error::{ConnectError, LinkError};
use super::node::Node;
use super::routes::{Member, Routes};
use super::server::Server;
use super::target::Target;
use super::{Generation, LinkState, durable};
use crate::clock::{Clock, Timestamp};
use crate::redis::{Address, SealKeys, Settings};
use crate::telemetry::Seldom;

/// Clocks that differ by fewer milliseconds are the same.
const CLOCKS_DIFFER: i64 = 1000;

/// Who may wait for replicas at once; more wait for a place.
const WAITING: usize = 1024;

pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) keys: SealKeys,
    pub(super) routes: ArcSwap<Routes>,
    /// A server has said that it has other slots than it was asked for, or is gone.
    pub(super) moved: Notify,
    pub(super) generation: watch::Sender<Generation>,
    /// What connections become.
    pub(super) age: Duration,
    /// Until then, a command waits for the first connection.
    pub(super) patience: Instant,
    /// At any time.
    pub(super) was_connected: AtomicBool,
    is_closed: AtomicBool,
    clock: Clock,
    /// When connections were there, or gone, last.
    since: AtomicU64,
    clock_offset: OnceLock<i64>,
    cluster_error: Mutex<Option<Arc<ConnectError>>>,
    said_away: Seldom,
    said_full: Seldom,
    said_refused: Seldom,
    /// The last number that a connection has got.
    numbers: AtomicU64,
    changing: Mutex<()>,
}

impl Shared {
    pub(super) fn new(
        settings: &Arc<Settings>,
        keys: SealKeys,
        clock: &Clock,
        age: Duration,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            keys,
            routes: ArcSwap::default(),
            moved: Notify::new(),
            generation: watch::Sender::default(),
            age,
            patience: Instant::now() + settings.timeout,
            was_connected: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            clock: clock.clone(),
            since: AtomicU64::new(clock.now().as_millis()),
            clock_offset: OnceLock::new(),
            cluster_error: Mutex::default(),
            said_away: Seldom::new(clock.clone()),
            said_full: Seldom::new(clock.clone()),
            said_refused: Seldom::new(clock.clone()),
            numbers: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// A server, and what keeps the connections to it.
    pub(super) fn member(self: &Arc<Self>, target: Target, address: Option<Address>) -> Member {
        let node = Arc::new(Node::new(target));
        let (shared, kept) = (Arc::clone(self), Arc::clone(&node));
        let keeper = tokio::spawn(async move {
            let number = || shared.numbers.fetch_add(1, Ordering::Relaxed) + 1;
            let changed = || shared.changed();
            kept.keep(&shared.settings, shared.age, number, changed)
                .await;
        });
        let (durable, asked) = mpsc::channel(WAITING);
        let waiting = durable::keep(Arc::clone(&node), Arc::clone(&self.settings), asked);
        let waiter = tokio::spawn(waiting);
        Member {
            address,
            node,
            durable,
            tasks: vec![keeper.abort_handle(), waiter.abort_handle()],
        }
    }

    pub(super) fn set_routes(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
        // Whoever closes it meanwhile has not seen these.
        if self.is_closed.load(Ordering::SeqCst) {
            self.routes.store(Arc::default());
        }
        // There may have been a connection before there was a route to it.
        self.changed();
    }

    /// Ends all that keeps connections, and with it what they keep.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.routes.store(Arc::default());
    }

    pub(super) fn set_cluster_error(&self, error: Option<Arc<ConnectError>>) {
        let held = self.cluster_error.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Tells of connections that were made or lost, and of other servers.
    pub(super) fn changed(&self) {
        // What is seen first is told first.
        let _one_by_one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes.load_full();
        let connected = routes.are_whole();
        let now = Generation {
            number: self.numbers.load(Ordering::Relaxed),
            run_id: routes.run_id(),
            connected,
        };
        if connected {
            self.was_connected.store(true, Ordering::Relaxed);
        }
        let mut was_connected = false;
        self.generation.send_if_modified(|generation| {
            was_connected = generation.connected;
            let differs = *generation != now;
            *generation = now;
            differs
        });
        if was_connected != connected {
            let now = self.clock.now().as_millis();
            self.since.store(now, Ordering::Relaxed);
        }
        if !connected {
            self.moved.notify_one();
        }
        self.log(&routes, was_connected, connected);
    }

    fn log(&self, routes: &Routes, was_connected: bool, connected: bool) {
        if connected && !was_connected {
            self.said_away.reset();
            let servers = servers(routes);
            let addresses: Vec<_> = servers.iter().map(|it| it.address.as_str()).collect();
            let first = servers.first();
            tracing::info!(
                server = addresses.join(" "),
                version = first.map(|server| server.version.as_str()),
                clock_ahead_ms = first.map(|server| server.clock_ahead),
                "connected to the session store"
            );
        } else if !connected
            && let Some(error) = self.error(routes)
            && self.said_away.is_due()
        {
            let help = error.fix();
            tracing::error!(%error, help, "the session store cannot be reached");
        }
    }

    /// Of a server without a connection, or else of one without a newer one.
    fn error(&self, routes: &Routes) -> Option<Arc<ConnectError>> {
        let of_cluster = self.cluster_error.lock();
        let of_cluster = of_cluster.unwrap_or_else(PoisonError::into_inner).clone();
        let mut members: Vec<_> = routes.members.iter().map(|member| &member.node).collect();
        members.sort_by_key(|node| node.current().is_some());
        of_cluster.or_else(|| members.into_iter().find_map(|node| node.error()))
    }

    /// Has the log say, once a minute, what a server does not do though it can be reached.
    pub(super) fn log_refusal<T>(&self, answer: Result<T, LinkError>) -> Result<T, LinkError> {
        if let Err(error) = &answer {
            let is_due = match error {
                LinkError::Unavailable => false, // see `log`
                LinkError::Full => self.said_full.is_due(),
                LinkError::Refused(_) => self.said_refused.is_due(),
            };
            if is_due {
                let help = error.fix();
                tracing::error!(%error, help, "the session store does not do what it is asked");
            }
        }
        answer
    }

    pub(super) fn clock_offset(&self) -> i64 {
        if let Some(offset) = self.clock_offset.get() {
            return *offset;
        }
        let servers = servers(&self.routes.load());
        let Some(server) = servers.iter().find(|server| server.is_master) else {
            return 0;
        };
        let differs = server.clock_ahead.abs() >= CLOCKS_DIFFER;
        let offset = if differs { server.clock_ahead } else { 0 };
        *self.clock_offset.get_or_init(|| offset)
    }

    #[cfg(test)]
    pub(super) fn set_clock_offset(&self, offset: i64) {
        self.clock_offset.set(offset).expect("nobody has asked");
    }

    pub(super) fn state(&self) -> LinkState {
        let routes = self.routes.load_full();
        let error = self.error(&routes);
        LinkState {
            connected: routes.are_whole(),
            since: Timestamp::from_millis(self.since.load(Ordering::Relaxed)),
            error: error.map(|error| error.to_string()),
            servers: servers(&routes),
        }
    }
}

fn servers(routes: &Routes) -> Vec<Server> {
    let connections = (routes.members.iter()).filter_map(|member| member.node.current());
    connections
        .map(|connection| connection.server.clone())
        .collect()
}
