//! Answers of the upstream: SEC-05, SEC-15, SEC-16.

use super::*;

#[tokio::test]
async fn sec_15_an_answer_that_could_be_read_in_two_ways_is_502() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>HTTP/0.9</html>",
        "\0\0\0\0",
    ] {
        let app = Upstream::raw_then_close(answer).await;
        let gate = open_gate(&app).await;
        let mut raw = gate.raw().await;
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        let reply = raw.response().await;
        assert_eq!(reply.status, 502, "for {answer:?}: {reply}");
        assert!(!reply.text().contains(&app.authority()), "SEC-70: {reply}");
        let http2 = gate.http2().await;
        http2.get("/", &[]).await.assert_status(502);
    }
}

#[tokio::test]
async fn sec_15_line_ends_of_the_upstream_do_not_reach_the_client() {
    let app = Upstream::raw("HTTP/1.1 200 OK\nContent-Length: 2\nX-Last: 1\n\nok").await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
        .await;
    let answer = raw.rest().await;
    let head = answer.split("\r\n\r\n").next().unwrap();
    assert!(!head.replace("\r\n", "").contains('\n'), "{answer:?}");
    assert!(
        answer.starts_with("HTTP/1.1 502") || answer.ends_with("\r\n\r\nok"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn sec_15_a_head_without_measure_is_502() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..200_000 {
        answer.extend(format!("X-{n}: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").bytes());
    }
    answer.extend(b"Content-Length: 0\r\n\r\n");
    let app = Upstream::raw_then_close(answer).await;
    let gate = open_gate(&app).await;
    gate.browser().get("/").await.assert_status(502);
}

#[tokio::test]
async fn sec_15_a_truncated_answer_never_looks_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let app = Upstream::raw_then_close(answer).await;
        let gate = open_gate(&app).await;
        let mut raw = gate.raw().await;
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        let given = raw.rest().await;
        // Without its last chunk, or short of its length, it is known to be cut (RFC 9112 §8).
        assert!(!given.ends_with("0\r\n\r\n"), "for {answer:?}:\n{given}");
        if given.contains("Content-Length: 10") {
            assert!(given.ends_with("\r\n\r\nhalf"), "{given}");
        }

        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &RawHttp2::get("/"), true).await;
        let stream = http2.outcome(1).await;
        assert!(
            stream.reset.is_some() && !stream.ended,
            "for {answer:?}: {stream:?}"
        );
    }
}

#[tokio::test]
async fn sec_15_surplus_bytes_poison_nobody() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        let app = Upstream::raw(format!("{first}{poison}")).await;
        let gate = open_gate(&app).await;
        for n in 0..4 {
            let reply = gate.browser().get(&format!("/{n}")).await;
            assert!(!reply.text().contains("poison"), "after {first:?}: {reply}");
        }
        let connections: Vec<_> = app.received().iter().map(|one| one.connection).collect();
        assert_eq!(
            connections,
            [0, 1, 2, 3],
            "a connection with bytes left was used again"
        );
    }
}

#[tokio::test]
async fn sec_15_an_answer_before_its_request_is_nobodys() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let connection = exchange.connection();
            exchange
                .reply("200 OK", &[], format!("from {connection}"))
                .await;
            // Unasked, while the connection waits in the pool.
            exchange.reply("200 OK", &[], "poison").await;
        })
    })
    .await;
    let gate = open_gate(&app).await;
    for _ in 0..5 {
        let reply = gate.browser().get("/").await;
        assert!(!reply.text().contains("poison"), "{reply}");
    }
}

#[tokio::test]
async fn sec_15_answers_to_head_have_no_body() {
    let app = Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    for n in 0..3 {
        raw.send(format!("HEAD /{n} HTTP/1.1\r\nHost: gate.test\r\n\r\n"))
            .await;
        let reply = raw.response_to_head().await;
        reply
            .assert_status(200)
            .assert_header("content-length", "6");
    }
}

#[tokio::test]
async fn sec_16_interim_answers_are_not_the_answer() {
    let app = Upstream::raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    )
    .await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    let mut reply = raw.response().await;
    while reply.status < 200 {
        reply = raw.response().await;
    }
    reply.assert_status(200).assert_contains("final");
    gate.browser().get("/").await.assert_contains("final");
}

#[tokio::test]
async fn sec_16_a_101_that_nobody_asked_for_is_502() {
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let app = Upstream::raw(switching).await;
    let gate = open_gate(&app).await;
    gate.browser().get("/").await.assert_status(502);
    gate.http2().await.get("/", &[]).await.assert_status(502);
    let other = Upstream::raw(switching.replace("websocket", "h2c")).await;
    let gate = open_gate(&other).await;
    let origin = [("origin", "https://gate.test")];
    let refused = open_websocket(gate.tcp().await, "/", &origin).await;
    assert_eq!(refused.err(), Some(502));
}
