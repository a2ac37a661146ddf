//! An operator sees what the service does, on a listener that visitors cannot reach.

mod callers;
mod health;
mod losses;
mod packaging;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hyper::Method;
use tokio::net::TcpStream;

use crate::harness::*;

/// Keys of `[admin]`.
pub(crate) const ON: &str = "socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"";

/// One answer of the listener for metrics.
async fn ask(address: SocketAddr, method: &str, target: &str, fields: &str) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut raw = Raw::new(stream);
    raw.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    ))
    .await;
    match method {
        "HEAD" => raw.response_to_head().await,
        _ => raw.response().await,
    }
}

async fn get(gate: &Gate, target: &str) -> Reply {
    ask(gate.metrics_address(), "GET", target, "").await
}

/// Each series of a scrape as it is written, and its value.
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) async fn of(address: SocketAddr) -> Self {
        let reply = ask(address, "GET", "/metrics", "").await;
        reply.assert_status(200);
        let text = reply.text();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = series.map(|line| line.rsplit_once(' ').expect("a value"));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }

    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.0.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    #[track_caller]
    fn assert(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            let found = self.value(series);
            assert!(
                (found - value).abs() < 1e-9,
                "{series} is {found}, not {value}"
            );
        }
    }
}

/// The names of all metrics, as `# TYPE` gives them.
async fn names(gate: &Gate) -> BTreeSet<String> {
    let text = get(gate, "/metrics").await.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .admin(ON)
        .start()
        .await
}

#[tokio::test]
async fn requests_are_counted_by_app_and_by_what_they_were_answered() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/a/path/of/ada?query").await.assert_status(200);
    ada.request(Method::POST, "/up", &[], "12345".into())
        .await
        .assert_status(200);
    let answered = app.last().head.len();
    let reply = gate.browser().get("/public").await;
    reply.assert_status(200);
    gate.browser().get("/secret").await.assert_status(303);
    gate.browser().fetch("/secret").await.assert_status(401);
    gate.exchange("GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
        .await;
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[
        ("vestibule_requests_total{app=\"app\",status=\"2xx\"}", 4.0), // with the login page
        ("vestibule_requests_total{app=\"app\",status=\"3xx\"}", 2.0), // with the login
        ("vestibule_requests_total{app=\"app\",status=\"4xx\"}", 1.0),
        ("vestibule_requests_total{app=\"none\",status=\"4xx\"}", 1.0),
        ("vestibule_request_duration_seconds_count{app=\"app\"}", 7.0),
        (
            "vestibule_request_duration_seconds_bucket{app=\"app\",le=\"+Inf\"}",
            7.0,
        ),
        ("vestibule_request_body_bytes_total{app=\"app\"}", 5.0),
        (
            "vestibule_upstream_connections{app=\"app\",state=\"in_use\"}",
            0.0,
        ),
        ("vestibule_upstream_connections_max{app=\"app\"}", 256.0),
        (
            "vestibule_upstream_addresses{app=\"app\",state=\"up\"}",
            1.0,
        ),
    ]);
    let sent = scrape.value("vestibule_response_body_bytes_total{app=\"app\"}");
    assert!(sent > f64::from(u32::try_from(answered).unwrap()), "{sent}");
    assert!(scrape.value("vestibule_request_duration_seconds_sum{app=\"app\"}") > 0.0);
    for series in scrape.0.keys() {
        for secret in ["ada", "secret", "path", "other.test", "127.0.0.1"] {
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            assert!(!labels.contains(secret), "{series} comes from a request");
        }
    }
}

#[tokio::test]
async fn logins_and_sessions_are_counted_by_what_came_of_them() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .session("max_per_user = 1\nidle_timeout = \"10m\"\nmax_sessions = 2")
        .config("[login.throttle]\naccount_failures = 1")
        .admin(ON)
        .start()
        .await;
    gate.browser().try_login("eve", "wrong").await;
    gate.browser()
        .try_login("eve", "wrong")
        .await
        .assert_status(429);
    let form = [("username", "ada"), ("password", PASSWORD)];
    let forged = gate.browser().header("origin", "https://evil.test");
    forged.post_form("/.vestibule/login", &form).await;
    let first = gate.browser().login("ada", PASSWORD).await;
    let again = first.login("ada", PASSWORD).await; // in the same browser
    gate.browser().login("ada", PASSWORD).await.logout().await; // ends the one before: one a user
    drop(again);
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    gate.browser()
        .try_login("bob", PASSWORD)
        .await
        .assert_status(503);
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[("vestibule_sessions", 2.0), ("vestibule_sessions_max", 2.0)]);
    gate.files().change_user("bob", |bob| bob.disabled = true);
    eventually_some("bob to be out", async || {
        (bob.fetch("/").await.status == 401).then_some(())
    })
    .await;
    gate.advance(std::time::Duration::from_hours(1));
    ada.fetch("/").await.assert_status(401);
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[
        ("vestibule_logins_total{outcome=\"busy\"}", 0.0),
        ("vestibule_logins_total{outcome=\"forged\"}", 1.0),
        ("vestibule_logins_total{outcome=\"not_kept\"}", 0.0),
        ("vestibule_logins_total{outcome=\"refused\"}", 1.0),
        ("vestibule_logins_total{outcome=\"sessions_full\"}", 1.0),
        ("vestibule_logins_total{outcome=\"signed_in\"}", 5.0),
        ("vestibule_logins_total{outcome=\"throttled\"}", 1.0),
        ("vestibule_sessions", 0.0),
        ("vestibule_sessions_started_total", 5.0),
        ("vestibule_sessions_ended_total{reason=\"account\"}", 1.0),
        ("vestibule_sessions_ended_total{reason=\"expired\"}", 1.0),
        ("vestibule_sessions_ended_total{reason=\"limit\"}", 1.0),
        ("vestibule_sessions_ended_total{reason=\"logout\"}", 1.0),
        ("vestibule_sessions_ended_total{reason=\"replaced\"}", 1.0),
        ("vestibule_sessions_ended_total{reason=\"revoked\"}", 0.0),
        ("vestibule_hashing_queue", 0.0),
        ("vestibule_hashing_queue_max", 64.0),
    ]);
}

#[tokio::test]
async fn what_an_application_does_not_answer_is_counted_by_kind() {
    let closes = Upstream::raw_then_close("").await;
    let lies = Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").await;
    let gate = Vestibule::before_url(&format!("http://{}", held_port()))
        .public()
        .app("name = \"gone\"\nhost = \"gate.test\"")
        .config(&format!(
            "[[app]]\nname = \"closes\"\nhost = \"closes.test\"\nupstream = \"{}\"\n\
             [[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n\
             [[app]]\nname = \"lies\"\nhost = \"lies.test\"\nupstream = \"{}\"\n\
             [[app.rule]]\npath = \"/\"\nallow = \"everyone\"",
            closes.url(),
            lies.url()
        ))
        .admin(ON)
        .start()
        .await;
    for host in ["gate.test", "closes.test", "lies.test"] {
        gate.browser_for(host).get("/").await.assert_status(502);
    }
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[
        (
            "vestibule_upstream_errors_total{app=\"gone\",kind=\"connect\"}",
            1.0,
        ),
        (
            "vestibule_upstream_errors_total{app=\"gone\",kind=\"no_response\"}",
            0.0,
        ),
        (
            "vestibule_upstream_errors_total{app=\"closes\",kind=\"no_response\"}",
            1.0,
        ),
        (
            "vestibule_upstream_addresses{app=\"gone\",state=\"down\"}",
            1.0,
        ),
        (
            "vestibule_upstream_addresses{app=\"gone\",state=\"up\"}",
            0.0,
        ),
        ("vestibule_requests_total{app=\"lies\",status=\"5xx\"}", 1.0),
    ]);
    let of_lies = ["bad_response", "no_response"].map(|kind| {
        scrape.value(&format!(
            "vestibule_upstream_errors_total{{app=\"lies\",kind=\"{kind}\"}}"
        ))
    });
    assert!(
        (of_lies.iter().sum::<f64>() - 1.0).abs() < 1e-9,
        "{of_lies:?}"
    );
}

#[tokio::test]
async fn connections_and_websockets_count_while_they_are_open() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("max_connections_per_address = 2\nmax_connections = 9")
        .admin(ON)
        .start()
        .await;
    let origin = [("origin", "https://gate.test")];
    let mut socket = open_websocket(gate.tcp().await, "/", &origin)
        .await
        .unwrap();
    socket.send("hello").await;
    assert_eq!(socket.next().await, "hello");
    let held = gate.raw().await;
    assert!(
        tls::connect(gate.tcp().await, tls::HOST, &["h2"])
            .await
            .is_err()
    );
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[
        ("vestibule_websockets{app=\"app\"}", 1.0),
        ("vestibule_requests_total{app=\"app\",status=\"1xx\"}", 1.0),
        ("vestibule_connections", 2.0), // the one that asks here is none of them
        ("vestibule_connections_max", 9.0),
        ("vestibule_connections_refused_total", 1.0),
    ]);
    drop((socket, held));
    eventually_some("the end of all", async || {
        let scrape = Scrape::of(gate.metrics_address()).await;
        let open = scrape.value("vestibule_websockets{app=\"app\"}")
            + scrape.value("vestibule_connections");
        (open == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_scrape_is_written_as_it_is_asked_for() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let address = gate.metrics_address();
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let prometheus = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,\
                      text/plain;version=0.0.4;q=0.4,*/*;q=0.1\r\n";
    let reply = ask(address, "GET", "/metrics", prometheus).await;
    reply
        .assert_status(200)
        .assert_header("content-type", open_metrics);
    assert!(reply.text().ends_with("# EOF\n"), "{reply}");
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    for accept in ["", "Accept: text/plain\r\n", "Accept: */*\r\n"] {
        let reply = ask(address, "GET", "/metrics", accept).await;
        reply
            .assert_status(200)
            .assert_header("content-type", plain);
        assert!(!reply.text().contains("EOF"), "{reply}");
    }
}
