//! The letters of header names over HTTP/1.1: Title-Case, or those that the other side has used.

mod bodies;

use crate::harness::*;

/// The names of a head's fields, as they came.
fn names(head: &str) -> Vec<&str> {
    let head = head.split("\r\n\r\n").next().unwrap();
    let fields = head.split("\r\n").skip(1);
    fields.map(|line| line.split(':').next().unwrap()).collect()
}

#[track_caller]
fn assert_title_case(head: &str) {
    let title = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    };
    let names = names(head);
    assert!(names.len() > 1, "{head}");
    for name in names {
        let words: Vec<_> = name.split('-').map(title).collect();
        assert_eq!(name, words.join("-"), "in {head}");
    }
}

/// Every byte that comes back.
async fn answer(gate: &Gate, head: &str) -> String {
    let mut raw = gate.raw().await;
    raw.send(head).await;
    raw.rest().await
}

const ODD: &str =
    "SOAPAction: \"x\"\r\nx-custom-header: 1\r\nX-CUSTOM-HEADER: 2\r\ncontent-type: text/xml\r\n";

/// A POST with odd names, after which the connection ends.
fn odd_post(target: &str, more: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n{ODD}{more}\r\nhello"
    )
}

#[tokio::test]
async fn names_are_in_title_case_on_both_sides_of_http_1() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\nX-CUSTOM: 1\r\nx-custom: 2\r\nset-cookie: a=1\r\n\
         TRANSFER-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = format!("cookie: b=2; {}\r\n", ada.session_cookie());
    for framing in [
        "content-length: 5\r\n",
        "EXPECT: 100-continue\r\nContent-Length: 5\r\n",
    ] {
        let text = answer(&gate, &odd_post("/", &(cookie.clone() + framing))).await;
        let text = text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert_title_case(text);
        let answered = names(text);
        for name in ["X-Custom", "Set-Cookie", "Transfer-Encoding", "Date"] {
            assert!(answered.contains(&name), "{name} in {text}");
        }
        let head = app.last().head;
        assert_title_case(&head);
        for name in ["Soapaction", "Content-Length", "Cookie", "X-Forwarded-User"] {
            assert!(names(&head).contains(&name), "{name} in {head}");
        }
    }
    let ada = ada.over_http2();
    ada.get("/").await.assert_status(200);
    assert_title_case(&app.last().head);
    ada.post_form("/", &[("a", "b")]).await.assert_status(200);
    assert_title_case(&app.last().head);
}

#[tokio::test]
async fn what_is_ours_has_the_same_letters() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .server("redirect_http = [\"127.0.0.1:0\"]")
        .admin("metrics = \"127.0.0.1:0\"")
        .start()
        .await;
    let close = "Host: gate.test\r\nConnection: close\r\n";
    for (request, status) in [
        (
            format!("GET / HTTP/1.1\r\nAccept: text/html\r\n{close}\r\n"),
            303,
        ),
        (format!("GET / HTTP/1.1\r\n{close}\r\n"), 401),
        (
            format!("GET /.vestibule/login HTTP/1.1\r\n{close}\r\n"),
            200,
        ),
        (
            format!("GET /.vestibule/nothing HTTP/1.1\r\n{close}\r\n"),
            404,
        ),
        (format!("GET /%zz HTTP/1.1\r\n{close}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nX : 1\r\n{close}\r\n"), 400), // by hyper
        (
            format!("GET /{} HTTP/1.1\r\n{close}\r\n", "a".repeat(9000)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n{close}\r\n", "a".repeat(40_000)),
            431,
        ),
        (format!("GET / HTTP/1.0\r\n{close}\r\n"), 401),
    ] {
        let text = answer(&gate, &request).await;
        assert_eq!(text.get(9..12), Some(&*status.to_string()), "{text}");
        assert_title_case(&text);
    }
    let get = "GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n";
    for (address, request) in [
        (gate.address(), get),
        (gate.redirect_address(), get),
        (gate.redirect_address(), "what\r\n\r\n"),
        (gate.metrics_address(), "GET /metrics HTTP/1.0\r\n\r\n"),
    ] {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut raw = Raw::new(stream);
        raw.send(request).await;
        assert_title_case(&raw.rest().await);
    }
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: gate.test\r\nconnection: UPGRADE\r\nupgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Origin: https://gate.test\r\n";

/// The head of the 101.
async fn handshake(gate: &Gate) -> String {
    let mut raw = gate.raw().await;
    raw.send(format!("{HANDSHAKE}\r\n")).await;
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        head += &String::from_utf8(raw.bytes().await).unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

#[tokio::test]
async fn a_websocket_handshake_is_in_title_case() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    assert_title_case(&handshake(&gate).await);
    let head = app.last().head;
    assert_title_case(&head);
    for name in ["Sec-Websocket-Key", "Connection", "Upgrade"] {
        assert!(names(&head).contains(&name), "{name} in {head}");
    }
}

/// With letters that no writer of ours would choose.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nWWW-Other: 1\r\nETag: \"1\"\r\nx-one: 1\r\nX-ONE: 2\r\nset-cookie: a=1\r\n\
    content-LENGTH: 2\r\nConnection: x-gone\r\nX-GONE: 1\r\n\r\nok";

async fn preserving(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .app("preserve_header_case = true\n[app.identity]\n\"X-WebAuth-User\" = \"{user}\"")
        .rule("/public", "everyone")
        .user("ada", PASSWORD)
        .start()
        .await
}

#[tokio::test]
async fn preserve_header_case_keeps_the_letters_of_the_other_side() {
    let app = Upstream::raw(ANSWER).await;
    let gate = preserving(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let session = format!("cookie: b=2; {}\r\n", ada.session_cookie());
    let text = answer(&gate, &odd_post("/", &(session + "Content-Length: 5\r\n"))).await;
    let answered = names(&text);
    for name in ["WWW-Other", "ETag", "x-one", "X-ONE", "set-cookie", "Date"] {
        assert!(answered.contains(&name), "{name} in {text}");
    }
    assert!(!text.to_lowercase().contains("x-gone"), "{text}");
    let head = app.last().head;
    let told = names(&head);
    for name in [
        "SOAPAction",
        "x-custom-header",
        "X-CUSTOM-HEADER",
        "content-type",
        "cookie",
        "Host",
        "Content-Length",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Webauth-User",
    ] {
        assert!(told.contains(&name), "{name} in {head}");
    }
    let of = |value: &str| head.lines().find(|line| line.ends_with(value));
    assert_eq!(
        of(": 1"),
        Some("x-custom-header: 1"),
        "each value has its own"
    );
    assert_eq!(of(": 2"), Some("X-CUSTOM-HEADER: 2"));

    // By HTTP/2 there are no letters to keep, and what the app says is read.
    let ada = ada.over_http2().header("x-custom-header", "1");
    ada.get("/")
        .await
        .assert_status(200)
        .assert_header("etag", "\"1\"");
    assert_title_case(&app.last().head);
}

#[tokio::test]
async fn sec_35_preserved_letters_neither_forge_nor_hide_what_we_say() {
    let app = Upstream::raw(ANSWER).await;
    let gate = preserving(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let hostile = "hOST: gate.test\r\ncontent-LENGTH: 5\r\nx-webauth-USER: root\r\nX-WEBAUTH-user: root\r\n\
        x_webauth_user: root\r\nx-forwarded-FOR: 10.0.0.1\r\nX-FORWARDED-PROTO: http\r\nX-FORWARDED-host: evil\r\n\
        X-SECRET: 1\r\ncONNECTION: close, X-secret\r\nKEEP-ALIVE: 1\r\nx-Kept: 1\r\n";
    for cookie in [
        String::new(),
        format!("Cookie: {}\r\n", ada.session_cookie()),
    ] {
        let signed_in = !cookie.is_empty();
        let text = answer(
            &gate,
            &format!("POST /public HTTP/1.1\r\n{hostile}{cookie}\r\nhello"),
        )
        .await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let last = app.last();
        let (head, told) = (&last.head, names(&last.head));
        assert_eq!((last.body.as_slice(), last.complete), (&b"hello"[..], true));
        for name in [
            "Host",
            "Content-Length",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "x-Kept",
        ] {
            let times = told.iter().filter(|told| told.eq_ignore_ascii_case(name));
            assert_eq!(times.collect::<Vec<_>>(), [&name], "in {head}");
        }
        assert_eq!(told.contains(&"X-Webauth-User"), signed_in, "{head}");
        for gone in ["root", "10.0.0.1", "secret", "evil", "keep-alive"] {
            assert!(!head.to_lowercase().contains(gone), "{gone} in {head}");
        }
    }
    // A chunked body, framed by us: its field has our letters.
    let mut raw = gate.raw().await;
    raw.send(
        "POST /public HTTP/1.1\r\nHost: gate.test\r\nX-KEPT: 1\r\ntransfer-ENCODING: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
    let last = app.last();
    let told = names(&last.head);
    assert!(
        told.contains(&"X-KEPT") && told.contains(&"Transfer-Encoding"),
        "{told:?}"
    );
    assert_eq!((last.body.as_slice(), last.complete), (&b"hello"[..], true));
}

/// The body of the first request looks like a head with names of ours.
#[tokio::test]
async fn preserved_letters_are_looked_for_in_heads_only() {
    let app = Upstream::raw(ANSWER).await;
    let gate = preserving(&app).await;
    let body = "GET / HTTP/1.1\r\nhost: x\r\ncontent-LENGTH: 3\r\n\r\nhOST: y".repeat(4000);
    let mut raw = gate.raw().await;
    for turn in 0..3 {
        raw.send(format!(
            "POST /public HTTP/1.1\r\nhOST: gate.test\r\nX-TURN: {turn}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        raw.response().await.assert_status(200);
        let last = app.last();
        assert!(last.body == body.as_bytes(), "the body came changed");
        let told = names(&last.head);
        assert!(
            told.contains(&"X-TURN") && told.contains(&"Host"),
            "{told:?}"
        );
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn preserve_header_case_holds_for_websockets_and_for_requests_sent_again() {
    let app = Upstream::websocket().await;
    let gate = preserving(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "{HANDSHAKE}Cookie: {}\r\n\r\n",
        ada.session_cookie()
    ))
    .await;
    raw.head().await.assert_status(101);
    let head = app.last().head;
    for name in [
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Connection",
        "Upgrade",
        "Host",
    ] {
        assert!(names(&head).contains(&name), "{name} in {head}");
    }

    // Answers one request of each connection, and closes it at the second.
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.nth_request() {
                0 => echo(exchange).await,
                _ => exchange.close(),
            }
        })
    })
    .await;
    let gate = preserving(&app).await;
    let mut raw = gate.raw().await;
    for _ in 0..2 {
        raw.send("GET /public HTTP/1.1\r\nHost: gate.test\r\nX-KEPT: 1\r\n\r\n")
            .await;
        raw.response()
            .await
            .assert_status(200)
            .assert_contains("X-KEPT: 1");
    }
    assert_eq!((app.requests(), app.connections()), (3, 2));
}

/// The one that keeps letters has them kept on connections of all; the other is not to get them.
#[tokio::test]
async fn preserve_header_case_is_of_one_app() {
    let (kept, other) = (Upstream::raw(ANSWER).await, Upstream::raw(ANSWER).await);
    let gate = Vestibule::before(&kept)
        .app("host = \"gate.test\"\npreserve_header_case = true")
        .public()
        .config(&format!(
            "[[app]]\nhost = \"other.test\"\nupstream = \"{}\"\n[[app.rule]]\npath = \"/\"\nallow = \"everyone\"",
            other.url()
        ))
        .start()
        .await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nX-ODD: 1\r\n\r\n")
        .await;
    raw.response().await.assert_status(200);
    assert!(
        kept.last().head.contains("\r\nX-ODD: 1"),
        "{}",
        kept.last().head
    );
    let stream = tls::connect(gate.tcp().await, "other.test", &["http/1.1"]).await;
    let mut raw = Raw::new(stream.unwrap());
    raw.send("GET / HTTP/1.1\r\nHost: other.test\r\nX-ODD: 1\r\nConnection: close\r\n\r\n")
        .await;
    let text = raw.rest().await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert_title_case(&text);
    assert_title_case(&other.last().head);
}

#[tokio::test]
async fn preserve_header_case_comes_with_a_reload() {
    let app = Upstream::raw(ANSWER).await;
    let mut gate = Vestibule::before(&app)
        .app("name = \"app\"")
        .public()
        .start()
        .await;
    let post = odd_post("/", "Content-Length: 5\r\n");
    answer(&gate, &post).await;
    assert_title_case(&app.last().head);
    gate.reload(|text| {
        text.replace(
            "name = \"app\"",
            "name = \"app\"\npreserve_header_case = true",
        )
    })
    .unwrap();
    let text = answer(&gate, &post).await;
    assert!(names(&text).contains(&"ETag"), "{text}");
    assert!(names(&app.last().head).contains(&"SOAPAction"));
}

/// Whatever letters a client uses for the same name.
#[tokio::test]
async fn headers_of_the_configuration_keep_its_letters_with_the_key() {
    let app = Upstream::echo().await;
    let headers = "[app.request_headers]\n\
        set = { \"SOAPAction\" = \"urn:ours\", \"x-lower\" = \"1\" }\n\
        set_file = { \"X-API-key\" = \"app.token\" }";
    for (key, expected) in [
        (
            "preserve_header_case = true",
            ["SOAPAction: urn:ours", "x-lower: 1", "X-API-key: s3cr3t"],
        ),
        (
            "",
            ["Soapaction: urn:ours", "X-Lower: 1", "X-Api-Key: s3cr3t"],
        ),
    ] {
        let gate = Vestibule::before(&app)
            .app(&format!("{key}\n{headers}"))
            .public()
            .prepare(|files| {
                files.write("app.token", "s3cr3t\n", 0o600);
            })
            .start()
            .await;
        let theirs = "soapACTION: theirs\r\nX-LOWER: theirs\r\nx-api-KEY: theirs\r\n";
        let head =
            format!("GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n{theirs}\r\n");
        answer(&gate, &head).await;
        let got = app.last().head;
        for line in expected {
            let lines: Vec<_> = got.split("\r\n").collect();
            assert!(lines.contains(&line), "{line} in {got}");
        }
        assert!(!got.contains("theirs"), "{got}");
    }
}
