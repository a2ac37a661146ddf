//! Bodies pass as they come, in both directions, whole and unchanged: REL-17.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};

use crate::harness::*;

/// An event stream, each event of which the test sends by hand.
async fn events() -> (Upstream, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel::<&str>();
    let receiver = Arc::new(Mutex::new(receiver));
    let app = Upstream::scripted(move |exchange| {
        let receiver = Arc::clone(&receiver);
        Box::pin(async move {
            exchange
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while let Some(event) = receiver.lock().await.recv().await {
                if event.is_empty() {
                    break;
                }
                exchange.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            }
            exchange.send("0\r\n\r\n").await;
        })
    })
    .await;
    (app, sender)
}

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    let (app, sender) = events().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("GET /events HTTP/1.1\r\nHost: gate.test\r\nAccept: text/event-stream\r\n\r\n")
        .await;
    raw.head()
        .await
        .assert_header("content-type", "text/event-stream");
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        sender.send(event).unwrap();
        assert_eq!(raw.chunk().await.unwrap(), event.as_bytes());
    }
    sender.send("").unwrap();
    assert_eq!(raw.chunk().await, None, "the stream ends as it should");

    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get("/events"), true).await;
    assert_eq!(http2.status(1).await, Some(200));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        sender.send(event).unwrap();
        assert_eq!(http2.data_of(1, event.len()).await, event.as_bytes());
    }
    sender.send("").unwrap();
    assert!(http2.outcome(1).await.ended);
}

#[tokio::test]
async fn an_upload_is_at_the_app_before_its_end_is_sent() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let before = app.requests();
        let part = |data: &str| {
            if framing.starts_with('C') {
                data.to_owned()
            } else {
                format!("{:x}\r\n{data}\r\n", data.len())
            }
        };
        let mut raw = gate.raw().await;
        raw.send(format!(
            "PUT /file HTTP/1.1\r\nHost: gate.test\r\n{framing}\r\n{}",
            part("first")
        ))
        .await;
        app.wait_for(before + 1).await;
        eventually("the first half", || app.last().body == b"first").await;
        raw.send(part(" half")).await;
        if framing.starts_with('T') {
            raw.send("0\r\n\r\n").await;
        }
        raw.response().await.assert_status(200);
        assert_eq!(app.last().body, b"first half");
    }
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("PUT", "/file"), false)
        .await;
    http2.data(1, b"first", false).await;
    eventually("the first half", || {
        app.requests() == 3 && app.last().body == b"first"
    })
    .await;
    http2.data(1, b" half", true).await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(app.last().body, b"first half");
}

/// Bytes that no shortened, repeated or shuffled copy equals.
fn noise(length: usize) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|n| Sha256::digest(n.to_le_bytes()));
    blocks.take(length).collect()
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let body = exchange.body().await;
            exchange
                .reply(
                    "200 OK",
                    &[("Content-Type", "application/octet-stream")],
                    body,
                )
                .await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let sent = noise(5_000_000);
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let reply = browser
            .request(hyper::Method::POST, "/", &[], Bytes::from(sent.clone()))
            .await;
        reply.assert_status(200);
        assert!(reply.body == sent, "{} bytes came back", reply.body.len());
    }
    // Without a length, in uneven pieces.
    let pieces: Vec<_> = sent
        .chunks(77_777)
        .map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(pieces)).boxed();
    let request = Request::put("https://gate.test/").body(body).unwrap();
    let response = gate.http2().await.send(request).await.unwrap();
    let back = within("the body", response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert!(back == sent, "{} bytes came back", back.len());
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let sent = noise(3_000_000);
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()).into_bytes();
    answer.extend(&sent);
    let app = Upstream::raw(answer).await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.head().await.assert_status(200);
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.extend(raw.bytes().await);
        tokio::task::yield_now().await;
    }
    assert!(got == sent);
}

#[tokio::test]
async fn what_the_app_compressed_stays_so() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nVary: Accept-Encoding\r\n\r\n\x1f\u{8}ab",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let reply = gate
        .browser()
        .header("accept-encoding", "gzip, br")
        .get("/")
        .await;
    reply
        .assert_header("content-encoding", "gzip")
        .assert_header("vary", "Accept-Encoding");
    assert_eq!(reply.body, b"\x1f\x08ab");
    assert_eq!(app.last().value("accept-encoding"), Some("gzip, br"));
}

#[tokio::test]
async fn answers_without_a_length_end_with_the_connection_of_the_app() {
    let app = Upstream::raw_then_close(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        assert_eq!(browser.get("/").await.text(), "until the end");
    }
    let old = Upstream::raw_then_close("HTTP/1.0 200 OK\r\n\r\nold").await;
    let gate = Vestibule::before(&old).public().start().await;
    assert_eq!(gate.browser().get("/").await.text(), "old");
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_download_at_the_app() {
    let (app, sender) = events().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    sender.send("data: 1\n\n").unwrap();
    raw.head().await.assert_status(200);
    drop(raw);
    eventually("the app to be told", || {
        let _ = sender.send("data: more\n\n");
        app.open_connections() == 0
    })
    .await;
    let empty = Full::new(Bytes::new())
        .map_err(|never| match never {})
        .boxed();
    let http2 = gate.http2().await;
    let response = http2
        .send(Request::get("https://gate.test/").body(empty).unwrap())
        .await
        .unwrap();
    drop(response);
    eventually("the app to be told", || {
        let _ = sender.send("data: more\n\n");
        app.open_connections() == 0
    })
    .await;
}
