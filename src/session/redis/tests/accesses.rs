//! Accesses, and servers that do not take them.

use super::*;
use crate::clock::Timestamp;

/// Until the store has this access.
async fn is_written(witness: &Redis, key: SessionKey, at: Timestamp) {
    let written = async {
        while witness.load(key).await.unwrap().unwrap().last_accessed < at {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_mins(1), written).await;
    written.expect("the store is told of it");
}

/// Else other nodes would take whoever is working for idle, and nobody can sign in meanwhile.
#[tokio::test]
async fn rel_10_a_session_in_use_does_not_idle_out_though_the_memory_of_the_store_is_full() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(here.insert(record("eve")).await.is_err());
    let at = ada.last_accessed.plus(Duration::from_secs(1));
    here.touch(ada.key, at);
    is_written(&there, ada.key, at).await;
}

/// A session of this shard.
fn record_in(shard: usize) -> Arc<Record> {
    let mut records = std::iter::repeat_with(|| record("ada"));
    let is_there = |record: &Arc<Record>| keys::Short::of(&record.key).shard().index() == shard;
    records.find(is_there).unwrap()
}

/// In a cluster, each part has an ACL and a memory of its own.
#[tokio::test]
async fn rel_10_a_part_of_the_store_that_refuses_accesses_keeps_those_of_no_other_part_waiting() {
    let server = server!();
    let node = node(&server).await;
    let (first, last) = (record_in(0), record_in(15));
    for record in [&first, &last] {
        node.insert(Arc::clone(record)).await.unwrap();
    }
    let of_first = format!("%R~{}", name(&node, &first.key));
    let of_others = "~*{[1-9a-f]}*";
    let acl = [
        "ACL",
        "SETUSER",
        "default",
        "resetkeys",
        of_others,
        &of_first,
    ];
    assert_eq!(server.ask(&acl), "OK\n");
    let last_access = |record: &Arc<Record>| {
        let name = name(&node, &record.key);
        server.ask(&["GETRANGE", &name, "0", &(value::ACCESS - 1).to_string()])
    };
    let before = [&first, &last].map(last_access);
    for record in [&first, &last] {
        let at = record.last_accessed.plus(Duration::from_mins(1));
        node.touch(record.key, at);
    }
    assert_eq!(node.shared.write_accesses().await, Err(StoreError::Refused));
    assert_eq!(last_access(&first), before[0]);
    assert_ne!(last_access(&last), before[1]);
}

#[tokio::test]
async fn accesses_that_a_store_has_refused_are_written_once_it_takes_them() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    server.ask(&["ACL", "SETUSER", "default", "-setrange"]);
    let at = ada.last_accessed.plus(Duration::from_secs(1));
    node.touch(ada.key, at);
    assert_eq!(node.shared.write_accesses().await, Err(StoreError::Refused));
    server.ask(&["ACL", "SETUSER", "default", "+setrange"]);
    let witness = super::node(&server).await;
    is_written(&witness, ada.key, at).await;
}
