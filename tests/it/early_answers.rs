//! Answers before the end of an upload reach its client, over HTTP/2, too: SEC-99.

mod clients;

use crate::harness::*;

/// Refuses each upload before it has read any of it.
async fn refusing() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            let fields = [("Connection", "close")];
            exchange
                .reply("413 Content Too Large", &fields, "too large")
                .await;
            exchange.wait_until_closed().await;
        })
    })
    .await
}

async fn gate() -> (Upstream, Gate) {
    let app = refusing().await;
    let gate = Vestibule::before(&app).rule("/public", "everyone");
    (app, gate.start().await)
}

/// The answer of the app, and one of ours.
const EARLY: [(&str, u16); 2] = [("/public", 413), ("/private", 401)];

const NO_ERROR: u32 = 0;

#[tokio::test]
async fn sec_99_the_rest_of_an_upload_is_read_after_its_answer() {
    let (_app, gate) = gate().await;
    for (path, status) in EARLY {
        let mut http2 = gate.raw_http2().await;
        http2
            .headers(1, &RawHttp2::fields("POST", path), false)
            .await;
        http2.data(1, b"begun", false).await;
        assert_eq!(http2.status(1).await, Some(status), "{path}");
        // Much more than the window of a stream, which opens only when somebody reads.
        let mut window = 200_000;
        let mut left = 3_000_000_usize;
        while left > 0 {
            if window < 16_384 {
                window += within("a larger window", http2.larger_window(1)).await;
                continue;
            }
            let sent = left.min(16_384);
            left -= sent;
            window -= sent;
            http2.data(1, &vec![b'x'; sent], left == 0).await;
        }
        let outcome = http2.outcome(1).await;
        assert!(outcome.ended && outcome.reset.is_none(), "{outcome:?}");
        // The connection serves on.
        http2
            .headers(3, &RawHttp2::get("/.vestibule/login"), true)
            .await;
        assert_eq!(http2.outcome(3).await.status, Some(200), "{path}");
    }
}

#[tokio::test]
async fn sec_99_a_client_that_stops_is_told_that_this_is_no_error() {
    let (_app, gate) = gate().await;
    for (path, status) in EARLY {
        let mut http2 = gate.raw_http2().await;
        http2
            .headers(1, &RawHttp2::fields("POST", path), false)
            .await;
        http2.data(1, b"begun", false).await;
        let outcome = http2.outcome(1).await;
        assert!(outcome.ended, "{path}: {outcome:?}");
        assert_eq!(outcome.status, Some(status), "{path}");
        http2.any_reset().await;
        assert_eq!(http2.outcome(1).await.reset, Some(NO_ERROR), "{path}");
    }
}

#[tokio::test]
async fn sec_99_a_client_that_ends_its_upload_at_the_head_gets_the_content() {
    // Its content comes later than its head, as from applications that write one after the other.
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let head = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\n";
            exchange.send(head).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            exchange.send("too large").await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).rule("/public", "everyone");
    let gate = gate.start().await;
    for (path, status) in EARLY {
        let mut http2 = gate.raw_http2().await;
        let mut fields = RawHttp2::fields("POST", path);
        fields.push(("content-length", "30000"));
        http2.headers(1, &fields, false).await;
        http2.data(1, b"begun", false).await;
        assert_eq!(http2.status(1).await, Some(status), "{path}");
        // As curl does: shorter than it said, which is no request any more.
        http2.data(1, b"", true).await;
        let outcome = http2.outcome(1).await;
        assert!(outcome.ended, "{path}: {outcome:?}");
        if path == "/public" {
            assert_eq!(outcome.body, b"too large");
        }
    }
}

#[tokio::test]
async fn sec_99_a_refusal_without_end_and_one_that_breaks_off_arrive_as_they_are() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let breaks_off = exchange.target().ends_with("/broken");
            let length = if breaks_off {
                "Content-Length: 100"
            } else {
                "Transfer-Encoding: chunked"
            };
            let head = format!("HTTP/1.1 403 Forbidden\r\n{length}\r\n\r\n");
            exchange.send(head).await;
            if breaks_off {
                exchange.send("begun").await;
            } else {
                exchange.send("5\r\nbegun\r\n").await;
                exchange.wait_until_closed().await;
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app).rule("/public", "everyone");
    let gate = gate.start().await;
    for path in ["/public/endless", "/public/broken"] {
        let mut http2 = gate.raw_http2().await;
        let fields = RawHttp2::fields("POST", path);
        http2.headers(1, &fields, false).await;
        assert_eq!(http2.status(1).await, Some(403), "{path}");
        assert_eq!(http2.data_of(1, 5).await, b"begun", "{path}");
        if path == "/public/broken" {
            let outcome = http2.outcome(1).await;
            assert!(!outcome.ended && outcome.reset.is_some(), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn sec_99_a_stop_waits_for_no_rest() {
    let (_app, gate) = gate().await;
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/private"), false)
        .await;
    http2.data(1, b"begun", false).await;
    assert!(http2.outcome(1).await.ended);
    let begun = tokio::time::Instant::now();
    let (_, ()) = tokio::join!(http2.go_away(), gate.stop());
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
}

/// Refuses each upload as well, but wants to go on with the connection.
async fn refusing_in_passing() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange
                .reply("413 Content Too Large", &[], "too large")
                .await;
        })
    })
    .await
}

/// Either says so, or goes on: a client must not be left to find out by its next request.
async fn ends_as_said_or_goes_on(raw: &mut Raw, status: u16, what: &str) {
    let reply = raw.response().await;
    assert_eq!(reply.status, status, "{what}: {reply}");
    if reply.value("connection") == Some("close") {
        assert_eq!(raw.end().await, Ok(()), "{what}");
        return;
    }
    raw.send("GET /.vestibule/session HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    raw.response().await.assert_status(401);
}

#[tokio::test]
async fn sec_99_a_connection_that_ends_after_an_early_answer_says_so() {
    let app = refusing_in_passing().await;
    let gate = Vestibule::before(&app)
        .app("path = \"/wiki/\"\n")
        .rule("/wiki/public", "everyone")
        .start()
        .await;
    for target in ["/wiki/private", "/wiki/%zz"] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST {target} HTTP/1.0\r\nHost: gate.test\r\nConnection: keep-alive\r\n\
             Content-Length: 30000\r\n\r\n"
        ))
        .await;
        raw.send(vec![b'x'; 30_000]).await;
        let reply = raw.rest().await;
        let told: Vec<_> = (reply.lines())
            .filter(|line| line.starts_with("Connection:"))
            .collect();
        assert!(reply.starts_with("HTTP/1.0 4"), "{reply}");
        assert_eq!(told, ["Connection: close"], "{target}: {reply}");
    }
    let early = [
        ("/wiki/public", 413),
        ("/wiki/private", 401),
        ("/wiki", 308),
        ("/elsewhere", 404),
        ("/wiki/%zz", 400),
    ];
    for (target, status) in early {
        let head = format!("POST {target} HTTP/1.1\r\nHost: gate.test\r\n");
        for size in [6, 20_000, 30_000, 60_000, 100_000, 200_000] {
            let what = format!("{size} bytes to {target}");
            let mut raw = gate.raw().await;
            raw.send(format!("{head}Content-Length: {size}\r\n\r\n"))
                .await;
            raw.send(vec![b'x'; size]).await;
            ends_as_said_or_goes_on(&mut raw, status, &what).await;

            let mut raw = gate.raw().await;
            let body = "x".repeat(size);
            raw.send(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
            ))
            .await;
            ends_as_said_or_goes_on(&mut raw, status, &format!("{what}, chunked")).await;
        }
        if status != 413 {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
            ))
            .await;
            let what = format!("nothing yet to {target}");
            ends_as_said_or_goes_on(&mut raw, status, &what).await;
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_was_read() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Content-Length: 0\r\n\r\n",
        "\r\n",
    ] {
        for target in ["/", "/.vestibule/login"] {
            raw.send(format!(
                "POST {target} HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n{framing}"
            ))
            .await;
            let reply = raw.response().await;
            assert_eq!(reply.value("connection"), None, "{framing:?} {reply}");
        }
    }
}

#[tokio::test]
async fn an_app_that_answers_early_and_reads_on_gets_the_whole_upload() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            let body = exchange.body().await;
            let size = body.len().to_string();
            exchange
                .send(format!("{:x}\r\n{size}\r\n0\r\n\r\n", size.len()))
                .await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 300000\r\n\r\n")
        .await;
    let head = raw.head().await;
    assert_eq!(head.value("connection"), Some("close"), "{head}");
    raw.send(vec![b'x'; 300_000]).await;
    assert_eq!(raw.chunk().await.as_deref(), Some(&b"300000"[..]));
    assert_eq!(raw.chunk().await, None);
    assert_eq!(raw.end().await, Ok(()));
}
