//! Heads of requests: SEC-06 to SEC-11, SEC-13, SEC-14.

use super::*;

fn get(fields: &str) -> Vec<u8> {
    format!("GET /x HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n{SMUGGLED}").into_bytes()
}

#[tokio::test]
async fn sec_06_lines_end_with_crlf_and_hold_no_control_bytes() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for attack in [
        "GET / HTTP/1.1\nHost: gate.test\n\n",
        "GET / HTTP/1.1\r\nHost: gate.test\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: 1\nY: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: 1\rY: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: 1\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX\0: a\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: a\x1bb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: a\x7fb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\n\n",
        "GET / HTTP/1.1\r\r\nHost: gate.test\r\n\r\n",
    ] {
        let attack = format!("{attack}{SMUGGLED}");
        assert_eq!(
            assert_refused(&gate, &app, attack.as_bytes()).await,
            400,
            "{attack:?}"
        );
    }
}

#[tokio::test]
async fn sec_07_folded_lines_are_refused() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for fields in [
        "X: 1\r\n  folded\r\n",
        "X: 1\r\n\tfolded\r\n",
        "X: 1\r\n \r\n",
        "X:\r\n Content-Length: 5\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, &get(fields)).await,
            400,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn sec_08_a_field_name_is_a_token() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for fields in [
        "X : 1\r\n",
        ": 1\r\n",
        "N\u{e4}me: 1\r\n",
        "no colon\r\n",
        "X Y: 1\r\n",
        "X(1): 1\r\n",
        "X/Y: 1\r\n",
        "\"X\": 1\r\n",
        "X@: 1\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, &get(fields)).await,
            400,
            "{fields:?}"
        );
    }
    for attack in [
        "GET / HTTP/1.1\r\n Host: gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\n X: 1\r\nHost: gate.test\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, attack.as_bytes()).await,
            400,
            "{attack:?}"
        );
    }
}

#[tokio::test]
async fn sec_09_a_request_has_exactly_one_valid_host() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for attack in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nHost: gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nhost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test/path\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test, other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate..test\r\n\r\n",
        "GET https://other.test/ HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET https://gate.test:1/ HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET https://u@gate.test/ HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET https://gate.test/ HTTP/1.1\r\n\r\n",
        "GET //other.test/ HTTP/1.1\r\nHost: other.test@gate.test\r\n\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, attack.as_bytes()).await,
            400,
            "{attack:?}"
        );
    }
}

#[tokio::test]
async fn sec_09_an_unknown_host_is_not_the_default_site() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .public()
        .start()
        .await;
    for host in [
        "other.test",
        "gate.test.evil",
        "xgate.test",
        "127.0.0.1",
        "localhost",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let status = assert_refused(&gate, &app, request.as_bytes()).await;
        assert!([400, 421].contains(&status), "{host}: {status}");
    }
    for host in ["gate.test", "GATE.Test", "gate.test:8443", "gate.test."] {
        let mut raw = gate.raw().await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        raw.response().await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_10_methods_come_from_a_list_and_targets_are_plain() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for line in [
        "CONNECT gate.test:443",
        "CONNECT /",
        "TRACE /",
        "PURGE /",
        "get /",
        "G@T /",
        "GET *",
        "GET x",
        "GET gate.test:443",
        "GET /a b",
        "GET  /a",
        "GET /a\tb",
        "GET /\u{e4}",
        "GET /a#b",
        "GET /#",
        "GET /a?\u{7f}",
        "GET /\"><",
        "GET http:/gate.test/",
        "GET",
        "",
    ] {
        let attack = format!("{line} HTTP/1.1\r\nHost: gate.test\r\n\r\n");
        let status = assert_refused(&gate, &app, attack.as_bytes()).await;
        assert!([400, 405, 501].contains(&status), "{line:?}: {status}");
    }
}

#[tokio::test]
async fn sec_10_the_upstream_gets_the_origin_form() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for (sent, target) in [
        ("GET https://gate.test/x?y=1", "/x?y=1"),
        ("GET https://GATE.test", "/"),
        ("GET https://gate.test?y", "/?y"),
        ("GET /x?https://evil.test/", "/x?https://evil.test/"),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!("{sent} HTTP/1.1\r\nHost: gate.test\r\n\r\n"))
            .await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().target(), target, "{sent}");
    }
}

#[tokio::test]
async fn sec_10_an_asterisk_is_for_options_of_who_is_signed_in() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    for (cookie, status) in [(String::new(), 401), (format!("Cookie: {ada}\r\n"), 200)] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "OPTIONS * HTTP/1.1\r\nHost: gate.test\r\n{cookie}\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
    }
    assert_eq!(
        (app.requests(), app.last().target()),
        (1, "*"),
        "no rule for a path speaks for it"
    );
}

#[tokio::test]
async fn sec_11_other_versions_are_refused() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for line in [
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/3.0",
        "GET / HTTP/1.01",
        "GET / http/1.1",
        "GET / HTTP/1,1",
    ] {
        let attack = format!("{line}\r\nHost: gate.test\r\n\r\n");
        let status = assert_refused(&gate, &app, attack.as_bytes()).await;
        assert!([400, 505].contains(&status), "{line}: {status}");
    }
    let chunked =
        "POST / HTTP/1.0\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(assert_refused(&gate, &app, chunked.as_bytes()).await, 400);

    let before = app.requests();
    let answer = gate.exchange("GET /\r\n\r\n").await;
    assert!(
        answer.is_empty() || statuses(&answer) == [400],
        "HTTP/0.9: {answer}"
    );
    assert_eq!(app.requests(), before);
}

#[tokio::test]
async fn sec_11_http_1_0_is_served_and_the_upstream_gets_1_1() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let answer = gate
        .exchange("GET /old HTTP/1.0\r\nHost: gate.test\r\n\r\n")
        .await;
    assert!(answer.contains(" 200 OK\r\n"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(
        app.last().head.starts_with("GET /old HTTP/1.1\r\n"),
        "{}",
        app.last().head
    );
}

#[tokio::test]
async fn sec_13_a_head_has_limits() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let many = "X-Many: 1\r\n".repeat(101);
    let cookies = format!(
        "Cookie: a={}\r\nCookie: b={}\r\n",
        "a".repeat(5000),
        "b".repeat(5000)
    );
    for (attack, expected) in [
        (get(&format!("X: {}\r\n", "x".repeat(40_000))), 431),
        (get(&many), 431),
        (get(&format!("Cookie: a={}\r\n", "a".repeat(9000))), 431),
        (get(&cookies), 431),
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
                "a".repeat(8200)
            )
            .into_bytes(),
            414,
        ),
    ] {
        let status = assert_refused(&gate, &app, &attack).await;
        assert_eq!(
            status,
            expected,
            "{}",
            String::from_utf8_lossy(&attack[..60])
        );
    }
    let fits = get(&format!("X: {}\r\n", "x".repeat(30_000)));
    let mut raw = gate.raw().await;
    raw.send(fits).await;
    raw.response().await.assert_status(200);
}

#[tokio::test]
async fn sec_13_a_head_without_end_is_cut_at_the_limit() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nX: ").await;
    let mut sent = 0;
    while sent < 10_000_000 && raw.try_send([b'x'; 4096]).await {
        sent += 4096;
    }
    assert!(sent < 10_000_000, "a head of any size is read");
    assert_eq!(app.requests(), 0);
    gate.browser().get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_14_the_upstream_reads_what_was_parsed_and_nothing_else() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(
        "\r\nPOST /x?a=%41&&b HTTP/1.1\r\nhOsT: \t gate.test \t\r\nX-MiXeD:\t 1  2 \r\nX-Empty:\r\n\
         coNTent-lengTH:  0005 \r\n\r\nhello",
    )
    .await;
    raw.response().await.assert_status(200);
    let last = app.last();
    assert!(
        last.head.starts_with("POST /x?a=%41&&b HTTP/1.1\r\n"),
        "{}",
        last.head
    );
    assert_eq!(last.value("host"), Some("gate.test"));
    assert_eq!(last.value("content-length"), Some("5"));
    assert_eq!(last.value("x-mixed"), Some("1  2"));
    assert_eq!(last.values("transfer-encoding"), Vec::<&str>::new());
    assert_eq!(last.body, b"hello");
}
