use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::nodes::{Nodes, Values};
use crate::redis::SecretSource;
use crate::redis::test_server::TestServer;
use crate::secret::Secret;

/// A node with a folder of its own.
struct Node {
    folder: TempDir,
    clock: Clock,
    signer: Signer,
}

impl Node {
    fn new(values: Option<Values>) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let signer = signer(&folder, &clock, values);
        Self {
            folder,
            clock,
            signer,
        }
    }

    /// With the keys of all nodes.
    async fn of(server: &TestServer) -> Self {
        let node = Self::new(values(server));
        node.read().await;
        node
    }

    /// Until the store has answered.
    async fn read(&self) {
        let has_read = async {
            while self.signer.read().await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), has_read).await.unwrap();
    }

    fn file(&self) -> PathBuf {
        file(&self.folder)
    }

    /// The names of the published keys.
    fn ids(&self) -> Vec<String> {
        let set: Value = serde_json::from_slice(&self.signer.published().unwrap()).unwrap();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    /// That of the key that signs.
    fn signing(&self) -> String {
        self.signer.ring().as_ref().unwrap().current.id().to_owned()
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("keys.json")
}

fn signer(folder: &TempDir, clock: &Clock, values: Option<Values>) -> Signer {
    let signer = Signer::new(KeySource::File(file(folder)), clock.clone(), values);
    signer.open().unwrap();
    signer
}

fn values(server: &TestServer) -> Option<Values> {
    let settings = Arc::new(server.settings());
    let nodes = Nodes::open(Some(&settings), &Clock::system()).unwrap();
    nodes.values().cloned()
}

#[tokio::test]
async fn all_nodes_sign_with_the_same_keys_and_publish_the_same() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let nodes = futures_util::future::join_all([(); 4].map(|()| Node::of(&server))).await;
    for node in &nodes {
        assert_eq!(node.signer.published(), nodes[0].signer.published());
        assert_eq!(node.signing(), nodes[0].signing());
        assert_eq!(node.ids().len(), 2, "the next one, too");
        let copy = std::fs::metadata(node.file()).unwrap();
        assert_eq!(copy.mode() & 0o7777, 0o600);
    }
    let keys = server.ask(&["KEYS", "*"]);
    assert!(!keys.contains("identity"), "{keys}");
    let kept = server.ask(&["GET", keys.trim()]);
    assert!(!kept.contains("current") && !kept.is_empty());
    let left: u64 = server.ask(&["PTTL", keys.trim()]).trim().parse().unwrap();
    assert!(left > 2 * u64::try_from(TURN.as_millis()).unwrap());
}

#[tokio::test]
async fn the_keys_in_the_file_of_the_first_node_become_those_of_all() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (Node::new(None), Node::new(None));
    let (of_a, of_b) = (a.ids(), b.ids());
    assert!(of_a != of_b);
    let again = |node: Node| Node {
        signer: signer(&node.folder, &node.clock, values(&server)),
        ..node
    };
    let (a, b) = (again(a), again(b));
    assert_eq!((a.ids(), b.ids()), (of_a.clone(), of_b), "at once");
    a.read().await;
    b.read().await;
    assert_eq!((a.ids(), b.ids()), (of_a.clone(), of_a.clone()));
    let b = again(b);
    assert_eq!(b.ids(), of_a, "it has a copy");
}

#[tokio::test]
async fn a_key_is_published_by_all_before_it_signs_on_one() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (Node::of(&server).await, Node::of(&server).await);
    let (before, signed) = (b.ids(), b.signing());
    a.signer.read().await.unwrap();
    assert_eq!(a.ids(), before, "not yet");
    a.clock.advance(TURN);
    assert!(!a.signer.is_due(), "no node makes a turn alone");
    a.signer.read().await.unwrap();
    assert!(a.signing() != signed && b.ids().contains(&a.signing()));
    assert!(a.ids().contains(&signed), "what b still signs with");
    assert_eq!((b.ids(), b.signing()), (before, signed));
    b.read().await;
    assert_eq!((b.ids(), b.signing()), (a.ids(), a.signing()));
    assert_eq!(a.signer.published(), b.signer.published());
    // Another node whose clock is ahead makes no second turn.
    let after = a.ids();
    let ahead = Node::new(values(&server));
    ahead.clock.advance(TURN * 2);
    ahead.read().await;
    a.read().await;
    assert_eq!((a.ids(), ahead.ids()), (after.clone(), after));
}

#[tokio::test]
async fn a_turn_is_made_once_by_whichever_node_comes_first() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let nodes = futures_util::future::join_all([(); 3].map(|()| Node::of(&server))).await;
    let next = nodes[0].ids()[0].clone();
    for node in &nodes {
        node.clock.advance(TURN);
    }
    futures_util::future::join_all(nodes.iter().map(Node::read)).await;
    for node in &nodes {
        node.read().await;
        assert_eq!(node.signing(), next);
        assert_eq!(node.ids(), nodes[0].ids());
    }
}

#[tokio::test]
async fn rel_10_without_the_store_the_keys_that_a_node_has_go_on() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let a = Node::of(&server).await;
    let before = a.ids();
    server.kill();
    assert_eq!(a.signer.read().await, Err(ValueError::Unavailable));
    assert_eq!(a.ids(), before);
    let restarted = signer(&a.folder, &a.clock, values(&server));
    assert_eq!(restarted.published(), a.signer.published());
    assert!(restarted.sign(b"{}").is_some());
    // Nobody could verify what a new node signs.
    let new = Node::new(values(&server));
    assert!(new.signer.published().is_none() && new.signer.is_waiting());
    assert!(new.signer.sign(b"{}").is_none() && !new.file().exists());
    server.start_again(); // and has lost all
    a.read().await;
    assert_eq!(a.ids(), before);
    new.read().await;
    assert_eq!(new.ids(), before);
    assert!(!new.signer.is_waiting() && new.signer.sign(b"{}").is_some());
}

#[tokio::test]
async fn rel_19_what_a_node_cannot_read_it_leaves_alone() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let a = Node::of(&server).await;
    let mut settings = server.settings();
    settings.key = SecretSource::Given(Secret::new("1".repeat(64)));
    let nodes = Nodes::open(Some(&Arc::new(settings)), &Clock::system()).unwrap();
    let own = Node::new(None);
    let before = own.ids();
    let other = signer(&own.folder, &own.clock, nodes.values().cloned());
    let refused = async {
        loop {
            match other.read().await {
                Err(ValueError::Unavailable) => sleep(Duration::from_millis(5)).await,
                read => return read,
            }
        }
    };
    let refused = timeout(Duration::from_secs(30), refused).await.unwrap();
    assert_eq!(refused, Err(ValueError::Damaged), "sealed by another key");
    assert_eq!(own.ids(), before);
    assert_eq!(Node::of(&server).await.ids(), a.ids());
    let values = values(&server).unwrap();
    let put = async |kind: &Kind, value: &[u8]| {
        while values.put(kind, b"identity", value, TURN).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    put(&Kind::new("signing", 2, 10), b"later").await;
    let (read, ids) = (a.signer.read().await, a.ids());
    assert_eq!(read, Err(ValueError::Newer));
    put(&Signing::KIND, b"no keys").await;
    assert_eq!(a.signer.read().await, Ok(()), "it has had them from there");
    assert_eq!(Node::of(&server).await.ids(), ids);
}

#[tokio::test]
async fn keys_of_the_operator_are_shared_by_nobody() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let source = KeySource::Credential(file(&folder));
    let signer = Signer::new(source, Clock::system(), values(&server));
    assert!(signer.values().is_none());
}
