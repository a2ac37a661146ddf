//! On a real server.

use tokio::time::{sleep, timeout};

use super::*;
use crate::redis::test_server::TestServer;

const NOTE: Kind = Kind::new("note", 1, 16);
const LONG: Duration = Duration::from_mins(1);

/// Two nodes that reach the server.
async fn nodes(server: &TestServer) -> [Values; 2] {
    let nodes = [(); 2].map(|()| Values::new(server.link(), &Clock::system()));
    for node in &nodes {
        let reached = async {
            while node.get(&NOTE, b"none").await != Ok(None) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = timeout(Duration::from_secs(30), reached).await;
        reached.expect("the server is reached");
    }
    nodes
}

fn text(value: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(value.into())
}

#[tokio::test]
async fn what_one_node_puts_another_one_reads_and_takes_once() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = nodes(&server).await;
    a.put(&NOTE, b"code", b"one", LONG).await.unwrap();
    assert_eq!(b.get(&NOTE, b"code").await, Ok(Some(text("one"))));
    a.put(&NOTE, b"code", b"two", LONG).await.unwrap();
    let absent = b.put_if_absent(&NOTE, b"code", b"three", LONG).await;
    assert_eq!(absent, Ok(false));
    let (first, second) = tokio::join!(a.take(&NOTE, b"code"), b.take(&NOTE, b"code"));
    let taken = [first, second];
    assert!(
        taken.contains(&Ok(Some(text("two")))) && taken.contains(&Ok(None)),
        "{taken:?}"
    );
    let absent = b.put_if_absent(&NOTE, b"code", b"three", LONG).await;
    assert_eq!(absent, Ok(true));
    assert_eq!(a.remove(&NOTE, b"code").await, Ok(true));
    assert_eq!(a.remove(&NOTE, b"code").await, Ok(false));
    assert_eq!(b.get(&NOTE, b"code").await, Ok(None));
}

#[tokio::test]
async fn a_value_ends_by_itself() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = nodes(&server).await;
    let soon = Duration::from_millis(20);
    a.put(&NOTE, b"x", b"soon over", soon).await.unwrap();
    let ended = async {
        while b.get(&NOTE, b"x").await != Ok(None) {
            sleep(soon).await;
        }
    };
    timeout(LONG, ended).await.unwrap();
    a.put(&NOTE, b"x", b"", Duration::ZERO).await.unwrap();
    a.put(&NOTE, b"x", b"", Duration::MAX).await.unwrap_err();
}

#[tokio::test]
async fn sec_84_the_server_learns_no_name_and_no_value_and_can_move_none() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, _] = nodes(&server).await;
    a.put(&NOTE, b"secret name", b"secret value", LONG)
        .await
        .unwrap();
    let key = server.ask(&["KEYS", "*"]).trim().to_owned();
    assert!(
        key.starts_with("vestibule:v:note:") && !key.contains("secret"),
        "{key}"
    );
    let (from, to) = (key, a.key(&NOTE, b"other name"));
    assert!(!server.ask(&["GET", &from]).contains("secret"));
    server.ask(&["COPY", &from, &to]);
    assert_eq!(a.get(&NOTE, b"other name").await, Err(ValueError::Damaged));
    let other = Kind::new("other", 1, 16);
    server.ask(&["COPY", &from, &a.key(&other, b"secret name")]);
    assert_eq!(
        a.get(&other, b"secret name").await,
        Err(ValueError::Damaged)
    );
}

#[tokio::test]
async fn rel_19_a_later_version_is_told_apart_from_damage_and_from_nothing() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = nodes(&server).await;
    let later = Kind::new("note", 2, 16);
    a.put(&later, b"x", b"from later", LONG).await.unwrap();
    assert_eq!(b.get(&NOTE, b"x").await, Err(ValueError::Newer));
    assert_eq!(b.take(&NOTE, b"x").await, Err(ValueError::Newer));
    let left = a.get(&later, b"x").await;
    assert_eq!(left, Ok(Some(text("from later"))));
    let key = a.key(&NOTE, b"x");
    for (damaged, error) in [
        ("", ValueError::Damaged),
        ("foreign", ValueError::Newer), // its first byte is no version of a seal so far
        ("\u{1}foreign", ValueError::Damaged),
    ] {
        server.ask(&["SET", &key, damaged]);
        assert_eq!(b.get(&NOTE, b"x").await, Err(error), "{damaged:?}");
    }
    server.ask(&["DEL", &key]);
    server.ask(&["LPUSH", &key, "of another type"]);
    assert_eq!(b.get(&NOTE, b"x").await, Err(ValueError::Damaged));
    assert_eq!(b.take(&NOTE, b"x").await, Err(ValueError::Damaged));
    a.put(&NOTE, b"x", b"again", LONG).await.unwrap();
    assert_eq!(b.take(&NOTE, b"x").await, Ok(Some(text("again"))));
}

#[tokio::test]
async fn no_value_is_larger_than_its_kind() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = nodes(&server).await;
    a.put(&NOTE, b"x", &[b'a'; 16], LONG).await.unwrap();
    let larger = a.put(&NOTE, b"x", &[b'a'; 17], LONG).await;
    assert_eq!(larger, Err(ValueError::TooLarge));
    let small = Kind::new("note", 1, 15);
    assert_eq!(b.get(&small, b"x").await, Err(ValueError::TooLarge));
}

#[tokio::test]
async fn rel_10_without_a_server_nothing_waits_and_nothing_is_absent() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let [a, _] = nodes(&server).await;
    a.put(&NOTE, b"x", b"there", LONG).await.unwrap();
    server.kill();
    let gone = Err(ValueError::Unavailable);
    assert_eq!(a.get(&NOTE, b"x").await, gone);
    assert_eq!(a.take(&NOTE, b"x").await, gone);
    assert_eq!(a.remove(&NOTE, b"x").await, Err(ValueError::Unavailable));
    let put = a.put(&NOTE, b"x", b"again", LONG).await;
    assert_eq!(put, Err(ValueError::Unavailable));
}

#[tokio::test]
async fn a_server_with_a_full_memory_says_so() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, _] = nodes(&server).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = a.put(&NOTE, b"x", b"more", LONG).await;
    assert_eq!(full, Err(ValueError::Full));
}
