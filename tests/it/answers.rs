//! Old apps: HTTP/1.0, answers without a length, requests that have to have one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::harness::*;

#[tokio::test]
async fn an_app_of_http_1_0_does_not_make_us_one() {
    for (answer, length) in [
        ("HTTP/1.0 200 OK\r\n\r\nold", None),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", Some("3")),
    ] {
        let app = Upstream::raw_then_close(answer).await;
        let gate = Vestibule::before(&app).public().start().await;
        let mut raw = gate.raw().await;
        for _ in 0..2 {
            raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
            let reply = raw.response().await;
            assert_eq!(reply.value("connection"), None, "{answer}");
            assert_eq!(reply.value("content-length"), length, "{answer}");
            let chunked = length.is_none().then_some("chunked");
            assert_eq!(reply.value("transfer-encoding"), chunked, "{answer}");
            assert_eq!(reply.text(), "old");
        }
        let old = gate.exchange("GET / HTTP/1.0\r\nHost: gate.test\r\n\r\n");
        let old = old.await;
        assert!(old.ends_with("\r\n\r\nold"), "{old}");
        assert!(!old.to_lowercase().contains("transfer-encoding"), "{old}");
    }
}

/// Sends a part of an answer, and leaves when the test says so, with a reset or in good order.
async fn leaver(part: &'static str, resets: bool) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let leave = Arc::new(Notify::new());
    let told = Arc::clone(&leave);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(part.as_bytes()).await.unwrap();
            told.notified().await;
            if resets {
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
    });
    (address, leave)
}

/// Reads an answer until its part has come.
async fn half_of(old: &mut Raw) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nhalf") {
        read.extend(old.bytes().await);
    }
    let head = String::from_utf8_lossy(&read);
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_for_every_client() {
    for (part, resets) in [
        ("HTTP/1.0 200 OK\r\n\r\nhalf", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nhalf", false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            false,
        ),
    ] {
        let (address, leave) = leaver(part, resets).await;
        let gate = Vestibule::before_url(&format!("http://{address}"));
        let gate = gate.public().start().await;

        let mut raw = gate.raw().await;
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        let head = raw.head().await;
        if head.value("content-length").is_some() {
            assert_eq!(raw.bytes().await, b"half", "{part}");
        } else {
            assert_eq!(raw.chunk().await.unwrap(), b"half", "{part}");
        }
        leave.notify_one();
        assert_eq!(raw.rest().await, "", "no last chunk: {part}");

        let mut old = gate.raw().await;
        old.send("GET / HTTP/1.0\r\nHost: gate.test\r\n\r\n").await;
        half_of(&mut old).await;
        leave.notify_one();
        assert_eq!(old.end().await, Err(ErrorKind::ConnectionReset), "{part}");

        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &RawHttp2::get("/"), true).await;
        assert_eq!(http2.data_of(1, 4).await, b"half", "{part}");
        leave.notify_one();
        let outcome = http2.outcome(1).await;
        assert!(outcome.reset.is_some() && !outcome.ended, "{part}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_sees_that_its_session_has_cut_the_answer() {
    let (address, _leave) = leaver("HTTP/1.1 200 OK\r\n\r\nhalf", false).await;
    let gate = Vestibule::before_url(&format!("http://{address}"));
    let gate = gate.user("ada", PASSWORD).start().await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET / HTTP/1.0\r\nHost: gate.test\r\nCookie: {}\r\n\r\n",
        browser.cookies()
    ))
    .await;
    half_of(&mut raw).await;
    browser.logout().await;
    assert_eq!(raw.end().await, Err(ErrorKind::ConnectionReset));
}
