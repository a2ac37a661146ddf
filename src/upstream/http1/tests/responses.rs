//! What is read of an application.

use super::*;

/// What comes of a request that is answered with these bytes, in pieces of so many, and then the end
/// of the connection: the head, the content, and whether the connection could serve another request
/// before that end.
async fn exchange(
    request: Request<RequestBody>,
    answer: &'static [u8],
    piece: usize,
) -> Result<(Response<()>, Vec<u8>, bool), ResponseError> {
    let (mut connection, mut app) = connect();
    let (whole, over) = tokio::sync::oneshot::channel::<()>();
    let (write, written) = tokio::sync::oneshot::channel::<()>();
    let app = tokio::spawn(async move {
        read_head(&mut app).await;
        for piece in answer.chunks(piece) {
            if app.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if answer.ends_with(b"<end>") {
            return;
        }
        let _ = write.send(());
        let _ = over.await;
    });
    let response = connection.send(Message::Request(request)).await;
    let exchanged = match response {
        Err(error) => Err(error),
        Ok(response) => match content(&mut connection).await {
            Err(error) => Err(error),
            Ok(content) => {
                let _ = written.await; // what comes too late to be content comes now
                Ok((response, content, connection.is_open()))
            }
        },
    };
    drop(whole);
    drop(connection);
    app.await.unwrap();
    exchanged
}

#[tokio::test]
async fn responses_end_where_they_say() {
    for (answer, expected, is_open) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "abc", true),
        (
            "\r\nHTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            "",
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nConnection: keep-alive\r\n\
             Content-Length: 3\r\n\r\nabc",
            "abc",
            false,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
             3\r\nabc\r\n0A \r\n0123456789\r\n1;x=\"y\"\r\n!\r\n0\r\n\r\n",
            "abc0123456789!",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 1\r\nX: y\r\n\r\n",
            "abc",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nabc<end>", "abc<end>", false),
        // Bytes that nobody has asked for.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd",
            "abc",
            false,
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx",
            "",
            false,
        ),
    ] {
        for piece in [1, 3, 17, 1000] {
            let exchanged = exchange(get(), answer.as_bytes(), piece).await;
            let (_, content, open) =
                exchanged.unwrap_or_else(|error| panic!("{answer:?}: {error}"));
            let content = String::from_utf8(content).unwrap();
            assert_eq!(content, expected, "{answer:?} in {piece}");
            assert_eq!(open, is_open, "{answer:?} in {piece}");
        }
    }
}

#[tokio::test]
async fn the_response_to_head_has_no_content() {
    let request = Request::head("/").body(RequestBody::empty()).unwrap();
    let answer = b"HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\n";
    let (response, content, is_open) = exchange(request, answer, 100).await.unwrap();
    assert_eq!((content, is_open), (Vec::new(), true));
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "3");
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    assert_eq!(reason.unwrap().as_bytes(), b"Fine");
}

#[tokio::test]
async fn sec_15_a_response_that_can_be_read_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length:",
        "Content-Length: 0x3",
        "Content-Length: 99999999999999999999999",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nabc").into_bytes();
        let error = exchange(get(), answer.leak(), 1000).await.unwrap_err();
        assert!(error.refusal().is_some(), "{fields}: {error:?}");
    }
    let answer = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let error = exchange(get(), answer, 1000).await.unwrap_err();
    assert!(error.refusal().is_some(), "{error:?}");
}

#[tokio::test]
async fn what_is_no_response_is_an_error() {
    for (answer, is_of_line) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", false),
        ("220 mail.test ESMTP\r\n", false),
        ("HTTP/1.1 200 OK\r\nno colon\r\n", true),
        ("HTTP/2 200 OK\r\n\r\n", false),
        ("HTTP/1.1 2x0 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", true),
    ] {
        let error = exchange(get(), answer.as_bytes(), 1000).await.unwrap_err();
        assert!(
            matches!(error, ResponseError::Head(_)),
            "{answer:?}: {error:?}"
        );
        assert_eq!(error.is_of_line(), is_of_line, "{answer:?}: {error:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(257)).into_bytes();
    let error = exchange(get(), many.leak(), 1000).await.unwrap_err();
    assert!(matches!(error, ResponseError::Head(_)), "{error:?}");
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD)).into_bytes();
    let error = exchange(get(), long.leak(), 4096).await.unwrap_err();
    assert!(matches!(error, ResponseError::LongHead), "{error:?}");
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(MOST_INTERIM / 20);
    let error = exchange(get(), interim.into_bytes().leak(), 1000)
        .await
        .unwrap_err();
    assert!(error.refusal().is_some(), "{error:?}");
}

#[tokio::test]
async fn chunks_that_are_none_are_an_error_after_what_came_before() {
    for chunks in [
        "x\r\n",
        "\r\n",
        ";a\r\n",
        "3\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3\r\nabc\r\r",
        "3 4\r\nabc",
        "-1\r\n",
        "11111111111111111\r\n",
        "3;a\nb\r\nabc\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\n\rx",
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{chunks}");
        let (mut connection, mut app) = connect();
        let app = tokio::spawn(async move {
            read_head(&mut app).await;
            let _ = app.write_all(answer.as_bytes()).await;
            let _ = app.read_u8().await;
        });
        connection.send(Message::Request(get())).await.unwrap();
        let mut before = Vec::new();
        let error = loop {
            match poll_fn(|cx| connection.poll_content(cx)).await {
                Some(Ok(bytes)) => before.extend_from_slice(&bytes),
                Some(Err(error)) => break error,
                None => panic!("{chunks:?} is taken for a whole response"),
            }
        };
        assert!(
            matches!(error, ResponseError::Chunk(_)),
            "{chunks:?}: {error:?}"
        );
        assert!(before.starts_with(b"ok"), "{chunks:?}: {before:?}");
        assert!(!connection.is_open(), "{chunks:?}");
        drop(connection);
        app.await.unwrap();
    }
}

#[tokio::test]
async fn a_response_that_is_cut_is_no_response() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc<end>",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab<end>",
    ] {
        let answer = answer.as_bytes();
        for piece in [1, 1000] {
            let (mut connection, mut app) = connect();
            let app = tokio::spawn(async move {
                read_head(&mut app).await;
                for piece in answer[..answer.len() - 5].chunks(piece) {
                    app.write_all(piece).await.unwrap();
                }
            });
            connection.send(Message::Request(get())).await.unwrap();
            let error = content(&mut connection).await.unwrap_err();
            assert!(matches!(error, ResponseError::Cut), "{error:?}");
            assert!(!connection.is_open());
            app.await.unwrap();
        }
    }
}

/// SEC-27: each piece takes more memory on its way than a byte.
#[tokio::test]
async fn sec_27_short_chunks_that_came_together_go_on_together() {
    let chunks = "1\r\nx\r\n".repeat(1000);
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let (ours, mut app) = duplex(64 * 1024);
    let mut connection = Connection::new(Box::new(ours), BytesReceived::default());
    let app = tokio::spawn(async move {
        read_head(&mut app).await;
        app.write_all(answer.as_bytes()).await.unwrap();
        app
    });
    connection.send(Message::Request(get())).await.unwrap();
    let (mut pieces, mut length) = (0, 0);
    while let Some(bytes) = poll_fn(|cx| connection.poll_content(cx)).await {
        pieces += 1;
        length += bytes.unwrap().len();
    }
    assert!(length == 1000 && pieces <= 2, "{length} in {pieces}");
    drop(app.await.unwrap());
}
