//! Connections to an app: whose answers come over them, and when they are closed.

use std::sync::Arc;

use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::harness::*;

const HELD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun";

/// SEC-15: an app, or what balances it, that answers before it was asked has answered nobody.
#[tokio::test]
async fn sec_15_an_answer_that_nobody_has_asked_for_is_nobodys() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let answer = |name: &str| {
                    let length = name.len();
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}")
                };
                stream.write_all(answer("of nobody").as_bytes()).await?;
                let mut head = vec![0; 8192];
                loop {
                    let read = stream.read(&mut head).await?;
                    let target = String::from_utf8_lossy(&head[..read]).into_owned();
                    let Some(target) = target.split_whitespace().nth(1) else {
                        return Ok::<_, std::io::Error>(());
                    };
                    stream.write_all(answer(target).as_bytes()).await?;
                }
            });
        }
    });
    let gate = Vestibule::before_url(&url).public().start().await;
    for target in ["/of-ada", "/of-bob", "/of-ada-again", "/of-bob-again"] {
        let reply = gate.browser().get(target).await;
        // Before our request, or too late to be seen in time: then it is the first one's.
        let mine = reply.status == 502 || reply.text() == target || reply.text() == "of nobody";
        assert!(mine, "{target}: {} {}", reply.status, reply.text());
    }
    app.abort();
}

/// Old servers answer HEAD with content, which may come a little late.
#[tokio::test]
async fn sec_15_content_after_head_is_nobodys() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            if exchange.head().starts_with("HEAD") {
                exchange
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")
                    .await;
                return exchange.wait_until_closed().await;
            }
            exchange.reply("200 OK", &[], "mine").await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let reply = gate
        .browser()
        .request(Method::HEAD, "/", &[], "".into())
        .await;
    reply.assert_status(200);
    assert_eq!(reply.value("content-length"), Some("90"));
    eventually("the connection is closed", || app.open_connections() == 0).await;
    assert_eq!(gate.browser().get("/").await.text(), "mine");
    assert_eq!(app.connections(), 2);
}

/// Apache once padded the sizes of chunks with blanks.
#[tokio::test]
async fn sizes_of_chunks_may_be_padded() {
    let chunks = "1     \r\nx\r\n".repeat(9_000);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let app = Upstream::raw(format!("{head}{chunks}0     \r\n\r\n")).await;
    let gate = Vestibule::before(&app).public().start().await;
    assert_eq!(gate.browser().get("/").await.text(), "x".repeat(9_000));
}

/// A long `MOVE` of `WebDAV` says every few seconds that it goes on (RFC 2518 §10.1).
#[tokio::test]
async fn an_app_may_say_often_that_it_goes_on() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    let app = Upstream::raw(format!(
        "{interim}HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    ));
    let app = app.await;
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/").await.assert_status(201);
}

/// A wrong port is said at once, and not after the time for an answer.
#[tokio::test]
async fn what_is_no_http_is_not_waited_for() {
    for banner in ["220 mail.test ESMTP\r\n", "HTTP/1.1 200 OK\r\nno field\r\n"] {
        let app = Upstream::scripted(move |exchange| {
            Box::pin(async move {
                exchange.send(banner).await;
                exchange.wait_until_closed().await;
            })
        })
        .await;
        let gate = Vestibule::before(&app).public().start().await;
        gate.browser().get("/").await.assert_status(502);
    }
}

/// Clients may repeat a request that got no byte of an answer, a POST that was acted upon with it.
#[tokio::test]
async fn an_answer_that_breaks_off_right_away_has_begun_for_its_client() {
    let app = Upstream::raw_then_close(HELD).await;
    let gate = Vestibule::before(&app).public().start().await;
    for _ in 0..20 {
        let mut client = gate.raw().await;
        client
            .send("POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n\r\n")
            .await;
        client.head().await.assert_status(200);
    }
}

/// One long download must not keep the idle connections of a configuration that has gone.
#[tokio::test]
async fn idle_connections_end_with_their_configuration() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            match exchange.target() {
                "/download" => exchange.download_without_end().await,
                _ => exchange.reply("200 OK", &[], "short").await,
            }
        })
    })
    .await;
    let mut gate = Vestibule::before(&app).public().start().await;
    let mut download = gate.raw().await;
    download
        .send("GET /download HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    download.head().await.assert_status(200);
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.open_connections(), 2);
    gate.reload(str::to_owned).unwrap();
    eventually("only the download is left", || app.open_connections() == 1).await;
}

/// What an app has closed is closed here, too, and takes no descriptor for as long as an unused
/// connection may be kept.
#[tokio::test]
async fn a_connection_that_its_app_has_closed_is_closed_here() {
    let close = Arc::new(Semaphore::new(0));
    let closing = Arc::clone(&close);
    let app = Upstream::scripted(move |exchange| {
        let closing = Arc::clone(&closing);
        Box::pin(async move {
            exchange.body().await;
            exchange.reply("200 OK", &[], "answer").await;
            closing.acquire().await.unwrap().forget();
            exchange.close();
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/").await.assert_status(200);
    let port: u16 = app.url().rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(sockets_to(port), 1);
    close.add_permits(1);
    eventually("we have closed", || sockets_to(port) == 0).await;
}
