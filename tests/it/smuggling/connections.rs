//! Bodies and connections: SEC-04, SEC-05, SEC-12, SEC-16.

use super::*;

#[tokio::test]
async fn sec_04_a_chunked_body_is_written_anew() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(
        "POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n\
         0005;ext=\"a;b\"\r\nhello\r\n1\r\n!\r\n000;last\r\nX-Late: 1\r\nX-Forwarded-User: admin\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
    let last = app.last();
    assert_eq!(String::from_utf8_lossy(&last.body), "hello!");
    assert!(last.complete);
    assert_eq!(last.trailers, "", "trailers end here");
    let bytes = String::from_utf8_lossy(&app.bytes()).to_lowercase();
    for gone in ["ext=", "last", "x-late", "admin"] {
        assert!(!bytes.contains(gone), "{gone} in {bytes}");
    }
}

#[tokio::test]
async fn sec_04_a_chunk_that_could_be_read_in_two_ways_ends_both_connections() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for body in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";ext\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ] {
        let before = app.received().len();
        let attack = format!(
            "POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
        );
        let answer = gate.exchange(&attack).await;
        assert!(
            matches!(statuses(&answer)[..], [] | [400..=599]),
            "{body:?} gave:\n{answer}"
        );
        let came = app.received().split_off(before);
        assert!(came.len() <= 1, "{body:?} became {came:?}");
        assert!(
            came.iter().all(|one| !one.complete),
            "{body:?} became {came:?}"
        );
        gate.browser().get("/next").await.assert_status(200);
    }
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("smuggled"));
}

#[tokio::test]
async fn sec_05_a_get_with_a_body_is_framed_like_any_request() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let fixed = format!("Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
        SMUGGLED.len()
    );
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        for framing in [&fixed, &chunked] {
            let before = app.requests();
            let mut raw = gate.raw().await;
            raw.send(format!(
                "{method} /one HTTP/1.1\r\nHost: gate.test\r\n{framing}\
                 GET /two HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n"
            ))
            .await;
            raw.rest().await;
            let came = app.received().split_off(before);
            let targets: Vec<_> = came.iter().map(Received::target).collect();
            assert_eq!(targets, ["/one", "/two"], "{method}");
            assert_eq!(
                came[0].body,
                SMUGGLED.as_bytes(),
                "{method}: {}",
                came[0].head
            );
        }
        let mut http2 = gate.raw_http2().await;
        http2
            .headers(1, &RawHttp2::fields(method, "/one"), false)
            .await;
        http2.data(1, SMUGGLED.as_bytes(), true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{method}");
        assert_eq!(app.last().body, SMUGGLED.as_bytes(), "{method} over HTTP/2");
    }
}

#[tokio::test]
async fn sec_05_after_an_early_answer_the_rest_of_the_body_is_no_request() {
    for closes in [false, true] {
        let app = Upstream::scripted(move |exchange| {
            Box::pin(async move {
                if exchange.target() == "/upload" {
                    exchange.reply("413 Content Too Large", &[], "enough").await;
                    if closes {
                        exchange.close();
                    } else {
                        exchange.wait_until_closed().await;
                    }
                } else {
                    echo(exchange).await;
                }
            })
        })
        .await;
        let gate = open_gate(&app).await;
        let mut raw = gate.raw().await;
        let length = SMUGGLED.len() * 3000;
        raw.send(format!(
            "POST /upload HTTP/1.1\r\nHost: gate.test\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
        raw.response()
            .await
            .assert_status(413)
            .assert_contains("enough");
        raw.send(SMUGGLED.repeat(3000)).await;
        raw.send("GET /after HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
            .await;
        raw.rest().await;
        gate.browser().get("/next").await.assert_status(200);
        let received = app.received();
        let targets: Vec<_> = received.iter().map(Received::target).collect();
        let expected = [&["/upload", "/next"][..], &["/upload", "/after", "/next"]];
        assert!(expected.contains(&&*targets), "{targets:?}");
        assert!(
            received[1].connection > 0,
            "the unfinished connection was used again"
        );
    }
}

#[tokio::test]
async fn sec_05_a_client_that_leaves_in_the_middle_takes_the_upstream_connection_along() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let closed = app.closed();
        let requests = app.requests();
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST /x HTTP/1.1\r\nHost: gate.test\r\n{framing}\r\n\r\n5\r\nhello\r\n"
        ))
        .await;
        app.wait_for(requests + 1).await;
        drop(raw);
        eventually("the upstream connection to close", || app.closed() > closed).await;
        assert!(
            !app.last().complete,
            "{framing}: half a body passed for a whole one"
        );
    }
}

#[tokio::test]
async fn sec_05_our_own_answers_do_not_leave_a_body_behind() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).start().await;
    let answer = gate
        .exchange(format!(
            "POST /private HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1000000\r\n\r\n{SMUGGLED}{SMUGGLED}"
        ))
        .await;
    assert_eq!(statuses(&answer), [401], "{answer}");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_12_each_pipelined_request_is_judged_on_its_own() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET /public/1 HTTP/1.1\r\nHost: gate.test\r\n\r\n\
         GET /private/2 HTTP/1.1\r\nHost: gate.test\r\nCookie: {ada}\r\n\r\n\
         GET /private/3 HTTP/1.1\r\nHost: gate.test\r\n\r\n\
         GET /public/4 HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n"
    ))
    .await;
    assert_eq!(statuses(&raw.rest().await), [200, 200, 401, 200]);
    let received = app.received();
    let users: Vec<_> = received
        .iter()
        .map(|one| (one.target(), one.value("x-forwarded-user")))
        .collect();
    let expected = [
        ("/public/1", None),
        ("/private/2", Some("ada")),
        ("/public/4", None),
    ];
    assert_eq!(users, expected);
}

/// A WebSocket handshake of the own page.
const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn sec_12_nothing_follows_an_upgrade_that_was_refused() {
    // CVE-2026-2833: bytes piped to the upstream before its 101.
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 426 Upgrade Required\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        let app = Upstream::raw(answer).await;
        let gate = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .rule("/admin", "nobody")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
        let admin = "GET /admin HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n";
        let given = gate
            .exchange(format!("{UPGRADE}Cookie: {ada}\r\n\r\n{admin}"))
            .await;
        assert!(!statuses(&given).contains(&101), "{given}");
        let bytes = String::from_utf8_lossy(&app.bytes()).into_owned();
        assert!(
            !bytes.contains("/admin"),
            "for {answer:?} the upstream got:\n{bytes}"
        );
        assert_eq!(app.requests(), 1);
    }
}

#[tokio::test]
async fn sec_12_a_handshake_with_a_body_is_no_handshake() {
    let app = Upstream::websocket().await;
    let gate = open_gate(&app).await;
    let fixed = format!("Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
        SMUGGLED.len()
    );
    for (method, framing) in [
        ("GET", &fixed),
        ("GET", &chunked),
        ("POST", &fixed),
        ("POST", &chunked),
    ] {
        let before = app.requests();
        let mut raw = gate.raw().await;
        raw.send(format!("{}{framing}", UPGRADE.replacen("GET", method, 1)))
            .await;
        let status = raw.head().await.status;
        assert!([200, 400].contains(&status), "{method}: {status}");
        for one in app.received().split_off(before) {
            assert_eq!(
                (one.target(), one.value("upgrade")),
                ("/socket", None),
                "{}",
                one.head
            );
            assert_eq!(
                (one.body.as_slice(), one.complete),
                (SMUGGLED.as_bytes(), true),
                "{}",
                one.head
            );
        }
    }
}

#[tokio::test]
async fn sec_12_bytes_before_the_101_wait_for_it() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.reply("503 Service Unavailable", &[], "").await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(format!("{UPGRADE}\r\n")).await;
    raw.send(SMUGGLED).await;
    assert_eq!(raw.head().await.status, 503);
    let bytes = String::from_utf8_lossy(&app.bytes()).into_owned();
    assert!(!bytes.contains("smuggled"), "the upstream got:\n{bytes}");
}

#[tokio::test]
async fn sec_16_expect_100_continue_is_answered() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(
        "POST /x HTTP/1.1\r\nHost: gate.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(100);
    raw.send("hello").await;
    raw.response().await.assert_status(200);
    assert_eq!(app.last().body, b"hello");
}

#[tokio::test]
async fn sec_16_an_unknown_expectation_is_417() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for expectation in ["200-ok", "100-continue, 200-ok", "", "100"] {
        let attack = format!(
            "POST / HTTP/1.1\r\nHost: gate.test\r\nExpect: {expectation}\r\nContent-Length: 5\r\n\r\nhello"
        );
        assert_eq!(
            assert_refused(&gate, &app, attack.as_bytes()).await,
            417,
            "{expectation:?}"
        );
    }
}

#[tokio::test]
async fn sec_16_no_100_for_a_body_that_is_not_wanted() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).start().await;
    let answer = gate
        .exchange("POST /x HTTP/1.1\r\nHost: gate.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(statuses(&answer), [401], "{answer}");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_99_an_answer_before_the_end_of_an_upload_arrives() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).start().await;
    let upload = |fields: &str| format!("POST /save HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n");
    let long = format!("X: {}\r\nContent-Length: 1\r\n", "x".repeat(100_000));
    for (head, status, mib) in [
        (upload("Content-Length: 30000000\r\n"), 401, 16),
        (
            upload("Transfer-Encoding: chunked\r\n") + "ffffff\r\n",
            401,
            15,
        ),
        (upload(&long), 431, 0),
    ] {
        let mut client = gate.raw().await;
        client.send(&head).await;
        // More than sockets hold: it is read, or the client meets a reset.
        for _ in 0..mib {
            assert!(client.try_send(vec![b'x'; 1024 * 1024]).await, "{status}");
        }
        for _ in 0..8 {
            assert!(client.try_send(vec![b'x'; 64 * 1024]).await, "{status}");
        }
        client.response().await.assert_status(status);
        assert_eq!(client.rest().await, "");
    }
    assert_eq!(app.requests(), 0);
}
