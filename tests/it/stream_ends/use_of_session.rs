//! Streams that are use of their session: REL-20.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{SOON, begin};
use crate::harness::*;

#[tokio::test]
async fn a_client_that_sends_is_using_its_session() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"30m\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST /up HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\nContent-Length: 15\r\n\r\n"
    ))
    .await;
    for part in ["first", "again"] {
        gate.advance(Duration::from_mins(20));
        raw.send(part).await;
        // The upload is looked at once a second, by the system's clock. Asking is no access.
        eventually_some("the access", async || {
            let status = ada.get("/.vestibule/session").await;
            let left = status.json()["seconds_left"].as_u64().unwrap();
            (left > 15 * 60).then_some(())
        })
        .await;
    }
    raw.send("third").await;
    raw.response().await.assert_status(200);
    assert_eq!(app.last().body, b"firstagainthird");
    ada.get("/").await.assert_status(200);
}

/// What an app sends at a time.
const PART: usize = 600_000;

/// Sends a part of an answer with a length, or of an endless one, each time that it is told to.
async fn paced() -> (Upstream, Arc<Semaphore>) {
    let go = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&go);
    let app = Upstream::scripted(move |exchange| {
        let go = Arc::clone(&told);
        Box::pin(async move {
            let (head, size) = match exchange.target() {
                "/file" => ("Content-Length: 100000000", PART),
                "/slow" => ("Content-Length: 100000000", 1000),
                "/radio" => ("Connection: close", PART),
                _ => return echo(exchange).await,
            };
            exchange
                .send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"))
                .await;
            while !exchange.is_over() {
                go.acquire().await.unwrap().forget();
                exchange.send(vec![b'x'; size]).await;
            }
        })
    })
    .await;
    (app, go)
}

/// Lets an app send on for twenty minutes, with the last part a moment before their end; whether
/// its client still gets that.
async fn goes_on(gate: &Gate, go: &Semaphore, client: &mut Raw, size: usize) -> bool {
    for time in [Duration::from_mins(20), Duration::from_secs(10)] {
        gate.advance(time);
        go.add_permits(1);
        let mut left = size;
        while left > 0 {
            let read = client.try_bytes().await;
            if read.is_empty() {
                return false;
            }
            left = left.saturating_sub(read.len());
        }
    }
    true
}

#[tokio::test]
async fn rel_20_a_download_that_moves_is_use_of_its_session_and_others_are_not() {
    for (target, keys, size, lasts) in [
        ("/file", "", PART, true),
        ("/slow", "", 1000, false),
        ("/radio", "", PART, false),
        ("/radio", "push_is_use = true", PART, true),
    ] {
        let (app, go) = paced().await;
        let gate = Vestibule::before(&app)
            .app(keys)
            .user("ada", PASSWORD)
            .session("idle_timeout = \"30m\"\nlifetime = \"3h\"")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let mut client = begin(&gate, &ada, target).await;
        let mut went_on = 0;
        while went_on < 6 && goes_on(&gate, &go, &mut client, size).await {
            went_on += 1;
            if !lasts {
                // Somebody looks for what has ended twice a second, by the system's clock.
                sleep(Duration::from_secs(1)).await;
            }
        }
        if lasts {
            assert_eq!(went_on, 6, "two hours of {target} with {keys:?}");
            ada.get("/").await.assert_status(200);
            gate.advance(Duration::from_mins(70));
            go.add_permits(1);
            let ended = timeout(SOON, client.rest()).await;
            assert!(ended.is_ok(), "{target} ends with the lifetime");
        } else {
            assert!(went_on < 3, "{target} is cut");
            ada.fetch("/").await.assert_status(401);
        }
    }
}

#[tokio::test]
async fn rel_20_what_a_websocket_receives_is_use_where_the_app_says_so() {
    for (keys, lasts) in [("", false), ("push_is_use = true", true)] {
        let go = Arc::new(Semaphore::new(0));
        let told = Arc::clone(&go);
        let app = Upstream::scripted(move |exchange| {
            let go = Arc::clone(&told);
            Box::pin(async move {
                if exchange.target() != "/ws" {
                    return echo(exchange).await;
                }
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                            Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
                exchange.send(head).await;
                while !exchange.is_over() {
                    go.acquire().await.unwrap().forget();
                    exchange.send(b"\x81\x02hi").await;
                }
            })
        })
        .await;
        let gate = Vestibule::before(&app)
            .app(keys)
            .user("ada", PASSWORD)
            .session("idle_timeout = \"30m\"")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let mut socket = gate.raw().await;
        socket
            .send(format!(
                "GET /ws HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Origin: https://gate.test\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {}\r\n\r\n",
                ada.session_cookie()
            ))
            .await;
        socket.head().await.assert_status(101);
        for _ in 0..2 {
            gate.advance(Duration::from_mins(20));
            go.add_permits(1);
            assert!(!socket.try_bytes().await.is_empty());
        }
        let status = if lasts { 200 } else { 401 };
        ada.fetch("/").await.assert_status(status);
    }
}
