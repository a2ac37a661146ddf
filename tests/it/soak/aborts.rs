//! Clients that go away at any moment, and people who come and go.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::USERS;
use crate::harness::tls::{self, HOST};
use crate::harness::{Browser, PASSWORD};

/// How many of them there are at a time.
pub(super) const CLIENTS: u32 = 12;

/// Does one thing after the other and ends none of them properly, until the task is ended.
pub(super) async fn abort_at_random(address: SocketAddr) {
    let visitor = Browser::new(address, HOST);
    let visitor = visitor.login(a_user(), PASSWORD).await;
    loop {
        let cookie = visitor.session_cookie();
        // Whatever it does, it may end in the middle.
        let _ = timeout(millis(500), act(address, &visitor, &cookie)).await;
        if !visitor.is_signed_in() || rand::rng().random_ratio(1, 50) {
            sign_in_anew(&visitor).await;
        }
        sleep(millis(250)).await;
    }
}

async fn act(address: SocketAddr, visitor: &Browser, cookie: &str) -> Option<()> {
    let get =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n");
    let what = rand::rng().random_range(0..9);
    match what {
        0 => {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.ok()?; // some of a hello
            wait().await;
        }
        1 => say(address, "GET /half HTTP/1.1\r\nHo").await?,
        2 => say(address, &(get("/large") + "\r\n")).await?,
        3 => say(address, &(get("/events") + "\r\n")).await?,
        4 => {
            let head = get("/upload").replace("GET", "POST");
            let head = format!("{head}Content-Length: 10000000\r\n\r\n");
            say(address, &(head + &"z".repeat(300_000))).await?;
        }
        5 => {
            let head = get("/socket");
            let head = format!(
                "{head}Origin: https://{HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            say(address, &head).await?;
        }
        6 => {
            let streams = (0..5).map(|_| visitor.clone().over_http2());
            let loads = streams.map(async |browser| browser.get("/large").await.status);
            futures_util::future::join_all(loads).await;
        }
        7 => {
            let wrong = [("username", "mallory"), ("password", "wrong")];
            visitor.fresh().post_form("/.vestibule/login", &wrong).await;
        }
        _ => {
            visitor.get("/.vestibule/account").await;
        }
    }
    Some(())
}

/// Sends, reads a little or more, and is gone.
async fn say(address: SocketAddr, bytes: &str) -> Option<()> {
    let mut stream = connect(address).await?;
    stream.write_all(bytes.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut some = vec![0; rand::rng().random_range(1..100_000)];
    let _however_much = stream.read(&mut some).await.ok()?;
    wait().await;
    if rand::rng().random() {
        // With a reset instead of an end.
        let (socket, _) = stream.get_ref();
        socket2::SockRef::from(socket)
            .set_linger(Some(Duration::ZERO))
            .ok()?;
    }
    Some(())
}

async fn connect(address: SocketAddr) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.ok()?;
    tls::connect(stream, HOST, &["http/1.1"]).await.ok()
}

/// Some sign out before; the others leave a session behind, of which the oldest ends.
async fn sign_in_anew(visitor: &Browser) {
    if visitor.is_signed_in() && rand::rng().random() {
        visitor.clone().logout().await;
    }
    visitor.clone().login(a_user(), PASSWORD).await;
}

fn a_user() -> &'static str {
    USERS.choose(&mut rand::rng()).unwrap()
}

async fn wait() {
    sleep(millis(300)).await;
}

fn millis(max: u64) -> Duration {
    Duration::from_millis(rand::rng().random_range(1..max))
}
