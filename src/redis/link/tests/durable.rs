//! What is answered for is on replicas.

use std::sync::Arc;

use super::*;
use crate::redis::Settings;

fn open(server: &TestServer, wait_replicas: Option<usize>) -> Link {
    let settings = Settings {
        timeout: Duration::from_millis(500),
        wait_replicas,
        ..server.settings()
    };
    Link::open(&Arc::new(settings), &Clock::system()).unwrap()
}

async fn written(link: &Link) -> Result<bool, LinkError> {
    let mark = link.mark();
    let write = cmd("SET").arg("vestibule:a").arg("1").take();
    link.query(&write).await?;
    link.durable(mark, b"vestibule:a").await
}

#[tokio::test]
async fn rel_18_a_write_is_waited_for_until_a_replica_has_it() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (never, one, where_there_are) = (
        open(&server, Some(0)),
        open(&server, Some(1)),
        open(&server, None),
    );
    for link in [&never, &one, &where_there_are] {
        until_it_writes(link).await;
    }
    assert_eq!(written(&never).await, Ok(true));
    assert_eq!(written(&one).await, Ok(false), "there is no replica");
    assert_eq!(written(&where_there_are).await, Ok(true));
    let mut replica = server.replica();
    until("the replica to count", async || {
        written(&one).await == Ok(true)
    })
    .await;
    assert_eq!(replica.ask(&["GET", "vestibule:a"]), "1\n");
    until("the replica to be seen", async || {
        replica.stop();
        let stopped = written(&where_there_are).await;
        replica.go_on();
        stopped == Ok(false)
    })
    .await;
    replica.stop();
    assert_eq!(written(&one).await, Ok(false), "it does not answer");
    assert_eq!(written(&never).await, Ok(true));
    replica.kill();
    until("the replica to be gone", async || {
        written(&where_there_are).await == Ok(true)
    })
    .await;
}

#[tokio::test]
async fn rel_18_many_who_wait_are_answered_together_and_keep_nobody_else_waiting() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let _replica = server.replica();
    let patient = Settings {
        timeout: PATIENCE,
        wait_replicas: Some(1),
        ..server.settings()
    };
    let link = Link::open(&Arc::new(patient), &Clock::system()).unwrap();
    until_it_writes(&link).await;
    let writes = (0..200).map(|_| {
        let link = link.clone();
        tokio::spawn(async move { written(&link).await })
    });
    for write in writes.collect::<Vec<_>>() {
        assert_eq!(write.await.unwrap(), Ok(true));
    }
    let rounds = server.ask(&["INFO", "commandstats"]);
    let calls = rounds
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    let calls: usize = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(calls < 150, "{calls} rounds for 200 writes");
}

#[tokio::test]
async fn rel_18_a_write_to_a_server_that_was_started_anew_is_not_said_to_be_durable() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let link = open(&server, None);
    until_it_writes(&link).await;
    let mark = link.mark();
    until_it_writes(&link).await;
    server.restart();
    until_it_writes(&link).await;
    let answer = link.durable(mark, b"vestibule:a").await;
    assert_eq!(answer, Err(LinkError::Unavailable));
    assert_eq!(written(&link).await, Ok(true));
}
