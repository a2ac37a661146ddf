//! What apps may do that `tolerate` forgives them, and nothing besides: SEC-15.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

const LINES: &str = "tolerate = [\"invalid-header-lines\"]";
const CLOSE: &str = "tolerate = [\"missing-close-notify\"]\nupstream_ca = \"cert.pem\"";

const JSON_LOG: &str = "[log]\nformat = \"json\"";

/// An answer with these lines in its head.
fn answer(lines: &[u8]) -> Vec<u8> {
    let (begin, end) = (
        b"HTTP/1.1 200 OK\r\nX-Before: 1\r\n",
        b"\r\nX-After: 2\r\nContent-Length: 6\r\n\r\nanswer",
    );
    [&begin[..], lines, &end[..]].concat()
}

async fn get(gate: &Gate) -> Reply {
    gate.browser().get("/").await
}

#[tokio::test]
async fn sec_15_lines_that_are_no_header_fields_are_dropped_where_the_app_may_send_them() {
    for line in [
        &b"a line without a colon"[..],
        b"X-Secret : value",
        b"X-S\xe4cret: value",
        b"X-S\xc3\xa4cret: value",
        b": value",
        b"X Secret: value",
        b"X(Secret): value",
        b"PHP Notice:  undefined in /srv/secret.php",
        b"no colon\r\nno colon either\r\nX-Secret : value",
    ] {
        let shown = line.escape_ascii();
        let app = Upstream::raw(answer(line)).await;
        let strict = Vestibule::before(&app).public().start().await;
        strict.browser().get("/").await.assert_status(502);
        let gate = Vestibule::before(&app).app(LINES).public().start().await;
        let before = app.connections();
        for browser in [gate.browser(), gate.browser().over_http2()] {
            let reply = browser.get("/").await;
            assert_eq!((reply.status, &*reply.text()), (200, "answer"), "{shown}");
            assert_eq!(reply.value("x-before"), Some("1"), "{shown}");
            assert_eq!(reply.value("x-after"), Some("2"), "{shown}");
            let reply = reply.to_string().to_lowercase();
            assert!(
                !reply.contains("secret") && !reply.contains("colon"),
                "{reply}"
            );
        }
        let order = Bytes::from("one");
        let reply = gate.browser().request(Method::POST, "/", &[], order).await;
        reply.assert_status(200);
        assert_eq!(
            app.connections(),
            before + 3,
            "{shown}: such a connection is used again"
        );
        eventually("them to close", || app.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn sec_15_a_line_that_may_mean_something_is_never_dropped() {
    for line in [
        &b"Content-Length : 60"[..],
        b"Content_Length : 60",
        b"Content Length: 60",
        b"Content\xadLength: 60",
        b"Content-Length 60",
        b"\xef\xbb\xbfContent-Length: 60",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\x0b: chunked",
        b"Transfer_Encoding\t: chunked",
        b"x\x0cTransfer-Encoding: chunked",
        b"Connection : close",
        b"Keep-Alive : timeout=5",
        b"Upgrade : websocket",
        b"TE : trailers",
        b"Trailer : x",
        b"Proxy-Authenticate : Basic",
        b"Set-Cookie : a=b",
        b"SET_COOKIE : a=b",
        b"Set-Cookie a=b",
        b":Set-Cookie: a=b",
        b" Content-Length: 60",
        b"\tfolded",
        b" ",
        b"X-Null: a\0b",
        b"no\0colon",
        b"X-Return: a\rb",
        b"no\rcolon",
        b"no colon\r",
        b"HTTP/1.1 200 OK",
        b"no colon\r\n folded",
    ] {
        let app = Upstream::raw(answer(line)).await;
        let gate = Vestibule::before(&app).app(LINES).public().start().await;
        let reply = get(&gate).await;
        assert_eq!(reply.status, 502, "{}: {reply}", line.escape_ascii());
        assert_eq!(app.requests(), 1, "an answer, however bad, is one");
        eventually("it to close", || app.open_connections() == 0).await;
    }
    // What is refused without the key stays so.
    for head in [
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nX: \x01\r\nContent-Length: 1\r\n\r\na",
        "no colon\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 101 Switching\r\nno colon\r\n\r\n",
    ] {
        let app = Upstream::raw(head).await;
        let gate = Vestibule::before(&app).app(LINES).public().start().await;
        let reply = get(&gate).await;
        assert_eq!(reply.status, 502, "{head:?}: {reply}");
    }
}

#[tokio::test]
async fn sec_15_dropped_lines_count_towards_the_size_of_a_head() {
    let lines = vec!["no colon"; 128 * 1024 / 10].join("\r\n");
    let app = Upstream::raw(answer(lines.as_bytes())).await;
    let gate = Vestibule::before(&app).app(LINES).public().start().await;
    get(&gate).await.assert_status(502);
    let lines = vec!["no colon"; 1000].join("\r\n"); // more than there may be fields
    let app = Upstream::raw(answer(lines.as_bytes())).await;
    let gate = Vestibule::before(&app).app(LINES).public().start().await;
    assert_eq!(get(&gate).await.text(), "answer");
}

#[tokio::test]
async fn sec_15_only_heads_are_filtered_however_they_come() {
    const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nno colon\r\nLink: </x>\r\n\r\n";
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let target = exchange.target().to_owned();
            let head = |status: &str, fields: &str| {
                format!("HTTP/1.1 {status}\r\n{fields}no colon\r\n\r\n")
            };
            let bytes = match &*target {
                "/interim" => {
                    INTERIM.repeat(2) + &head("200 OK", "Content-Length: 10\r\n") + "no colon\r\n"
                }
                "/head" | "/not-modified" => {
                    let status = if target == "/head" {
                        "200 OK"
                    } else {
                        "304 Not"
                    };
                    head(status, "Content-Length: 10\r\n")
                }
                "/empty" => head("204 No", ""),
                "/chunked" => {
                    head("200 OK", "Transfer-Encoding: chunked\r\n")
                        + "a\r\nno colon\r\n\r\n0\r\n\r\n"
                }
                "/closed" => head("200 OK", "") + "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                "/clean" => "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nX : y\r\n\r\nabc".into(),
                "/surplus" => head("200 OK", "Content-Length: 2\r\n") + "okHTTP/1.1 200 OK\r\n",
                _ => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nx\r\n".into()
                }
            };
            // One byte a write, so that reads end anywhere.
            for byte in bytes.as_bytes() {
                exchange.send([*byte]).await;
                tokio::task::yield_now().await;
            }
            if target == "/closed" {
                exchange.close();
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app).app(LINES).public().start().await;
    for (target, body) in [
        ("/clean", "X : y\r\n\r\nabc"),
        ("/interim", "no colon\r\n"),
        ("/clean", "X : y\r\n\r\nabc"),
        ("/clean", "X : y\r\n\r\nabc"),
        ("/chunked", "no colon\r\n"),
        ("/closed", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        ("/empty", ""),
        ("/not-modified", ""),
        ("/surplus", "ok"),
        ("/surplus-after-a-clean-head", "ok"),
        ("/clean", "X : y\r\n\r\nabc"),
    ] {
        let mut client = gate.raw().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: gate.test\r\n\r\n"))
            .await;
        let reply = client.response().await;
        assert_eq!(reply.text(), body, "{target}: {reply}");
    }
    let reply = gate
        .browser()
        .request(Method::HEAD, "/head", &[], Bytes::new())
        .await;
    reply
        .assert_status(200)
        .assert_header("content-length", "10");
    // A clean answer leaves its connection for the next one, whose head is read as well.
    let served: Vec<_> = app.received().iter().map(|one| one.connection).collect();
    assert_eq!(served[0], served[1]);
    assert_ne!(served[1], served[2]);
    assert_eq!(served[2], served[3]);
}

#[tokio::test]
async fn a_websocket_opens_in_spite_of_such_a_line() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange
                .send("HTTP/1.1 103 Early\r\nno colon\r\n\r\n")
                .await;
            exchange.echo_websocket().await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).app(LINES).public().start().await;
    let mut socket = open_websocket(gate.tcp().await, "/", &[]).await.unwrap();
    let message = "HTTP/1.1 200 OK\r\nno colon\r\n";
    assert_eq!(socket.ask(message).await, message);
}

/// Answers over TLS, and closes without `close_notify`.
async fn rude_app() -> Upstream {
    let certificate = tls::certificate();
    Upstream::tls_scripted(&certificate.cert_pem, &certificate.key_pem, |exchange| {
        Box::pin(async {
            exchange.body().await;
            let answer = match exchange.target() {
                "/close-delimited" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nanswer",
                "/http10" => "HTTP/1.0 200 OK\r\n\r\nanswer",
                "/after-interim" => {
                    "HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\nanswer"
                }
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer",
                "/chunked" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\n\r\n"
                }
                "/cut-length" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nanswer",
                "/cut-length-10" => "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nanswer",
                "/cut-chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nanswer",
                "/cut-chunks" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nanswer\r\n"
                }
                "/cut-last-chunk" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\n"
                }
                "/cut-head" => "HTTP/1.1 200 OK\r\nX-Answer: answer\r\n",
                _ => "",
            };
            exchange.send(answer).await;
            exchange.close();
        })
    })
    .await
}

/// Whether the whole answer came, with its end, over HTTP/1.1 and over HTTP/2.
async fn is_whole(gate: &Gate, target: &str) -> bool {
    let head = "Host: gate.test\r\nConnection: close\r\n\r\n";
    let reply = gate
        .exchange(format!("GET {target} HTTP/1.1\r\n{head}"))
        .await;
    let begins = reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("answer");
    let ends =
        reply.ends_with("0\r\n\r\n") || reply.to_lowercase().contains("content-length: 6\r\n");
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get(target), true).await;
    let outcome = http2.outcome(1).await;
    let is_whole = outcome.status == Some(200) && outcome.body == b"answer" && outcome.ended;
    assert_eq!(
        begins && ends,
        is_whole,
        "{target}: {outcome:?} and {reply}"
    );
    is_whole
}

#[tokio::test]
async fn sec_15_tls_may_end_without_close_notify_where_that_is_the_end_of_the_answer() {
    let app = rude_app().await;
    let strict = CLOSE.replace("\"missing-close-notify\"", "");
    let strict = Vestibule::before(&app).app(&strict).public().start().await;
    let gate = Vestibule::before(&app).app(CLOSE).public().start().await;
    for (target, without, with) in [
        ("/close-delimited", false, true),
        ("/http10", false, true),
        ("/after-interim", false, true),
        ("/length", true, true),
        ("/chunked", true, true),
        ("/cut-length", false, false),
        ("/cut-length-10", false, false),
        ("/cut-chunk", false, false),
        ("/cut-chunks", false, false),
        ("/cut-last-chunk", false, false),
        ("/cut-head", false, false),
        ("/nothing", false, false),
    ] {
        assert_eq!(is_whole(&strict, target).await, without, "{target}");
        assert_eq!(is_whole(&gate, target).await, with, "{target}");
    }
    // The one key does not do what the other does.
    let lines = CLOSE.replace("missing-close-notify", "invalid-header-lines");
    let other = Vestibule::before(&app).app(&lines).public().start().await;
    assert!(!is_whole(&other, "/http10").await);
    let app = Upstream::raw(answer(b"no colon")).await;
    let keys = "tolerate = [\"missing-close-notify\"]";
    let other = Vestibule::before(&app).app(keys).public().start().await;
    get(&other).await.assert_status(502);
}

#[tokio::test]
async fn the_log_names_the_cause_and_the_key() {
    let app = Upstream::raw(answer(b"no colon")).await;
    let rude = rude_app().await;
    for (app, keys, target, said) in [
        (
            &app,
            "",
            "/",
            vec!["no header field", "invalid-header-lines"],
        ),
        (
            &app,
            LINES,
            "/",
            vec!["lines that are no header fields were dropped"],
        ),
        (
            &rude,
            "upstream_ca = \"cert.pem\"",
            "/http10",
            vec!["without close_notify", "missing-close-notify"],
        ),
    ] {
        let service = Vestibule::before(app).app(keys).public();
        let service = service.config(JSON_LOG).spawn().await;
        for _ in 0..3 {
            let mut client = service.raw().await;
            client
                .send(format!(
                    "GET {target} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n"
                ))
                .await;
            client.rest().await;
        }
        let line = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && said.iter().all(|part| message.contains(part))
        };
        eventually("the line", || service.program.log().iter().any(line)).await;
        let finished = || {
            let log = service.program.log();
            log.iter().filter(|line| line["path"] == target).count() == 3
        };
        eventually("three requests", finished).await;
        let log = service.program.log();
        assert_eq!(log.iter().filter(|it| line(it)).count(), 1, "{log:#?}");
        if keys.is_empty() {
            let failed = log.iter().find(|it| it["message"] == "a request failed");
            let error = failed.unwrap()["error"].as_str().unwrap();
            assert!(error.contains("invalid-header-lines"), "{error}");
        }
    }
    // Where the key is set, the line of a refused answer says what was wrong with it.
    let app = Upstream::raw(answer(b"Set-Cookie : a=b")).await;
    let service = Vestibule::before(&app).app(LINES).public();
    let service = service.config(JSON_LOG).spawn().await;
    service.browser().get("/").await.assert_status(502);
    let failed = eventually_some("the line", async || {
        let log = service.program.log();
        log.into_iter()
            .find(|it| it["message"] == "a request failed")
    })
    .await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("must not be dropped"), "{error}");
}

#[tokio::test]
async fn sec_15_half_a_head_is_no_reason_to_ask_again() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            if exchange.nth_request() == 0 {
                return exchange.reply("200 OK", &[], "answer").await;
            }
            exchange.send("HTTP/1.1 20").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            exchange.close();
        })
    })
    .await;
    let gate = Vestibule::before(&app).app(LINES).public().start().await;
    let browser = gate.browser();
    browser.get("/").await.assert_status(200);
    browser.get("/").await.assert_status(502);
    assert_eq!(
        app.requests(),
        2,
        "it was heard, and so acted upon (REL-03)"
    );
}
