//! How the server is.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Context;
use super::protocol::{
    AppStatus, CheckStatus, Done, Health, Holder, Largest, Line, MaintenanceStatus, Occupancy,
    SessionCount, Status, StoreReach, UpstreamStatus, UsersIn,
};
use crate::clock::Timestamp;
use crate::doctor::{self, Seen};
use crate::listener::AuthAddress;
use crate::load::{Admission, Consumer, Resource, Usages};
use crate::metrics::CallerCounts;
use crate::proxy::Service;
use crate::session::{Backend, Connectivity};
use crate::upstream;

/// What is asked about besides sessions.
pub(crate) struct Server {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) service: Arc<Service>,
    pub(crate) redirect_addresses: Vec<SocketAddr>,
    pub(crate) auth_addresses: Vec<AuthAddress>,
    pub(crate) metrics_address: Option<SocketAddr>,
    pub(crate) started: Timestamp,
}

pub(super) async fn status(context: &Context) -> Line {
    let Context {
        accounts,
        clock: _,
        doctor: _,
        heartbeat,
        reloads,
        server,
        sessions,
        tokens,
    } = context;
    let settings = sessions.settings();
    let open = sessions.count().await;
    let mut connectivity = sessions.connectivity(); // which may have been lost by that
    match (&open, &mut connectivity) {
        (Ok(_), _) => {}
        (Err(error), Some(connectivity)) => {
            connectivity.error.get_or_insert_with(|| error.to_string());
        }
        (Err(error), None) => return Line::Error(error.to_string()),
    }
    let load = server.service.load();
    let (requests, (resident, ceiling)) = (load.requests(), load.memory());
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let memory = (bytes(resident), bytes(ceiling));
    let occupancy = |(open, max)| Occupancy { open, max };
    let shown = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect();
    Line::Done(Done::Status(Box::new(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: server.started.to_rfc3339(),
        stopping: server.service.shutdown().has_begun(),
        listen: shown(&server.addresses),
        redirect_http: shown(&server.redirect_addresses),
        auth_listen: (server.auth_addresses.iter())
            .map(AuthAddress::to_string)
            .collect(),
        metrics: server.metrics_address.map(|address| address.to_string()),
        connections: Occupancy {
            open: server.admission.open(),
            max: server.admission.max(),
        },
        requests: occupancy(requests),
        memory: occupancy(memory),
        shedding: load.sheds().map(|cause| cause.to_string()),
        largest: largest(load.usages()),
        sessions: SessionCount {
            open: open.ok(),
            max: settings.max_sessions,
        },
        store: match settings.backend {
            Backend::Disk(_) => "disk".to_owned(),
            Backend::Memory => "memory".to_owned(),
            Backend::Redis(_) => "redis".to_owned(),
        },
        store_reach: connectivity.map(store_reach),
        users: accounts.count(),
        users_in: match accounts.shared() {
            Some(_) => UsersIn::Store,
            None => UsersIn::File,
        },
        nodes: heartbeat.count().filter(|_| !heartbeat.is_alone()),
        tokens: tokens.count(),
        apps: apps(&server.service),
        reload: reloads.last(),
    })))
}

fn store_reach(connectivity: Connectivity) -> StoreReach {
    StoreReach {
        connected: connectivity.is_connected,
        since: connectivity.since.to_rfc3339(),
        error: connectivity.error,
        servers: connectivity.servers,
    }
}

/// So many of those who hold most are named.
const NAMED: usize = 3;

fn largest(usages: &Usages) -> BTreeMap<String, Largest> {
    let resources = [
        ("connections", Resource::Connections),
        ("requests", Resource::Requests),
        ("memory", Resource::Buffered),
    ];
    let named = |resource, users: bool| {
        let largest = usages.largest(resource, NAMED, |who| who.is_user() == users);
        let holder = |(who, held): (Consumer, usize)| Holder {
            name: who.to_string(),
            held,
        };
        largest.into_iter().map(holder).collect()
    };
    let of = |(name, resource): (&str, Resource)| {
        let largest = Largest {
            networks: named(resource, false),
            users: named(resource, true),
        };
        (name.to_owned(), largest)
    };
    resources.into_iter().map(of).collect()
}

pub(super) async fn health(doctor: &doctor::Live) -> Health {
    let Seen {
        certificates,
        findings,
    } = doctor.look().await;
    Health {
        certificates,
        findings,
    }
}

fn apps(service: &Service) -> Vec<AppStatus> {
    let mut callers: HashMap<_, _> = service.callers().into_iter().collect();
    let apps = service.health().into_iter().map(|(name, upstreams)| {
        let counts = callers.remove(&name);
        app(&name, upstreams, counts.as_ref())
    });
    let mut apps: Vec<_> = apps.collect();
    for (name, closed) in service.closed() {
        if let Some(app) = apps.iter_mut().find(|app| app.name == *name) {
            let by = if closed.by_command {
                "command"
            } else {
                "configuration"
            };
            let sentence = closed.sentence;
            app.maintenance = Some(MaintenanceStatus {
                by: by.to_owned(),
                sentence: sentence.map(|sentence| sentence.as_str().to_owned()),
            });
        }
    }
    apps
}

fn app(name: &str, upstreams: Vec<upstream::Health>, callers: Option<&CallerCounts>) -> AppStatus {
    let upstreams = upstreams.into_iter().map(|health| UpstreamStatus {
        address: health.address.to_string(),
        reachable: health.reachable,
        health: health.checked.map(check),
    });
    AppStatus {
        name: name.to_string(),
        upstreams: upstreams.collect(),
        callers: callers
            .into_iter()
            .flat_map(CallerCounts::totals)
            .map(|(kind, requests)| (kind.to_owned(), requests))
            .collect(),
        maintenance: None,
    }
}

fn check(checked: upstream::health::State) -> CheckStatus {
    let state = match checked.is_up {
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    CheckStatus {
        state: state.to_owned(),
        last: checked.last,
    }
}
