//! On real servers.

mod cluster;
mod durable;
mod failures;
mod sentinel;
mod sign_in;
mod tls;

use std::time::Duration;

use ::redis::{Script, Value, cmd, pipe};
use tokio::time::{sleep, timeout};

use super::*;
use crate::redis::test_server::TestServer;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let held = timeout(PATIENCE, holds).await;
    assert!(held.is_ok(), "waited in vain for {what}");
}

/// Writes until the server takes it.
async fn until_it_writes(link: &Link) {
    let write = cmd("SET").arg("vestibule:written").arg("1").take();
    let written = async || link.query(&write).await.is_ok();
    until("the server to take a write", written).await;
}

/// Waits for what is said of the connection that there is not.
async fn until_it_says(link: &Link, what: &str) {
    let said = async {
        loop {
            let state = link.state();
            if !state.connected && state.error.is_some_and(|error| error.contains(what)) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let said = timeout(PATIENCE, said).await;
    assert!(said.is_ok(), "{what:?}, and not {:?}", link.state());
}

async fn is_at_once<T>(future: impl Future<Output = T>) -> T {
    let begun = Clock::stopwatch();
    let output = future.await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(500), "nobody waits: {took:?}");
    output
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
    until_it_writes(&link).await;
    let mut generation = link.generation();
    let first = generation.borrow_and_update().clone();
    server.kill();
    let lost = generation.wait_for(|generation| !generation.connected);
    timeout(PATIENCE, lost).await.unwrap().unwrap();
    let refused = is_at_once(link.query(&cmd("PING"))).await;
    assert_eq!(refused, Err(LinkError::Unavailable));
    assert!(!link.state().connected);
    server.restart();
    until_it_writes(&link).await;
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
    until_it_writes(&link).await;
    let mut woken = link.wake_ups("vestibule:ends");
    for _ in 0..2 {
        // Once for the subscription itself.
        timeout(PATIENCE, woken.recv()).await.unwrap().unwrap();
        let publish = cmd("PUBLISH").arg("vestibule:ends").arg("").clone();
        assert_eq!(link.query(&publish).await, Ok(Value::Int(1)));
        timeout(PATIENCE, woken.recv()).await.unwrap().unwrap();
        server.restart();
        until_it_writes(&link).await;
    }
    drop(link);
    let ended = async { while woken.recv().await.is_some() {} };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn rel_10_a_connection_that_is_there_before_its_route_is_told_of() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let settings = Arc::new(server.settings());
    let keys = settings.keys().unwrap();
    let shared = Arc::new(Shared::new(&settings, keys, &Clock::system(), AGE));
    // As on a machine that has other things to do than to go on here.
    let member = shared.member(Target::One(server.address()), None);
    let node = Arc::clone(&member.node);
    until("a connection", async || node.current().is_some()).await;
    shared.set_routes(Routes::one(member));
    assert!(shared.generation.borrow().connected);
    shared.close();
}
