use std::sync::Arc;

use super::super::record::tests::record;
use super::super::store::conformance::conformance_tests;
use super::super::store::conformance::shared::shared_store_tests;
use super::*;
use crate::redis::servers::Slow;
use crate::redis::test_server::{TestServer, link, settings};
use crate::redis::{Address, Settings};

mod accesses;
mod damage;
mod delays;
mod ends;
mod failover;
mod idle;
mod indexes;
mod lost;
mod memory;
mod others;
mod removed;
mod sweep;

/// A node of those that share a server; it has read the streams once.
async fn node(server: &TestServer) -> Redis {
    node_of(server.settings()).await
}

/// A node that waits for the server and the others for longer than any machine takes.
async fn patient_node(server: &TestServer) -> Redis {
    node_of(patient(server.settings())).await
}

fn patient(settings: Settings) -> Settings {
    Settings {
        timeout: Duration::from_secs(20),
        ..settings
    }
}

async fn node_of(settings: Settings) -> Redis {
    let node = Redis::open(link(settings), &Clock::system()).unwrap();
    let mut read = node.shared.read.subscribe();
    let begun = read.wait_for(|read| *read > Timestamp::default());
    let begun = tokio::time::timeout(Duration::from_secs(30), begun).await;
    begun.expect("the streams are read").unwrap();
    node
}

fn slow_address(slow: &Slow) -> Address {
    Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: slow.url().rsplit_once(':').unwrap().1.parse().unwrap(),
        tls: false,
    }
}

/// A server, or the end of the test where none is installed.
macro_rules! server {
    () => {
        match TestServer::start() {
            Some(server) => server,
            None => return,
        }
    };
}
use server;

conformance_tests!({
    let server = server!();
    let node = node(&server).await;
    (server, Arc::new(node))
});

shared_store_tests!({
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    (server, Arc::new(here), Arc::new(there))
});

mod valkey {
    use super::*;
    use crate::redis::servers::Redis as Server;

    conformance_tests!({
        let Some(server) = Server::valkey(&[]).map(TestServer) else {
            return;
        };
        let node = node(&server).await;
        (server, Arc::new(node))
    });
}

mod cluster {
    use super::*;
    use crate::redis::Servers;
    use crate::redis::test_server::address;

    conformance_tests!({
        let Some(servers) = crate::redis::servers::cluster() else {
            return;
        };
        let nodes = servers.iter().map(address).collect();
        let node = node_of(settings(Servers::Cluster(nodes))).await;
        (servers, Arc::new(node))
    });
}

fn name(node: &Redis, key: &SessionKey) -> String {
    node.shared.names.record(keys::Short::of(key))
}

/// Where the epoch of a user is: the key, and the field.
fn epoch_of(node: &Redis, user: &str) -> (String, String) {
    node.shared.field_of(EndScope::User(UserKey::of(user)))
}

fn has_epoch(node: &Redis, server: &TestServer, user: &str) -> bool {
    let (key, field) = epoch_of(node, user);
    server.ask(&["HEXISTS", &key, &field]) == "1\n"
}

/// Once round all epochs, where there are few.
async fn sweep(node: &Redis, longest: Duration) {
    for _ in 0..keys::SHARDS {
        node.shared.remove_older(longest).await.unwrap();
    }
}

/// Until the epoch of a user is old enough to be removed.
async fn sweep_away(node: &Redis, server: &TestServer, user: &str, longest: Duration) {
    let swept = async {
        while has_epoch(node, server, user) {
            sweep(node, longest).await;
        }
    };
    let swept = tokio::time::timeout(Duration::from_secs(30), swept).await;
    swept.expect("it is removed");
}

/// What is told next besides how far it has been told.
async fn next(ends: &mut mpsc::Receiver<End>) -> End {
    let told = async {
        loop {
            match ends.recv().await.unwrap() {
                End::MadeAt(_) | End::NoMoreUntil(_) => {}
                end => return end,
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), told).await;
    told.expect("it is told")
}

/// What is found, as soon as it can be believed.
async fn loaded(node: &Redis, record: &Record) -> Option<Arc<Record>> {
    let loading = async {
        loop {
            match node.load(record.key).await {
                Ok(found) => return found,
                Err(StoreError::Unavailable) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let loading = tokio::time::timeout(Duration::from_secs(40), loading);
    loading.await.expect("it is believed in the end")
}

/// Until a node has read the streams once more.
async fn has_read(node: &Redis) {
    let mut read = node.shared.read.subscribe();
    read.mark_unchanged();
    for _ in 0..2 {
        read.changed().await.unwrap();
    }
}

#[tokio::test]
async fn rel_18_each_of_many_changes_at_once_is_made() {
    let server = server!();
    let node = Arc::new(node(&server).await);
    let ada = record("ada");
    let key = ada.key;
    node.insert(ada).await.unwrap();
    let changes = (0..150).map(|number| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let change = |record: &mut Record| {
                record.revision += 1;
                Ok::<_, DataError>(true)
            };
            let changed = node.shared.change(key, change).await;
            assert!(matches!(changed, Ok(Some(Ok(_)))), "{number}: {changed:?}");
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap();
    }
    let kept = node.load(key).await.unwrap().unwrap();
    assert_eq!(kept.revision, 150);
}

#[tokio::test]
async fn sec_52_a_count_of_a_moment_ago_is_good_far_from_the_limit_and_never_close_to_it() {
    let server = server!();
    let node = node(&server).await;
    node.insert(record("ada")).await.unwrap();
    let a_moment_ago = Instant::now() + Duration::from_mins(1); // however slow the machine is
    *node.shared.counted() = Some((a_moment_ago, 0));
    assert_eq!(node.insert_below(record("bob"), 1).await, Ok(false));
    // Nobody is asked how many there are.
    for shard in keys::Shard::all() {
        server.ask(&["SET", &node.shared.names.count(shard), "1000000"]);
    }
    assert_eq!(node.insert_below(record("bob"), 1_000_000).await, Ok(true));
    *node.shared.counted() = None;
    assert_eq!(node.insert_below(record("bob"), 1_000_000).await, Ok(false));
}
