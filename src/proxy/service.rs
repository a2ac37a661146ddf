//! What goes on while configurations come and go: connections, tunnels, the end.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::apps::Apps;
use super::live::LiveStreams;
use super::{AppSettings, Proxy, Settings, connection};
use crate::clock::Clock;
use crate::listener;
use crate::load::{Admission, Load};
use crate::login::{Login, throttle};
use crate::metrics::{AnswerCounts, Metrics, Pool};
use crate::pages::Pages;
use crate::session::NoRandomness;
use crate::telemetry::RequestIds;
use crate::tls::Handshakes;
use crate::upstream::{self, tunnels};

/// The running gate. Each request takes the one of the latest configuration; what is under way
/// ends with the one that it began with.
pub(crate) struct Service {
    current: ArcSwap<Proxy>,
    pub(super) life: Arc<Life>,
}

/// One for the process, whatever is configured.
pub(super) struct Life {
    pub(super) request_ids: RequestIds,
    stopping: AtomicBool,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
    pub(super) tunnels: TaskTracker,
    pub(super) live: Arc<LiveStreams>,
    /// How many configurations there were before.
    configurations: AtomicU64,
    /// The gate of the latest one, for requests that began with one before, and its number.
    latest: Mutex<Weak<Proxy>>,
    latest_number: AtomicU64,
    pub(super) open_tunnels: tunnels::Registry,
    pub(super) load: Arc<Load>,
    pub(super) metrics: Arc<Metrics>,
    /// For requests that are for no app.
    pub(super) no_app: AnswerCounts,
}

/// Why there can be no gate.
#[derive(Debug)]
pub(crate) enum OpenError {
    NoRandomness,
    /// The app of this name could never be reached.
    Upstream(String, upstream::OpenError),
}

impl Life {
    /// The number of one more configuration.
    pub(super) fn count_configuration(&self) -> u64 {
        self.configurations.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The gate of the latest configuration, as long as there is a service.
    pub(super) fn latest(&self) -> Option<Arc<Proxy>> {
        let latest = self.latest.lock();
        latest.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The number of the latest configuration.
    pub(super) fn latest_number(&self) -> u64 {
        self.latest_number.load(Ordering::Acquire)
    }

    fn set_latest(&self, proxy: &Arc<Proxy>) {
        let latest = self.latest.lock();
        *latest.unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(proxy);
        self.latest_number.store(proxy.number, Ordering::Release);
    }
}

impl Service {
    pub(crate) fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        login: Login,
        pages: Arc<Pages>,
        clock: &Clock,
        metrics: Arc<Metrics>,
        load: Arc<Load>,
    ) -> Result<Self, OpenError> {
        let life = Arc::new(Life {
            request_ids: RequestIds::new().map_err(|NoRandomness| OpenError::NoRandomness)?,
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
            tunnels: TaskTracker::new(),
            live: Arc::new(LiveStreams::new(Arc::clone(&login.sessions))),
            configurations: AtomicU64::new(0),
            latest: Mutex::default(),
            latest_number: AtomicU64::new(0),
            open_tunnels: tunnels::Registry::default(),
            load,
            no_app: metrics.no_app(),
            metrics,
        });
        let proxy = Proxy::new(settings, apps, login, pages, clock, Arc::clone(&life))?;
        let proxy = Arc::new(proxy);
        life.set_latest(&proxy);
        Ok(Self {
            current: ArcSwap::new(proxy),
            life,
        })
    }

    /// The gate of another configuration, which nobody uses yet.
    pub(crate) fn prepare(
        &self,
        settings: Settings,
        apps: Vec<AppSettings>,
        throttle: throttle::Settings,
        pages: Arc<Pages>,
        clock: &Clock,
    ) -> Result<Proxy, OpenError> {
        let login = self.proxy().login.with(Arc::clone(&pages), throttle);
        let life = Arc::clone(&self.life);
        Proxy::new(settings, apps, login, pages, clock, life)
    }

    /// From the next request on there is this gate; what it would not permit ends.
    pub(crate) fn replace(&self, proxy: Proxy) {
        proxy.login.set_room_for_forms(proxy.settings.kept_forms);
        let proxy = Arc::new(proxy);
        self.current.store(Arc::clone(&proxy));
        self.life.set_latest(&proxy);
        proxy.judge_streams();
    }

    /// The gate as it is configured now.
    pub(super) fn proxy(&self) -> Arc<Proxy> {
        self.current.load_full()
    }

    /// For what lasts longer than a request, and is not to hold on to applications.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.current.load().settings)
    }

    /// Takes connections until the service stops.
    pub(crate) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        handshakes: Handshakes,
        admission: Arc<Admission>,
    ) {
        let stop = self.life.stop.clone();
        while let Some((stream, peer, admitted)) = stop
            .run_until_cancelled(listener::accept(&listener, &admission))
            .await
        {
            let (service, handshakes) = (Arc::clone(&self), handshakes.clone());
            self.life.connections.spawn(connection::serve(
                service, handshakes, stream, peer, admitted,
            ));
        }
    }

    /// Looks after what no request does. Called about twice a second.
    pub(crate) async fn tick(&self) {
        self.proxy().tick().await;
    }

    /// The connections to each app, by name.
    pub(crate) fn pools(&self) -> Vec<(Arc<str>, Pool)> {
        self.proxy().apps.pools()
    }

    /// What is under way in all, and what is too much.
    pub(crate) fn load(&self) -> &Load {
        &self.life.load
    }

    /// About how many failed logins are remembered, by what they are counted for.
    pub(crate) fn throttle_entries(&self) -> [(&'static str, u64); 3] {
        self.current.load().login.throttle_entries()
    }

    /// Whom a listener counts by the total alone.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let settings = &self.current.load().settings;
        settings.trusted_proxies.contain(address) || settings.proxy_protocol_from.contain(address)
    }

    /// Each app and what is known of its addresses, by name.
    pub(crate) fn health(&self) -> Vec<(Arc<str>, Vec<upstream::Health>)> {
        self.proxy().apps.health()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.life.is_stopping()
    }

    /// Stops taking connections, lets requests finish for `drain`, then ends what is left
    /// (REL-02). Gives how many connections did not finish.
    pub(crate) async fn stop(&self, drain: Duration) -> usize {
        let life = &self.life;
        life.stopping.store(true, Ordering::Relaxed);
        life.stop.cancel();
        life.connections.close();
        life.tunnels.close();
        let finished = async {
            life.connections.wait().await;
            life.tunnels.wait().await;
        };
        let _ = tokio::time::timeout(drain, finished).await;
        life.connections.len()
    }
}

impl Proxy {
    fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        login: Login,
        pages: Arc<Pages>,
        clock: &Clock,
        life: Arc<Life>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            apps: Apps::open(apps, clock, &life)?,
            callers: Arc::clone(&login.callers),
            sessions: Arc::clone(&login.sessions),
            login,
            pages,
            settings: Arc::new(settings),
            number: life.count_configuration(),
            life,
        })
    }

    /// Looks after what no request does: sessions, and unused connections to applications. Called
    /// about twice a second.
    async fn tick(&self) {
        self.callers.refresh();
        self.judge_streams(); // before what may have to wait for a disk
        self.login.tick().await;
        for app in self.apps.iter() {
            app.upstreams.reap();
        }
    }
}
