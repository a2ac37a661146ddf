//! The proxy while configurations come and go.

mod pausing;

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::app::Signing;
use super::apps::Apps;
use super::shared::Shared;
use super::shutdown::Shutdown;
use super::{AppSettings, Proxy, Settings};
use crate::auth::throttle;
use crate::clock::Clock;
use crate::load::Load;
use crate::metrics::{CallerCounts, Metrics, Pool};
use crate::portal::{self, Portal};
use crate::probe::Probes;
use crate::random::NoRandomness;
use crate::upstream;

pub(crate) use pausing::{NotResumed, UnknownApp};

/// The running proxy. Each request takes the one of the latest configuration; what is in flight
/// ends with the one that it began with.
pub(crate) struct Service {
    current: ArcSwap<Proxy>,
    /// Held while another proxy, or another state of it, takes over.
    changing: Mutex<()>,
    shared: Arc<Shared>,
    load: Arc<Load>,
}

/// Why there can be no proxy.
#[derive(Debug)]
pub(crate) enum OpenError {
    NoRandomness,
    /// The app of this name could never be reached.
    Upstream(String, upstream::OpenError),
}

impl Service {
    pub(crate) fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        portal: Portal,
        clock: &Clock,
        metrics: Arc<Metrics>,
        load: Arc<Load>,
    ) -> Result<Self, OpenError> {
        let shared = Shared::new(portal.sessions(), metrics, clock.clone());
        let shared = Arc::new(shared.map_err(|NoRandomness| OpenError::NoRandomness)?);
        let proxy = Proxy::new(settings, apps, portal, clock, Arc::clone(&shared))?;
        let proxy = Arc::new(proxy);
        shared.set_latest(&proxy);
        Ok(Self {
            current: ArcSwap::new(proxy),
            changing: Mutex::default(),
            shared,
            load,
        })
    }

    /// The proxy of another configuration, which nobody uses yet.
    pub(crate) fn prepare(
        &self,
        settings: Settings,
        apps: Vec<AppSettings>,
        throttle: throttle::Settings,
        front: portal::Settings,
        clock: &Clock,
    ) -> Result<Proxy, OpenError> {
        let portal = self.proxy().portal.with(front, throttle);
        let shared = Arc::clone(&self.shared);
        Proxy::new(settings, apps, portal, clock, shared)
    }

    /// From the next request on there is this proxy; what it would not permit ends.
    pub(crate) fn replace(&self, proxy: Proxy) {
        let saved_posts = proxy.portal.saved_posts();
        saved_posts.set_quota(proxy.settings.kept_forms);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = Arc::new(proxy);
        let before = self.current.swap(Arc::clone(&proxy));
        self.shared.renumber(&proxy); // an app may have been paused since it was prepared
        proxy.judge_streams();
        // What is left of it may last as long as a download.
        before.apps.iter().for_each(|app| app.upstreams.retire());
    }

    /// Has whatever is in flight judged again, as after a change of the configuration (SEC-89).
    pub(crate) fn judge_again(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = self.proxy();
        self.shared.renumber(&proxy);
        proxy.judge_streams();
    }

    /// Whether there is an app of this name, and whether it takes API tokens.
    pub(crate) fn takes_tokens(&self, app: &str) -> Result<bool, UnknownApp> {
        let proxy = self.proxy();
        let Some(app) = proxy.apps.named(app) else {
            return Err(self.unknown(app));
        };
        Ok(app.credentials().tokens)
    }

    /// The proxy as it is configured now.
    pub(crate) fn proxy(&self) -> Arc<Proxy> {
        self.current.load_full()
    }

    /// For what lasts longer than a request, and is not to hold on to applications.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.current.load().settings)
    }

    /// Looks after what no request does. Called about twice a second.
    pub(crate) async fn tick(&self) {
        self.proxy().tick().await;
    }

    /// Looks after API tokens. Called about twice a second.
    pub(crate) async fn tick_tokens(&self) {
        self.proxy().callers.tick_tokens().await;
    }

    /// The connections to each app, by name.
    pub(crate) fn pools(&self) -> Vec<(Arc<str>, Pool)> {
        self.proxy().apps.pools()
    }

    /// Requests for each app by who sent them, by name.
    pub(crate) fn callers(&self) -> Vec<(Arc<str>, CallerCounts)> {
        self.proxy().apps.callers()
    }

    /// What is in flight in all, and what is too much.
    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// About how many failed logins are remembered, by what they are counted for.
    pub(crate) fn throttle_entries(&self) -> [(&'static str, u64); 3] {
        self.current.load().portal.throttle_entries()
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

    /// Whether an app has this host, or serves every host, or it is that of the login.
    pub(crate) fn serves(&self, host: &str) -> bool {
        self.current.load().apps.serve(host)
    }

    /// The run of `vestibule check --through`, if there is one.
    pub(crate) fn probes(&self) -> &Probes {
        &self.shared.probes
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// Stops taking connections, lets requests finish for `drain`, then ends what is left
    /// (REL-02). Gives how many connections did not finish.
    pub(crate) async fn stop(&self, drain: Duration) -> usize {
        self.shared.shutdown.begin(drain).await
    }
}

impl Proxy {
    fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        portal: Portal,
        clock: &Clock,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let signing = Signing {
            login: settings.login_host.clone(),
            public_port: settings.public_port,
            signer: Arc::clone(portal.signer()),
        };
        Ok(Self {
            apps: Apps::open(apps, &signing, clock, &shared)?,
            callers: Arc::clone(portal.callers()),
            sessions: Arc::clone(portal.sessions()),
            pages: Arc::clone(portal.pages()),
            portal,
            settings: Arc::new(settings),
            number: AtomicU64::new(shared.count_configuration()),
            shared,
        })
    }

    /// Looks after what no request does: sessions, and unused connections to applications. Called
    /// about twice a second.
    async fn tick(&self) {
        self.callers.refresh();
        self.judge_streams(); // before what may have to wait for a disk
        self.callers.tick().await;
        self.portal.sweep();
        let shutdown = &self.shared.shutdown;
        for app in self.apps.iter() {
            app.upstreams.reap();
            if !shutdown.has_begun() {
                app.upstreams.check(shutdown.token());
            }
        }
    }
}
