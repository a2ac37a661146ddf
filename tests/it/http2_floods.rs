//! More HTTP/2 than is bearable, SEC-21 to SEC-24.

use std::time::Duration;

use crate::harness::*;

async fn open_gate(app: &Upstream) -> Gate {
    Vestibule::before(app).public().start().await
}

/// Others are served while `flood` goes on, each within two seconds.
async fn assert_others_are_served(gate: &Gate, flood: impl Future<Output = ()>) {
    let visits = async {
        for _ in 0..20 {
            let browser = gate.browser();
            let page = tokio::time::timeout(Duration::from_secs(2), browser.get("/other"));
            page.await
                .expect("a visitor waits for an attacker")
                .assert_status(200);
        }
    };
    let flood = tokio::time::timeout(Duration::from_secs(5), flood);
    let (_, ()) = tokio::join!(flood, visits);
    gate.browser().get("/other").await.assert_status(200);
}

/// A field that goes to the dynamic table, and then many one-byte references to it.
fn hpack_bomb(references: usize) -> Vec<u8> {
    let mut block = headers_block(&RawHttp2::get("/"));
    let field = headers_block(&[("x", &"x".repeat(3900))]);
    block.push(0x40); // literal with incremental indexing (RFC 7541 §6.2.1)
    block.extend(&field[1..]);
    block.extend(std::iter::repeat_n(0xbe, references)); // index 62: the newest
    block
}

#[tokio::test]
async fn sec_21_rapid_resets_end_the_connection() {
    let app = Upstream::silent_but_for("/other").await;
    let gate = open_gate(&app).await;
    let mut http2 = gate.raw_http2().await;
    let mut sent = 0_u32;
    let flood = async {
        for n in 0..20_000 {
            let stream = 2 * n + 1;
            let open = Frame::new(
                frame::HEADERS,
                frame::END_HEADERS | frame::END_STREAM,
                stream,
                headers_block(&RawHttp2::get("/flood")),
            );
            let reset = Frame::new(frame::RST_STREAM, 0, stream, 8_u32.to_be_bytes());
            if !http2.send([open.bytes(), reset.bytes()].concat()).await {
                break;
            }
            sent = n;
        }
    };
    assert_others_are_served(&gate, flood).await;
    assert!(sent < 19_999, "nothing stopped the flood");
    let enhance_your_calm = 11;
    assert_eq!(
        http2.go_away().await.unwrap_or(enhance_your_calm),
        enhance_your_calm
    );
    eventually("the work of reset streams to end", || {
        app.connections() - app.closed() <= 2
    })
    .await;
}

#[tokio::test]
async fn sec_21_a_reset_stream_is_cancelled_at_the_upstream() {
    let app = Upstream::silent().await;
    let gate = open_gate(&app).await;
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get("/"), true).await;
    app.wait_for(1).await;
    http2
        .frame(frame::RST_STREAM, 0, 1, 8_u32.to_be_bytes())
        .await;
    eventually("the upstream connection to close", || app.closed() == 1).await;
}

#[tokio::test]
async fn sec_21_floods_of_small_frames_disturb_nobody() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let window = 1_u32.to_be_bytes();
    let priority = [0, 0, 0, 0, 16];
    let reset_by_us = 0_u32.to_be_bytes(); // MadeYouReset: an increment of 0 is a stream error
    for (name, stream, flood) in [
        ("PING", 0, Frame::new(frame::PING, 0, 0, [0; 8])),
        ("SETTINGS", 0, Frame::new(frame::SETTINGS, 0, 0, [])),
        (
            "WINDOW_UPDATE",
            0,
            Frame::new(frame::WINDOW_UPDATE, 0, 0, window),
        ),
        ("PRIORITY", 0, Frame::new(2, 0, 1, priority)),
        ("empty DATA", 1, Frame::new(frame::DATA, 0, 1, [])),
        ("unknown type", 0, Frame::new(0x42, 0, 0, [0; 8])),
        (
            "MadeYouReset",
            1,
            Frame::new(frame::WINDOW_UPDATE, 0, 1, reset_by_us),
        ),
    ] {
        let mut http2 = gate.raw_http2().await;
        if stream > 0 {
            http2
                .headers(stream, &RawHttp2::fields("POST", "/"), false)
                .await;
        }
        let flood = async {
            let many = flood.bytes().repeat(1000);
            for _ in 0..100 {
                if !http2.send(&many).await {
                    break;
                }
            }
        };
        eprintln!("flood of {name}");
        assert_others_are_served(&gate, flood).await;
    }
}

#[tokio::test]
async fn sec_22_a_header_block_without_end_is_cut() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let mut http2 = gate.raw_http2().await;
    http2
        .frame(
            frame::HEADERS,
            frame::END_STREAM,
            1,
            headers_block(&RawHttp2::get("/")),
        )
        .await;
    let field = headers_block(&[("x", &"x".repeat(8000))]);
    let mut sent = 0;
    while sent < 10_000_000
        && http2
            .send(Frame::new(frame::CONTINUATION, 0, 1, &*field).bytes())
            .await
    {
        sent += field.len();
    }
    assert!(sent < 10_000_000, "10 MB of one head were taken");
    assert_eq!(app.requests(), 0);

    // Empty ones cost the sender next to nothing.
    let mut http2 = gate.raw_http2().await;
    http2
        .frame(
            frame::HEADERS,
            frame::END_STREAM,
            1,
            headers_block(&RawHttp2::get("/")),
        )
        .await;
    let empty = Frame::new(frame::CONTINUATION, 0, 1, [])
        .bytes()
        .repeat(1000);
    let flood = async { while http2.send(&empty).await {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("a flood of empty CONTINUATION goes on");
    gate.browser().get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_23_a_decoded_head_is_counted_field_by_field() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let crumbs: Vec<_> = (0..3000).map(|_| ("cookie", "a=1")).collect();
    let many: Vec<_> = (0..150).map(|_| ("x", "1")).collect();
    for block in [
        hpack_bomb(16_000),
        hpack_bomb(100),
        headers_block(&[RawHttp2::get("/"), crumbs].concat()),
        headers_block(&[RawHttp2::get("/"), many].concat()),
    ] {
        let mut http2 = gate.raw_http2().await;
        // Whole in one frame if it fits, else continued.
        let mut parts = block.chunks(16_000).peekable();
        let mut kind = frame::HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() {
                frame::END_HEADERS
            } else {
                0
            };
            let flags = end
                | if kind == frame::HEADERS {
                    frame::END_STREAM
                } else {
                    0
                };
            http2.frame(kind, flags, 1, part).await;
            kind = frame::CONTINUATION;
        }
        let stream = http2.outcome(1).await;
        assert!(
            matches!(stream.status, None | Some(431)),
            "{} bytes gave {stream:?}",
            block.len()
        );
    }
    assert_eq!(app.requests(), 0);
    gate.browser().get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_23_a_bomb_costs_no_memory() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app).public().spawn().await;
    let peak = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", service.program.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    service.browser().get("/").await.assert_status(200);
    let before = peak();
    for _ in 0..3 {
        let mut http2 = RawHttp2::connect(service.address).await;
        // A window of 0 keeps whatever would be answered in memory.
        http2.frame(frame::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]).await;
        for n in 0..50 {
            let flags = frame::END_HEADERS | frame::END_STREAM;
            http2
                .frame(frame::HEADERS, flags, 2 * n + 1, hpack_bomb(12_000))
                .await;
        }
        http2.outcome(1).await;
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < 3 * 10 * 1024, "three bombs cost {grown} KiB");
}

#[tokio::test]
async fn sec_24_streams_are_bounded_and_a_stalled_one_is_reset() {
    let page = "x".repeat(300_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    let app = Upstream::raw(answer).await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nwrite = \"1s\"")
        .start()
        .await;
    let mut http2 = gate.raw_http2().await;
    let settings = http2.next().await.unwrap();
    assert_eq!(settings.kind, frame::SETTINGS);
    let streams = settings.payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
    let streams = u32::from_be_bytes(streams.expect("a limit")[2..].try_into().unwrap());
    assert!(streams <= 128, "{streams} streams at once");

    http2.frame(frame::SETTINGS, frame::ACK, 0, []).await;
    http2.frame(frame::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]).await; // windows of 0
    http2.headers(1, &RawHttp2::get("/"), true).await;
    let stream = http2.outcome(1).await;
    assert!(!stream.ended, "it ended without its body: {stream:?}");
    eventually("the upstream connection to close", || app.closed() == 1).await;
}
