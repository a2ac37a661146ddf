//! On real servers.

use std::time::Duration;

use ::redis::{Script, Value, cmd, pipe};
use tokio::time::{sleep, timeout};

use super::*;
use crate::redis::test_server::TestServer;

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the server answers.
async fn until_it_answers(link: &Link) {
    let answers = async {
        while link.query(&cmd("PING")).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, answers).await.unwrap();
}

#[tokio::test]
async fn commands_pipelines_and_scripts_are_answered() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let link = server.link();
    let set = link.query(cmd("SET").arg("vestibule:a").arg("1")).await;
    assert_eq!(set, Ok(Value::Okay), "the first connection is waited for");
    let mut several = pipe();
    several.cmd("INCR").arg("vestibule:a");
    several.cmd("GET").arg("vestibule:a");
    let answers = link.pipeline(&several).await.unwrap();
    assert_eq!(answers, [Value::Int(2), Value::BulkString(b"2".to_vec())]);
    assert_eq!(link.pipeline(&pipe()).await, Ok(Vec::new()));
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for expected in [7, 12] {
        let sum = link.script(&script, &[b"vestibule:a"], &[b"5"]).await;
        assert_eq!(sum, Ok(Value::Int(expected)));
        link.query(cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    }
    let state = link.state();
    assert!(state.connected && state.error.is_none(), "{state:?}");
    assert!(
        state.servers[0].version.contains(char::is_numeric),
        "{state:?}"
    );
    assert!(state.servers[0].clock_ahead.abs() < 1000, "{state:?}");
}

#[tokio::test]
async fn what_the_server_refuses_says_nothing_of_the_command() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let link = server.link();
    let refused = link.query(cmd("NOSUCH").arg("secret")).await;
    let Err(LinkError::Refused(said)) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(said, "ERR unknown command 'NOSUCH'");
    link.query(cmd("LPUSH").arg("a").arg("1")).await.unwrap();
    let refused = link.query(cmd("GET").arg("a")).await.unwrap_err();
    assert!(matches!(refused, LinkError::Refused(said) if said.starts_with("WRONGTYPE")));
    link.query(cmd("CONFIG").arg("SET").arg("maxmemory").arg("1"))
        .await
        .unwrap();
    let full = link.query(cmd("SET").arg("b").arg("1")).await;
    assert_eq!(full, Err(LinkError::Full));
    assert!(link.state().connected);
}

#[tokio::test]
async fn rel_10_a_server_that_is_killed_fails_at_once_and_is_found_again() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let link = server.link();
    until_it_answers(&link).await;
    let mut generation = link.generation();
    let first = generation.borrow_and_update().clone();
    server.kill();
    let lost = generation.wait_for(|generation| !generation.connected);
    timeout(PATIENCE, lost).await.unwrap().unwrap();
    let begun = Clock::stopwatch();
    assert_eq!(link.query(&cmd("PING")).await, Err(LinkError::Unavailable));
    assert!(begun.elapsed() < Duration::from_millis(200), "nobody waits");
    assert!(!link.state().connected);
    server.restart();
    until_it_answers(&link).await;
    let second = link.generation().borrow().clone();
    assert!(second.number > first.number && second.run_id != first.run_id);
    assert!(link.state().connected);
}

#[tokio::test]
async fn messages_wake_and_do_so_again_after_a_restart() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let link = server.link();
    until_it_answers(&link).await;
    let mut woken = link.wake_ups("vestibule:ends");
    for _ in 0..2 {
        // Once for the subscription itself.
        timeout(PATIENCE, woken.recv()).await.unwrap().unwrap();
        let publish = cmd("PUBLISH").arg("vestibule:ends").arg("").clone();
        assert_eq!(link.query(&publish).await, Ok(Value::Int(1)));
        timeout(PATIENCE, woken.recv()).await.unwrap().unwrap();
        server.restart();
        until_it_answers(&link).await;
    }
    drop(link);
    let ended = async { while woken.recv().await.is_some() {} };
    timeout(PATIENCE, ended).await.unwrap();
}
