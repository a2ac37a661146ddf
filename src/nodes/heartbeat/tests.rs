//! On a real server.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::clock::Clock;
use crate::redis::test_server::{TestServer, address, settings};
use crate::redis::{Servers, Settings, servers};

const LONG: Duration = Duration::from_secs(30);

fn heartbeat(server: &TestServer) -> Arc<Heartbeat> {
    node_of(server.settings())
}

fn node_of(settings: Settings) -> Arc<Heartbeat> {
    let nodes = Nodes::open(Some(&Arc::new(settings)), &Clock::system()).unwrap();
    let started = Timestamp::from_millis(1_000);
    let addresses = vec!["127.0.0.1:443".to_owned()];
    Arc::new(Heartbeat::new(&nodes, addresses, started).unwrap())
}

/// One that has written that it is there.
async fn beating(server: &TestServer) -> Arc<Heartbeat> {
    let node = heartbeat(server);
    eventually(async || node.beat(values(&node)).await.is_ok()).await;
    node
}

fn values(node: &Heartbeat) -> &Values {
    node.values.as_ref().unwrap()
}

async fn eventually(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, holds).await.expect("the condition holds");
}

fn key(id: NodeId) -> String {
    format!("vestibule:{{nodes}}:node:{id}")
}

/// Has the value of a node be as old as that.
fn age(server: &TestServer, id: NodeId, age: Duration) {
    let left = NODE.kept_for.saturating_sub(age).as_millis().to_string();
    assert_eq!(server.ask(&["PEXPIRE", &key(id), &left]), "1\n");
}

async fn listed(node: &Heartbeat, id: NodeId) -> Option<Node> {
    let nodes = node.list().await.unwrap();
    nodes.into_iter().find(|node| node.id == id)
}

#[tokio::test]
async fn nodes_see_each_other_until_one_stops() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (beating(&server).await, heartbeat(&server));
    assert_eq!(listed(&a, b.id).await, None);
    let own = listed(&b, b.id).await.unwrap();
    assert!(own.is_this && own.is_silent(), "others do not know of it");
    let keeps = Arc::clone(&b);
    let keeps = AbortOnDropHandle::new(tokio::spawn(async move { keeps.keep(Vec::new).await }));
    eventually(async || b.count() == Some(2)).await;
    for (this, other) in [(&a, &b), (&b, &a)] {
        let nodes = this.list().await.unwrap();
        assert_eq!(nodes.len(), 2);
        assert!(nodes.iter().all(|node| !node.is_silent()), "{nodes:?}");
        let own: Vec<_> = nodes.iter().filter(|node| node.is_this).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].id, this.id);
        let seen = listed(this, other.id).await.unwrap();
        assert_eq!(seen.about, Ok(other.about.clone()));
    }
    assert_eq!(a.about.addresses, ["127.0.0.1:443"]);
    assert_eq!(a.about.version, env!("CARGO_PKG_VERSION"));
    assert_ne!(a.about.name, b.about.name, "two on one host");
    drop(keeps);
    b.leave().await;
    assert_eq!(listed(&a, b.id).await, None);
    assert_eq!(a.beat(values(&a)).await, Ok(1));
    a.leave().await;
    assert_eq!(server.ask(&["KEYS", "*"]), "", "nothing is left");
}

#[tokio::test]
async fn a_node_that_writes_no_more_is_silent_and_then_gone() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (beating(&server).await, beating(&server).await);
    for (seconds, is_silent, count) in [(14, false, 2), (16, true, 1)] {
        age(&server, b.id, Duration::from_secs(seconds));
        let seen = listed(&a, b.id).await.unwrap();
        assert_eq!(seen.is_silent(), is_silent, "{seen:?}");
        let ago = seen.seen.unwrap().as_secs();
        assert!((seconds..seconds + 10).contains(&ago), "{ago}");
        assert_eq!(a.beat(values(&a)).await, Ok(count));
    }
    server.ask(&["DEL", &key(b.id)]);
    assert_eq!(listed(&a, b.id).await, None);
    let ids = server.ask(&["SMEMBERS", "vestibule:{nodes}:all"]);
    assert_eq!(ids, format!("{}\n", a.id), "its id is taken out");
    b.beat(values(&b)).await.unwrap();
    assert!(listed(&a, b.id).await.is_some(), "it lives again");
}

#[tokio::test]
async fn rel_19_what_cannot_be_read_of_a_node_is_shown_as_such_and_left_alone() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let a = beating(&server).await;
    let store = values(&a);
    let [newer, of_list, damaged, other] = [1_u64, 2, 3, 4].map(|id| NodeId(id.to_be_bytes()));
    let later = Told {
        kind: Kind::new("node", 2, 4096),
        ..NODE
    };
    let about = serde_json::to_vec(&a.about).unwrap();
    store.tell(&later, newer, &about).await.unwrap();
    store.beat(damaged, b"{}").await.unwrap();
    store.beat(other, &about).await.unwrap();
    server.ask(&["COPY", &key(a.id), &key(other), "REPLACE"]);
    server.ask(&["RPUSH", &key(of_list), "of another type"]);
    let all = "vestibule:{nodes}:all";
    server.ask(&[
        "SADD",
        all,
        &newer.to_string(),
        &of_list.to_string(),
        "of a later version",
        "00AA",
    ]);
    for _ in 0..2 {
        let nodes = a.list().await.unwrap();
        let shown: Vec<_> = nodes
            .into_iter()
            .map(|node| (node.id, node.about))
            .collect();
        let expected = [
            (a.id, Ok(a.about.clone())),
            (newer, Err(ValueError::Newer)),
            (of_list, Err(ValueError::Damaged)),
            (damaged, Err(ValueError::Damaged)),
            (other, Err(ValueError::Damaged)),
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            a.beat(store).await,
            Ok(2),
            "that of a later version is there"
        );
    }
    assert_eq!(server.ask(&["SCARD", all]), "7\n");
    let left = store.told_by(&later, &[newer]).await.unwrap();
    let left = left.into_iter().find(|kept| kept.id == newer).unwrap();
    assert_eq!(left.value.unwrap().as_slice(), about);

    server.ask(&["DEL", all]);
    server.ask(&["SET", all, "of another type"]);
    assert_eq!(a.list().await.err(), Some(ValueError::Damaged));
}

/// Two versions side by side: fields that are new are passed over.
#[test]
fn a_node_of_a_later_version_may_say_more() {
    let text = r#"{"name":"a","version":"9","addresses":[],"started":1,"load":[2]}"#;
    let about: About = serde_json::from_str(text).unwrap();
    assert_eq!((&*about.name, &*about.version), ("a", "9"));
}

/// The streams of all nodes, read anew.
async fn streams_of(node: &Heartbeat, own: &[(SessionName, u32)]) -> Arc<Streams> {
    node.streams(|| own.to_vec(), false).await.unwrap()
}

/// The nodes that are said to have streams of a session.
fn on(streams: &Streams, session: SessionName) -> Vec<(&str, u32)> {
    streams.of(session).collect()
}

#[tokio::test]
async fn a_node_knows_the_streams_of_the_others() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (beating(&server).await, beating(&server).await);
    let (ada, bob) = ([1; 8], [2; 8]);
    b.tell_streams(values(&b), &[(ada, 2), (bob, 1)])
        .await
        .unwrap();
    let seen = streams_of(&a, &[(ada, 3)]).await;
    let expected = [(&*a.about.name, 3), (&*b.about.name, 2)];
    assert_eq!(on(&seen, ada), expected);
    assert_eq!(on(&seen, bob), [(&*b.about.name, 1)]);
    assert_eq!(on(&seen, [3; 8]), []);
    assert!(seen.unknown_of().is_empty());
    let own = streams_of(&b, &[]).await;
    assert_eq!(on(&own, ada), [], "of itself, it knows better");

    b.tell_streams(values(&b), &[(bob, 1)]).await.unwrap();
    let seen = streams_of(&a, &[]).await;
    assert_eq!((on(&seen, ada), on(&seen, bob).len()), (vec![], 1));
    // A node that is gone has none, whatever it has said.
    age(&server, b.id, Duration::from_secs(20));
    let seen = streams_of(&a, &[]).await;
    assert_eq!(on(&seen, bob), []);
    b.beat(values(&b)).await.unwrap();
    b.tell_streams(values(&b), &[]).await.unwrap();
    let seen = streams_of(&a, &[]).await;
    assert_eq!((on(&seen, bob), seen.unknown_of().len()), (vec![], 0));
    b.tell_streams(values(&b), &[(bob, 1)]).await.unwrap();
    for node in [a, b] {
        node.leave().await;
    }
    assert_eq!(server.ask(&["KEYS", "*"]), "", "nothing is left");
}

#[tokio::test]
async fn rel_19_streams_that_cannot_be_read_are_said_to_be_unknown() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (beating(&server).await, beating(&server).await);
    let key = format!("vestibule:{{nodes}}:stream:{}", b.id);
    let bob = [2; 8];
    let later = Told {
        kind: Kind::new("stream", 2, 1024),
        ..STREAMS
    };
    let told = streams::encode(&[(bob, 1)]);
    values(&b).tell(&later, b.id, &told).await.unwrap();
    let kept = server.ask(&["DUMP", &key]);
    let seen = streams_of(&a, &[]).await;
    assert_eq!(
        (on(&seen, bob), seen.unknown_of()),
        (vec![], &[b.about.name.clone()][..])
    );
    assert_eq!(server.ask(&["DUMP", &key]), kept, "it is left alone");
    let many: Vec<_> = (0..20_000_u64).map(|it| (it.to_be_bytes(), 1)).collect();
    for is_too_old in [false, true] {
        b.tell_streams(values(&b), &many).await.unwrap();
        if is_too_old {
            server.ask(&["PEXPIRE", &key, "10000"]);
        }
        let seen = streams_of(&a, &[]).await;
        assert_eq!(on(&seen, many[0].0).is_empty(), is_too_old);
        assert_eq!(seen.unknown_of(), [&*b.about.name], "there are more");
    }
    server.ask(&["DEL", "vestibule:{nodes}:all"]);
    server.ask(&["SET", "vestibule:{nodes}:all", "of another type"]);
    let seen = streams_of(&a, &[(bob, 1)]).await;
    assert_eq!(on(&seen, bob).len(), 1);
    assert_eq!(seen.unknown_of(), ["the other nodes"]);
}

#[tokio::test]
async fn a_list_that_goes_on_reads_the_streams_once() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (beating(&server).await, beating(&server).await);
    let bob = [2; 8];
    b.tell_streams(values(&b), &[(bob, 1)]).await.unwrap();
    let first = streams_of(&a, &[]).await;
    let key = format!("vestibule:{{nodes}}:stream:{}", b.id);
    server.ask(&["DEL", &key]);
    for _ in 0..10 {
        let next = a.streams(|| panic!("it is known"), true).await.unwrap();
        assert!(Arc::ptr_eq(&first, &next));
    }
    assert_eq!(on(&first, bob).len(), 1);
    let another = streams_of(&a, &[]).await;
    assert_eq!(on(&another, bob), []);
}

/// So large an answer would take longer than the connection may, which logins wait for, too.
#[tokio::test]
async fn rel_10_streams_of_many_nodes_are_read_some_at_a_time() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let a = beating(&server).await;
    let about = serde_json::to_vec(&a.about).unwrap();
    let nodes = (0..40_u64).map(|id| NodeId(id.to_be_bytes()));
    let told = streams::encode(&[([2; 8], 1)]);
    for id in nodes {
        values(&a).beat(id, &about).await.unwrap();
        values(&a).tell(&STREAMS, id, &told).await.unwrap();
    }
    server.ask(&["CONFIG", "RESETSTAT"]);
    let seen = streams_of(&a, &[]).await;
    assert_eq!(on(&seen, [2; 8]).len(), 40);
    let calls = server.ask(&["INFO", "commandstats"]);
    let calls = calls.lines().find(|line| line.starts_with("cmdstat_mget:"));
    // 41 nodes, and the streams of 40, 16 at a time.
    assert!(calls.unwrap().contains("calls=6,"), "{calls:?}");
    // A node that is silent is not asked for.
    for id in 0..40_u64 {
        age(&server, NodeId(id.to_be_bytes()), Duration::from_secs(20));
    }
    server.ask(&["CONFIG", "RESETSTAT"]);
    let seen = streams_of(&a, &[]).await;
    assert_eq!(on(&seen, [2; 8]), []);
    let calls = server.ask(&["INFO", "commandstats"]);
    let calls = calls.lines().find(|line| line.starts_with("cmdstat_mget:"));
    assert!(calls.unwrap().contains("calls=3,"), "{calls:?}");
}

#[tokio::test]
async fn a_bounded_number_of_nodes_is_read() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let a = beating(&server).await;
    let about = serde_json::to_vec(&a.about).unwrap();
    for id in 0..MOST as u64 + 20 {
        let id = NodeId(id.to_be_bytes());
        values(&a).beat(id, &about).await.unwrap();
    }
    let nodes = a.list().await.unwrap();
    assert!(nodes.iter().any(|node| node.is_this));
    assert!((MOST..=MOST + 1).contains(&nodes.len()), "{}", nodes.len());
    // Ids that have lost their values go, some at a time.
    server.ask(&["FLUSHALL"]);
    let all = "vestibule:{nodes}:all";
    let ids: Vec<_> = (0..2 * MOST).map(|id| format!("{id:016x}")).collect();
    let mut add = vec!["SADD", all];
    add.extend(ids.iter().map(String::as_str));
    server.ask(&add);
    eventually(async || a.beat(values(&a)).await == Ok(1)).await;
    eventually(async || {
        a.beat(values(&a)).await.unwrap();
        server.ask(&["SCARD", all]) == "1\n"
    })
    .await;
}

#[tokio::test]
async fn sec_84_the_server_learns_nothing_of_a_node() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let a = beating(&server).await;
    let keys = server.ask(&["KEYS", "*"]);
    let kept = server.ask(&["GET", &key(a.id)]);
    for secret in [&*a.about.name, "127.0.0.1"] {
        assert!(!keys.contains(secret) && !kept.contains(secret), "{keys}");
    }
    for key in keys.lines() {
        let left: u128 = server.ask(&["PTTL", key]).trim().parse().unwrap();
        assert!(left <= NODE.kept_for.as_millis(), "{key} ends by itself");
    }
}

#[tokio::test]
async fn rel_10_without_the_store_nobody_knows_of_others() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let a = heartbeat(&server);
    let keeps = Arc::clone(&a);
    let _keeps = AbortOnDropHandle::new(tokio::spawn(async move { keeps.keep(Vec::new).await }));
    eventually(async || a.count() == Some(1)).await;
    server.kill();
    assert_eq!(a.list().await.err(), Some(ValueError::Unavailable));
    eventually(async || a.count().is_none()).await;
    server.start_again();
    eventually(async || a.count() == Some(1)).await;
}

#[tokio::test]
async fn in_a_cluster_what_is_asked_together_is_in_one_slot() {
    let Some(servers) = servers::cluster() else {
        return;
    };
    let of_cluster = Servers::Cluster(servers.iter().map(address).collect());
    let [a, b] = [(); 2].map(|()| node_of(settings(of_cluster.clone())));
    for node in [&a, &b] {
        eventually(async || node.beat(values(node)).await.is_ok()).await;
        let open = [([7; 8], 1)];
        node.tell_streams(values(node), &open).await.unwrap();
    }
    let nodes = a.list().await.unwrap();
    let names: Vec<_> = nodes.iter().map(|node| &node.about).collect();
    assert!(names.contains(&&Ok(b.about.clone())), "{names:?}");
    let seen = streams_of(&a, &[]).await;
    assert_eq!(on(&seen, [7; 8]), [(&*b.about.name, 1)]);
    assert!(seen.unknown_of().is_empty());
    b.leave().await;
    assert_eq!(a.beat(values(&a)).await, Ok(1));
}

#[tokio::test]
async fn with_another_store_a_node_is_alone() {
    let node = Heartbeat::new(&Nodes::alone(), vec![], Timestamp::default()).unwrap();
    assert!(node.is_alone());
    assert_eq!(node.count(), Some(1));
    let nodes = node.list().await.unwrap();
    assert!(nodes.len() == 1 && nodes[0].is_this && !nodes[0].is_silent());
    assert!(node.streams(Vec::new, false).await.is_none());
    node.leave().await;
}
