//! HTTP/2, SEC-17 to SEC-20: heads and bodies that try to be something else for HTTP/1.1.

use crate::harness::*;

async fn open_gate(app: &Upstream) -> Gate {
    Vestibule::before(app).public().start().await
}

/// Refused by 4xx, a reset or the end of the connection; nothing reaches the upstream.
async fn assert_refused(gate: &Gate, app: &Upstream, fields: &[(&str, &str)]) {
    let before = app.requests();
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, fields, true).await;
    let stream = http2.outcome(1).await;
    let accepted = matches!(stream.status, Some(..400 | 500..));
    assert!(!accepted, "{fields:?} gave {stream:?}");
    assert_eq!(app.requests(), before, "{fields:?} reached the upstream");
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [RawHttp2::get("/"), more.to_vec()].concat()
}

#[tokio::test]
async fn sec_17_fields_of_http_1_connections_are_malformed() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for field in [
        ("connection", "keep-alive"),
        ("connection", "close, x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
    ] {
        assert_refused(&gate, &app, &with(&[field])).await;
    }
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &with(&[("te", "trailers")]), true).await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(app.last().value("te"), None);
}

#[tokio::test]
async fn sec_18_no_byte_of_a_field_can_end_a_line_of_http_1() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for field in [
        ("x", "a\r\nx-forwarded-user: admin"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x\r\ny", "a"),
        ("x: y\r\nz", "a"),
        ("X-Upper", "a"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        ("x\u{e4}", "a"),
        ("x(y)", "a"),
    ] {
        assert_refused(&gate, &app, &with(&[field])).await;
    }
    for (name, value) in [
        (":path", "/a b"),
        (":path", "/a\r\nx: y"),
        (":path", "/ HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled"),
        (":path", "/a\0"),
        (":path", "/a\u{e4}"),
        (":method", "GET /smuggled HTTP/1.1\r\nx:"),
        (":method", "GE T"),
        (":authority", "gate.test\r\nx: y"),
        (":authority", "gate test"),
        (":authority", "user@gate.test"),
        (":authority", "gate.test/x"),
        (":scheme", "https\r\nx: y"),
        (":scheme", "https://evil.test/?"),
    ] {
        let mut fields = RawHttp2::get("/");
        for field in &mut fields {
            if field.0 == name {
                field.1 = value;
            }
        }
        assert_refused(&gate, &app, &fields).await;
    }
}

#[tokio::test]
async fn sec_18_blanks_around_a_value_are_no_part_of_it() {
    // RFC 9113 §8.2.1 calls them malformed; h2 lets them pass, and an HTTP/1.1 parser takes them
    // away again (RFC 9112 §5.1).
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for value in [" a", "a ", "\ta", "a\t"] {
        let before = app.requests();
        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &with(&[("x-blank", value)]), true).await;
        let stream = http2.outcome(1).await;
        if app.requests() > before {
            let value = app
                .last()
                .value("x-blank")
                .map(|value| value.trim().to_owned());
            assert_eq!(value.as_deref(), Some("a"));
        } else {
            assert_ne!(stream.status, Some(200), "{value:?}");
        }
    }
}

#[tokio::test]
async fn sec_19_pseudo_fields_come_once_first_and_known() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let get = RawHttp2::get("/");
    let without = |name: &str| -> Vec<_> {
        get.iter()
            .copied()
            .filter(|(field, _)| *field != name)
            .collect()
    };
    let path = |value| RawHttp2::get(value);
    for fields in [
        with(&[(":path", "/other")]),
        with(&[(":method", "POST")]),
        with(&[(":authority", "gate.test")]),
        with(&[(":unknown", "x")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        [&[("accept", "*/*")], &get[..]].concat(),
        without(":method"),
        without(":path"),
        without(":scheme"),
        without(":authority"),
        path(""),
        path("x"),
        path("*"),
        path("https://gate.test/"),
        path("//"),
        with(&[("host", "other.test")]),
        with(&[("host", "gate.test"), ("host", "gate.test")]),
        [without(":authority"), vec![("host", "gate.test,evil.test")]].concat(),
        vec![(":method", "CONNECT"), (":authority", "gate.test:443")],
        [
            &RawHttp2::fields("CONNECT", "/")[..],
            &[(":protocol", "websocket"), ("origin", "https://gate.test")],
        ]
        .concat(),
        RawHttp2::fields("TRACE", "/"),
    ] {
        if fields == path("//") {
            continue; // an empty segment: see `paths`
        }
        assert_refused(&gate, &app, &fields).await;
    }
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &with(&[("host", "gate.test")]), true)
        .await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(app.last().value("host"), Some("gate.test"));
}

#[tokio::test]
async fn sec_20_content_length_equals_the_data() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for (length, parts) in [
        ("10", &["hello"][..]),
        ("3", &["hello"]),
        ("0", &["hello"]),
        ("6", &["hello", "!!"]),
        ("5, 5", &["hello"]),
        ("+5", &["hello"]),
        ("x", &["hello"]),
    ] {
        let before = app.requests();
        let mut http2 = gate.raw_http2().await;
        let fields = RawHttp2::fields("POST", "/");
        http2
            .headers(
                1,
                &[&fields[..], &[("content-length", length)]].concat(),
                false,
            )
            .await;
        for (n, part) in parts.iter().enumerate() {
            http2.data(1, part.as_bytes(), n + 1 == parts.len()).await;
        }
        let stream = http2.outcome(1).await;
        assert_ne!(stream.status, Some(200), "{length}: {stream:?}");
        let came = app.received().split_off(before);
        assert!(
            came.iter().all(|one| !one.complete),
            "{length} became {came:?}"
        );
    }
    let mut http2 = gate.raw_http2().await;
    let two = [("content-length", "5"), ("content-length", "6")];
    http2
        .headers(
            1,
            &[&RawHttp2::fields("POST", "/")[..], &two].concat(),
            false,
        )
        .await;
    http2.data(1, b"hello", true).await;
    assert_ne!(http2.outcome(1).await.status, Some(200));
}

#[tokio::test]
async fn sec_20_a_body_over_http2_is_framed_by_us() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let length = smuggled.len().to_string();
    for measured in [true, false] {
        let mut http2 = gate.raw_http2().await;
        let mut fields = RawHttp2::fields("POST", "/");
        if measured {
            fields.push(("content-length", &length));
        }
        http2.headers(1, &fields, false).await;
        http2.data(1, smuggled.as_bytes(), true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200));
        let last = app.last();
        assert_eq!(last.body, smuggled.as_bytes());
        let framing = (
            last.value("content-length"),
            last.value("transfer-encoding"),
        );
        let expected = if measured {
            (Some(&*length), None)
        } else {
            (None, Some("chunked"))
        };
        assert_eq!(framing, expected);
    }
    assert!(app.received().iter().all(|one| one.target() == "/"));
}

#[tokio::test]
async fn sec_13_the_limits_of_a_head_hold_for_http2() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let crumb = "c".repeat(150);
    let crumbs: Vec<_> = (0..60).map(|_| ("cookie", &*crumb)).collect();
    let long = format!("/{}", "a".repeat(8200));
    for (fields, expected) in [(with(&crumbs), 431), (RawHttp2::get(&long), 414)] {
        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &fields, true).await;
        assert_eq!(http2.outcome(1).await.status, Some(expected));
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whoever_gives_it() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/open", "everyone")
        .start()
        .await;
    let mut http2 = gate.raw_http2().await;
    let targets = [
        ("/open", 200),
        ("/closed", 401),
        ("/.vestibule/login", 200),
        ("/.vestibule/nothing", 404),
    ];
    for (stream, (target, status)) in (1..).step_by(2).zip(targets) {
        let fields = RawHttp2::fields("HEAD", target);
        http2.headers(stream, &fields, true).await;
        let answer = http2.outcome(stream).await;
        assert_eq!((answer.status, answer.reset), (Some(status), None));
        assert_eq!(answer.body, b"", "{target}");
    }
}
