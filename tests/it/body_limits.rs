//! What is too large for an app is refused before the app has it: `max_body`.

use std::fmt::Write;

use crate::harness::*;

const LIMIT: usize = 1000;
const MAX_BODY: &str = "max_body = \"1000B\"";
const ERROR: &str = "upload_too_large";
const NO_ERROR: u32 = 0;

fn chunked(body: &[u8], pieces: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for piece in body.chunks(body.len().div_ceil(pieces)) {
        sent.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        sent.extend(piece);
        sent.extend(b"\r\n");
    }
    sent.extend(b"0\r\n\r\n");
    sent
}

fn head(method: &str, fields: &[&str]) -> String {
    let mut head = format!("{method} /up HTTP/1.1\r\nHost: gate.test\r\n");
    for field in fields {
        write!(head, "{field}\r\n").unwrap();
    }
    head + "\r\n"
}

async fn public(app: &Upstream) -> Gate {
    Vestibule::before(app).app(MAX_BODY).public().start().await
}

#[tokio::test]
async fn a_length_above_the_limit_is_refused_before_the_app_hears_of_it() {
    let app = Upstream::echo().await;
    let gate = public(&app).await;
    for method in ["POST", "PUT", "GET", "DELETE", "PROPFIND"] {
        for length in [LIMIT + 1, 200_000] {
            let mut raw = gate.raw().await;
            raw.send(head(method, &[&format!("Content-Length: {length}")]))
                .await;
            raw.send(vec![b'x'; length]).await;
            let reply = raw.response().await;
            reply.assert_status(413);
            assert_eq!(reply.json()["error"], ERROR, "{method} {length}");
            assert_eq!(
                reply.json()["message"],
                "What you sent is too large. It may have 1 KB at most. Send less at a time."
            );
            reply.assert_header("connection", "close");
        }
    }
    let mut huge = gate.raw().await;
    huge.send(head("POST", &["Content-Length: 9223372036854775807"]))
        .await;
    huge.response().await.assert_status(413);
    let mut waiting = gate.raw().await;
    let expects = ["Content-Length: 1001", "Expect: 100-continue"];
    waiting.send(head("POST", &expects)).await;
    let first = waiting.response().await;
    first.assert_status(413);
    assert_eq!(app.connections(), 0, "the app heard of nothing");
    for length in [0, 1, LIMIT] {
        let mut raw = gate.raw().await;
        raw.send(head("POST", &[&format!("Content-Length: {length}")]))
            .await;
        raw.send(vec![b'x'; length]).await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().body.len(), length);
    }
}

#[tokio::test]
async fn people_get_a_page_that_names_the_limit() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("max_body = \"10MiB\"")
        .public()
        .start()
        .await;
    let mut raw = gate.raw().await;
    let fields = [
        "Sec-Fetch-Mode: navigate",
        "Accept: text/html",
        "Content-Length: 10485761",
    ];
    raw.send(head("POST", &fields)).await;
    let page = raw.response().await;
    page.assert_status(413)
        .assert_header("content-type", "text/html; charset=utf-8")
        .assert_contains("What you sent is too large")
        .assert_contains("It may have 10.4 MB at most.");
}

#[tokio::test]
async fn sec_05_a_body_without_a_length_breaks_off_at_the_limit() {
    let app = Upstream::echo().await;
    let gate = public(&app).await;
    for (length, pieces) in [(LIMIT + 1, 1), (LIMIT + 1, 1001), (3000, 3), (300_000, 20)] {
        let before = app.requests();
        let mut raw = gate.raw().await;
        raw.send(head("POST", &["Transfer-Encoding: chunked"]))
            .await;
        raw.send(chunked(&vec![b'x'; length], pieces)).await;
        let reply = raw.response().await;
        reply.assert_status(413);
        assert_eq!(reply.json()["error"], ERROR, "{length} in {pieces}");
        for request in &app.received()[before..] {
            assert!(!request.complete && request.body.len() <= LIMIT);
        }
        eventually("the connection to the app is closed", || {
            app.open_connections() == 0
        })
        .await;
    }
    for pieces in [1, 10, LIMIT] {
        let mut raw = gate.raw().await;
        raw.send(head("POST", &["Transfer-Encoding: chunked"]))
            .await;
        raw.send(chunked(&[b'x'; LIMIT], pieces)).await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().body.len(), LIMIT);
        // What comes next on the connection is the next request.
        raw.send(head("GET", &[])).await;
        raw.response().await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_99_over_http2_the_rest_is_read_and_the_connection_serves_on() {
    let app = Upstream::echo().await;
    let gate = public(&app).await;
    for announced in [Some("1001"), None] {
        let before = app.requests();
        let mut http2 = gate.raw_http2().await;
        let mut fields = RawHttp2::fields("POST", "/up");
        fields.extend(announced.map(|length| ("content-length", length)));
        http2.headers(1, &fields, false).await;
        http2.data(1, &[b'x'; 900], false).await;
        http2.data(1, &[b'x'; 101], announced.is_some()).await;
        assert_eq!(http2.status(1).await, Some(413), "{announced:?}");
        if announced.is_none() {
            http2.data(1, &[b'x'; 9000], false).await;
            http2.any_reset().await;
            assert_eq!(http2.outcome(1).await.reset, Some(NO_ERROR));
        } else {
            assert_eq!(app.requests(), before);
        }
        http2.headers(3, &RawHttp2::get("/"), true).await;
        assert_eq!(http2.outcome(3).await.status, Some(200));
        for request in &app.received()[before..] {
            assert!(request.body.len() <= LIMIT, "{}", request.body.len());
        }
    }
}

#[tokio::test]
async fn sec_15_an_answer_that_has_begun_is_cut_and_looks_so() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
            exchange.send(begun).await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let gate = public(&app).await;
    let mut raw = gate.raw().await;
    raw.send(head("POST", &["Transfer-Encoding: chunked"]))
        .await;
    raw.send("3e8\r\n").await;
    raw.send([b'x'; LIMIT]).await;
    raw.send("\r\n").await;
    raw.head().await.assert_status(200);
    assert_eq!(raw.chunk().await.unwrap(), b"begun");
    raw.send("1\r\nx\r\n").await;
    let rest = raw.rest().await;
    assert!(!rest.contains("0\r\n\r\n"), "it looks whole: {rest:?}");

    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/up"), false)
        .await;
    http2.data(1, &[b'x'; LIMIT], false).await;
    assert_eq!(http2.data_of(1, 5).await, b"begun");
    http2.data(1, b"x", false).await;
    let outcome = http2.outcome(1).await;
    assert!(
        outcome.reset.is_some_and(|reset| reset != NO_ERROR),
        "{outcome:?}"
    );
    eventually("the connections to the app are closed", || {
        app.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_read_first_is_refused_before_the_app_hears_of_it() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("buffer_requests = \"1MiB\"")
        .app(MAX_BODY)
        .public()
        .start()
        .await;
    let mut raw = gate.raw().await;
    raw.send(head("POST", &["Transfer-Encoding: chunked"]))
        .await;
    raw.send(chunked(&[b'x'; LIMIT + 1], 7)).await;
    raw.response().await.assert_status(413);
    assert_eq!(app.requests(), 0);
    let mut raw = gate.raw().await;
    raw.send(head("POST", &["Transfer-Encoding: chunked"]))
        .await;
    raw.send(chunked(&[b'x'; LIMIT], 7)).await;
    raw.response().await.assert_status(200);
    assert_eq!(app.last().value("content-length"), Some("1000"));
}

/// A form that its app would refuse is not kept for it.
#[tokio::test]
async fn a_form_that_is_too_large_does_not_wait_for_a_login() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .app(MAX_BODY)
        .user("ada", PASSWORD)
        .start()
        .await;
    let form = |length| [("text", "x".repeat(length))];
    let browser = gate.browser();
    let post = async |length| {
        let form = form(length);
        browser.post_form("/save", &[("text", &form[0].1)]).await
    };
    post(LIMIT).await.assert_status(413);
    let mut raw = gate.raw().await;
    let fields = [
        "Origin: https://gate.test",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        "Content-Type: application/x-www-form-urlencoded",
        "Transfer-Encoding: chunked",
    ];
    raw.send(head("POST", &fields)).await;
    raw.send(chunked(&[b'x'; LIMIT + 1], 3)).await;
    raw.response().await.assert_status(413);
    let kept = post(900).await;
    kept.assert_status(401).assert_contains("is kept for");
    browser.clone().login("ada", PASSWORD).await;
    let page = browser.get("/.vestibule/form").await;
    let actions = page.actions();
    assert_eq!(actions.len(), 2, "one form waits: {page}");
    gate.reload(|text| text.replace("1000B", "800B")).unwrap();
    let csrf = page.hidden("csrf");
    let origin = browser.origin();
    let headers = [
        ("content-type", "text/plain"),
        ("origin", &*origin),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "same-origin"),
    ];
    let button = format!("csrf={csrf}\r\n");
    let replayed = browser.request(http::Method::POST, &actions[0], &headers, button.into());
    replayed.await.assert_status(413);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn our_own_forms_and_other_apps_have_limits_of_their_own() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .app("host = \"gate.test\"\nmax_body = \"1B\"")
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"other\"\nhost = \"gate.test\"\npath = \"/other\"\nupstream = \"{}\"\n",
            app.url()
        ))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.post_form("/x", &[("a", "b")]).await.assert_status(413);
    ada.post_form("/other/x", &[("a", "b")])
        .await
        .assert_status(200);
    gate.reload(|text| text.replace("max_body = \"1B\"", "max_body = \"0B\""))
        .unwrap();
    ada.post_form("/x", &[("a", "b")]).await.assert_status(200);
}

#[tokio::test]
async fn the_log_names_the_key() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .app(MAX_BODY)
        .public()
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    for (framing, body) in [
        ("Content-Length: 1001", vec![b'x'; 1001]),
        ("Transfer-Encoding: chunked", chunked(&[b'x'; 2000], 5)),
    ] {
        let mut raw = service.raw().await;
        raw.send(head("POST", &[framing])).await;
        raw.send(body).await;
        raw.response().await.assert_status(413);
    }
    let lines = eventually_some("the access lines", async || {
        let lines = service.program.log();
        let errors: Vec<_> = lines
            .iter()
            .filter(|line| line["target"] == "access")
            .map(|line| line["error"].as_str().unwrap_or_default().to_owned())
            .collect();
        (errors.len() == 2).then_some(errors)
    });
    let expected = "the body is larger than `max_body`";
    assert_eq!(lines.await, [expected, expected]);
}
