//! Builds what runs from one configuration, for a start and for a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::accept::Acceptor;
use super::auth_listener::{self, Asked};
use super::background::Background;
use super::listen::{listen, monitor};
use super::metrics_listener::Monitoring;
use super::restart_only::RestartOnly;
use super::systemd::Sockets;
use super::{Handles, Running, StartError, watchdog};
use crate::admin::{self, Reloads};
use crate::auth::api_token::ApiTokens;
#[cfg(feature = "redis")]
use crate::auth::throttle::SharedCounts;
use crate::auth::throttle::{self, KnownNetworks, Throttle};
use crate::auth::users_file::{Users, UsersFileError};
use crate::auth::{self, Accounts, UsersHome, authenticators, users_file};
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::{self, permission::Perspective};
use crate::identity::token::Signer;
use crate::load::memory::Ceiling;
use crate::load::{Admission, ConnectionLimits, Load, Usages};
use crate::metrics::Metrics;
use crate::nodes::{Heartbeat, KeyRing, Nodes, RingOf};
use crate::pages::Pages;
use crate::portal::saved_posts::store::SavedPostStore;
use crate::portal::{self, Portal};
use crate::proxy::{self, Service};
use crate::random::NoRandomness;
use crate::session::{self, Sessions};
use crate::tls::{self, Certificates, Handshakes};

/// All that a configuration makes and that a reload swaps: ready and whole before any of it is
/// used. Whoever takes it names each part, so that start and reload cannot differ.
pub(super) struct Built {
    pub(super) connections: ConnectionLimits,
    pub(super) apps: Vec<proxy::AppSettings>,
    pub(super) ceiling: Ceiling,
    pub(super) certificates: tls::Prepared,
    pub(super) drain: Duration,
    pub(super) examined: doctor::Settings,
    pub(super) portal: portal::Settings,
    pub(super) proxy: proxy::Settings,
    pub(super) restart_only: RestartOnly,
    pub(super) session: session::Settings,
    pub(super) throttle: throttle::Settings,
}

/// Reads and checks what the configuration names, and changes nothing.
pub(super) fn build(config: Config) -> Result<Built, StartError> {
    let restart_only = RestartOnly::of(&config);
    let examined = config.examined(Perspective::Service);
    let certificates = Certificates::prepare(&config.tls).map_err(StartError::Tls)?;
    let users = users(&config.users)?;
    let kept = auth::users_memory(&config.users, &users);
    let ceiling = config.memory_ceiling(auth::hashing_memory(&users), kept);
    let pages = Pages::new(&config.branding, config.session.remember_for);
    // Each key by name: one that is new is forgotten neither here nor there.
    let Config {
        acme_challenges,
        after_logout,
        mut apps,
        auth_from,
        drain_timeout: drain,
        kept_forms,
        limits,
        listener,
        log,
        login_host,
        proxy_protocol_from,
        public_port,
        session,
        throttle,
        timeouts,
        trusted_proxies,
        admin: _,
        branding: _,
        identity_keys: _,
        lines: _,
        metrics: _,
        metrics_hosts: _,
        path: _,
        tls: _,
        users: _,
    } = config;
    for app in &mut apps {
        let read = app.request_headers.read_files();
        read.map_err(StartError::SecretHeader)?;
    }
    let preserves = |app: &proxy::AppSettings| app.upstream.preserve_header_case;
    let preserve_header_case = apps.iter().any(preserves);
    Ok(Built {
        apps,
        ceiling,
        certificates,
        connections: listener.limits,
        drain,
        examined,
        portal: portal::Settings {
            pages: pages.map(Arc::new).map_err(StartError::Pages)?,
            after_logout,
            login_host: login_host
                .clone()
                .map(|host| portal::LoginHost { host, public_port }),
        },
        proxy: proxy::Settings {
            limits,
            timeouts,
            trusted_proxies,
            proxy_protocol_from,
            auth_from,
            public_port,
            login_host,
            acme_challenges,
            access_log: log.access,
            preserve_header_case,
            kept_forms,
        },
        restart_only,
        session,
        throttle,
    })
}

/// Those of the users file. Of a file that the store takes over, whatever is wrong with it is an
/// error, too, and it need not be there.
fn users(home: &UsersHome) -> Result<Users, StartError> {
    match home.file().map(users_file::read_trusted) {
        Some(Ok(users)) if !home.is_store() => Ok(users),
        Some(Err(UsersFileError::Missing { .. })) if home.is_store() => Ok(Users::default()),
        Some(Err(error)) => Err(StartError::Users(error)),
        Some(Ok(_)) | None => Ok(Users::default()),
    }
}

/// Starts the service: reads what the configuration names, binds its addresses, and serves.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    start_on(config, Sockets::default(), clock)
}

/// The same on sockets that are open already, in place of the addresses of the configuration.
/// Within the runtime.
#[expect(
    clippy::too_many_lines,
    reason = "all that runs, in the order in which one needs the other"
)]
pub(super) fn start_on(
    config: Config,
    sockets: Sockets,
    clock: Clock,
) -> Result<Running, StartError> {
    let Built {
        apps,
        ceiling,
        certificates,
        connections,
        drain,
        examined,
        portal: front,
        proxy,
        restart_only,
        session,
        throttle,
    } = build(config)?;
    let certificates = Arc::new(Certificates::new(certificates));
    let metrics = Arc::new(Metrics::new());
    let nodes = Nodes::open(restart_only.backend.shared(), &clock)
        .map_err(|error| StartError::Sessions(session::OpenError::Redis(error)))?;
    let accounts = Accounts::open(&restart_only.users, &nodes, &clock);
    let accounts = Arc::new(accounts.map_err(StartError::Users)?);
    let ring = |of| KeyRing::new(&nodes, of).map(Arc::new);
    let ring = |of| ring(of).map_err(|NoRandomness| StartError::NoRandomness);
    let (forms, tickets) = (ring(RingOf::Forms)?, ring(RingOf::Tickets)?);
    let shared = nodes.values().map(|_| Arc::clone(&tickets));
    let handshakes = handshakes(&certificates, shared)?;
    let (sessions, session_clock) = sessions(session, &nodes, &clock)?;
    let sessions = Arc::new(sessions.counted(metrics.sessions()));
    let known = Arc::new(known_networks(&restart_only.backend)?);
    let load = Load::new(connections.max, ceiling, clock.clone());
    let load = Arc::new(load);
    let throttle = throttle_of(throttle, &known, &nodes, &session_clock);
    let posts = SavedPostStore::new(proxy.kept_forms, clock.clone(), &nodes);
    let posts = Arc::new(posts);
    let tokens = Arc::new(api_tokens(&restart_only.backend, &nodes, &session_clock)?);
    // After the sessions, whose file another process may have open: it has these keys, too.
    let signer = Arc::new(Signer::new(
        restart_only.identity_keys.clone(),
        clock.clone(),
        nodes.values().cloned(),
    ));
    open_keys(&signer, &apps)?;
    let backends = portal::Backends {
        accounts: Arc::clone(&accounts),
        sessions: Arc::clone(&sessions),
        tokens: Arc::clone(&tokens),
        signer: Arc::clone(&signer),
        keys: Arc::clone(&forms),
        nodes: nodes.clone(),
    };
    let counts = metrics.logins();
    let saved_posts = Arc::clone(&posts);
    let portal = Portal::new(
        backends,
        front,
        throttle,
        saved_posts,
        session_clock,
        counts,
    )
    .map_err(|NoRandomness| StartError::NoRandomness)?;
    let metered = Arc::clone(&metrics);
    let loaded = Arc::clone(&load);
    let service = Service::new(proxy, apps, portal, &clock, metered, loaded);
    let service = Arc::new(service?);

    let admission = admission(connections, &service, load.usages(), &clock);
    // The addresses of visitors last: whoever finds them open finds the others, too, and a command that
    // is given then finds the socket.
    let admin = admin::Bound::open(&restart_only.admin).map_err(StartError::Admin)?;
    let (askable, auth_addresses) = auth_listener::listen(sockets.auth, &restart_only.auth_listen)?;
    let (redirectors, redirect_addresses) = listen(sockets.http, &restart_only.redirect_http)?;
    let (listeners, addresses) = listen(sockets.tls, &restart_only.listen)?;
    let auth_threads = auth_listener::threads(&askable).map_err(StartError::Runtime)?;
    let pulses = watchdog::pulses(auth_threads.runtimes()).map_err(StartError::Watchdog)?;
    let started = clock.now();
    let listens = addresses.iter().map(SocketAddr::to_string).collect();
    let heartbeat = Heartbeat::new(&nodes, listens, started);
    let heartbeat = Arc::new(heartbeat.map_err(|NoRandomness| StartError::NoRandomness)?);
    let told = Monitoring {
        metrics,
        accounts: Arc::clone(&accounts),
        admission: Arc::clone(&admission),
        certificates: Arc::clone(&certificates),
        heartbeat: Arc::clone(&heartbeat),
        service: Arc::clone(&service),
        sessions: Arc::clone(&sessions),
        hosts: restart_only.metrics_hosts.clone(),
    };
    let (monitoring, metrics_address) = monitor(told, restart_only.metrics)?;
    let (reloads, reload_requests) = Reloads::new();
    let doctor = Arc::new(doctor::Live::new(
        examined,
        Arc::clone(&sessions),
        Arc::clone(&accounts),
    ));
    let server = admin::Server {
        addresses: addresses.clone(),
        admission: Arc::clone(&admission),
        service: Arc::clone(&service),
        redirect_addresses: redirect_addresses.clone(),
        auth_addresses: auth_addresses.clone(),
        metrics_address,
        started,
    };
    let administered = admin::Context {
        accounts: Arc::clone(&accounts),
        clock: clock.clone(),
        doctor: Arc::clone(&doctor),
        heartbeat: Arc::clone(&heartbeat),
        reloads: reloads.clone(),
        server,
        sessions: Arc::clone(&sessions),
        tokens: Arc::clone(&tokens),
    };
    let admin = admin.map(|socket| socket.answer(administered));
    let mut tasks = Vec::new();
    let acceptor = Acceptor::new(&service, &admission, handshakes);
    let port = addresses.first().map_or(443, SocketAddr::port);
    let mut accepting = acceptor.begin((listeners, port), redirectors, &mut tasks);
    let asked = Asked {
        service: &service,
        admission: &admission,
        threads: &auth_threads,
    };
    asked.begin(askable, &mut accepting, &mut tasks);
    let background = Background {
        service: Arc::clone(&service),
        certificates: Arc::clone(&certificates),
        accounts,
        admission: Arc::clone(&admission),
        load,
        sessions: Arc::clone(&sessions),
        signer: Arc::clone(&signer),
        tokens: Arc::clone(&tokens),
        keys: [forms, tickets],
        heartbeat: Arc::clone(&heartbeat),
        posts,
    };
    let housekeeping = background.begin(&mut tasks);
    Ok(Running {
        addresses,
        redirect_addresses,
        auth_addresses,
        admission: Arc::clone(&admission),
        certificates,
        doctor,
        clock,
        restart_only,
        drain,
        handles: Handles {
            service,
            sessions,
            signer,
            tokens,
            known,
            heartbeat,
            admission,
            tasks: tasks.into(),
            pulses: Arc::new(Mutex::new(pulses)),
        },
        accepting,
        _auth_threads: auth_threads,
        housekeeping,
        metrics_address,
        monitoring,
        admin,
        reloads,
        reload_requests,
    })
}

/// Has the keys of identity tokens ready if an app wants tokens.
pub(super) fn open_keys(signer: &Signer, apps: &[proxy::AppSettings]) -> Result<(), StartError> {
    if apps.iter().any(|app| app.identity.token().is_some()) {
        signer.open().map_err(StartError::IdentityKeys)?;
    }
    Ok(())
}

fn handshakes(
    certificates: &Arc<Certificates>,
    keys: Option<Arc<KeyRing>>,
) -> Result<Handshakes, StartError> {
    let tls = tls::server_config(Arc::clone(certificates), keys);
    tls.map(Handshakes::new).map_err(StartError::Tls)
}

fn admission(
    limits: ConnectionLimits,
    service: &Arc<Service>,
    usages: &Arc<Usages>,
    clock: &Clock,
) -> Arc<Admission> {
    let service = Arc::clone(service);
    let trusts = move |address| service.trusts(address);
    Admission::new(limits, trusts, Arc::clone(usages), clock)
}

/// The sessions, and the clock that they go by.
fn sessions(
    settings: session::Settings,
    nodes: &Nodes,
    clock: &Clock,
) -> Result<(Sessions, Clock), StartError> {
    let store = session::open(&settings.backend, nodes, clock).map_err(StartError::Sessions)?;
    let (clock, behind) = clock.going_on_from(store.latest());
    if !behind.is_zero() {
        tracing::warn!(
            seconds = behind.as_secs(),
            "the system clock is behind the last time that sessions were kept; for sessions time \
             goes on from there; if that time was wrong, `vestibule session revoke --all` and a \
             restart set it right"
        );
    }
    let sessions = Sessions::new(settings, store, clock.clone());
    Ok((sessions, clock))
}

/// They are kept where the sessions are, and outlive a restart as those do.
fn api_tokens(
    backend: &session::Backend,
    nodes: &Nodes,
    clock: &Clock,
) -> Result<ApiTokens, StartError> {
    let file = backend.local();
    let file = file.map(|sessions| sessions.with_file_name(authenticators::FILE));
    let store = authenticators::open(file.as_deref(), nodes, clock);
    let store = store.map_err(StartError::Authenticators)?;
    ApiTokens::open(store, clock.clone()).map_err(|_| StartError::TokensUnread)
}

/// Which counts on all nodes together.
fn throttle_of(
    settings: throttle::Settings,
    known: &Arc<KnownNetworks>,
    nodes: &Nodes,
    clock: &Clock,
) -> Throttle {
    #[cfg(feature = "redis")]
    let store = nodes.link().map(SharedCounts::new);
    #[cfg(not(feature = "redis"))]
    let (store, _alone) = (None, nodes);
    Throttle::new(settings, Arc::clone(known), clock.clone(), store)
}

/// They outlive a restart as the sessions do.
fn known_networks(backend: &session::Backend) -> Result<KnownNetworks, StartError> {
    match backend.local() {
        Some(path) => KnownNetworks::beside(path).map_err(StartError::KnownNetworks),
        None => KnownNetworks::in_memory().map_err(|NoRandomness| StartError::NoRandomness),
    }
}
