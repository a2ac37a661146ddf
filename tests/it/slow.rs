//! Slow and greedy clients, SEC-25 to SEC-28.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::*;

/// Gives how long a connection lives on.
async fn lifetime(mut raw: Raw) -> Duration {
    let started = Instant::now();
    raw.rest().await;
    started.elapsed()
}

#[tokio::test]
async fn sec_25_a_handshake_has_to_end_in_time() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .config("[server.timeouts]\nhandshake = \"500ms\"")
        .start()
        .await;
    assert!(
        lifetime(Raw::new(gate.tcp().await)).await < Duration::from_secs(5),
        "without a byte"
    );
    // The beginning of a ClientHello, byte by byte: the time is for the whole of it.
    let mut stream = gate.tcp().await;
    let started = Instant::now();
    let dribble = async {
        for byte in [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3].into_iter().cycle() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("the end of a slow handshake", dribble).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn sec_25_a_head_has_to_end_in_time() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nheaders = \"1s\"")
        .start()
        .await;
    for start in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: ",
    ] {
        let mut raw = gate.raw().await;
        raw.send(start).await;
        let started = Instant::now();
        let dribble = async {
            while raw.try_send("x").await {
                sleep(Duration::from_millis(100)).await;
            }
        };
        within("the end of a slow head", dribble).await;
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "{start:?}: {:?}",
            started.elapsed()
        );
    }
    // The second head of a connection is as slow as the first.
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.response().await.assert_status(200);
    raw.send("GET / HTTP/1.1\r\n").await;
    let rest = raw.rest().await;
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
        "{rest}"
    );
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_head_may_come_in_pieces_after_a_pause() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    for pause in [0, 100, 1500] {
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nX-Late: ")
            .await;
        sleep(Duration::from_millis(pause)).await;
        raw.send(format!("{pause}\r\n\r\n")).await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().value("x-late"), Some(&*pause.to_string()));
        sleep(Duration::from_millis(pause)).await;
    }
    raw.send("GET /last HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    raw.response().await.assert_status(200);
}

#[tokio::test]
async fn sec_25_stalled_clients_delay_nobody() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut stalled = Vec::new();
    for n in 0..200 {
        if n % 2 == 0 {
            let mut raw = gate.raw().await;
            raw.send("GET / HTTP/1.1\r\nHost: ga").await;
            stalled.push(raw);
        } else {
            stalled.push(Raw::new(gate.tcp().await));
        }
    }
    let browser = gate.browser();
    let page = timeout(Duration::from_secs(2), browser.get("/"));
    page.await.expect("others wait").assert_status(200);
}

#[tokio::test]
async fn sec_26_a_body_that_stops_is_cut() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nbody_idle = \"1s\"")
        .start()
        .await;
    for framing in [
        "Content-Length: 100\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: gate.test\r\n{framing}"))
            .await;
        let rest = raw.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
            "{rest}"
        );
        assert!(!app.last().complete);
    }
    eventually("the upstream connections to close", || app.closed() == 2).await;
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/"), false)
        .await;
    http2.data(1, b"hello", false).await;
    let stream = http2.outcome(1).await;
    assert!(matches!(stream.status, None | Some(408)), "{stream:?}");
}

#[tokio::test]
async fn sec_26_one_byte_a_second_is_too_slow() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1000\r\n\r\n")
        .await;
    let started = Instant::now();
    let dribble = async {
        while raw.try_send("x").await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(25), dribble)
        .await
        .expect("a body of one byte a second goes on");
    assert!(
        started.elapsed() > Duration::from_secs(5),
        "slow lines deserve some patience"
    );
    assert!(!app.last().complete);
}

#[tokio::test]
async fn sec_26_a_form_of_ours_has_to_come_as_a_whole() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).start().await;
    let mut raw = gate.raw().await;
    raw.send(
        "POST /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000\r\n\r\n",
    )
    .await;
    let started = Instant::now();
    let dribble = async {
        while raw.try_send([b'x'; 300]).await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(20), dribble)
        .await
        .expect("a form of 20 seconds");
    assert!(started.elapsed() > Duration::from_secs(5));
}

#[tokio::test]
async fn sec_27_a_reader_that_stalls_is_not_buffered_for() {
    const WHOLE: usize = 200 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let app = Upstream::scripted(move |exchange| {
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            exchange
                .send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n"
                ))
                .await;
            let part = vec![b'x'; 64 * 1024];
            for _ in 0..WHOLE / part.len() {
                exchange.send(&part).await;
                if exchange.is_over() {
                    break;
                }
                counter.fetch_add(part.len(), Ordering::Relaxed);
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nwrite = \"2s\"")
        .start()
        .await;
    for http2 in [false, true] {
        sent.store(0, Ordering::Relaxed);
        let closed = app.closed();
        let (mut first, mut second) = (None, None);
        if http2 {
            let mut raw = gate.raw_http2().await;
            raw.headers(1, &RawHttp2::get("/"), true).await;
            first = Some(raw);
        } else {
            let mut raw = gate.raw().await;
            raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
            second = Some(raw);
        }
        eventually("the write timeout", || {
            app.connections() > 0 && app.open_connections() == 0
        })
        .await;
        let sent = sent.load(Ordering::Relaxed);
        // The rest is what the kernel holds for two sockets.
        assert!(
            sent < 24 * 1024 * 1024,
            "{sent} bytes for a client that reads nothing"
        );
        drop((first, second, closed));
    }
}

#[tokio::test]
async fn sec_27_an_upload_waits_for_an_app_that_does_not_read() {
    let app = Upstream::scripted(|_| Box::pin(std::future::pending())).await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send("POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 200000000\r\n\r\n")
        .await;
    let part = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while let Ok(true) = timeout(Duration::from_secs(1), raw.try_send(&part)).await {
        sent += part.len();
        assert!(
            sent < 24 * 1024 * 1024,
            "{sent} bytes for an app that reads nothing"
        );
    }
    assert!(sent > 0);
}

#[tokio::test]
async fn sec_28_an_idle_connection_ends() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nkeep_alive = \"1s\"\nheaders = \"2s\"")
        .start()
        .await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.response().await.assert_status(200);
    assert!(lifetime(raw).await < Duration::from_secs(5));
    assert!(
        lifetime(gate.raw().await).await < Duration::from_secs(5),
        "without any request"
    );
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get("/"), true).await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    let started = Instant::now();
    http2.go_away().await;
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn sec_28_connections_of_one_address_are_bounded() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("max_connections_per_address = 4")
        .start()
        .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(gate.raw().await);
    }
    let refused = tls::connect(gate.tcp().await, tls::HOST, &["http/1.1"]).await;
    assert!(refused.is_err(), "a fifth connection");
    for raw in &mut open {
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        raw.response().await.assert_status(200);
    }
    open.pop();
    eventually_some("a free place", async || {
        let stream = tls::connect(gate.tcp().await, tls::HOST, &["http/1.1"])
            .await
            .ok()?;
        Some(Raw::new(stream))
    })
    .await;
}

#[tokio::test]
async fn sec_28_connections_in_all_are_bounded() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("max_connections = 3")
        .start()
        .await;
    let open = [gate.raw().await, gate.raw().await, gate.raw().await];
    let refused = tls::connect(gate.tcp().await, tls::HOST, &["http/1.1"]).await;
    assert!(refused.is_err(), "a fourth connection");
    drop(open);
}
