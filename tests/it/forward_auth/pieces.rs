//! Auth requests as they come over a connection: in pieces, several at once, and with whatever a
//! request may have.

use std::time::Duration;

use super::*;

/// The status of the next answer, for which the connection stays open.
async fn answered(raw: &mut Raw, status: u16) {
    let reply = raw.response().await;
    reply.assert_status(status);
    assert_eq!(reply.value("connection"), None, "it stays open: {reply}");
    assert!(reply.value("date").is_some(), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_request_may_come_in_pieces_and_after_a_while() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    for proxy in PROXIES {
        let asked = auth_request(proxy, "GET", "/", &ada);
        let mut raw = connect(gate.auth_address()).await;
        let (first, second) = asked.split_at(asked.len() / 2);
        raw.send(first).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        raw.send(second).await;
        answered(&mut raw, 200).await;
        raw.send(&asked).await;
        answered(&mut raw, 200).await;
    }
    // After so long a pause, a connection has given its memory back, but not the half of a head.
    let asked = auth_request("nginx", "GET", "/", &ada);
    let (first, second) = asked.split_at(asked.len() / 2);
    let mut raw = connect(gate.auth_address()).await;
    for _ in 0..2 {
        raw.send(first).await;
        tokio::time::sleep(Duration::from_millis(1300)).await;
        raw.send(second).await;
        answered(&mut raw, 200).await;
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_requests_may_come_before_their_turn_and_each_has_its_own_answer() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let (ada, bob) = (cookies(&gate, "ada").await, cookies(&gate, "bob").await);
    let of = |who: &str| auth_request("nginx", "GET", "/admin", who);
    let mut raw = connect(gate.auth_address()).await;
    raw.send([of(&ada), of(""), of(&bob), of(&ada)].concat())
        .await;
    for status in [200, 401, 403, 200] {
        answered(&mut raw, status).await;
    }
    raw.send(of(&ada)).await;
    answered(&mut raw, 200).await;
}

/// Most auth requests are plain, and read by less than what reads all others: the order stays.
#[tokio::test(flavor = "multi_thread")]
async fn sec_05_a_request_that_is_not_plain_is_answered_between_those_that_are() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let (ada, bob) = (cookies(&gate, "ada").await, cookies(&gate, "bob").await);
    let of = |who: &str| auth_request("nginx", "GET", "/admin", who);
    let mut raw = connect(gate.auth_address()).await;
    let keeps = format!("{bob}Connection: keep-alive\r\n");
    let chunked = of(&format!("{ada}Transfer-Encoding: chunked\r\n"));
    raw.send(
        [
            of(&ada),
            of(&keeps),
            of(""),
            of(&bob),
            chunked,
            "0\r\n\r\n".into(),
        ]
        .concat(),
    )
    .await;
    for status in [200, 403, 401, 403] {
        answered(&mut raw, status).await;
    }
    raw.response().await.assert_status(200); // it ends with its body
    assert_eq!(raw.rest().await, "");
    for bad in [
        of(&ada).replace("\r\nX-Real", "\nX-Real"),
        of("Content-Length: 0\r\nContent-Length: 0\r\n"),
        of(&format!("A: {}\r\n", "x".repeat(40_000))),
    ] {
        let mut raw = connect(gate.auth_address()).await;
        raw.send([of(&ada), of(&bob), bad.clone(), of(&ada)].concat())
            .await;
        for status in [200, 403] {
            answered(&mut raw, status).await;
        }
        let refused = raw.rest().await;
        assert!(refused.starts_with("HTTP/1.1 4"), "{bad}: {refused}");
        assert!(!refused.contains(" 200 OK"), "{bad}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_25_an_auth_request_that_does_not_end_is_not_waited_for() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .config("[server.timeouts]\nheaders = \"1s\"")
        .start()
        .await;
    let ada = cookies(&gate, "ada").await;
    let asked = auth_request("nginx", "GET", "/", &ada);
    let mut raw = connect(gate.auth_address()).await;
    for _ in 0..2 {
        raw.send(&asked).await;
        answered(&mut raw, 200).await;
    }
    raw.send(&asked[..asked.len() - 2]).await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_02_an_auth_request_that_has_begun_is_answered_before_a_stop() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let asked = auth_request("nginx", "GET", "/", &ada);
    let mut raw = connect(gate.auth_address()).await;
    let (first, second) = asked.split_at(asked.len() / 2);
    raw.send([&asked, first].concat()).await; // so that it is read with the one before
    answered(&mut raw, 200).await;
    let address = gate.auth_address();
    let stop = tokio::spawn(gate.stop());
    let refused = async || TcpStream::connect(address).await.err();
    eventually_some("the end of the listener", refused).await;
    raw.send(second).await;
    let reply = raw.response().await;
    reply.assert_status(200);
    reply.assert_header("connection", "close");
    assert_eq!(raw.rest().await, "");
    stop.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_05_an_auth_request_is_read_as_any_other_request() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let plain = auth_request("nginx", "GET", "/", &ada);
    let with = |fields: &str| auth_request("nginx", "GET", "/", &format!("{ada}{fields}"));
    for (asked, status) in [
        (with("Connection: close\r\n"), 200),
        (with("Connection: keep-alive\r\n"), 200),
        (plain.replace("GET /nginx", "HEAD /nginx"), 200),
        (with("Content-Length: 0\r\n"), 200),
        (with("Content-Length: 3\r\n") + "abc", 200),
        (with("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 200),
        (with("Content-Length: 0\r\nContent-Length: 0\r\n"), 400),
        (
            with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (with("A: b\n"), 400),
        (with("A: \0\r\n"), 400),
        (with("A : b\r\n"), 400),
        (with("A: b\r\n c\r\n"), 400),
        (with("Expect: something\r\n"), 403),
        (with("Expect: 100-continue\r\n"), 200),
        (plain.replace("GET /nginx", "GET /nginx#x"), 400),
        (with(&format!("A: {}\r\n", "x".repeat(9000))), 200),
        (with(&format!("A: {}\r\n", "x".repeat(40_000))), 431),
        (with(&"A: b\r\n".repeat(120)), 431),
    ] {
        let shown = &asked[asked.len().saturating_sub(60)..];
        let mut raw = connect(gate.auth_address()).await;
        raw.send(&plain).await;
        answered(&mut raw, 200).await;
        raw.send(&asked).await;
        let reply = if asked.starts_with("HEAD") {
            raw.response_to_head().await
        } else {
            raw.response().await
        };
        assert_eq!(reply.status, status, "{shown:?}: {reply}");
        if reply.value("connection") == Some("close") {
            assert_eq!(raw.rest().await, "", "{shown:?}");
        } else {
            assert!(status < 400 || status == 403, "{shown:?}");
            raw.send(&plain).await;
            answered(&mut raw, 200).await;
        }
    }
    let mut raw = connect(gate.auth_address()).await;
    raw.send(plain.replace("HTTP/1.1", "HTTP/1.0")).await;
    let all = raw.rest().await;
    assert!(all.contains(" 200 OK\r\n"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_11_a_proxy_that_goes_away_ends_its_own_connection_only() {
    let app = Upstream::echo().await;
    let gate = before(&app).app("basic = true").start().await;
    let wrong = |n: usize| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("ada:wrong {n}"));
        auth_request(
            "nginx",
            "GET",
            "/",
            &format!("Authorization: Basic {pair}\r\n"),
        )
    };
    let mut kept = connect(gate.auth_address()).await;
    for n in 0..3 {
        let mut gone = connect(gate.auth_address()).await;
        gone.send(wrong(n)).await; // takes the time of a hash
        drop(gone);
        kept.send(auth_request("nginx", "GET", "/public", "")).await;
        answered(&mut kept, 200).await;
    }
}
