use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, stop.clone()));
        Self {
            address,
            stop,
            served,
        }
    }

    /// Sends `head` (lines without their ends) and `body`; the connection stays open.
    async fn open(&self, head: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{}\r\nHost: sample\r\n\r\n", head.join("\r\n"));
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }

    /// The whole answer.
    async fn ask(&self, head: &[&str], body: &[u8]) -> String {
        let head = [head, &["Connection: close"]].concat();
        let mut answer = Vec::new();
        let mut stream = self.open(&head, body).await;
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// Reads until `end` was read.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await;
        read.push(byte.expect("an answer within 10 s").unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn the_page_shows_who_the_app_was_told_you_are_and_counts_the_visits() {
    let app = Running::start().await;
    let known = app
        .ask(
            &[
                "GET / HTTP/1.1",
                "X-Forwarded-User: ada",
                "X-Forwarded-Groups: <b>admins</b>",
                "X-Session-Data: theme=\"dark\", count=3",
            ],
            b"",
        )
        .await;
    assert!(known.starts_with("HTTP/1.1 200 OK\r\n"), "{known}");
    assert!(known.contains("\r\nx-session-set: count=4\r\n"), "{known}");
    for part in [
        "you are <strong>ada</strong>",
        "visit <strong>4</strong>",
        "&lt;b&gt;admins",
        "<th scope=\"row\">X-Forwarded-Email</th><td><i>absent</i></td>",
        "href=\"/.vestibule/account\"",
        "href=\"/.vestibule/logout\"",
    ] {
        assert!(known.contains(part), "{part} in {known}");
    }
    let nobody = app.ask(&["GET / HTTP/1.1"], b"").await;
    assert!(
        nobody.contains("\r\nx-session-set: count=1\r\n"),
        "{nobody}"
    );
    assert!(nobody.contains("Nobody told it who you are"), "{nobody}");
}

#[tokio::test]
async fn whoami_lists_the_headers_as_json() {
    let app = Running::start().await;
    let head = [
        "GET /whoami HTTP/1.1",
        "X-Forwarded-User: ada",
        "X-A: 1",
        "X-A: 2",
    ];
    let answer = app.ask(&head, b"").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["x-forwarded-user"], "ada");
    assert_eq!(json["x-a"], serde_json::json!(["1", "2"]));
}

#[tokio::test]
async fn an_upload_is_answered_with_its_size_and_hash() {
    let app = Running::start().await;
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (framing, body, bytes, sha256) in [
        ("Content-Length: 0", &b""[..], 0, empty),
        ("Content-Length: 3", b"abc", 3, abc),
        (
            "Transfer-Encoding: chunked",
            b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            3,
            abc,
        ),
    ] {
        let answer = app.ask(&["POST /upload HTTP/1.1", framing], body).await;
        let (_, json) = answer.split_once("\r\n\r\n").unwrap();
        let expected = serde_json::json!({ "bytes": bytes, "sha256": sha256 });
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json, expected, "{framing}");
    }
}

#[tokio::test]
async fn events_come_one_by_one_and_end_when_the_app_stops() {
    let app = Running::start().await;
    let mut stream = app.open(&["GET /events HTTP/1.1"], b"").await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(
        head.contains("\r\ncontent-type: text/event-stream\r\n"),
        "{head}"
    );
    for _ in 0..2 {
        let event = read_until(&mut stream, "\n\n").await;
        assert!(event.contains("data: "), "{event}");
        assert!(event.trim_end().ends_with(" GMT"), "{event}");
    }
    app.stop.cancel();
    let end = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(
        end.ends_with("\r\n0\r\n\r\n"),
        "a clean end of the body: {end}"
    );
    app.served.await.unwrap().unwrap();
}

/// The key and its answer are those of RFC 6455 section 1.3; the frames of section 5.7.
#[tokio::test]
async fn a_websocket_echoes_and_is_told_when_the_app_stops() {
    let app = Running::start().await;
    let upgrade = [
        "GET /ws HTTP/1.1",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut stream = app.open(&upgrade, b"").await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let accept = "\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert!(head.contains(accept), "{head}");
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    stream.write_all(hello).await.unwrap();
    let mut echoed = [0; 7];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x81\x05Hello");
    app.stop.cancel();
    let mut close = [0; 4];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "a closing frame with 1001");
    drop(stream);
    app.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_app_does_not_have_is_said_so() {
    let app = Running::start().await;
    for (request, expected) in [
        ("GET /nothing HTTP/1.1", "404"),
        ("GET /upload HTTP/1.1", "405"),
        ("POST / HTTP/1.1", "405"),
        ("DELETE /whoami HTTP/1.1", "405"),
        ("GET /ws HTTP/1.1", "426"),
        ("GET /sample.css HTTP/1.1", "200"),
        ("HEAD /sample.js HTTP/1.1", "200"),
    ] {
        let answer = app.ask(&[request], b"").await;
        assert_eq!(
            answer.split(' ').nth(1),
            Some(expected),
            "{request}: {answer}"
        );
    }
}
