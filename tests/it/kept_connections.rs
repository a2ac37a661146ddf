//! How long a connection to an app is kept for the next request: REL-03, REL-15.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::sync::Semaphore;

use crate::harness::*;

/// Answers with this `Keep-Alive`. Requests to `/late` meet a connection that has served another
/// before, and are lost.
async fn app_that_says(keep_alive: &'static str) -> Upstream {
    Upstream::scripted(move |exchange| {
        Box::pin(async move {
            exchange.body().await;
            if exchange.target() == "/late" && exchange.nth_request() > 0 {
                return exchange.close();
            }
            let fields = [("Connection", "Keep-Alive"), ("Keep-Alive", keep_alive)];
            exchange.reply("200 OK", &fields, "answer").await;
        })
    })
    .await
}

#[tokio::test]
async fn rel_03_a_post_does_not_meet_a_connection_in_its_last_second() {
    let app = app_that_says("timeout=40, max=100").await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate.browser();
    browser.get("/").await.assert_status(200);
    gate.advance(Duration::from_secs(30));
    let reply = browser.get("/").await;
    reply.assert_status(200);
    assert_eq!(reply.value("keep-alive"), None, "it is of the app's hop");
    assert_eq!(app.connections(), 1, "there are ten seconds left");
    gate.advance(Duration::from_secs(39));
    for _ in 0..2 {
        let order = Bytes::from("one");
        let reply = browser.request(Method::POST, "/late", &[], order).await;
        reply.assert_status(200);
        gate.advance(Duration::from_secs(39));
    }
    assert_eq!((app.connections(), app.requests()), (3, 4));
}

#[tokio::test]
async fn rel_03_a_connection_that_the_app_is_about_to_close_serves_no_more() {
    for said in [
        "timeout=1",
        "timeout=0",
        "timeout=5, max=0",
        "Timeout = \"1\"",
    ] {
        let app = app_that_says(said).await;
        let gate = Vestibule::before(&app).public().start().await;
        let browser = gate.browser();
        browser.get("/").await.assert_status(200);
        let reply = browser.request(Method::POST, "/late", &[], Bytes::from("one"));
        reply.await.assert_status(200);
        assert_eq!(app.connections(), 2, "{said}");
        eventually("both to close", || app.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_keep_alive_that_says_nothing_is_ignored() {
    for said in ["timeout=never", "timeout=-1", "timeout", "max=100", "5", ""] {
        let app = app_that_says(said).await;
        let gate = Vestibule::before(&app).public().start().await;
        let browser = gate.browser();
        for _ in 0..3 {
            browser.get("/").await.assert_status(200);
            gate.advance(Duration::from_secs(40));
        }
        assert_eq!(app.connections(), 1, "{said}");
    }
    // And no timeout of the app's is longer than our own.
    let app = app_that_says("timeout=3600").await;
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/").await.assert_status(200);
    gate.advance(Duration::from_secs(61));
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn rel_15_a_connection_has_an_age_at_which_it_takes_no_more_requests() {
    let finish = Arc::new(Semaphore::new(0));
    let finished = Arc::clone(&finish);
    let app = Upstream::scripted(move |exchange| {
        let finish = Arc::clone(&finish);
        Box::pin(async move {
            if exchange.target() != "/long" {
                return echo(exchange).await;
            }
            exchange
                .send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                .await;
            finish.acquire().await.unwrap().forget();
            exchange.send("half").await;
        })
    })
    .await;
    let mut gate = Vestibule::before(&app)
        .app("upstream_idle_timeout = \"1h\"")
        .public()
        .start()
        .await;
    let browser = gate.browser();
    for _ in 0..4 {
        browser.get("/").await.assert_status(200);
        gate.advance(Duration::from_mins(1));
    }
    assert_eq!(app.connections(), 1);
    gate.advance(Duration::from_secs(61));
    browser.get("/").await.assert_status(200);
    assert_eq!(app.connections(), 2, "the first is five minutes old");
    eventually("the old one to close", || app.open_connections() == 1).await;

    // What is in flight goes on, and is the last that the connection serves.
    let mut long = gate.raw().await;
    long.send("GET /long HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(6).await;
    gate.advance(Duration::from_mins(10));
    finished.add_permits(1);
    let reply = long.response().await;
    assert_eq!((reply.status, &*reply.text()), (200, "halfhalf"));
    assert_eq!(app.connections(), 2);
    browser.get("/").await.assert_status(200);
    assert_eq!(app.connections(), 3);

    gate.reload(|text| text.replace("[[app]]\n", "[[app]]\nupstream_max_age = \"1m\"\n"))
        .unwrap();
    browser.get("/").await.assert_status(200);
    let before = app.connections();
    gate.advance(Duration::from_secs(61));
    browser.get("/").await.assert_status(200);
    assert_eq!(app.connections(), before + 1);
}

#[tokio::test]
async fn rel_03_a_signed_in_connection_ends_when_its_app_says_so_and_not_by_age() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let fields: &[_] = match exchange.header("authorization") {
                Some(_) => &[("WWW-Authenticate", "NTLM TYPE2")],
                None if exchange.target() == "/soon" => &[("Keep-Alive", "timeout=10")],
                None => &[],
            };
            exchange.reply("401 No", fields, "").await;
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app("upstream_idle_timeout = \"1h\"")
        .start()
        .await;
    let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut ada = gate.raw().await;
    let mut connections = Vec::new();
    for (target, credentials, later) in [
        ("/", "Authorization: NTLM TYPE1\r\n", 360),
        ("/soon", "", 5),
        ("/soon", "", 9),
        ("/", "", 0),
    ] {
        let head = format!("Host: gate.test\r\nCookie: {cookie}\r\n{credentials}");
        ada.send(format!("GET {target} HTTP/1.1\r\n{head}\r\n"))
            .await;
        ada.response().await.assert_status(401);
        connections.push(app.last().connection);
        gate.advance(Duration::from_secs(later));
    }
    let own = connections[0];
    assert_eq!(connections[..3], [own; 3], "{connections:?}");
    assert_ne!(connections[3], own);
}
