//! `[admin] metrics`: a plain listener of its own for `/metrics`, `/healthz` and `/readyz`.
//!
//! It is for machines of the operator: nobody signs in here, and nothing of it can be reached by
//! the listeners of visitors. Every connection gets one answer and a bounded time; when there are
//! too many, the oldest one is closed, so that clients that hang keep nobody else out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::Accounts;
use crate::clock::Clock;
use crate::load::Admission;
use crate::metrics::{Format, Metrics, Snapshot};
use crate::nodes::Heartbeat;
use crate::proxy::Service;
use crate::request::{Authority, Host};
use crate::session::{Sessions, StoreError};
use crate::telemetry;
use crate::tls::Certificates;

const MAX_CONNECTIONS: usize = 16;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a connection: the head of its request, and the answer.
const LIFETIME: Duration = Duration::from_secs(15);
const MAX_HEAD: usize = 16 * 1024;
/// Accept goes on after a pause when descriptors have run out (REL-05).
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// What is told.
pub(crate) struct Monitoring {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) service: Arc<Service>,
    pub(crate) sessions: Arc<Sessions>,
    /// Names besides addresses and `localhost` that it is asked by.
    pub(crate) hosts: Vec<Host>,
}

/// Takes connections until it is dropped.
pub(crate) async fn serve(monitoring: Arc<Monitoring>, listener: TcpListener) {
    let mut open: VecDeque<AbortOnDropHandle<()>> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS {
            open.pop_front(); // an answer takes milliseconds: the oldest one hangs
        }
        let connection = tokio::spawn(serve_one(Arc::clone(&monitoring), stream));
        open.push_back(AbortOnDropHandle::new(connection));
    }
}

async fn serve_one(monitoring: Arc<Monitoring>, stream: TcpStream) {
    let answer = service_fn(move |request: Request<_>| {
        let monitoring = Arc::clone(&monitoring);
        async move { Ok::<_, Infallible>(monitoring.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = tokio::time::timeout(LIFETIME, served).await; // whoever is gone needs no answer
}

impl Monitoring {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !self.is_named_by(request) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not known here: see metrics_hosts in [admin]\n",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allow);
            return refused;
        }
        match request.uri().path() {
            "/metrics" => self.scrape(format(request.headers())).await,
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// A page of anybody's can make its name lead here and read the answers (DNS rebinding); its
    /// browser still says the name. Clients that say none are no browsers.
    fn is_named_by<B>(&self, request: &Request<B>) -> bool {
        let in_target = request.uri().authority();
        let in_target = in_target.map(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let hosts = request.headers().get_all(header::HOST).iter();
        hosts
            .map(|host| Authority::parse(host).ok())
            .chain(in_target.map(|value| Authority::parse(&value?).ok()))
            .all(|host| host.is_some_and(|host| self.is_known(host.host())))
    }

    fn is_known(&self, host: &str) -> bool {
        let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let host = Host::parse(host);
        is_address
            || host.is_some_and(|host| host.as_str() == "localhost" || self.hosts.contains(&host))
    }

    async fn scrape(&self, format: Format) -> Response<Full<Bytes>> {
        match self.metrics.encode(&self.snapshot().await, format) {
            Ok(metrics) => respond(StatusCode::OK, format.content_type(), metrics),
            Err(error) => {
                tracing::error!(%error, "cannot write the metrics");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "cannot write the metrics\n",
                )
            }
        }
    }

    async fn snapshot(&self) -> Snapshot {
        let (hashing_queue, hashing_queue_max) = self.accounts.hashing_queue();
        let load = self.service.load();
        let (requests_under_way, requests_under_way_max) = load.requests();
        let (memory, memory_ceiling) = load.memory();
        let shed = load.shed();
        let sessions = self.sessions.count().await.ok();
        let files = self.certificates.remaining(Clock::system().now());
        Snapshot {
            connections: self.admission.open(),
            connections_max: self.admission.max(),
            connections_refused: self.admission.refused(),
            requests_under_way,
            requests_under_way_max,
            requests_shed: shed.map(|(cause, count)| (cause.name(), count)).to_vec(),
            responses_paced: load.paced().to_vec(),
            memory,
            memory_ceiling,
            sessions,
            session_store_up: sessions.is_some(),
            nodes: self.heartbeat.count(),
            sessions_max: self.sessions.max(),
            throttle_entries: self.service.throttle_entries().to_vec(),
            hashing_queue,
            hashing_queue_max,
            pools: self.service.pools(),
            certificates: files
                .into_iter()
                .map(|(file, left)| (file.display().to_string(), left))
                .collect(),
            log_lines_dropped: telemetry::dropped(),
        }
    }

    /// Whether new visitors should come here; if not, every reason on a line of its own.
    async fn readiness(&self) -> Response<Full<Bytes>> {
        let mut reasons = String::new();
        if self.service.shutdown().has_begun() {
            reasons.push_str("stopping\n");
        }
        if let Err(error) = self.sessions.can_be_read().await {
            let reason = match (error, self.sessions.connectivity()) {
                (StoreError::Refused, _) => "the session store refuses what it is asked\n",
                (_, Some(_)) => "the session store cannot be reached\n",
                (_, None) => "the sessions cannot be read\n",
            };
            reasons.push_str(reason);
        }
        for (app, pool) in self.service.pools() {
            if pool.up == 0 {
                // Writing to a String cannot fail.
                let _ = writeln!(reasons, "app {app}: no upstream can be reached");
            }
        }
        if reasons.is_empty() {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, reasons)
        }
    }
}

/// `OpenMetrics` for those who ask for it, by whatever weight; others may not read it.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
