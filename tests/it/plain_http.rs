//! Plain HTTP on the port of TLS, which people type: SEC-77.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::harness::webdriver::Chromium;
use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n";

/// A connection that begins with these bytes.
async fn plainly(gate: &Gate, bytes: impl AsRef<[u8]>) -> Raw {
    let mut raw = Raw::new(gate.tcp().await);
    raw.send(bytes).await;
    raw
}

/// The one answer to them.
async fn answer(gate: &Gate, bytes: impl AsRef<[u8]>) -> Reply {
    let mut raw = plainly(gate, bytes).await;
    let reply = raw.response().await;
    assert_eq!(raw.rest().await, "", "one answer is all");
    reply.assert_header("connection", "close");
    for absent in ["strict-transport-security", "set-cookie"] {
        assert_eq!(reply.value(absent), None, "RFC 6797 section 7.2");
    }
    reply
}

async fn gate(app: &Upstream, server: &str) -> Gate {
    Vestibule::before(app)
        .public()
        .app("host = \"gate.test\"")
        .server(server)
        .start()
        .await
}

#[tokio::test]
async fn sec_77_plain_http_on_the_port_of_tls_leads_to_https() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app, "public_port = 443").await;
    let get = |host: &str| format!("GET /a%20b/\u{e9}?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let leads_to = async |gate: &Gate, host: &str, expected: &str| {
        let reply = answer(gate, get(host)).await;
        let location = format!("https://{expected}/a%20b/%C3%A9?c=d");
        reply
            .assert_status(308)
            .assert_header("location", &location);
    };
    leads_to(&gate, "gate.test:8443", "gate.test").await;
    gate.reload(|text| text.replace("public_port = 443\n", ""))
        .unwrap();
    let port = gate.address().port();
    for (host, expected) in [
        (format!("gate.test:{port}"), format!("gate.test:{port}")),
        ("GATE.test.:9443".into(), "gate.test:9443".into()), // a port mapping
        ("gate.test:443".into(), "gate.test".into()),
        ("gate.test".into(), format!("gate.test:{port}")),
    ] {
        leads_to(&gate, &host, &expected).await;
    }
    let whole = "GET http://gate.test?q HTTP/1.1\r\nHost: gate.test:443\r\n\r\n";
    answer(&gate, whole)
        .await
        .assert_header("location", "https://gate.test/?q");
    let mut head = plainly(&gate, GET.replace("GET", "HEAD")).await;
    head.response_to_head().await.assert_status(308);
    assert_eq!(head.rest().await, "", "RFC 9110 section 9.3.2");
    assert_eq!(app.connections(), 0);
    gate.browser().get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_77_what_cannot_lead_to_https_is_answered_in_words() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    for sent in [
        "POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 3\r\n\r\na=b",
        "OPTIONS * HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "CONNECT gate.test:443 HTTP/1.1\r\nHost: gate.test:443\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test@evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nHost: evil.test\r\n\r\n",
        "GET http://evil.test/ HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : gate.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\0\r\n\r\n",
        "GET /\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "EHLO gate.test\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        &long,
    ] {
        let reply = answer(&gate, sent).await;
        reply.assert_status(400).assert_contains("https://");
        assert_eq!(reply.value("location"), None, "{sent:.60}");
    }
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn a_person_gets_these_words_as_a_page_that_a_phone_can_show() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    for (accept, content_type) in [
        (
            "text/html,application/xhtml+xml;q=0.9",
            "text/html; charset=utf-8",
        ),
        ("*/*", "text/plain; charset=utf-8"),
    ] {
        let head = format!("Host: other.test\r\nAccept: {accept}\r\n");
        let reply = answer(&gate, format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
        reply
            .assert_status(400)
            .assert_contains("This port is for https.")
            .assert_header("content-type", content_type);
        let is_page = reply.text().contains("name=\"viewport\"");
        assert_eq!(is_page, accept.contains("html"));
    }
}

#[tokio::test]
async fn sec_77_an_upload_to_the_port_of_tls_gets_to_read_its_answer() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    let mut raw = plainly(
        &gate,
        "POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 4000000\r\n\r\n",
    )
    .await;
    let body = vec![b'x'; 4_000_000];
    assert!(raw.try_send(&body).await, "it was cut off");
    raw.response().await.assert_status(400);
}

#[tokio::test]
async fn sec_77_only_a_letter_begins_plain_http() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    for first in ["\0", "\r\n", "1", "<", " ", "\x15", "\u{e9}"] {
        let mut raw = plainly(&gate, format!("{first}{GET}")).await;
        let answer = raw.rest().await;
        assert!(!answer.contains("HTTP"), "{first:?}: {answer:?}");
    }
}

#[tokio::test]
async fn sec_25_plain_http_has_the_time_of_a_handshake() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nhandshake = \"500ms\"")
        .start()
        .await;
    for start in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\n",
    ] {
        let started = Instant::now();
        let mut raw = plainly(&gate, start).await;
        assert_eq!(raw.rest().await, "", "{start:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{start:?}");
    }
    let mut stream = gate.tcp().await;
    let started = Instant::now();
    let dribble = async {
        stream.write_all(b"GET /").await.unwrap();
        while stream.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("the end of a slow request", dribble).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn plain_http_behind_the_proxy_protocol_leads_to_https_too() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "proxy_protocol_from = [\"127.0.0.1\"]").await;
    for header in [
        "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ] {
        let reply = answer(&gate, format!("{header}{GET}")).await;
        reply.assert_status(308);
    }
    let mut without = plainly(&gate, GET).await;
    assert_eq!(without.rest().await, "", "whoever has to say it says it");
}

#[tokio::test]
async fn a_trusted_proxy_that_speaks_plain_http_is_told_so() {
    let app = Upstream::echo().await;
    let trusting = gate(&app, "trusted_proxies = [\"127.0.0.1\"]").await;
    let reply = answer(&trusting, GET).await;
    reply.assert_status(400).assert_contains("proxy in front");

    // Whoever forgets TLS there is likely to forget `trusted_proxies` here.
    let gate = gate(&app, "").await;
    for told in [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "Forwarded: for=_a",
    ] {
        let sent = format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{told}\r\n\r\n");
        let reply = answer(&gate, sent).await;
        reply.assert_status(400).assert_contains("proxy in front");
    }
}

#[tokio::test]
async fn rel_13_half_a_request_by_plain_http_delays_no_stop() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    let _half = plainly(&gate, "GET / HTTP/1.1\r\nHost: gate.te").await;
    answer(&gate, GET).await; // the half was accepted before
    let started = Instant::now();
    gate.stop().await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}"); // a handshake has ten
}

#[tokio::test]
async fn somebody_who_types_http_arrives_at_the_login_page() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let host = format!("localhost:{}", gate.address().port());
    browser
        .goto(&format!("http://{host}/report?year=1984"))
        .await;
    let url = browser.url().await;
    let login = format!("https://{host}/.vestibule/login?");
    assert!(url.starts_with(&login), "{url}");
}
