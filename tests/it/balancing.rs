//! Which address of an app a request goes to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::harness::*;

/// Holds `/held` until it is told to go on, and upgrades `/socket`.
async fn app(go_on: &Arc<Semaphore>) -> Upstream {
    let go_on = Arc::clone(go_on);
    Upstream::scripted(move |exchange| {
        let go_on = Arc::clone(&go_on);
        Box::pin(async move {
            match exchange.target() {
                "/held" => {
                    go_on.acquire().await.unwrap().forget();
                    echo(exchange).await;
                }
                "/stream" => exchange.download_without_end().await,
                "/socket" => exchange.echo_websocket().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await
}

fn counts(apps: &[Upstream; 2]) -> [usize; 2] {
    apps.each_ref().map(Upstream::requests)
}

async fn two(go_on: &Arc<Semaphore>, balance: &str) -> ([Upstream; 2], Gate) {
    let apps = [app(go_on).await, app(go_on).await];
    let gate = Vestibule::before_each(&[&apps[0], &apps[1]])
        .app(&format!("balance = \"{balance}\""))
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .rule("/", "everyone")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    (apps, gate)
}

#[tokio::test]
async fn least_prefers_the_address_with_fewer_requests_in_flight() {
    let go_on = Arc::new(Semaphore::new(0));
    let (apps, gate) = two(&go_on, "least").await;
    for _ in 0..10 {
        gate.browser().get("/").await.assert_status(200);
    }
    assert_eq!(
        counts(&apps),
        [5, 5],
        "with the same number they are in turn"
    );

    // One request is held, and all others pass by that address.
    let mut held = gate.raw().await;
    held.send("GET /held HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    eventually("the held one", || counts(&apps).iter().sum::<usize>() == 11).await;
    let busy = usize::from(counts(&apps)[1] == 6);
    for _ in 0..10 {
        gate.browser().get("/").await.assert_status(200);
    }
    assert_eq!(counts(&apps)[1 - busy], 15);
    go_on.add_permits(1);
    held.response().await.assert_status(200);
    let before = counts(&apps);
    for _ in 0..10 {
        gate.browser().get("/").await.assert_status(200);
    }
    assert_eq!(counts(&apps), before.map(|n| n + 5));
}

#[tokio::test]
async fn streams_and_websockets_count_as_in_flight_to_their_end() {
    let go_on = Arc::new(Semaphore::new(0));
    let (apps, gate) = two(&go_on, "least").await;
    let origin = [("origin", "https://gate.test")];
    let socket = open_websocket(gate.tcp().await, "/socket", &origin)
        .await
        .unwrap();
    let busy = usize::from(counts(&apps)[1] == 1);
    for _ in 0..6 {
        gate.browser().get("/").await.assert_status(200);
    }
    assert_eq!(counts(&apps)[busy], 1);
    // A stream at the other address makes it even, and a second one odd again.
    let mut streams = Vec::new();
    for n in 0..2 {
        let mut stream = gate.raw().await;
        stream
            .send("GET /stream HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .await;
        stream.head().await.assert_status(200);
        streams.push(stream);
        if n == 0 {
            assert_eq!(counts(&apps)[busy], 1);
        }
    }
    let with_two = if counts(&apps)[busy] == 1 {
        1 - busy
    } else {
        busy
    };
    let before = counts(&apps);
    for _ in 0..6 {
        gate.browser().get("/").await.assert_status(200);
    }
    assert_eq!(counts(&apps)[with_two], before[with_two]);
    // All of them gone, both are in turn again.
    drop(streams);
    socket.close().await;
    eventually_some("turns", async || {
        let before = counts(&apps);
        for _ in 0..4 {
            gate.browser().get("/").await.assert_status(200);
        }
        let after = counts(&apps);
        (after[0] - before[0] == 2 && after[1] - before[1] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sticky_keeps_each_session_and_each_client_at_its_address() {
    let go_on = Arc::new(Semaphore::new(0));
    let (apps, mut gate) = two(&go_on, "sticky").await;
    let mut seen = [0, 0];
    let mut sessions = Vec::new();
    for _ in 0..16 {
        let ada = gate.browser().login("ada", PASSWORD).await;
        let before = counts(&apps);
        for _ in 0..3 {
            ada.get("/").await.assert_status(200);
        }
        let theirs = usize::from(counts(&apps)[1] > before[1]);
        assert_eq!(counts(&apps)[theirs], before[theirs] + 3);
        seen[theirs] += 1;
        sessions.push((ada, theirs));
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}: all at one address");
    assert!(
        sessions
            .iter()
            .all(|(browser, _)| browser.cookies().split("; ").count() <= 2),
        "the gate sets no cookie of its own for this"
    );
    // A session keeps its address whatever client it comes from, by WebSocket, and after a reload.
    gate.reload(|text| text.replace("sticky\"\n", "sticky\"\nresponse_timeout = \"50s\"\n"))
        .unwrap();
    for (ada, theirs) in &sessions {
        let before = counts(&apps);
        let cookie = ada.session_cookie();
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 192.0.2.9\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(200);
        let headers = [("cookie", &*cookie), ("origin", "https://gate.test")];
        let socket = open_websocket(gate.tcp().await, "/socket", &headers)
            .await
            .unwrap();
        socket.close().await;
        assert_eq!(counts(&apps)[*theirs], before[*theirs] + 2);
    }
    // Without a session, the address of the client counts.
    let mut seen = [0, 0];
    for n in 0..16 {
        let before = counts(&apps);
        let mut raw = gate.raw().await;
        for _ in 0..3 {
            raw.send(format!(
                "GET / HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 198.51.100.{n}\r\n\r\n"
            ))
            .await;
            raw.response().await.assert_status(200);
        }
        let theirs = usize::from(counts(&apps)[1] > before[1]);
        assert_eq!(counts(&apps)[theirs], before[theirs] + 3);
        seen[theirs] += 1;
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}: all at one address");
}

#[tokio::test]
async fn sticky_goes_to_the_next_address_while_its_own_is_down() {
    let go_on = Arc::new(Semaphore::new(0));
    let (mut apps, gate) = two(&go_on, "sticky").await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let own = usize::from(counts(&apps)[1] > 0);
    apps[own].stop().await;
    for n in 1..4 {
        ada.get("/").await.assert_status(200);
        assert_eq!(counts(&apps)[1 - own], n);
    }
    apps[own].start().await;
    gate.advance(Duration::from_secs(6)); // the mark of a failed connection ends
    ada.get("/").await.assert_status(200);
    assert_eq!((counts(&apps)[own], counts(&apps)[1 - own]), (2, 3));
    for app in &mut apps {
        app.stop().await;
    }
    ada.get("/").await.assert_status(502);
}
