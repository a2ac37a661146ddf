//! Those who ask faster than anybody could answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::tls::{self, HOST};
use crate::harness::*;

const CONNECTIONS: usize = 220;
const STRANGERS: usize = 8;

/// Asks for a page of Vestibule's own without waiting for answers; when the connection ends, on another
/// one.
async fn flood(address: SocketAddr, cookie: String) {
    let fields = format!("Host: {HOST}\r\nCookie: {cookie}\r\n");
    let request = format!("GET /.vestibule/account HTTP/1.1\r\n{fields}\r\n");
    let requests = request.repeat(100);
    loop {
        let Ok(stream) = TcpStream::connect(address).await else {
            continue;
        };
        let Ok(stream) = tls::connect(stream, HOST, &["http/1.1"]).await else {
            continue;
        };
        let (mut reader, mut writer) = split(stream);
        let asks = async { while writer.write_all(requests.as_bytes()).await.is_ok() {} };
        let reads = async {
            let mut answers = vec![0; 64 * 1024];
            while reader.read(&mut answers).await.is_ok_and(|read| read > 0) {}
        };
        tokio::select! {
            () = asks => {}
            () = reads => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_13_with_too_much_to_do_strangers_are_turned_away_and_users_go_on() {
    let app = Upstream::echo().await;
    let mut command = command();
    command.env("TOKIO_WORKER_THREADS", "1"); // a machine that the flood keeps busy
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("eve", PASSWORD)
        .server("max_connections_per_address = 1000")
        .spawn_by(command)
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let page = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n",
        ada.session_cookie()
    );
    let eve = service.browser().login("eve", PASSWORD).await;
    let mut ada = service.raw().await;
    let mut flooding = JoinSet::new();
    for _ in 0..CONNECTIONS {
        flooding.spawn(flood(service.address, eve.session_cookie()));
    }
    for _ in 0..STRANGERS {
        flooding.spawn(flood(service.address, "none=none".to_owned()));
    }
    some_within(PATIENCE * 2, "strangers to be turned away", async || {
        let (code, shown, said) = run(&service.files, &["status", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        ada.send(&page).await;
        ada.response().await.assert_status(200);
        (shown["shedding"] == "delay").then_some(())
    })
    .await;
    // Over HTTP/2 a connection of theirs ends in good order, too.
    let go_away = some_within(PATIENCE, "a stranger to be told", async || {
        let mut stranger = RawHttp2::connect(service.address).await;
        let fields = RawHttp2::get("/.vestibule/login");
        stranger.headers(1, &fields, true).await;
        if stranger.status(1).await != Some(503) {
            return None;
        }
        // It ends whether or not they confirm that they have been told.
        stranger.ignores_pings = true;
        Some(stranger.go_away().await)
    });
    assert_eq!(go_away.await, Some(0));
    for _ in 0..5 {
        ada.send(&page).await;
        ada.response().await.assert_status(200);
    }
    flooding.shutdown().await;
    eventually_some("better times", async || {
        let stranger = service.browser();
        (stranger.get("/.vestibule/login").await.status == 200).then_some(())
    })
    .await;
}

/// What one network gets in a second of Vestibule's own answers, on this machine, and at once before:
/// docs/limits.md.
fn pace() -> (u32, u32) {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    (500 * u32::try_from(cpus).unwrap(), 32)
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_13_strangers_are_answered_at_a_pace() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let (each_second, at_once) = pace();
    let few = 8 * 3; // in each of the seconds that it takes
    let most = each_second + at_once + few;
    let answered = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let mut flooding = JoinSet::new();
    for _ in 0..50 {
        let (mut stranger, answered) = (gate.raw().await, Arc::clone(&answered));
        let page = format!("GET /somewhere HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        flooding.spawn(async move {
            while answered.fetch_add(1, Ordering::Relaxed) < most {
                stranger.send(&page).await;
                stranger.response().await.assert_status(401);
            }
        });
    }
    flooding.join_all().await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert_eq!(app.requests(), 0);
}
