//! Faults that were found once, each on the bytes that showed it.

use std::time::Duration;

use tokio::time::timeout;

use crate::harness::*;

const CHUNKED: &str = "POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn sec_04_nothing_is_read_after_a_chunk_that_was_refused() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let next = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    for parts in [
        ["5;a\n".to_owned(), format!("hello\r\n0\r\n\r\n{next}")],
        ["5;a\r".to_owned(), format!("hello\r\n0\r\n\r\n{next}")],
        [
            format!("5 ;{}", "a".repeat(30)),
            format!("{}\r\nhello\r\n0\r\n\r\n{next}", "b".repeat(60)),
        ],
        [
            format!("{:0>20};", 5),
            format!("{}\r\nhello\r\n0\r\n\r\n{next}", "b".repeat(60)),
        ],
    ] {
        let mut raw = gate.raw().await;
        raw.send(CHUNKED).await;
        for part in &parts {
            raw.try_send(part).await;
        }
        let answers = timeout(PATIENCE, raw.rest())
            .await
            .expect("the connection is closed");
        assert!(
            !answers.contains("HTTP/1.1 200"),
            "{parts:?} gave {answers}"
        );
        let seen = app.received();
        assert!(
            seen.iter().all(|request| request.target() != "/smuggled"),
            "{parts:?}"
        );
        assert!(seen.iter().all(|request| !request.complete), "{parts:?}");
    }
    gate.browser().get("/next").await.assert_status(200);
}

#[tokio::test]
async fn rel_03_a_retry_does_not_wait_for_the_slot_that_it_has() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            if exchange.nth_request() == 0 {
                exchange.reply("200 OK", &[], "ok").await;
            } else {
                exchange.close();
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .public()
        .app("upstream_max_connections = 1");
    let gate = gate.start().await;
    for _ in 0..4 {
        let browser = gate.browser();
        let reply = timeout(Duration::from_secs(3), browser.get("/")).await;
        reply.expect("no wait for a slot").assert_status(200);
    }
}

#[tokio::test]
async fn sec_75_an_upload_ends_with_its_session() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", "correct horse")
        .start()
        .await;
    let browser = gate.browser().login("ada", "correct horse").await;
    let mut raw = gate.raw().await;
    let cookies = browser.cookies();
    raw.send(format!(
        "POST /up HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookies}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    ))
    .await;
    app.wait_for(1).await;
    browser.logout().await;
    let answer = timeout(Duration::from_secs(5), raw.rest())
        .await
        .expect("ends within 5 s");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(!app.last().complete);
}

#[tokio::test]
async fn sec_05_a_body_reaches_the_upstream_whatever_the_method() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "POST", "PUT"] {
        for framing in [
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "Content-Length: 5\r\n\r\nhello",
        ] {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "{method} /x HTTP/1.1\r\nHost: gate.test\r\n{framing}"
            ))
            .await;
            raw.response().await.assert_status(200);
            assert_eq!(app.last().body, b"hello", "{method} {framing:?}");
        }
    }
}

#[tokio::test]
async fn sec_76_only_a_whole_handshake_opens_a_websocket() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: https://gate.test\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for request in [
        format!(
            "POST /x HTTP/1.1\r\nHost: gate.test\r\n{upgrade}{key}Content-Length: 5\r\n\r\nhello"
        ),
        format!("GET /x HTTP/1.1\r\nHost: gate.test\r\n{upgrade}\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: gate.test\r\n{upgrade}{key}{key}\r\n"),
    ] {
        let mut raw = gate.raw().await;
        raw.send(&request).await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().value("upgrade"), None, "{request}");
        assert_eq!(app.last().value("connection"), None, "{request}");
    }
    let old = format!("GET /x HTTP/1.0\r\nHost: gate.test\r\n{upgrade}{key}\r\n");
    let answer = gate.exchange(old).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

#[tokio::test]
async fn sec_67_a_public_answer_that_names_somebody_is_private() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", "correct horse")
        .rule("/public", "everyone");
    let gate = gate.start().await;
    let anonymous = gate.browser().get("/public/me").await;
    assert_eq!(anonymous.value("cache-control"), None);
    let browser = gate.browser().login("ada", "correct horse").await;
    let personal = browser.get("/public/me").await;
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    assert_eq!(personal.value("cache-control"), Some("private"));
}

#[tokio::test]
async fn sec_15_a_length_that_is_no_number_is_a_bad_gateway() {
    let app = Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok").await;
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/").await.assert_status(502);
}

#[tokio::test]
async fn sec_25_a_head_that_waited_behind_an_answer_has_its_own_time() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            if exchange.target() == "/slow" {
                tokio::time::sleep(Duration::from_millis(1500)).await; // longer than a head may take
            }
            exchange.reply("200 OK", &[], "ok").await;
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .public()
        .server("timeouts.headers = \"1s\"");
    let gate = gate.start().await;
    let mut raw = gate.raw().await;
    raw.send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\nGET /next HT")
        .await;
    raw.response().await.assert_status(200);
    raw.send("TP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.response().await.assert_status(200);
}
