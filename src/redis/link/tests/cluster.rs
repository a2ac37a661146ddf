//! Three servers, each with a third of the slots.

use super::*;
use crate::redis::Servers;
use crate::redis::servers::{Redis, cluster};
use crate::redis::test_server::{address, link, settings};

fn open(nodes: &[Redis]) -> Link {
    link(settings(Servers::Cluster(vec![address(&nodes[0])])))
}

fn keys() -> Vec<String> {
    (0..16).map(|n| format!("vestibule:{{{n:x}}}:a")).collect()
}

async fn until_all_write(link: &Link) {
    let all = async || {
        for key in keys() {
            if link.query(cmd("SET").arg(&key).arg("1")).await.is_err() {
                return false;
            }
        }
        true
    };
    until("all slots to take writes", all).await;
}

fn id(node: &Redis) -> String {
    node.ask(&["CLUSTER", "MYID"]).trim_end().to_owned()
}

#[tokio::test]
async fn each_command_goes_to_the_server_that_has_its_key() {
    let Some(nodes) = cluster() else {
        return;
    };
    let link = open(&nodes);
    let set = link.query(cmd("SET").arg("vestibule:{0}:a").arg("0")).await;
    assert_eq!(set, Ok(Value::Okay), "the first connection is waited for");
    until_all_write(&link).await;
    let counts = nodes
        .iter()
        .map(|node| node.ask(&["DBSIZE"]).trim_end().parse::<usize>().unwrap());
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts.iter().sum::<usize>(), 16);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");

    let mut several = pipe();
    for (number, key) in keys().iter().enumerate() {
        several.cmd("SET").arg(key).arg(number);
        several.cmd("GET").arg(key);
    }
    let answers = link.pipeline(&several).await.unwrap();
    for (number, pair) in answers.chunks(2).enumerate() {
        let text = number.to_string().into_bytes();
        assert_eq!(
            pair,
            [Value::Okay, Value::BulkString(text)],
            "in the order of the commands"
        );
    }
    let mut one_fails = pipe();
    one_fails.cmd("GET").arg("vestibule:{0}:a");
    one_fails.cmd("LPUSH").arg("vestibule:{1}:a").arg("1");
    let refused = link.pipeline(&one_fails).await.unwrap_err();
    assert!(matches!(refused, LinkError::Refused(said) if said.starts_with("WRONGTYPE")));

    let script = Script::new("return redis.call('INCR', KEYS[1])");
    for key in keys() {
        let sum = link.script(&script, &[key.as_bytes()], &[]).await;
        assert!(matches!(sum, Ok(Value::Int(_))), "{sum:?}");
    }
    assert_eq!(link.state().servers.len(), 3);
    assert_eq!(link.generation().borrow().run_id.split(',').count(), 3);
}

#[tokio::test]
async fn slots_that_move_are_followed_while_they_do() {
    let Some(nodes) = cluster() else {
        return;
    };
    let link = open(&nodes);
    until_all_write(&link).await;
    let key = &keys()[3];
    let slot = nodes[0]
        .ask(&["CLUSTER", "KEYSLOT", key])
        .trim_end()
        .to_owned();
    let at = |key: &str| {
        let has = |node: &&Redis| !node.ask(&["GET", key]).starts_with("-MOVED");
        nodes.iter().position(|node| has(&node)).unwrap()
    };
    let from = at(key);
    let to = (from + 1) % 3;
    let set_slot = |node: &Redis, words: &[&str]| {
        let command = ["CLUSTER", "SETSLOT", &slot];
        assert_eq!(node.ask(&[&command[..], words].concat()), "OK\n");
    };
    set_slot(&nodes[to], &["IMPORTING", &id(&nodes[from])]);
    set_slot(&nodes[from], &["MIGRATING", &id(&nodes[to])]);
    let port = nodes[to].port().to_string();
    nodes[from].ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
    // The key is there, and the slot is not yet.
    let read = cmd("GET").arg(key).take();
    assert_eq!(
        link.query(&read).await,
        Ok(Value::BulkString(b"1".to_vec()))
    );
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let sum = link.script(&script, &[key.as_bytes()], &[]).await;
    assert_eq!(sum, Ok(Value::Int(2)));
    let mut several = pipe();
    several.cmd("INCR").arg(key);
    several.cmd("GET").arg(&keys()[4]);
    let answers = link.pipeline(&several).await.unwrap();
    assert_eq!(answers, [Value::Int(3), Value::BulkString(b"1".to_vec())]);
    for node in [to, from, (from + 2) % 3] {
        set_slot(&nodes[node], &["NODE", &id(&nodes[to])]);
    }
    for expected in 4..8 {
        let sum = link.query(cmd("INCR").arg(key)).await;
        assert_eq!(sum, Ok(Value::Int(expected)));
    }
}

#[tokio::test]
async fn rel_10_a_server_of_a_cluster_that_is_killed_is_found_again() {
    let Some(mut nodes) = cluster() else {
        return;
    };
    let link = open(&nodes);
    until_all_write(&link).await;
    let before = link.generation().borrow().clone();
    nodes[0].kill();
    let mut generation = link.generation();
    let lost = generation.wait_for(|generation| !generation.connected);
    timeout(PATIENCE, lost).await.unwrap().unwrap();
    let refused = async || {
        let mut refused = 0;
        for key in keys() {
            let read = is_at_once(link.query(cmd("GET").arg(&key))).await;
            refused += usize::from(read == Err(LinkError::Unavailable));
        }
        refused
    };
    assert!(refused().await > 0);
    nodes[0].start_again();
    until_all_write(&link).await;
    let connected = async || link.generation().borrow().connected;
    until("the link to be whole", connected).await;
    let after = link.generation().borrow().clone();
    assert!(after.number > before.number && after.run_id != before.run_id);
}

#[tokio::test]
async fn a_cluster_and_a_single_server_are_not_taken_for_each_other() {
    let (Some(nodes), Some(server)) = (cluster(), TestServer::start()) else {
        return;
    };
    let one = link(settings(Servers::One(address(&nodes[0]))));
    until_it_says(&one, "it is one node of a cluster").await;
    let many = link(settings(Servers::Cluster(vec![server.address()])));
    until_it_says(&many, "cluster support disabled").await;
}
