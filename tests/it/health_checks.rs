//! Addresses that are asked how they are, whether requests come or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

const CHECK: &str = "health = { path = \"/healthz?deep=1\", interval = \"10s\" }";

/// Answers checks with the status that is wanted, and counts them; serves everything else.
struct App {
    upstream: Upstream,
    status: Arc<AtomicUsize>,
}

impl App {
    async fn start() -> Self {
        let status = Arc::new(AtomicUsize::new(200));
        let wanted = Arc::clone(&status);
        let upstream = Upstream::scripted(move |exchange| {
            let status = wanted.load(Ordering::Relaxed);
            Box::pin(async move {
                if exchange.target().starts_with("/healthz") {
                    let status = format!("{status} X");
                    exchange.reply(&status, &[], "fine").await;
                } else {
                    echo(exchange).await;
                }
            })
        })
        .await;
        Self { upstream, status }
    }

    fn checks(&self) -> Vec<Received> {
        let mut all = self.upstream.received();
        all.retain(|one| one.target().starts_with("/healthz"));
        all
    }

    fn served(&self) -> usize {
        self.upstream.requests() - self.checks().len()
    }

    /// From now on; waits until two checks have met it.
    async fn answers(&self, gate: &Gate, status: usize) {
        self.status.store(status, Ordering::Relaxed);
        let before = self.checks().len();
        // One may have met the old status, and it is the answer that counts: one more has begun.
        for n in 1..=4 {
            gate.advance(Duration::from_secs(10));
            eventually("a check", || self.checks().len() >= before + n).await;
        }
    }
}

async fn get(gate: &Gate) -> u16 {
    gate.browser().get("/").await.status
}

fn status_of(gate: &mut Gate) -> serde_json::Value {
    let (code, out, error) = run(gate.files(), &["status", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_down_when_two_of_three_checks_fail_and_comes_back() {
    let apps = [App::start().await, App::start().await];
    let mut gate = Vestibule::before_each(&[&apps[0].upstream, &apps[1].upstream])
        .app(CHECK)
        .admin("socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"")
        .public()
        .start()
        .await;
    for app in &apps {
        eventually("the first check", || !app.checks().is_empty()).await;
    }
    apps[0].answers(&gate, 503).await;
    let before = apps.each_ref().map(App::served);
    for _ in 0..6 {
        assert_eq!(get(&gate).await, 200);
    }
    assert_eq!(apps.each_ref().map(App::served), [before[0], before[1] + 6]);

    let told = status_of(&mut gate);
    let upstreams = &told["apps"][0]["upstreams"];
    assert_eq!(upstreams[0]["health"]["state"], "down", "{told:#}");
    assert_eq!(upstreams[0]["health"]["last"], "503");
    assert_eq!(upstreams[1]["health"]["state"], "up");
    let (_, text, _) = run(gate.files(), &["status"]);
    assert!(text.contains("health check says down: 503"), "{text}");
    assert!(text.contains("health check says up: 200"), "{text}");
    let mut metrics = Raw::new(
        tokio::net::TcpStream::connect(gate.metrics_address())
            .await
            .unwrap(),
    );
    metrics
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let metrics = metrics.response().await.text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("vestibule_upstream_addresses") && line.contains("down"));
    assert!(line.unwrap().ends_with(" 1"), "{line:?}");

    // A reload keeps the verdict of what it leaves as it is.
    gate.reload(|text| text.replace("interval = \"10s\"", "interval = \"9s\""))
        .unwrap();
    for _ in 0..4 {
        assert_eq!(get(&gate).await, 200);
    }
    assert_eq!(apps[0].served(), before[0]);

    apps[0].answers(&gate, 302).await;
    for _ in 0..6 {
        assert_eq!(get(&gate).await, 200);
    }
    assert_eq!(apps[0].served(), before[0] + 3, "a redirect is up, too");

    // Down all of them: better to try than to refuse.
    for app in &apps {
        app.answers(&gate, 404).await;
    }
    let before = apps.each_ref().map(App::served);
    for _ in 0..6 {
        assert_eq!(get(&gate).await, 200);
    }
    assert_eq!(apps.each_ref().map(App::served), before.map(|n| n + 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_who_asks_and_nothing_of_anybody() {
    for (keys, host) in [
        ("host = \"gate.test\"", "gate.test"),
        ("upstream_host = \"inside.test:8080\"", "inside.test:8080"),
        ("host = \"gate.test\"\npreserve_host = false", ""),
        ("", ""),
    ] {
        let app = App::start().await;
        let gate = Vestibule::before(&app.upstream)
            .app(&format!("{keys}\n{CHECK}\nupstream_max_connections = 1"))
            .user("ada", PASSWORD)
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        ada.get("/").await.assert_status(200);
        eventually("a check", || !app.checks().is_empty()).await;
        gate.advance(Duration::from_secs(10));
        eventually("a second one", || app.checks().len() == 2).await;
        ada.get("/").await.assert_status(200);
        let own = app.upstream.authority();
        let host = if host.is_empty() { &own } else { host };
        for check in app.checks() {
            assert_eq!(
                check.head.to_lowercase(),
                format!(
                    "get /healthz?deep=1 http/1.1\r\nhost: {host}\r\n\
                     user-agent: vestibule-health\r\naccept: */*\r\nconnection: close"
                )
            );
            let of_its_connection = app.upstream.received();
            let mut of_its_connection = of_its_connection.iter();
            assert!(
                of_its_connection
                    .all(|it| it.connection != check.connection || it.head == check.head)
            );
        }
        // The path is for checks alone: the rules hold for visitors.
        gate.browser()
            .fetch("/healthz?deep=1")
            .await
            .assert_status(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_up_and_what_is_down() {
    let secure = Upstream::tls().await;
    let strange = tls::Certificate::generate(&["localhost"]);
    let untrusted = Upstream::tls_with(&strange.cert_pem, &strange.key_pem).await;
    let close = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(140_000));
    let endless = Upstream::scripted(|exchange| Box::pin(exchange.download_without_end())).await;
    let dripping = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
                .await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let lines = "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n";
    for (app, keys, state) in [
        (Upstream::raw(close).await, "", "up"),
        (Upstream::raw("HTTP/1.1 204 No\r\n\r\n").await, "", "up"),
        (
            Upstream::raw("HTTP/1.1 399 X\r\nContent-Length: 0\r\n\r\n").await,
            "",
            "up",
        ),
        (Upstream::raw("HTTP/1.0 200 OK\r\n\r\n").await, "", "up"),
        (endless, "", "up"),
        (dripping, "", "up"),
        (
            Upstream::raw(lines).await,
            "tolerate = [\"invalid-header-lines\"]",
            "up",
        ),
        (secure, "upstream_ca = \"cert.pem\"", "up"),
        (untrusted, "upstream_ca = \"cert.pem\"", "down"),
        (Upstream::raw(lines).await, "", "down"),
        (
            Upstream::raw("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n").await,
            "",
            "down",
        ),
        (
            Upstream::raw("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n").await,
            "",
            "down",
        ),
        (
            Upstream::raw("HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await,
            "",
            "down",
        ),
        (Upstream::raw("garbage\r\n\r\n").await, "", "down"),
        (Upstream::raw(large).await, "", "down"),
        (Upstream::raw_then_close("").await, "", "down"),
        (Upstream::silent().await, "", "down"),
    ] {
        let mut gate = Vestibule::before(&app)
            .app(&format!(
                "{keys}\nhealth = {{ path = \"/\", interval = \"1s\" }}"
            ))
            .public()
            .start()
            .await;
        let health = eventually_some("a verdict", async || {
            gate.advance(Duration::from_secs(1));
            let told = status_of(&mut gate);
            let health = told["apps"][0]["upstreams"][0]["health"].clone();
            (health["state"] != "unknown").then_some(health)
        })
        .await;
        assert_eq!(health["state"], state, "{keys}: {health}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_address_is_tried_whatever_its_checks_say() {
    let app = App::start().await;
    let gate = Vestibule::before(&app.upstream)
        .app(CHECK)
        .public()
        .start()
        .await;
    eventually("a check", || !app.checks().is_empty()).await;
    app.answers(&gate, 500).await;
    assert_eq!(get(&gate).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_end_with_their_app_and_with_the_service() {
    let app = App::start().await;
    let other = Upstream::echo().await;
    let mut gate = Vestibule::before(&app.upstream)
        .app(CHECK)
        .public()
        .start()
        .await;
    eventually("a check", || !app.checks().is_empty()).await;
    gate.reload(|text| text.replace("/healthz?deep=1", "/healthz?deep=2"))
        .unwrap();
    let new = || {
        app.checks()
            .iter()
            .filter(|it| it.target().ends_with('2'))
            .count()
    };
    eventually("a check of another path", || new() > 0).await;

    let url = app.upstream.url();
    gate.reload(|text| {
        text.replace(&url, &other.url())
            .replace("/healthz?deep=2", "/other")
    })
    .unwrap();
    let before = app.checks().len();
    for n in 1..4 {
        gate.advance(Duration::from_secs(10));
        other.wait_for(n).await;
    }
    assert_eq!(app.checks().len(), before, "its app is gone");
    gate.reload(|text| text.replace("/other", "")).unwrap();
    let before = other.requests();
    for _ in 0..3 {
        gate.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(600)).await; // more than a tick
    }
    assert_eq!(
        other.requests(),
        before,
        "without a path there are no checks"
    );
    gate.stop().await;
}

#[tokio::test]
async fn the_log_has_a_line_for_each_change() {
    let app = App::start().await;
    app.status.store(503, Ordering::Relaxed);
    let service = Vestibule::before(&app.upstream)
        .app("health = { path = \"/healthz\", interval = \"1s\" }")
        .public()
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    let lines = || -> Vec<_> {
        let mut log = service.program.log();
        log.retain(|line| line["address"] == app.upstream.url().as_str());
        log.iter()
            .map(|line| (line["level"].to_string(), line["answer"].to_string()))
            .collect()
    };
    let warn = ("\"WARN\"".to_owned(), "\"503\"".to_owned());
    let info = ("\"INFO\"".to_owned(), "\"200\"".to_owned());
    eventually("the first line", || lines().len() == 1).await;
    let checks = app.checks().len();
    eventually("more checks", || app.checks().len() > checks + 1).await;
    app.status.store(200, Ordering::Relaxed);
    eventually("the second line", || lines().len() == 2).await;
    assert_eq!(lines(), [warn, info]);
}
