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

#[tokio::test]
async fn a_post_without_a_body_says_so_to_the_app() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for (method, length) in [
        ("POST", Some("0")),
        ("PUT", Some("0")),
        ("PATCH", Some("0")),
        ("DELETE", None),
        ("GET", None),
        ("OPTIONS", None),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!("{method} / HTTP/1.1\r\nHost: gate.test\r\n\r\n"))
            .await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().value("content-length"), length, "{method}");
        assert_eq!(app.last().value("transfer-encoding"), None, "{method}");

        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &RawHttp2::fields(method, "/"), true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{method}");
        assert_eq!(app.last().value("content-length"), length, "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_has_no_content_has_no_length() {
    for status in ["204 No Content", "304 Not Modified"] {
        let app = Upstream::raw(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n")).await;
        let gate = Vestibule::before(&app).public().start().await;
        for browser in [gate.browser(), gate.browser().over_http2()] {
            let reply = browser.get("/").await;
            assert_eq!(reply.value("content-length"), None, "{status}");
        }
    }
    let app = Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("HEAD / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    let reply = raw.response_to_head().await;
    assert_eq!(
        reply.value("content-length"),
        Some("5"),
        "of what GET gives"
    );
}

#[tokio::test]
async fn content_after_a_204_is_not_the_next_answer() {
    for framing in [
        "Content-Length: 40\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let app = Upstream::raw(format!("HTTP/1.1 204 No Content\r\n{framing}")).await;
        let gate = Vestibule::before(&app).public().start().await;
        for nth in 1..=5 {
            gate.browser().get("/").await.assert_status(204);
            assert_eq!(app.connections(), nth, "each has one of its own");
        }
    }
}

/// A body in chunks of these sizes, with its last chunk.
fn chunks(sizes: &[usize]) -> String {
    let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", "x".repeat(*size));
    sizes.iter().map(chunk).collect::<String>() + "0\r\n\r\n"
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_body_without_a_length_gets_one_as_far_as_the_app_wants_it() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .app("buffer_requests = \"64KiB\"");
    let gate = gate.start().await;
    let mut raw = gate.raw().await;
    for (sizes, length) in [
        (vec![], Some(0)),
        (vec![1; 700], Some(700)),
        (vec![65_536], Some(65_536)),
        (vec![16_384, 16_385, 5], Some(32_774)),
        (vec![65_536, 1], None),
        (vec![40_000; 20], None),
    ] {
        raw.send(format!("{CHUNKED}{}", chunks(&sizes))).await;
        raw.response().await.assert_status(200);
        let seen = app.last();
        let told = length.map(|length: usize| length.to_string());
        assert_eq!(seen.value("content-length"), told.as_deref(), "{sizes:?}");
        let chunked = told.is_none().then_some("chunked");
        assert_eq!(seen.value("transfer-encoding"), chunked, "{sizes:?}");
        assert_eq!(seen.body.len(), sizes.iter().sum::<usize>());
        assert!(seen.complete);
    }
    assert_eq!(
        app.connections(),
        1,
        "all over one, which was whole each time"
    );
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/"), false)
        .await;
    http2.data(1, b"without", false).await;
    http2.data(1, b" a length", true).await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(app.last().value("content-length"), Some("16"));
    assert_eq!(app.last().body, b"without a length");
}

#[tokio::test]
async fn a_body_that_is_read_whole_takes_no_connection_to_the_app_meanwhile() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .app("buffer_requests = \"64KiB\"");
    let gate = gate.start().await;
    let mut raw = gate.raw().await;
    raw.send(format!("{CHUNKED}5\r\nhello\r\n")).await;
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.requests(), 1, "the second, not the first");
    raw.send("3\r\n").await;
    drop(raw);
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.requests(), 2, "a body that breaks off reaches no app");
}

#[tokio::test]
async fn rel_06_bodies_that_are_read_whole_have_a_bounded_space() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .app("buffer_requests = \"4MiB\"");
    let gate = gate.start().await;
    let mut first = gate.raw().await;
    let most = format!("{CHUNKED}300000\r\n{}\r\n", "x".repeat(0x30_0000));
    first.send(&most).await;
    let mut second = gate.raw().await;
    second.send(&most).await;
    // Which of them is read first is up to the scheduler.
    let (refused, mut kept) = tokio::select! {
        refused = second.response() => (refused, first),
        refused = first.response() => (refused, second),
    };
    refused.assert_status(503);
    kept.send("0\r\n\r\n").await;
    kept.response().await.assert_status(200);
    assert_eq!(app.last().body.len(), 0x30_0000);
    let mut third = gate.raw().await;
    third.send(format!("{most}0\r\n\r\n")).await;
    third.response().await.assert_status(200);
}

#[tokio::test]
async fn a_body_about_as_large_as_the_limit_is_refused_by_no_idle_server() {
    let app = Upstream::echo().await;
    for limit in [4 * 1024 * 1024, 3 * 1024 * 1024 + 1] {
        let gate = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .public()
            .app(&format!("buffer_requests = \"{limit}B\""))
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await.cookies();
        for sizes in [
            vec![limit - 1],
            vec![limit],
            vec![limit + 1],
            vec![limit, 1],
            vec![limit + 3_000_000],
            vec![10_007; limit / 10_007 + 1],
        ] {
            for who in ["", &format!("Cookie: {ada}\r\n")] {
                let mut raw = gate.raw().await;
                let head = CHUNKED.replace("\r\nTransfer", &format!("\r\n{who}Transfer"));
                raw.send(format!("{head}{}", chunks(&sizes))).await;
                let size: usize = sizes.iter().sum();
                let reply = raw.response().await;
                assert_eq!(reply.status, 200, "{size} of {limit}: {who}");
                let seen = app.last();
                assert_eq!(seen.body.len(), size);
                let length = (size <= limit).then(|| size.to_string());
                assert_eq!(seen.value("content-length"), length.as_deref(), "{size}");
            }
        }
    }
}

#[tokio::test]
async fn the_log_names_the_key_for_an_app_that_takes_no_chunks() {
    for status in ["411 Length Required", "501 Not Implemented"] {
        let app = Upstream::raw(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
        let service = Vestibule::before(&app)
            .public()
            .config("[log]\nformat = \"json\"")
            .spawn()
            .await;
        let mut raw = service.raw().await;
        raw.send("PUT / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1\r\n\r\nx")
            .await;
        raw.response().await;
        let told = || {
            let log = service.program.log();
            let mut lines = log.iter().map(|line| line["message"].to_string());
            lines.any(|line| line.contains("buffer_requests"))
        };
        assert!(!told(), "it had a length");
        raw.send(format!("{CHUNKED}{}", chunks(&[1]))).await;
        raw.response().await;
        eventually("the line", told).await;
    }
}
