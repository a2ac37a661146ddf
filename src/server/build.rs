//! Builds the service from its settings.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use super::listen::{listen, monitor};
use super::metrics_listener::Monitoring;
use super::reload::Fixed;
use super::systemd::Sockets;
use super::{Running, StartError, TICK, Vitals};
use crate::admin::{self, Admin, Reloads};
use crate::auth::Accounts;
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::{self, permission::Asker};
use crate::listener::{self, Admission};
use crate::login::Login;
use crate::login::kept_forms::KeptForms;
use crate::login::throttle::{KnownNetworks, Throttle};
use crate::metrics::Metrics;
use crate::overload::{Load, Usages};
use crate::pages::Pages;
use crate::proxy::{self, Service};
use crate::session::{self, NoRandomness, Sessions};
use crate::tls::{self, Certificates, Handshakes};

/// Starts the service: reads what the configuration names, binds its addresses, and serves.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    start_on(config, Sockets::default(), clock)
}

/// Starts the service on sockets that are open already, in place of the addresses of the
/// configuration. Within the runtime.
pub(super) fn start_on(
    config: Config,
    sockets: Sockets,
    clock: Clock,
) -> Result<Running, StartError> {
    let fixed = Fixed::of(&config);
    let examined = config.examined(Asker::Service);
    let certificates = Arc::new(Certificates::open(&config.tls).map_err(StartError::Tls)?);
    let handshakes = handshakes(&certificates)?;
    let pages = pages(&config)?;
    let accounts = Accounts::open(&config.users_file, clock.clone()).map_err(StartError::Users)?;
    let accounts = Arc::new(accounts);
    let metrics = Arc::new(Metrics::new());
    let (sessions, session_clock) = sessions(&config, &clock)?;
    let sessions = Arc::new(sessions.counted(metrics.sessions()));
    let known = Arc::new(known_networks(&config)?);
    let settings = proxy_settings(&config);
    let load = Arc::new(load(&config, &accounts, &clock));
    let throttle = Throttle::new(config.throttle, Arc::clone(&known), session_clock.clone());
    let forms = KeptForms::new(config.kept_forms, clock.clone());
    let parts = (&accounts, &sessions, &pages);
    let login = login(parts, throttle, forms, session_clock)?.counted(metrics.logins());
    let metered = Arc::clone(&metrics);
    let loaded = Arc::clone(&load);
    let service = Service::new(settings, config.apps, login, pages, &clock, metered, loaded);
    let service = Arc::new(service?);

    let admission = admission(&config.listener, &service, load.usages(), &clock);
    let (listeners, addresses) = listen(sockets.tls, &config.listener.listen)?;
    let (redirectors, redirect_addresses) = listen(sockets.http, &config.listener.redirect_http)?;
    let told = Monitoring {
        metrics,
        accounts: Arc::clone(&accounts),
        admission: Arc::clone(&admission),
        certificates: Arc::clone(&certificates),
        service: Arc::clone(&service),
        sessions: Arc::clone(&sessions),
        hosts: config.metrics_hosts.clone(),
    };
    let (monitoring, metrics_address) = monitor(told, config.metrics)?;
    let (reloads, reload_requests) = Reloads::new();
    let doctor = Arc::new(doctor::Live::new(examined, Arc::clone(&sessions)));
    let server = admin::Server {
        addresses: addresses.clone(),
        admission: Arc::clone(&admission),
        service: Arc::clone(&service),
        redirect_addresses: redirect_addresses.clone(),
        metrics_address,
        started: clock.now(),
    };
    let administered = admin::Context {
        accounts: Arc::clone(&accounts),
        doctor: Arc::clone(&doctor),
        reloads: reloads.clone(),
        server,
        sessions: Arc::clone(&sessions),
    };
    let admin = Admin::open(&config.admin, administered).map_err(StartError::Admin)?;
    let (mut accepting, mut tasks) = (JoinSet::new(), Vec::new());
    for listener in listeners {
        let admission = Arc::clone(&admission);
        let accept = Arc::clone(&service).accept(listener, handshakes.clone(), admission);
        tasks.push(accepting.spawn(accept));
    }
    let port = addresses.first().map_or(443, SocketAddr::port);
    for listener in redirectors {
        let admission = Arc::clone(&admission);
        let redirect = Arc::clone(&service).redirect_to_https(listener, admission, port);
        tasks.push(accepting.spawn(redirect));
    }
    let house = House {
        service: Arc::clone(&service),
        certificates: Arc::clone(&certificates),
        accounts,
        admission: Arc::clone(&admission),
        load,
    };
    let housekeeping = house.keep(&mut tasks);
    Ok(Running {
        addresses,
        redirect_addresses,
        admission: Arc::clone(&admission),
        certificates,
        doctor,
        clock,
        fixed,
        drain: config.drain_timeout,
        vitals: Vitals {
            service,
            sessions,
            known,
            admission,
            tasks: tasks.into(),
        },
        accepting,
        housekeeping,
        metrics_address,
        monitoring,
        admin,
        reloads,
        reload_requests,
    })
}

fn handshakes(certificates: &Arc<Certificates>) -> Result<Handshakes, StartError> {
    let tls = tls::server_config(Arc::clone(certificates));
    tls.map(Handshakes::new).map_err(StartError::Tls)
}

fn admission(
    settings: &listener::Settings,
    service: &Arc<Service>,
    usages: &Arc<Usages>,
    clock: &Clock,
) -> Arc<Admission> {
    let service = Arc::clone(service);
    let trusts = move |address| service.trusts(address);
    Admission::new(settings, trusts, Arc::clone(usages), clock.clone())
}

fn load(config: &Config, accounts: &Accounts, clock: &Clock) -> Load {
    let ceiling = config.memory_ceiling(accounts.hashing_memory());
    Load::new(config.listener.max_connections, ceiling, clock.clone())
}

pub(super) fn pages(config: &Config) -> Result<Arc<Pages>, StartError> {
    let pages = Pages::new(&config.branding, config.session.remember_for);
    pages.map(Arc::new).map_err(StartError::Pages)
}

/// The sessions, and the clock that they go by.
fn sessions(config: &Config, clock: &Clock) -> Result<(Sessions, Clock), StartError> {
    let store = session::open(&config.session.backend).map_err(StartError::Sessions)?;
    let (clock, behind) = clock.going_on_from(store.latest());
    if !behind.is_zero() {
        tracing::warn!(
            seconds = behind.as_secs(),
            "the system clock is behind the last time that sessions were kept; for sessions time \
             goes on from there; if that time was wrong, `vestibule session revoke --all` and a \
             restart set it right"
        );
    }
    let sessions = Sessions::new(config.session.clone(), store, clock.clone());
    Ok((sessions, clock))
}

fn login(
    (accounts, sessions, pages): (&Arc<Accounts>, &Arc<Sessions>, &Arc<Pages>),
    throttle: Throttle,
    forms: KeptForms,
    clock: Clock,
) -> Result<Login, StartError> {
    let (accounts, sessions, pages) = (
        Arc::clone(accounts),
        Arc::clone(sessions),
        Arc::clone(pages),
    );
    Login::new(accounts, sessions, pages, throttle, forms, clock)
        .map_err(|NoRandomness| StartError::NoRandomness)
}

/// They outlive a restart as the sessions do.
fn known_networks(config: &Config) -> Result<KnownNetworks, StartError> {
    match &config.session.backend {
        session::Backend::Disk(path) => {
            KnownNetworks::beside(path).map_err(StartError::KnownNetworks)
        }
        session::Backend::Memory => {
            KnownNetworks::in_memory().map_err(|NoRandomness| StartError::NoRandomness)
        }
    }
}

pub(super) fn proxy_settings(config: &Config) -> proxy::Settings {
    proxy::Settings {
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        proxy_protocol_from: config.proxy_protocol_from.clone(),
        access_log: config.log.access,
        kept_forms: config.kept_forms,
    }
}

/// What has to be done whether requests come or not.
struct House {
    service: Arc<Service>,
    certificates: Arc<Certificates>,
    accounts: Arc<Accounts>,
    admission: Arc<Admission>,
    load: Arc<Load>,
}

impl House {
    /// Does it until what is returned is dropped; `tasks` learns of what may not end before.
    fn keep(self, tasks: &mut Vec<AbortHandle>) -> JoinSet<()> {
        let mut keeping = JoinSet::new();
        let (load, admission) = (Arc::clone(&self.load), Arc::clone(&self.admission));
        tasks.push(keeping.spawn(load.watch(admission)));
        tasks.push(keeping.spawn(self.tidy()));
        keeping
    }

    async fn tidy(self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.certificates.refresh();
            self.certificates.warn_of_ends(Clock::system().now());
            self.service.tick().await;
            self.load.set_hashing(self.accounts.hashing_memory());
        }
    }
}
