//! Servers that go away, change, hang, or are none.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::redis::test_server::{address, settings};
use crate::redis::{Address, Servers, Settings};

fn impatient(settings: Settings) -> Arc<Settings> {
    Arc::new(Settings {
        timeout: Duration::from_millis(300),
        ..settings
    })
}

#[tokio::test]
async fn rel_10_a_server_that_hangs_keeps_one_command_waiting_and_no_other() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let link = Link::open(&impatient(server.settings()), &Clock::system()).unwrap();
    until_it_writes(&link).await;
    server.stop();
    let ping = cmd("PING");
    assert_eq!(link.query(&ping).await, Err(LinkError::Unavailable));
    let refused = timeout(Duration::from_millis(100), link.query(&ping)).await;
    assert_eq!(refused, Ok(Err(LinkError::Unavailable)), "at once");
    until_it_says(&link, "it did not answer in time").await;
    server.go_on();
    until_it_writes(&link).await;
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_and_found_again_when_it_is_one() {
    let (Some(server), Some(other)) = (TestServer::start(), TestServer::start()) else {
        return;
    };
    let link = server.link();
    until_it_writes(&link).await;
    let port = other.port().to_string();
    server.ask(&["REPLICAOF", "127.0.0.1", &port]);
    let write = cmd("SET").arg("vestibule:a").arg("1").take();
    assert_eq!(link.query(&write).await, Err(LinkError::Unavailable));
    until_it_says(&link, "it is a replica").await;
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    until_it_writes(&link).await;
}

#[tokio::test]
async fn an_old_connection_is_replaced_and_no_command_fails() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let settings = Arc::new(server.settings());
    let age = Duration::from_millis(50);
    let link = Link::open_with(&settings, &Clock::system(), age).unwrap();
    until_it_writes(&link).await;
    let first = link.generation().borrow().clone();
    while link.generation().borrow().number < first.number + 4 {
        assert!(link.query(&cmd("PING")).await.is_ok());
    }
    assert_eq!(link.generation().borrow().run_id, first.run_id);
    // Of which one is that of the test.
    let clients = || server.ask(&["CLIENT", "LIST"]).matches("addr=").count() / 2;
    until("the old connections to be closed", async || clients() <= 3).await;
    drop(link);
    until("the last connection to be closed", async || clients() == 1).await;
}

/// Answers each connection so when it was asked something, and keeps it open.
async fn impostor(answer: &'static str) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
    }
}

#[tokio::test]
async fn what_is_no_server_is_called_so() {
    const NONE: &str = "neither Redis nor Valkey";
    for (answer, said) in [
        ("", "it did not answer in time"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", NONE),
        ("+OK\r\n+OK\r\n", NONE),
        ("*2\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n", NONE),
        ("$9\r\nrun_id:a\n\r\n*0\r\n", NONE),
        ("-ERR no\r\n-ERR no\r\n", "it refuses: ERR no"),
        ("-LOADING a\r\n-LOADING b\r\n", "it refuses: LOADING a"),
    ] {
        let settings = settings(Servers::One(impostor(answer).await));
        let link = Link::open(&impatient(settings), &Clock::system()).unwrap();
        until_it_says(&link, said).await;
        let refused = is_at_once(link.query(&cmd("PING"))).await;
        assert_eq!(refused, Err(LinkError::Unavailable));
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_said_to_be_one() {
    let at = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 1,
        tls: false,
    };
    let link = Link::open(&Arc::new(settings(Servers::One(at))), &Clock::system()).unwrap();
    until_it_says(&link, "refused").await;
}

#[tokio::test]
async fn valkey_and_unix_sockets_are_spoken_to_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let options = ["--unixsocket", socket.to_str().unwrap()];
    let Some(server) = crate::redis::servers::Redis::valkey(&options) else {
        return;
    };
    for at in [address(&server), Address::Unix(socket)] {
        let link = Link::open(&Arc::new(settings(Servers::One(at))), &Clock::system()).unwrap();
        until_it_writes(&link).await;
        let version = link.state().servers[0].version.clone();
        assert!(version.starts_with("Valkey "), "{version}");
    }
}
