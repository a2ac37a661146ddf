//! What is sent to an app again, and which connections serve no more: REL-03, SEC-05.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::harness::*;

/// Takes each `/second` on one of its connections, or on all of them, without a word.
async fn dies_at_the_second(every_connection: bool) -> Upstream {
    Upstream::scripted(move |exchange| {
        Box::pin(async move {
            let dies = every_connection || exchange.connection() == 0;
            if dies && exchange.target() == "/second" {
                exchange.close();
            } else {
                echo(exchange).await;
            }
        })
    })
    .await
}

#[tokio::test]
async fn rel_03_only_what_may_be_sent_twice_is_sent_again() {
    for (method, body, sent) in [
        (Method::GET, "", 2),
        (Method::HEAD, "", 2),
        (Method::OPTIONS, "", 2),
        (Method::DELETE, "", 2),
        (Method::PUT, "", 2),
        (Method::PUT, "body", 1),
        (Method::GET, "body", 1),
        (Method::POST, "", 1),
        (Method::POST, "body", 1),
        (Method::PATCH, "", 1),
    ] {
        let app = dies_at_the_second(false).await;
        let gate = Vestibule::before(&app).public().start().await;
        let browser = gate.browser();
        browser.get("/first").await.assert_status(200);
        let what = format!("{method} with {} bytes", body.len());
        let reply = browser
            .request(method, "/second", &[], Bytes::from(body))
            .await;
        assert_eq!(reply.status, if sent == 2 { 200 } else { 502 }, "{what}");
        let received = app.received();
        let second = received.iter().filter(|got| got.target() == "/second");
        let connections: Vec<_> = second.map(|got| got.connection).collect();
        assert_eq!(connections, [0, 1][..sent], "{what}");
    }
}

#[tokio::test]
async fn rel_03_a_request_is_sent_again_once_and_not_more_often() {
    let app = dies_at_the_second(true).await;
    let gate = Vestibule::before(&app).public().start().await;
    gate.browser().get("/first").await.assert_status(200);
    gate.browser().get("/second").await.assert_status(502);
    assert_eq!(app.requests(), 3);
}

/// Answers one request; the second one finds it gone, and nobody at its address.
fn gone_at_the_second() -> (SocketAddr, JoinHandle<()>) {
    let address = held_port(); // so that nobody else listens there afterwards
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_reuseaddr(true).unwrap();
    listener.bind(address).unwrap();
    let listener = listener.listen(8).unwrap();
    let serving = tokio::spawn(async move {
        let (mut app, _) = listener.accept().await.unwrap();
        read_head(&mut app).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
        app.write_all(answer).await.unwrap();
        read_head(&mut app).await;
        drop(listener);
    });
    (address, serving)
}

async fn read_head(app: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(app.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn rel_03_a_request_whose_address_is_gone_goes_to_another_one_if_it_may() {
    for (method, body, status) in [
        (Method::GET, "", 200),
        (Method::DELETE, "", 200),
        (Method::POST, "", 502),
        (Method::PUT, "body", 502),
    ] {
        for host in ["", "preserve_host = false\n"] {
            let (gone, serving) = gone_at_the_second();
            let other = Upstream::echo().await;
            let section = format!(
                "[[app]]\nupstream = [\"http://{gone}\", \"{}\"]\n{host}",
                other.url()
            );
            let gate = Vestibule::before_app(&section).public().start().await;
            let browser = gate.browser();
            browser.get("/first").await.assert_contains("first");
            browser.get("/in-turn").await.assert_contains("/in-turn");
            let reply = browser
                .request(method.clone(), "/again", &[], Bytes::from(body))
                .await;
            assert_eq!(reply.status, status, "{method} {body:?} {host:?}");
            serving.await.unwrap();
            if status == 200 {
                reply.assert_contains("/again");
                let expected = if host.is_empty() {
                    "gate.test"
                } else {
                    &other.authority()
                };
                assert_eq!(other.last().value("host"), Some(expected));
            }
            assert_eq!(other.requests(), if status == 200 { 2 } else { 1 });
        }
    }
}

#[tokio::test]
async fn sec_92_a_request_that_signs_its_connection_in_goes_to_no_other_address() {
    let (gone, serving) = gone_at_the_second();
    let other = Upstream::echo().await;
    let section = format!(
        "[[app]]\nupstream = [\"http://{gone}\", \"{}\"]\n",
        other.url()
    );
    let gate = Vestibule::before_app(&section);
    let gate = gate.user("ada", PASSWORD).start().await;
    let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut client = gate.raw().await;
    for (credentials, status) in [("", 200), ("", 200), ("Authorization: NTLM TYPE1\r\n", 502)] {
        let head = "GET / HTTP/1.1\r\nHost: gate.test\r\n";
        client
            .send(format!("{head}Cookie: {cookie}\r\n{credentials}\r\n"))
            .await;
        client.response().await.assert_status(status);
    }
    serving.await.unwrap();
    assert_eq!(other.requests(), 1);
}

#[tokio::test]
async fn rel_03_where_all_addresses_are_gone_the_answer_is_502() {
    let (gone, serving) = gone_at_the_second();
    let mut other = Upstream::echo().await;
    let section = format!(
        "[[app]]\nupstream = [\"http://{gone}\", \"{}\"]\n",
        other.url()
    );
    let gate = Vestibule::before_app(&section).public().start().await;
    let browser = gate.browser();
    browser.get("/first").await.assert_contains("first");
    browser.get("/in-turn").await.assert_contains("/in-turn");
    other.stop().await;
    browser.get("/again").await.assert_status(502);
    serving.await.unwrap();
}

#[tokio::test]
async fn rel_03_an_answer_that_has_begun_is_not_asked_for_again() {
    for begun in ["H", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let app = Upstream::scripted(move |exchange| {
            Box::pin(async move {
                if exchange.target() == "/second" {
                    exchange.send(begun).await;
                    exchange.close();
                } else {
                    echo(exchange).await;
                }
            })
        })
        .await;
        let gate = Vestibule::before(&app).public().start().await;
        gate.browser().get("/first").await.assert_status(200);
        gate.browser().get("/second").await.assert_status(502);
        assert_eq!(app.requests(), 2, "after {begun:?}");
    }
}

#[tokio::test]
async fn sec_05_an_answer_before_the_end_of_its_request_ends_the_connection_at_once() {
    for framing in [
        "Content-Length: 1000\r\n\r\nsmuggled",
        "Transfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n",
    ] {
        let app = Upstream::scripted(|exchange| {
            Box::pin(async {
                if exchange.target() == "/upload" {
                    exchange.reply("403 Forbidden", &[], "no uploads").await;
                } else {
                    echo(exchange).await;
                }
            })
        })
        .await;
        let gate = Vestibule::before(&app).public().start().await;
        let mut client = gate.raw().await;
        client
            .send(format!(
                "POST /upload HTTP/1.1\r\nHost: gate.test\r\n{framing}"
            ))
            .await;
        let reply = client.response().await;
        let answered = Instant::now();
        reply.assert_status(403).assert_contains("no uploads");
        eventually("the app's connection to close", || app.closed() == 1).await;
        // And not when the client has sent too little for too long (SEC-26).
        assert!(answered.elapsed() < Duration::from_secs(3), "{framing:?}");

        // What comes now cannot be told from the rest of the body.
        client
            .send("GET /next HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .await;
        assert_eq!(client.rest().await, "", "after {framing:?}");
        gate.browser().get("/other").await.assert_status(200);
        let received = app.received();
        let seen: Vec<_> = received
            .iter()
            .map(|got| (got.target(), got.connection))
            .collect();
        assert_eq!(seen, [("/upload", 0), ("/other", 1)]);
    }
}
