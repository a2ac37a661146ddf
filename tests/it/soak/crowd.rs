//! Everything at once that takes memory: idle connections, readers that stall, a login flood.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use super::load::{CONNECTIONS, Load};
use super::{look, service, status};
use crate::harness::tls::{self, HOST};
use crate::harness::*;

const IDLE: usize = 10_000;
const STALLED: usize = 500;
const GUESSING: usize = 32;

/// Of who is signed in, while all of that goes on.
const REQUESTS_A_SECOND: u32 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs 12,000 descriptors and some minutes"]
async fn rel_06_a_crowd_stays_below_the_ceiling_and_keeps_nobody_waiting() {
    let service = service("max_connections = 12000\nmax_connections_per_address = 12000").await;
    let id = service.program.id();
    let ada = service.browser().login("ada", PASSWORD).await;
    let load = Arc::new(Load::new(service.address, vec![ada.session_cookie()]));
    let mut clients = JoinSet::new();
    for nth in 0..CONNECTIONS {
        clients.spawn(Arc::clone(&load).at(REQUESTS_A_SECOND, nth));
    }
    sleep(Duration::from_secs(20)).await;
    let quiet = look(&service, &load.take_times(), 0).p99;

    let page = format!("GET /page HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(connect(service.address, &page).await);
    }
    // With as many connections to the app as there are by default, these hold all that one may.
    let bob = service.browser().login("bob", PASSWORD).await;
    let cookie = bob.session_cookie();
    let large = format!("GET /large HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    let mut stalled = Vec::with_capacity(STALLED);
    for _ in 0..STALLED {
        stalled.push(connect(service.address, &large).await);
    }
    for nth in 0..GUESSING {
        clients.spawn(guess(service.address, nth));
    }
    load.take_times();
    let mut most = 0;
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        most = most.max(status(id, "VmRSS:"));
    }
    let busy = look(&service, &load.take_times(), 1).p99;
    let (code, shown, said) = run(&service.files, &["status", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let ceiling = shown["memory"]["max"].as_u64().unwrap() / 1024;
    eprintln!(
        "{} connections: {most} KiB resident at most, the ceiling is {ceiling} KiB; \
         p99 of the signed-in user {quiet:.1?}, then {busy:.1?}",
        shown["connections"]["open"]
    );
    if let Some(ended) = clients.try_join_next() {
        panic!("a client has ended: {ended:?}");
    }
    assert!(most < ceiling, "{shown}");
    assert!(busy < Duration::from_millis(50), "{busy:?}");
    assert_eq!(shown["shedding"], Value::Null, "{shown}");
    drop((idle, stalled));
}

/// Sends a request, and reads nothing of its answer.
async fn connect(address: SocketAddr, request: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tls::connect(stream, HOST, &["http/1.1"]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Tries one password after the other, each for another name.
async fn guess(address: SocketAddr, nth: usize) {
    for attempt in 0.. {
        let name = format!("guess-{nth}-{attempt}");
        let browser = Browser::new(address, HOST);
        let reply = browser.try_login(&name, "a wrong password").await;
        assert!(matches!(reply.status, 401 | 429 | 503), "{reply}");
    }
}
