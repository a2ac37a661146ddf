//! What TLS agrees upon, and the way to it: SEC-77, SEC-78, REL-16.

use std::fs;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::{ALL_VERSIONS, HandshakeKind};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n";

#[tokio::test]
async fn sec_78_the_protocol_is_agreed_by_alpn() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = tls::connect(gate.tcp().await, tls::HOST, offered).await;
        let stream = stream.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
        if agreed != Some("h2") {
            let mut raw = Raw::new(stream);
            raw.send(GET).await;
            raw.response().await.assert_status(200);
        }
    }
    // ALPACA: a client of another protocol is not for us (RFC 7301 §3.2).
    let ftp = tls::connect(gate.tcp().await, tls::HOST, &["ftp"]).await;
    assert!(ftp.is_err());
}

#[tokio::test]
async fn sec_78_tickets_resume_and_carry_no_early_data() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for version in ALL_VERSIONS {
        let mut config = tls::client_config(&["http/1.1"], &[version]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        for expected in [false, true] {
            let stream = tls::connect_by(&config, gate.tcp().await, tls::HOST).await;
            let stream = stream.unwrap();
            let (_, connection) = stream.get_ref();
            let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, expected, "{version:?}");
            assert!(!connection.is_early_data_accepted(), "{version:?}");
            let mut raw = Raw::new(stream);
            // Tickets come with the first bytes that the client reads.
            raw.send(GET).await;
            raw.response().await.assert_status(200);
        }
    }
}

#[tokio::test]
async fn rel_16_without_its_key_file_the_certificate_in_use_stays() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app).public().spawn().await;
    fs::remove_file(service.files.path("key.pem")).unwrap();
    eventually("a line about it", || {
        let log = service.program.log();
        log.iter()
            .any(|line| line.to_string().contains("the old ones stay"))
    })
    .await;
    let mut raw = service.raw().await;
    raw.send(GET).await;
    raw.response().await.assert_status(200);
}

/// One request on the plain listener.
async fn plainly(gate: &Gate, request: &str) -> Reply {
    let mut raw = Raw::new(TcpStream::connect(gate.redirect_address()).await.unwrap());
    raw.send(request).await;
    let reply = raw.response().await;
    assert_eq!(raw.rest().await, "", "one answer is all");
    reply
}

async fn with_plain_listener(keys: &str) -> (Upstream, Gate) {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().app(keys);
    let gate = gate.server("redirect_http = [\"127.0.0.1:0\"]");
    (app, gate.start().await)
}

#[tokio::test]
async fn sec_77_plain_http_knows_one_host_in_its_spellings() {
    let (app, gate) = with_plain_listener("host = \"gate.test\"").await;
    // Whoever came without a port came by 80, of which 443 is the other.
    let (usual, other) = (String::new(), format!(":{}", gate.address().port()));
    for (host, port) in [
        ("gate.test", &usual),
        ("GATE.test", &usual),
        ("gate.test:80", &usual),
        ("gate.test.", &usual),
        ("gate.test:8080", &other),
    ] {
        let reply = plainly(
            &gate,
            &format!("GET /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
        .await;
        let expected = format!("https://gate.test{port}/a%20b?c=d");
        reply
            .assert_status(308)
            .assert_header("location", &expected);
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: gate.test@evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test/evil\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: gate.test\r\nHost: evil.test\r\n\r\n",
        "GET http://evil.test/ HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    ] {
        let reply = plainly(&gate, request).await;
        let told = (reply.status, reply.value("location"));
        assert_eq!(told, (403, None), "{request:?}");
    }
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn sec_77_plain_http_leads_a_lone_app_without_host_to_the_host_asked_for() {
    let (_app, gate) = with_plain_listener("").await;
    let port = gate.address().port();
    for (host, location) in [
        ("box.lan", "https://box.lan/".to_owned()),
        ("box.lan:8080", format!("https://box.lan:{port}/")),
        ("[2001:db8::1]", "https://[2001:db8::1]/".to_owned()),
        (
            "[2001:db8::1]:8080",
            format!("https://[2001:db8::1]:{port}/"),
        ),
        ("192.0.2.1:8080", format!("https://192.0.2.1:{port}/")),
    ] {
        let reply = plainly(&gate, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        reply
            .assert_status(308)
            .assert_header("location", &location);
    }
}
