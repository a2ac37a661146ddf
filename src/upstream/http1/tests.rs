mod responses;

use std::task::Poll;

use http::{HeaderValue, header};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn connect() -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(64);
    (
        Connection::new(Box::new(ours), BytesReceived::default()),
        theirs,
    )
}

fn get() -> Request<RequestBody> {
    Request::get("/").body(RequestBody::empty()).unwrap()
}

fn post(body: &'static str, length: usize) -> Request<RequestBody> {
    let request = Request::post("/").header(header::CONTENT_LENGTH, length);
    let body = RequestBody::whole(Bytes::from_static(body.as_bytes()));
    request.body(body).unwrap()
}

/// Reads a head, as an application does.
async fn read_head(app: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(app.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn content(connection: &mut Connection) -> Result<Vec<u8>, ResponseError> {
    let mut content = Vec::new();
    while let Some(bytes) = poll_fn(|cx| connection.poll_content(cx)).await {
        content.extend_from_slice(&bytes?);
    }
    Ok(content)
}

#[tokio::test]
async fn a_request_is_written_with_names_as_people_write_them() {
    let (mut connection, mut app) = connect();
    let request = Request::get("https://wiki.test?c=d")
        .header(header::HOST, "wiki.test")
        .header("x-forwarded-for", "::1")
        .header("soapaction", "B\u{e4}r")
        .body(RequestBody::empty())
        .unwrap();
    let sending =
        tokio::spawn(async move { connection.send(Message::Request(request)).await.map(drop) });
    let expected = "GET /?c=d HTTP/1.1\r\nHost: wiki.test\r\nX-Forwarded-For: ::1\r\n\
        Soapaction: B\u{e4}r\r\n\r\n";
    assert_eq!(read_head(&mut app).await, expected);
    drop(app);
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, ResponseError::Closed), "{error:?}");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (mut connection, mut app) = connect();
    let app = tokio::spawn(async move {
        for n in 0..3 {
            read_head(&mut app).await;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
            app.write_all(answer.as_bytes()).await.unwrap();
        }
        app
    });
    for n in 0..3 {
        assert!(connection.is_open());
        let request = if n == 1 { post("", 0) } else { get() };
        connection.send(Message::Request(request)).await.unwrap();
        assert_eq!(content(&mut connection).await.unwrap(), [b'0' + n]);
        assert!(connection.rest());
    }
    assert!(connection.is_open());
    let mut app = app.await.unwrap();
    app.write_all(b"H").await.unwrap();
    assert!(!connection.is_open(), "bytes that nobody has asked for");
    drop(app);
    assert!(!connection.is_open(), "the application has gone");
}

#[tokio::test]
async fn a_body_is_as_long_as_its_head_says() {
    let no_length = Request::post("/").body(RequestBody::whole(Bytes::from_static(b"abc")));
    let mut both = post("abc", 3);
    let chunked = HeaderValue::from_static("chunked");
    both.headers_mut()
        .insert(header::TRANSFER_ENCODING, chunked);
    for request in [
        post("abc", 2),
        post("abc", 4),
        post("", 1),
        no_length.unwrap(),
        both,
    ] {
        let (mut connection, mut app) = connect();
        let head = format!("{:?}", request.headers());
        let error = connection
            .send(Message::Request(request))
            .await
            .unwrap_err();
        assert!(error.is_of_request(), "{head}: {error:?}");
        drop(connection);
        let mut sent = String::new();
        app.read_to_string(&mut sent).await.unwrap();
        assert_eq!(sent, "", "{head}");
    }
}

#[tokio::test]
async fn bodies_are_sent_whole_however_little_the_application_takes() {
    let text: &'static str = "0123456789".repeat(1000).leak();
    let chunked = Request::post("/")
        .header(header::TRANSFER_ENCODING, "chunked")
        .body(RequestBody::whole(Bytes::from_static(text.as_bytes())));
    let framed = format!("2710\r\n{text}\r\n0\r\n\r\n");
    for (request, expected) in [
        (post(text, text.len()), text),
        (chunked.unwrap(), framed.as_str()),
    ] {
        let (mut connection, mut app) = connect();
        let sending = tokio::spawn(async move {
            connection.send(Message::Request(request)).await.unwrap();
            connection
        });
        read_head(&mut app).await;
        let mut sent = vec![0; expected.len()];
        app.read_exact(&mut sent).await.unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
        app.write_all(b"HTTP/1.1 204 OK\r\n\r\n").await.unwrap();
        assert!(sending.await.unwrap().is_open());
    }
}

/// The client may send all of its request before it reads any of the response.
#[tokio::test]
async fn an_early_response_does_not_stop_its_request() {
    let text: &'static str = "0123456789".repeat(1000).leak();
    let (mut connection, mut app) = connect();
    let sending = tokio::spawn(async move {
        connection
            .send(Message::Request(post(text, text.len())))
            .await
            .unwrap();
        connection
    });
    read_head(&mut app).await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    app.write_all(head).await.unwrap();
    let mut connection = sending.await.unwrap();
    let mut sent = vec![0; text.len()];
    app.read_exact(&mut sent).await.unwrap(); // nobody polls the connection
    assert_eq!(sent, text.as_bytes());
    app.write_all(b"ok").await.unwrap();
    assert_eq!(content(&mut connection).await.unwrap(), b"ok");
    assert!(!connection.is_open());
}

/// SEC-05: what is left of the request is not sent on behalf of nobody.
#[tokio::test]
async fn sec_05_the_rest_of_a_request_ends_with_its_response() {
    let text: &'static str = "0123456789".repeat(1000).leak();
    let (mut connection, mut app) = connect();
    let sending = tokio::spawn(async move {
        connection
            .send(Message::Request(post(text, text.len())))
            .await
            .unwrap();
        connection
    });
    read_head(&mut app).await;
    let head = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
    app.write_all(head).await.unwrap();
    let mut connection = sending.await.unwrap();
    assert_eq!(content(&mut connection).await.unwrap(), b"no");
    assert!(!connection.rest(), "it serves no other request");
    drop(connection);
    let mut sent = Vec::new();
    app.read_to_end(&mut sent).await.unwrap();
    assert!(sent.len() < text.len(), "{}", sent.len());
}

/// An application that refuses a request and closes has answered all the same.
#[tokio::test]
async fn a_response_counts_though_the_request_could_not_be_written() {
    let text: &'static str = "0123456789".repeat(1000).leak();
    let (mut connection, mut app) = connect();
    let sending = tokio::spawn(async move {
        connection
            .send(Message::Request(post(text, text.len())))
            .await
    });
    read_head(&mut app).await;
    let answer = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n";
    app.write_all(answer).await.unwrap();
    drop(app);
    assert_eq!(sending.await.unwrap().unwrap().status(), 413);
}

#[tokio::test]
async fn a_tunnel_has_what_came_right_after_the_handshake() {
    let (mut connection, mut app) = connect();
    let app = tokio::spawn(async move {
        read_head(&mut app).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst";
        app.write_all(answer).await.unwrap();
        app
    });
    let response = connection.send(Message::Request(get())).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut app = app.await.unwrap();
    assert!(connection.is_at_end() && !connection.rest());
    let (mut stream, first) = connection.take_stream().unwrap();
    assert_eq!(first, "first");
    stream.write_all(b"up").await.unwrap();
    let mut up = [0; 2];
    app.read_exact(&mut up).await.unwrap();
    assert_eq!(&up, b"up");
    assert!(connection.take_stream().is_none());
}

/// Tokio tells a task that has done much already "later" without looking.
#[tokio::test]
async fn rel_03_a_closed_connection_is_seen_whatever_the_task_has_done_before() {
    let (mut connection, app) = connect();
    drop(app);
    poll_fn(|cx| {
        while tokio::task::coop::has_budget_remaining() {
            let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
        }
        Poll::Ready(())
    })
    .await;
    assert!(!tokio::task::coop::has_budget_remaining());
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_connection_that_has_become_a_tunnel_is_not_open() {
    let (mut connection, _app) = connect();
    drop(connection.take_stream());
    assert!(!connection.is_open());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        connection.poll_content(&mut cx),
        Poll::Ready(None)
    ));
}

/// A connection that takes nothing, and of which nothing comes.
struct Deaf;

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_app_that_takes_nothing_and_says_nothing_is_not_waited_for() {
    let mut connection = Connection::new(Box::new(Deaf), BytesReceived::default());
    let sent = connection.send(Message::Request(get())).await;
    assert!(matches!(sent, Err(ResponseError::Io(_))), "{sent:?}");
}

/// REL-03: what is sent once more is what was written, byte for byte.
#[tokio::test]
async fn rel_03_a_request_without_an_answer_can_be_written_to_another_connection() {
    let (mut dead, mut app) = connect();
    let request = Request::head("/a?b").header(header::HOST, "wiki.test");
    let request = request.body(RequestBody::empty()).unwrap();
    let sending = tokio::spawn(async move {
        let error = dead.send(Message::Request(request)).await.unwrap_err();
        assert!(matches!(error, ResponseError::Closed), "{error:?}");
        dead.take_written()
    });
    let first = read_head(&mut app).await;
    drop(app);
    let written = sending.await.unwrap();
    let (mut fresh, mut app) = connect();
    let sending = tokio::spawn(async move {
        let response = fresh.send(Message::Written(written)).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "3");
        fresh.is_open()
    });
    assert_eq!(read_head(&mut app).await, first);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    app.write_all(answer).await.unwrap();
    assert!(sending.await.unwrap(), "it is still known for a HEAD");
}
