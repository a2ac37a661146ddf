//! Load balancers that pass TLS on say who the client is, and nobody else can.

use std::net::Ipv4Addr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;

const CLIENT: &str = "203.0.113.7";
const VERSION_1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";

fn version_2(command: u8, client: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 15]);
    header.extend(client.octets());
    header.extend([192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb]);
    header.extend([0x04, 0, 0]); // an additional field: no operation
    header
}

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .public()
        .server("proxy_protocol_from = [\"127.0.0.1\"]")
        .start()
        .await
}

/// A connection that begins with these bytes.
async fn after(gate: &Gate, header: &[u8]) -> TcpStream {
    let mut stream = gate.tcp().await;
    stream.write_all(header).await.unwrap();
    stream
}

/// The first answer over TLS; `None` when there is no TLS.
async fn ask_over(stream: TcpStream, fields: &str) -> Option<Reply> {
    let stream = tls::connect(stream, tls::HOST, &["http/1.1"]).await.ok()?;
    let mut raw = Raw::new(stream);
    raw.send(format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n"))
        .await;
    Some(raw.response().await)
}

/// Whether the gate closes without a word.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut answer = Vec::new();
    within("the end", async {
        let _ = stream.read_to_end(&mut answer).await; // a reset is an end, too
    })
    .await;
    answer.is_empty()
}

#[tokio::test]
async fn the_client_is_whom_the_header_names() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let version_2_proxy = version_2(0x21, CLIENT.parse().unwrap());
    let version_2_local = version_2(0x20, CLIENT.parse().unwrap());
    for (header, client) in [
        (VERSION_1, CLIENT),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n",
            "2001:db8::7",
        ),
        (&version_2_proxy, CLIENT),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&version_2_local, "127.0.0.1"),
    ] {
        // A client cannot add to it: the one that is named is no trusted proxy.
        let forged = "X-Forwarded-For: 198.51.100.1\r\n";
        let reply = ask_over(after(&gate, header).await, forged).await;
        reply.expect("TLS").assert_status(200);
        assert_eq!(app.last().value("x-forwarded-for"), Some(client));
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_together_with_what_follows() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for header in [VERSION_1, &version_2(0x21, CLIENT.parse().unwrap())] {
        let mut stream = gate.tcp().await;
        for byte in header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let reply = ask_over(stream, "").await;
        reply.expect("TLS").assert_status(200);
        assert_eq!(app.last().value("x-forwarded-for"), Some(CLIENT));
    }
}

#[tokio::test]
async fn a_load_balancer_that_names_nobody_is_not_served() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    assert!(
        ask_over(gate.tcp().await, "").await.is_none(),
        "TLS at once"
    );
    for junk in [
        &b"GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 65536\r\n",
        b"PROXY TCP4 localhost localhost 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c............",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff............",
        &[0; 600],
        &[b'P'; 600],
    ] {
        let shown = String::from_utf8_lossy(junk).into_owned();
        let stream = after(&gate, junk).await;
        assert!(is_closed(stream).await, "after {shown:?}");
    }
    assert_eq!(app.requests(), 0);
    let reply = ask_over(after(&gate, VERSION_1).await, "").await;
    reply.expect("the next one is served").assert_status(200);
}

#[tokio::test]
async fn sec_25_a_header_that_does_not_come_holds_nobody_up() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut silent = Vec::new();
    for sent in 0..VERSION_1.len() {
        silent.push(after(&gate, &VERSION_1[..sent]).await);
    }
    let reply = ask_over(after(&gate, VERSION_1).await, "").await;
    reply.expect("others are served").assert_status(200);
    for stream in silent {
        assert!(is_closed(stream).await);
    }
}

#[tokio::test]
async fn whoever_is_not_listed_cannot_name_a_client() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("proxy_protocol_from = [\"192.0.2.0/24\"]\ntrusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    for header in [VERSION_1, &version_2(0x21, CLIENT.parse().unwrap())] {
        let refused = ask_over(after(&gate, header).await, "").await;
        assert!(refused.is_none(), "a header before TLS");
    }
    assert_eq!(app.requests(), 0);
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn sec_28_limits_are_for_the_client_and_not_for_the_load_balancer() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("proxy_protocol_from = [\"127.0.0.1\"]\nmax_connections_per_address = 2")
        .start()
        .await;
    let named = |last: u8| version_2(0x21, Ipv4Addr::new(203, 0, 113, last));
    let mut open = Vec::new();
    for client in [1, 1, 2, 2, 3] {
        let stream = after(&gate, &named(client)).await;
        let stream = tls::connect(stream, tls::HOST, &["http/1.1"]).await;
        open.push(stream.unwrap());
    }
    assert!(
        is_closed(after(&gate, &named(1)).await).await,
        "a third one"
    );
    let reply = ask_over(after(&gate, &named(3)).await, "").await;
    reply.expect("another client").assert_status(200);
}

#[tokio::test]
async fn sec_59_guessing_makes_the_named_client_wait_and_no_other() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("proxy_protocol_from = [\"127.0.0.1\"]")
        .config("[login.throttle]\naccount_failures = 1")
        .start()
        .await;
    let try_login = async |client: u8| {
        let header = version_2(0x21, Ipv4Addr::new(203, 0, 113, client));
        let stream = after(&gate, &header).await;
        let stream = tls::connect(stream, tls::HOST, &["http/1.1"]).await;
        let mut raw = Raw::new(stream.unwrap());
        let form = "username=ada&password=wrong";
        raw.send(format!(
            "POST /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))
        .await;
        raw.response().await.status
    };
    let statuses = [try_login(1).await, try_login(1).await, try_login(2).await];
    assert_eq!(statuses[1], 429);
    assert_eq!(statuses[0], statuses[2], "each its own first try");
}

#[tokio::test]
async fn the_plain_listener_takes_the_same_header() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("proxy_protocol_from = [\"127.0.0.1\"]\nredirect_http = [\"127.0.0.1:0\"]")
        .start()
        .await;
    let request = "GET /a HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let mut stream = TcpStream::connect(gate.redirect_address()).await.unwrap();
    stream.write_all(VERSION_1).await.unwrap();
    let mut raw = Raw::new(stream);
    raw.send(request).await;
    raw.response().await.assert_status(308);
    let mut stream = TcpStream::connect(gate.redirect_address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(is_closed(stream).await, "without one");
}

#[tokio::test]
async fn curl_names_a_client_by_the_proxy_protocol() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let port = gate.address().port();
    let run = async |args: &[&str]| {
        let mut command = Command::new(&curl);
        command
            .args(["--disable", "--silent", "--noproxy", "*", "--insecure"])
            .args(["--resolve", &format!("{}:{port}:127.0.0.1", tls::HOST)])
            .args(args)
            .arg(format!("https://{}:{port}/", tls::HOST));
        let mut program = Program::spawn(command);
        program.exit().await.success()
    };
    assert!(run(&["--haproxy-protocol"]).await);
    assert_eq!(app.last().value("x-forwarded-for"), Some("127.0.0.1"));
    assert!(!run(&[]).await, "curl without it is refused");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn rel_01_who_sends_headers_can_change_without_a_restart() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .public()
        .server("proxy_protocol_from = []")
        .start()
        .await;
    gate.browser().get("/").await.assert_status(200);
    let listed = |text: &str| {
        text.replace(
            "proxy_protocol_from = []",
            "proxy_protocol_from = [\"127.0.0.1\"]",
        )
    };
    assert_eq!(gate.reload(listed).unwrap(), Vec::<&str>::new());
    assert!(ask_over(gate.tcp().await, "").await.is_none());
    let reply = ask_over(after(&gate, VERSION_1).await, "").await;
    reply.expect("TLS").assert_status(200);
    assert_eq!(app.last().value("x-forwarded-for"), Some(CLIENT));
}
