//! The way to the applications: REL-03, REL-04, REL-15, pooling and balancing.

mod shares;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::harness::*;

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for n in 0..10 {
        gate.browser()
            .get(&format!("/{n}"))
            .await
            .assert_status(200);
    }
    assert_eq!((app.requests(), app.connections()), (10, 1));
}

#[tokio::test]
async fn rel_03_an_idempotent_request_survives_a_dead_connection_and_a_post_is_not_sent_twice() {
    // Each connection answers once, then takes a request and closes without an answer.
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            if exchange.nth_request() == 0 {
                exchange.reply("200 OK", &[], "answer").await;
            } else {
                exchange.close();
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate.browser();
    browser.get("/first").await.assert_status(200);
    browser.get("/again").await.assert_status(200);
    let targets: Vec<_> = app
        .received()
        .iter()
        .map(|one| one.target().to_owned())
        .collect();
    assert_eq!(targets, ["/first", "/again", "/again"]);

    let before = app.requests();
    let reply = browser
        .request(Method::POST, "/order", &[], Bytes::from("one"))
        .await;
    assert_eq!(reply.status, 502, "{reply}");
    assert_eq!(app.requests(), before + 1, "the order was sent twice");
}

#[tokio::test]
async fn rel_03_a_restart_of_the_app_is_not_seen() {
    let mut app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate.browser();
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        browser.get("/warm").await.assert_status(200);
        app.stop().await;
        app.start().await;
        let body = if method == Method::POST { "a body" } else { "" };
        let reply = browser
            .request(method.clone(), "/x", &[], Bytes::from(body))
            .await;
        assert_eq!(reply.status, 200, "{method}: {reply}");
    }
}

#[tokio::test]
async fn rel_04_an_app_that_is_down_is_502_at_once_and_comes_back_at_once() {
    let mut app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    for _ in 0..2 {
        app.stop().await;
        let started = Instant::now();
        ada.get("/").await.assert_status(502);
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
        gate.browser()
            .get("/.vestibule/login")
            .await
            .assert_status(200);
        gate.browser().login("ada", PASSWORD).await;
        app.start().await;
        ada.get("/").await.assert_status(200);
    }
}

/// An address where connecting hangs: nobody accepts, and the queue is full.
async fn black_hole() -> (Socket, SocketAddr, Vec<tokio::task::JoinHandle<()>>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let waiting = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let _held = tokio::net::TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    // Full once a connection of ours does not come about either.
    eventually_some("a full queue", async || {
        let connect = tokio::net::TcpStream::connect(address);
        tokio::time::timeout(Duration::from_millis(200), connect)
            .await
            .err()
    })
    .await;
    (socket, address, waiting)
}

#[tokio::test]
async fn rel_04_connecting_has_a_time_limit() {
    let (_socket, address, _waiting) = black_hole().await;
    let gate = Vestibule::before_url(&format!("http://{address}"))
        .app("connect_timeout = \"500ms\"")
        .public()
        .start()
        .await;
    let started = Instant::now();
    gate.browser().get("/").await.assert_status(504);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn rel_04_an_app_that_says_nothing_is_504() {
    let app = Upstream::silent().await;
    let gate = Vestibule::before(&app)
        .app("response_timeout = \"500ms\"")
        .public()
        .start()
        .await;
    let started = Instant::now();
    for browser in [gate.browser(), gate.browser().over_http2()] {
        browser.get("/").await.assert_status(504);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    eventually("the given up connections to close", || {
        app.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn requests_are_balanced_and_a_dead_address_is_passed_over() {
    let mut apps = [Upstream::echo().await, Upstream::echo().await];
    let gate = Vestibule::before_each(&[&apps[0], &apps[1]])
        .public()
        .start()
        .await;
    let browser = gate.browser();
    for _ in 0..20 {
        browser.get("/").await.assert_status(200);
    }
    assert_eq!(apps.each_ref().map(Upstream::requests), [10, 10]);
    apps[0].stop().await;
    for _ in 0..10 {
        browser.get("/").await.assert_status(200);
    }
    assert_eq!(apps.each_ref().map(Upstream::requests), [10, 20]);
    apps[0].start().await;
    gate.advance(Duration::from_mins(2));
    for _ in 0..10 {
        browser.get("/").await.assert_status(200);
    }
    assert!(
        apps[0].requests() > 10,
        "an address that came back is not used"
    );
    apps[0].stop().await;
    apps[1].stop().await;
    browser.get("/").await.assert_status(502);
}

#[tokio::test]
async fn an_app_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let app = Upstream::unix(&folder.path().join("app.sock"));
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/x?y").await.assert_status(200);
    assert_eq!(
        (app.last().target(), app.last().value("host")),
        ("/x?y", Some("gate.test"))
    );
    let own_host = Vestibule::before(&app)
        .app("preserve_host = false")
        .public()
        .start()
        .await;
    own_host.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value("host"), Some("localhost"));
}

#[tokio::test]
async fn an_https_app_has_to_show_a_certificate_that_is_trusted() {
    let app = Upstream::tls().await;
    let trusting = Vestibule::before(&app)
        .app("upstream_ca = \"cert.pem\"")
        .public()
        .start()
        .await;
    trusting.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-proto"), Some("https"));

    let strange = tls::Certificate::generate(&["localhost"]);
    let doubting = Vestibule::before(&app)
        .prepare(|files| {
            files.write("ca.pem", &strange.cert_pem, 0o644);
        })
        .app("upstream_ca = \"ca.pem\"")
        .public()
        .start()
        .await;
    doubting.browser().get("/").await.assert_status(502);
    // The right authority for another name.
    let signed = tls::Certificate::signed(&["elsewhere.test"]);
    let elsewhere = Upstream::tls_with(&signed.cert, &signed.key).await;
    let doubting = Vestibule::before(&elsewhere)
        .prepare(|files| {
            files.write("ca.pem", &signed.authority, 0o644);
        })
        .app("upstream_ca = \"ca.pem\"")
        .public()
        .start()
        .await;
    doubting.browser().get("/").await.assert_status(502);
    assert_eq!((app.requests(), elsewhere.requests()), (1, 0));
}

#[tokio::test]
async fn rel_15_a_name_is_tried_at_each_of_its_addresses() {
    let app = Upstream::echo().await; // on 127.0.0.1 only, while localhost may be ::1 first
    let url = app.url().replace("127.0.0.1", "localhost");
    let gate = Vestibule::before_url(&url)
        .app("preserve_host = false")
        .public()
        .start()
        .await;
    gate.browser().get("/").await.assert_status(200);
    let port = app.authority().split(':').nth(1).unwrap().to_owned();
    assert_eq!(
        app.last().value("host"),
        Some(&*format!("localhost:{port}"))
    );

    let unknown = Vestibule::before_url("http://no-such-host.invalid")
        .public()
        .start()
        .await;
    unknown.browser().get("/").await.assert_status(502);
}

#[tokio::test]
async fn an_unused_connection_to_the_app_is_closed() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("upstream_idle_timeout = \"30s\"")
        .public()
        .start()
        .await;
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.open_connections(), 1);
    gate.advance(Duration::from_secs(31));
    eventually("the connection to close", || app.open_connections() == 0).await;
}

#[tokio::test]
async fn an_address_in_use_is_no_start() {
    let app = Upstream::echo().await;
    let taken = StdListener::bind("127.0.0.1:0").unwrap();
    let text = format!("redirect_http = [\"{}\"]", taken.local_addr().unwrap());
    let started = Vestibule::before(&app).server(&text).try_start().await;
    let error = started.err().expect("two programs on one port").to_string();
    assert!(error.contains("cannot listen"), "{error}");
}
