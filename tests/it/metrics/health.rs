//! Whether the service lives, and whether it can serve.

use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test]
async fn the_listener_answers_to_its_addresses_and_to_no_other() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let address = gate.metrics_address();
    for (method, target, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/healthz?verbose", 200),
        ("GET", "/readyz", 200),
        ("HEAD", "/readyz", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../metrics", 404),
        ("GET", "/.vestibule/login", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("OPTIONS", "/", 405),
    ] {
        let reply = ask(address, method, target, "").await;
        assert_eq!(reply.status, status, "{method} {target}");
        assert_eq!(reply.value("allow"), (status == 405).then_some("GET, HEAD"));
        assert_eq!(reply.value("server"), None);
    }
    assert_eq!(get(&gate, "/readyz").await.text(), "ready\n");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_33_visitors_reach_nothing_of_it() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let port = gate.metrics_address().port();
    for target in ["/metrics", "/healthz", "/readyz"] {
        let stranger = gate.browser().header("user-agent", "Prometheus/2.42.0");
        let stranger = stranger.header("x-forwarded-port", &port.to_string());
        stranger.fetch(target).await.assert_status(401);
        let ada = gate.browser().login("ada", PASSWORD).await;
        ada.get(target).await.assert_status(200);
        let head = format!("GET {target} HTTP/1.1");
        assert!(
            app.last().head.starts_with(&head),
            "it is the application's"
        );
    }
}

#[tokio::test]
async fn it_is_off_unless_it_is_asked_for() {
    let app = Upstream::echo().await;
    for off in ["socket = \"\"", "socket = \"\"\nmetrics = \"\""] {
        let gate = Vestibule::before(&app).public().admin(off).start().await;
        assert!(gate.try_metrics_address().is_none(), "{off:?}");
    }
}

#[tokio::test]
async fn readiness_says_which_app_cannot_be_reached() {
    let mut app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().admin(ON).start().await;
    get(&gate, "/readyz").await.assert_status(200);
    app.stop().await;
    gate.browser().get("/").await.assert_status(502);
    let reply = get(&gate, "/readyz").await;
    reply.assert_status(503);
    assert_eq!(reply.text(), "app app: no upstream can be reached\n");
    get(&gate, "/healthz").await.assert_status(200);
    app.start().await;
    gate.browser().get("/").await.assert_status(200);
    get(&gate, "/readyz").await.assert_status(200);
}

#[tokio::test]
async fn one_address_of_several_that_is_up_is_enough() {
    let (mut first, second) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before_each(&[&first, &second])
        .public()
        .admin(ON)
        .start()
        .await;
    first.stop().await;
    for _ in 0..2 {
        gate.browser().get("/").await.assert_status(200);
    }
    get(&gate, "/readyz").await.assert_status(200);
    let scrape = Scrape::of(gate.metrics_address()).await;
    scrape.assert(&[
        (
            "vestibule_upstream_addresses{app=\"app\",state=\"up\"}",
            1.0,
        ),
        (
            "vestibule_upstream_addresses{app=\"app\",state=\"down\"}",
            1.0,
        ),
    ]);
}

#[tokio::test]
async fn a_service_that_stops_is_alive_and_not_ready() {
    let app = Upstream::silent().await;
    let gate = Vestibule::before(&app).public().admin(ON).start().await;
    let address = gate.metrics_address();
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    eventually("the request", || app.requests() == 1).await;
    let watching = async {
        eventually_some("not to be ready", async || {
            let reply = ask(address, "GET", "/readyz", "").await;
            (reply.status == 503 && reply.text() == "stopping\n").then_some(())
        })
        .await;
        ask(address, "GET", "/healthz", "").await.assert_status(200);
        drop(raw); // now the request can end
    };
    tokio::join!(gate.stop(), watching);
    let refused = TcpStream::connect(address).await;
    assert!(refused.is_err(), "it ends with the service");
}

#[tokio::test]
async fn clients_that_hang_keep_no_other_away() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let address = gate.metrics_address();
    let mut hanging = Vec::new();
    for n in 0..60 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sent: &[u8] = match n % 4 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
            2 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ",
            _ => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", // and does not read
        };
        stream.write_all(sent).await.unwrap();
        hanging.push(stream);
        if n % 10 == 9 {
            get(&gate, "/healthz").await.assert_status(200);
        }
    }
    Scrape::of(address)
        .await
        .assert(&[("vestibule_connections", 0.0)]);
    for (n, stream) in hanging.into_iter().enumerate() {
        let mut raw = Raw::new(stream);
        let answer = raw.rest().await; // or the test gives up
        if n % 4 == 3 && answer.starts_with("HTTP/1.1 200") {
            continue;
        }
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn junk_is_answered_and_ends() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(40_000)
    );
    for junk in ["\r\n\r\nnonsense\r\n\r\n", "\u{16}\u{3}\u{1}\0\0", &long] {
        let mut raw = Raw::new(TcpStream::connect(gate.metrics_address()).await.unwrap());
        raw.send(junk).await;
        let answer = raw.rest().await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{answer}");
    }
    get(&gate, "/healthz").await.assert_status(200);
}

#[tokio::test]
async fn a_name_that_leads_there_by_somebody_elses_doing_gets_nothing() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .admin("metrics = \"127.0.0.1:0\"\nmetrics_hosts = [\"Node1.example.org\"]\nsocket = \"\"")
        .start()
        .await;
    let address = gate.metrics_address();
    for (head, status) in [
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: LOCALHOST.:9180\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9180\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: [::1]:9180\r\n", 200),
        (
            "GET /metrics HTTP/1.1\r\nHost: node1.example.org:9180\r\n",
            200,
        ),
        ("GET /healthz HTTP/1.0\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: evil.test:9180\r\n", 421),
        (
            "GET /healthz HTTP/1.1\r\nHost: node1.example.org.evil.test\r\n",
            421,
        ),
        ("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1.evil.test\r\n", 421),
        ("GET /metrics HTTP/1.1\r\nHost: 127.1\r\n", 421),
        ("GET /metrics HTTP/1.1\r\nHost: \r\n", 421),
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n",
            421,
        ),
        (
            "GET http://evil.test/metrics HTTP/1.1\r\nHost: localhost\r\n",
            421,
        ),
    ] {
        let mut raw = Raw::new(TcpStream::connect(address).await.unwrap());
        raw.send(format!("{head}\r\n")).await;
        let reply = raw.rest().await;
        let said = reply.split(' ').nth(1).and_then(|said| said.parse().ok());
        assert_eq!(said, Some(status), "{head:?}: {reply}");
        assert_eq!(reply.contains("metrics_hosts"), status == 421, "{reply}");
    }
}
