//! Who gets a connection to the app when not all can: REL-13, SEC-87.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::harness::*;

#[tokio::test]
async fn more_requests_than_connections_wait_their_turn() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("upstream_max_connections = 2")
        .public()
        .start()
        .await;
    let visits: Vec<_> = (0..20)
        .map(|n| {
            let browser = gate.browser();
            tokio::spawn(async move { browser.get(&format!("/{n}")).await.status })
        })
        .collect();
    for visit in visits {
        assert_eq!(visit.await.unwrap(), 200);
    }
    assert!(app.connections() <= 2, "{} connections", app.connections());
    let targets: BTreeSet<_> = app
        .received()
        .iter()
        .map(|one| one.target().to_owned())
        .collect();
    assert_eq!(targets.len(), 20);
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_is_told_so() {
    let app = Upstream::silent().await;
    let gate = Vestibule::before(&app)
        .app("upstream_max_connections = 1\nconnect_timeout = \"500ms\"")
        .public()
        .start()
        .await;
    let first = gate.browser();
    let first = tokio::spawn(async move { first.get("/").await.status });
    app.wait_for(1).await;
    let reply = gate.browser().get("/").await;
    reply.assert_status(503);
    assert!(reply.value("retry-after").is_some(), "{reply}");
    assert_eq!(app.requests(), 1);
    first.abort();
}

#[tokio::test]
async fn rel_13_no_user_takes_all_connections_to_the_app() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .rule("/open", "everyone")
        .rule("/quick", "everyone")
        .app("upstream_max_connections = 16\nconnect_timeout = \"500ms\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    let asks = async |target: &str, cookie: &str| {
        let mut one = gate.raw().await;
        one.send(format!(
            "GET {target} HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        one
    };
    // Of the users' twelve, half are for whoever comes first, one is her own, and three are for all
    // that is more.
    let mut hers = Vec::new();
    for _ in 0..30 {
        hers.push(asks("/slow", &ada.session_cookie()).await);
    }
    app.wait_for(10).await;
    let refused = ada.get("/quick").await;
    refused.assert_status(503).assert_header("retry-after", "5");
    for other in [&bob, &gate.browser()] {
        other.get("/quick").await.assert_status(200);
    }

    // Whoever waits for a share is not passed by when one of the first half comes free.
    let mut waits = asks("/quick", &ada.session_cookie()).await;
    bob.get("/quick").await.assert_status(200);
    drop(hers.drain(..6));
    waits.response().await.assert_status(200);

    // With hers gone, one network of strangers takes no more than half of what is theirs.
    drop(hers);
    eventually("her connections to be free", || app.open_connections() <= 1).await;
    let mut theirs = Vec::new();
    for _ in 0..30 {
        theirs.push(asks("/open", "a=b").await);
    }
    app.wait_for(14 + 2).await;
    gate.browser().get("/quick").await.assert_status(503);
    for user in [&ada, &bob] {
        user.get("/quick").await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_87_strangers_of_one_network_leave_connections_to_other_strangers_and_to_users() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .rule("/quick", "everyone")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .app("upstream_max_connections = 16\nconnect_timeout = \"500ms\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let asks = async |target: &str, client: &str| {
        let mut one = gate.raw().await;
        one.send(format!(
            "GET {target} HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: {client}\r\n\r\n"
        ))
        .await;
        one
    };
    let mut greedy = Vec::new();
    for n in 0..12 {
        greedy.push(asks("/open", &format!("2001:db8:0:{n}::1")).await);
    }
    app.wait_for(2).await;
    for (client, status) in [
        ("2001:db8:0:ff::1", 503),
        ("2001:db8:1::1", 200),
        ("192.0.2.1", 200),
    ] {
        let mut one = asks("/quick", client).await;
        one.response().await.assert_status(status);
    }
    // More networks fill what is for strangers, and nothing that is for users.
    for n in 2..40 {
        greedy.push(asks("/open", &format!("2001:db8:{n}::1")).await);
    }
    app.wait_for(2 + 2 + 2).await;
    for _ in 0..20 {
        ada.get("/quick").await.assert_status(200);
    }
    assert!(
        app.open_connections() <= 4 + 1,
        "{}",
        app.open_connections()
    );
    // A user gets as many as without strangers: six, one of her own, and three that are common.
    let before = app.requests();
    let mut hers = Vec::new();
    for _ in 0..10 {
        let mut one = gate.raw().await;
        one.send(format!(
            "GET /slow HTTP/1.1\r\nHost: gate.test\r\nCookie: {}\r\n\r\n",
            ada.session_cookie()
        ))
        .await;
        hers.push(one);
    }
    app.wait_for(before + 10).await;
    // Whoever has waited is served when something comes free.
    let mut waits = asks("/quick", "198.51.100.1").await;
    greedy.clear();
    waits.response().await.assert_status(200);
}

#[tokio::test]
async fn slow_answers_do_not_hold_fast_ones_up() {
    let open = Arc::new(Semaphore::new(0));
    let gatekeeper = Arc::clone(&open);
    let app = Upstream::scripted(move |exchange| {
        let open = Arc::clone(&gatekeeper);
        Box::pin(async move {
            if exchange.target() == "/slow" {
                drop(open.acquire().await);
            }
            echo(exchange).await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let slow: Vec<_> = (0..5)
        .map(|_| {
            let browser = gate.browser();
            tokio::spawn(async move { browser.get("/slow").await.status })
        })
        .collect();
    app.wait_for(5).await;
    gate.browser().get("/fast").await.assert_status(200);
    let http2 = gate.http2().await;
    let (blocked, quick) = tokio::join!(
        tokio::time::timeout(Duration::from_millis(300), http2.get("/slow", &[])),
        http2.get("/fast", &[])
    );
    quick.assert_status(200);
    assert!(blocked.is_err());
    open.add_permits(100);
    for one in slow {
        assert_eq!(one.await.unwrap(), 200);
    }
}
