//! What the service counts, for Prometheus. `docs/metrics.md` says what each metric means.
//!
//! Whoever counts takes its handles at the start and keeps them: a request costs a few relaxed
//! additions and no look-up. What is known anyway, such as the open connections, is read when
//! somebody asks. Labels come from the configuration and from fixed sets, never from a request:
//! who could choose them could fill the memory.

mod app;
mod latency;
mod login;
mod observed;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub(crate) use app::{
    AnswerCounts, AppCounts, CallerCounts, CallerKind, Open, UpstreamErrorCounts,
};
use latency::Latency;
pub(crate) use login::{LoginCounts, SessionCounts};
use observed::Observed;
pub(crate) use observed::{Pool, Snapshot};

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;

/// All metrics of the process; the same over every configuration that it gets.
pub(crate) struct Metrics {
    registry: Registry,
    /// Held by one scrape at a time: what is observed is replaced as a whole.
    scraping: Mutex<()>,
    answers: Counters<2>,
    callers: Counters<2>,
    latency: Family<Labels<1>, Latency>,
    received: Counters<1>,
    sent: Counters<1>,
    websockets: Gauges<1>,
    upstream_errors: Counters<2>,
    logins: Counters<1>,
    sessions_started: Counter,
    sessions_ended: Counters<1>,
    session_end_delay: Latency,
    observed: Observed,
}

/// How a scrape is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4, which everybody reads.
    Text,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Registry::with_prefix("vestibule");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The running version", build);
        Self {
            scraping: Mutex::default(),
            answers: add(
                &mut all,
                "requests",
                "Requests by the status of their responses",
            ),
            callers: add(
                &mut all,
                "requests_by_caller",
                "Requests for the application by who sent them",
            ),
            latency: add(
                &mut all,
                "request_duration_seconds",
                "Time from the head of a request to the head of its response",
            ),
            received: add(
                &mut all,
                "request_body_bytes",
                "Bytes of request bodies for the application",
            ),
            sent: add(
                &mut all,
                "response_body_bytes",
                "Bytes of response bodies of the application",
            ),
            websockets: add(&mut all, "websockets", "Open WebSockets"),
            upstream_errors: add(
                &mut all,
                "upstream_errors",
                "Requests without a usable response of the application",
            ),
            logins: add(&mut all, "logins", "Login forms by outcome"),
            sessions_started: add(&mut all, "sessions_started", "Sessions that were started"),
            sessions_ended: add(&mut all, "sessions_ended", "Sessions that have ended"),
            session_end_delay: add(
                &mut all,
                "session_end_delay_seconds",
                "Time from the end of a session on another node to its effect on this one",
            ),
            observed: Observed::new(&mut all),
            registry: all,
        }
    }

    /// The counters of an app; the same ones each time for the same name.
    pub(crate) fn app(&self, name: &str) -> AppCounts {
        let app = || label("app", name.to_owned());
        let error = |kind| counter(&self.upstream_errors, &[app(), label("kind", kind)]);
        AppCounts {
            answers: self.answers(name),
            callers: CallerCounts::new(|kind| {
                counter(&self.callers, &[app(), label("caller", kind)])
            }),
            received: counter(&self.received, &[app()]),
            sent: counter(&self.sent, &[app()]),
            websockets: self.websockets.get_or_create_owned(&[app()]),
            upstream_errors: UpstreamErrorCounts {
                bad_response: error("bad_response"),
                busy: error("busy"),
                client_body: error("client_body"),
                client_too_slow: error("client_too_slow"),
                connect: error("connect"),
                connect_timeout: error("connect_timeout"),
                no_response: error("no_response"),
                response_timeout: error("response_timeout"),
            },
        }
    }

    /// For requests that are for no app.
    pub(crate) fn no_app(&self) -> AnswerCounts {
        self.answers("none")
    }

    fn answers(&self, app: &str) -> AnswerCounts {
        let app = || label("app", app.to_owned());
        AnswerCounts {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| counter(&self.answers, &[app(), label("status", class)])),
            latency: self.latency.get_or_create_owned(&[app()]),
        }
    }

    pub(crate) fn logins(&self) -> LoginCounts {
        let outcome = |outcome| counter(&self.logins, &[label("outcome", outcome)]);
        LoginCounts {
            busy: outcome("busy"),
            forged: outcome("forged"),
            not_kept: outcome("not_kept"),
            refused: outcome("refused"),
            sessions_full: outcome("sessions_full"),
            signed_in: outcome("signed_in"),
            throttled: outcome("throttled"),
        }
    }

    pub(crate) fn sessions(&self) -> SessionCounts {
        let reason = |reason| counter(&self.sessions_ended, &[label("reason", reason)]);
        SessionCounts {
            started: self.sessions_started.clone(),
            account: reason("account"),
            expired: reason("expired"),
            limit: reason("limit"),
            logout: reason("logout"),
            replaced: reason("replaced"),
            revoked: reason("revoked"),
            end_delay: self.session_end_delay.clone(),
        }
    }

    /// Everything as text, with what was observed just now.
    pub(crate) fn encode(&self, snapshot: &Snapshot, format: Format) -> Result<String, fmt::Error> {
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.observed.set(snapshot);
        let mut encoded = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut encoded, &self.registry)?,
            Format::Text => prometheus_text::encode(&mut encoded, &self.registry)?,
        }
        Ok(encoded)
    }
}

/// Registers a metric. The library ends `help` with a full stop, and the name of a counter with
/// `_total`.
fn add<M: Metric + Clone + Default>(all: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    all.register(name, help, metric.clone());
    metric
}

fn label(
    name: &'static str,
    value: impl Into<Cow<'static, str>>,
) -> (&'static str, Cow<'static, str>) {
    (name, value.into())
}

fn counter<const N: usize>(counters: &Counters<N>, labels: &Labels<N>) -> Counter {
    counters.get_or_create_owned(labels)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            connections: 3,
            connections_max: 10,
            connections_refused: 7,
            requests_under_way: 5,
            requests_under_way_max: 10,
            requests_shed: vec![("delay", 6)],
            responses_paced: vec![("delayed", 9), ("closed", 8)],
            memory: 1000,
            memory_ceiling: 2000,
            sessions: Some(2),
            sessions_max: 20,
            session_store_up: true,
            nodes: Some(3),
            throttle_entries: vec![("address", 1)],
            hashing_queue: 1,
            hashing_queue_max: 64,
            pools: vec![(
                "wiki".into(),
                Pool {
                    idle: 1,
                    in_use: 2,
                    max: 8,
                    up: 1,
                    down: 1,
                },
            )],
            certificates: vec![("cert.pem".to_owned(), -5)],
            log_lines_dropped: 4,
        }
    }

    fn lines(metrics: &Metrics, snapshot: &Snapshot) -> Vec<String> {
        let text = metrics.encode(snapshot, Format::Text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_has(lines: &[String], expected: &str) {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected:?} is not in {lines:#?}"
        );
    }

    #[test]
    fn what_is_counted_and_what_is_observed_stand_in_a_scrape() {
        let metrics = Metrics::new();
        let wiki = metrics.app("wiki");
        wiki.answers
            .note(StatusCode::NOT_FOUND, Duration::from_millis(30));
        wiki.received.inc_by(11);
        metrics
            .no_app()
            .note(StatusCode::MISDIRECTED_REQUEST, Duration::ZERO);
        metrics.logins().refused.inc();
        metrics.sessions().logout.inc();
        let delay = metrics.sessions().end_delay;
        delay.note(Duration::from_millis(7));
        let lines = lines(&metrics, &snapshot());
        for expected in [
            "vestibule_requests_total{app=\"wiki\",status=\"4xx\"} 1",
            "vestibule_requests_total{app=\"wiki\",status=\"2xx\"} 0",
            "vestibule_requests_total{app=\"none\",status=\"4xx\"} 1",
            "vestibule_request_duration_seconds_bucket{app=\"wiki\",le=\"0.025\"} 0",
            "vestibule_request_duration_seconds_bucket{app=\"wiki\",le=\"0.05\"} 1",
            "vestibule_request_duration_seconds_bucket{app=\"wiki\",le=\"+Inf\"} 1",
            "vestibule_request_duration_seconds_count{app=\"wiki\"} 1",
            "vestibule_request_duration_seconds_sum{app=\"wiki\"} 0.03",
            "vestibule_request_body_bytes_total{app=\"wiki\"} 11",
            "vestibule_logins_total{outcome=\"refused\"} 1",
            "vestibule_sessions_ended_total{reason=\"logout\"} 1",
            "vestibule_session_end_delay_seconds_bucket{le=\"0.005\"} 0",
            "vestibule_session_end_delay_seconds_bucket{le=\"0.01\"} 1",
            "vestibule_nodes 3",
            "vestibule_connections 3",
            "vestibule_connections_refused_total 7",
            "vestibule_requests_under_way 5",
            "vestibule_requests_under_way_max 10",
            "vestibule_requests_shed_total{cause=\"delay\"} 6",
            "vestibule_responses_paced_total{outcome=\"delayed\"} 9",
            "vestibule_responses_paced_total{outcome=\"closed\"} 8",
            "vestibule_memory_bytes 1000",
            "vestibule_memory_ceiling_bytes 2000",
            "vestibule_upstream_connections{app=\"wiki\",state=\"in_use\"} 2",
            "vestibule_upstream_addresses{app=\"wiki\",state=\"down\"} 1",
            "vestibule_certificate_remaining_seconds{file=\"cert.pem\"} -5",
            "vestibule_log_lines_dropped_total 4",
            concat!(
                "vestibule_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert_has(&lines, expected);
        }
    }

    #[test]
    fn an_app_that_comes_again_counts_on_and_one_that_has_gone_is_not_observed() {
        let metrics = Metrics::new();
        metrics
            .app("wiki")
            .answers
            .note(StatusCode::OK, Duration::ZERO);
        metrics
            .app("wiki")
            .answers
            .note(StatusCode::OK, Duration::ZERO);
        lines(&metrics, &snapshot());
        let now = Snapshot {
            pools: vec![],
            certificates: vec![],
            ..snapshot()
        };
        let lines = lines(&metrics, &now);
        assert_has(
            &lines,
            "vestibule_requests_total{app=\"wiki\",status=\"2xx\"} 2",
        );
        let gone = |name: &str| !lines.iter().any(|line| line.starts_with(name));
        assert!(gone("vestibule_upstream_connections{"));
        assert!(gone("vestibule_certificate_remaining_seconds{"));
    }

    #[test]
    fn a_store_that_cannot_be_asked_leaves_the_count_of_sessions_as_it_was() {
        let metrics = Metrics::new();
        lines(&metrics, &snapshot());
        let now = Snapshot {
            sessions: None,
            ..snapshot()
        };
        assert_has(&lines(&metrics, &now), "vestibule_sessions 2");
    }

    #[test]
    fn open_metrics_end_as_they_have_to() {
        let text = Metrics::new()
            .encode(&snapshot(), Format::OpenMetrics)
            .unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(
            text.contains("# TYPE vestibule_connections_refused counter\n"),
            "{text}"
        );
    }

    #[test]
    fn a_name_from_the_configuration_cannot_break_a_line() {
        let metrics = Metrics::new();
        metrics.app("a\"} 1\nfake 2\\");
        let lines = lines(&metrics, &snapshot());
        assert!(
            !lines.iter().any(|line| line.starts_with("fake")),
            "{lines:#?}"
        );
    }
}
