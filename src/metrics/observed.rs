//! What is known anyway, and read when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Counters, Gauges, Labels, add, label};

/// Set at each scrape.
pub(super) struct Observed {
    connections: Gauge,
    connections_max: Gauge,
    connections_refused: Counter,
    requests_under_way: Gauge,
    requests_under_way_max: Gauge,
    requests_shed: Counters<1>,
    responses_paced: Counters<1>,
    memory: Gauge,
    memory_ceiling: Gauge,
    sessions: Gauge,
    sessions_max: Gauge,
    session_store_up: Gauge,
    nodes: Gauge,
    throttle_entries: Gauges<1>,
    hashing_queue: Gauge,
    hashing_queue_max: Gauge,
    upstream_connections: Gauges<2>,
    upstream_connections_max: Gauges<1>,
    upstream_addresses: Gauges<2>,
    certificate_remaining: Gauges<1>,
    log_lines_dropped: Counter,
}

/// What is read when somebody asks.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) connections: usize,
    pub(crate) connections_max: usize,
    /// Since the start, as all totals.
    pub(crate) connections_refused: u64,
    pub(crate) requests_under_way: usize,
    pub(crate) requests_under_way_max: usize,
    /// Requests that were turned away, by cause.
    pub(crate) requests_shed: Vec<(&'static str, u64)>,
    /// Responses beyond the pace, by outcome.
    pub(crate) responses_paced: Vec<(&'static str, u64)>,
    /// Bytes that the process takes, and that it is to take at most.
    pub(crate) memory: u64,
    pub(crate) memory_ceiling: u64,
    /// `None` when the store cannot say: the metric stays as it was.
    pub(crate) sessions: Option<usize>,
    pub(crate) sessions_max: usize,
    pub(crate) session_store_up: bool,
    /// Those that share the store; `None` as with sessions.
    pub(crate) nodes: Option<usize>,
    /// Entries of each counter of failed logins.
    pub(crate) throttle_entries: Vec<(&'static str, u64)>,
    pub(crate) hashing_queue: usize,
    pub(crate) hashing_queue_max: usize,
    /// By app.
    pub(crate) pools: Vec<(Arc<str>, Pool)>,
    /// File, and seconds until the certificate in it ends; negative afterwards.
    pub(crate) certificates: Vec<(String, i64)>,
    pub(crate) log_lines_dropped: u64,
}

/// The connections to all addresses of an application, and the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) idle: usize,
    pub(crate) in_use: usize,
    pub(crate) max: usize,
    /// Addresses that are not known to be down.
    pub(crate) up: usize,
    pub(crate) down: usize,
}

impl Pool {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            idle: self.idle + other.idle,
            in_use: self.in_use + other.in_use,
            max: self.max.saturating_add(other.max),
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}

impl Observed {
    pub(super) fn new(all: &mut Registry) -> Self {
        Self {
            connections: add(all, "connections", "Open connections of clients"),
            connections_max: add(all, "connections_max", "The limit of open connections"),
            connections_refused: add(
                all,
                "connections_refused",
                "Connections that were closed because there were too many of them",
            ),
            requests_under_way: add(all, "requests_under_way", "Requests in flight"),
            requests_under_way_max: add(
                all,
                "requests_under_way_max",
                "The limit of requests in flight",
            ),
            requests_shed: add(
                all,
                "requests_shed",
                "Requests that were refused under overload",
            ),
            responses_paced: add(
                all,
                "responses_paced",
                "Vestibule's own responses to strangers beyond the pace",
            ),
            memory: add(all, "memory_bytes", "Memory that the process uses"),
            memory_ceiling: add(
                all,
                "memory_ceiling_bytes",
                "Memory that the process should use at most",
            ),
            sessions: add(all, "sessions", "Sessions that are kept"),
            sessions_max: add(all, "sessions_max", "The limit of sessions"),
            session_store_up: add(
                all,
                "session_store_up",
                "Whether the session store can be asked",
            ),
            nodes: add(
                all,
                "nodes",
                "Nodes that share their sessions, this one included",
            ),
            throttle_entries: add(
                all,
                "throttle_entries",
                "Accounts and addresses with failed logins",
            ),
            hashing_queue: add(
                all,
                "hashing_queue",
                "Logins that wait for a hashing thread",
            ),
            hashing_queue_max: add(
                all,
                "hashing_queue_max",
                "The limit of logins that wait for a hashing thread",
            ),
            upstream_connections: add(
                all,
                "upstream_connections",
                "Pooled connections to the application",
            ),
            upstream_connections_max: add(
                all,
                "upstream_connections_max",
                "The limit of connections in use to all addresses of the application",
            ),
            upstream_addresses: add(
                all,
                "upstream_addresses",
                "Addresses of the application by whether they could be reached",
            ),
            certificate_remaining: add(
                all,
                "certificate_remaining_seconds",
                "Time until the certificate ends, negative afterwards",
            ),
            log_lines_dropped: add(all, "log_lines_dropped", "Log lines that were lost"),
        }
    }

    /// Apps and files that are not in the snapshot any more lose their series.
    pub(super) fn set(&self, now: &Snapshot) {
        set(&self.connections, now.connections);
        set(&self.connections_max, now.connections_max);
        set_total(&self.connections_refused, now.connections_refused);
        set(&self.requests_under_way, now.requests_under_way);
        set(&self.requests_under_way_max, now.requests_under_way_max);
        for &(cause, shed) in &now.requests_shed {
            set_total(
                &self.requests_shed.get_or_create(&[label("cause", cause)]),
                shed,
            );
        }
        for &(outcome, paced) in &now.responses_paced {
            set_total(
                &self
                    .responses_paced
                    .get_or_create(&[label("outcome", outcome)]),
                paced,
            );
        }
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        set(&self.memory, bytes(now.memory));
        set(&self.memory_ceiling, bytes(now.memory_ceiling));
        if let Some(sessions) = now.sessions {
            set(&self.sessions, sessions);
        }
        set(&self.sessions_max, now.sessions_max);
        set(&self.session_store_up, usize::from(now.session_store_up));
        if let Some(nodes) = now.nodes {
            set(&self.nodes, nodes);
        }
        for &(counter, entries) in &now.throttle_entries {
            let entries = usize::try_from(entries).unwrap_or(usize::MAX);
            set_in(
                &self.throttle_entries,
                &[label("counter", counter)],
                entries,
            );
        }
        set(&self.hashing_queue, now.hashing_queue);
        set(&self.hashing_queue_max, now.hashing_queue_max);
        self.upstream_connections.clear();
        self.upstream_connections_max.clear();
        self.upstream_addresses.clear();
        for (app, pool) in &now.pools {
            let app = || label("app", app.to_string());
            let state = |state| [app(), label("state", state)];
            set_in(&self.upstream_connections, &state("idle"), pool.idle);
            set_in(&self.upstream_connections, &state("in_use"), pool.in_use);
            set_in(&self.upstream_connections_max, &[app()], pool.max);
            set_in(&self.upstream_addresses, &state("up"), pool.up);
            set_in(&self.upstream_addresses, &state("down"), pool.down);
        }
        self.certificate_remaining.clear();
        for (file, seconds) in &now.certificates {
            let file = [label("file", file.clone())];
            self.certificate_remaining
                .get_or_create(&file)
                .set(*seconds);
        }
        set_total(&self.log_lines_dropped, now.log_lines_dropped);
    }
}

fn set(gauge: &Gauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn set_in<const N: usize>(gauges: &Gauges<N>, labels: &Labels<N>, value: usize) {
    set(&gauges.get_or_create(labels), value);
}

/// Takes over what somebody else has counted.
fn set_total(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}
