use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::redis::servers::{Redis, cluster};
use crate::redis::test_server::{TestServer, address, settings};
use crate::redis::{Servers, Settings};

const KEPT_FOR: Duration = Duration::from_mins(1);

async fn store(settings: Settings) -> PendingStore {
    let nodes = Nodes::open(Some(&Arc::new(settings)), &Clock::system()).unwrap();
    let mut generation = nodes.link().unwrap().generation();
    let connected = generation.wait_for(|now| now.connected);
    let connected = tokio::time::timeout(Duration::from_secs(20), connected);
    connected.await.unwrap().unwrap();
    PendingStore::of(&nodes, "test", KEPT_FOR).unwrap()
}

fn owner(n: u8) -> Name {
    Name::of("owner", &[n])
}

fn item(n: u8) -> Name {
    Name::of("item", &[n])
}

impl PendingStore {
    async fn keep(&self, owner: Name, name: Name, token: u8) -> Put {
        let item = NewItem {
            name,
            text: b"text",
            body: Some(b"body"),
            replaced: &[],
        };
        self.put(owner, &item, &[token; 16], KEPT_FOR)
            .await
            .unwrap()
    }

    async fn take_out(&self, owner: Name, name: Name, by: u8) -> Take {
        let token = [by; 16];
        self.take(owner, name, &token, None).await.unwrap()
    }

    async fn names(&self, owner: Name) -> Vec<Name> {
        let listed = self.list(owner).await.unwrap();
        let mut names: Vec<_> = listed.items.iter().map(|item| item.name).collect();
        names.sort_by_key(Name::to_string);
        names
    }
}

async fn assert_it_works(store: &PendingStore) {
    assert_eq!(store.keep(owner(1), item(1), 1).await, Put::Kept);
    let listed = store.list(owner(1)).await.unwrap();
    assert_eq!(&*listed.items[0].text, b"text");
    let wall = Timestamp::default().plus(Clock::wall());
    assert!(wall.since(listed.now) < KEPT_FOR && listed.now.since(wall) < KEPT_FOR);
    let owners = (owner(1), owner(2));
    let handed = store.hand_over(owners, (item(1), b"other"), KEPT_FOR).await;
    assert_eq!(handed, Ok(HandOver::Done));
    let handed = store.hand_over(owners, (item(1), b"other"), KEPT_FOR).await;
    assert_eq!(handed, Ok(HandOver::Absent));
    assert_eq!(store.names(owner(1)).await, []);
    let listed = store.list(owner(2)).await.unwrap();
    assert_eq!(&*listed.items[0].text, b"other");
    let body = store.body(item(1)).await.unwrap().unwrap();
    assert_eq!(&*body, b"body");
    let there = store.are_there(&[item(1), item(2)]).await;
    assert_eq!(there, Ok(vec![true, false]));
    assert_eq!(store.take_out(owner(2), item(1), 1).await, Take::Taken);
    let there = store.are_there(&[item(1), item(2)]).await;
    assert_eq!(there, Ok(vec![false, false]));
    assert!(store.body(item(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn things_go_from_owner_to_owner() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = store(server.settings()).await;
    assert_it_works(&store).await;
}

#[tokio::test]
async fn all_of_a_kind_is_in_one_slot_of_a_cluster() {
    let Some(nodes) = cluster() else { return };
    let store = store(settings(Servers::Cluster(
        nodes.iter().map(address).collect(),
    )))
    .await;
    assert_it_works(&store).await;
}

#[tokio::test]
async fn no_more_rights_are_needed_than_the_documentation_names() {
    let Some(server) = Redis::start() else { return };
    let rights = include_str!("../../../../docs/several-nodes.md")
        .lines()
        .find(|line| line.starts_with("ACL SETUSER vestibule"))
        .unwrap()
        .replace("CHANGE-ME", "secret");
    let words: Vec<_> = rights.split(' ').collect();
    assert_eq!(server.ask(&words), "OK\n");
    let mut settings = settings(Servers::One(address(&server)));
    settings.login.username = Some("vestibule".to_owned());
    let password = crate::secret::Secret::new("secret".to_owned());
    settings.login.password = Some(crate::redis::SecretSource::Given(password));
    assert_it_works(&store(settings).await).await;
}

#[tokio::test]
async fn a_try_may_ask_once_more_and_no_other_try_gets_it() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = store(server.settings()).await;
    assert_eq!(store.take_out(owner(1), item(1), 1).await, Take::Absent);
    store.keep(owner(1), item(1), 0).await;
    assert_eq!(store.take_out(owner(2), item(1), 1).await, Take::Elsewhere);
    assert_eq!(store.take_out(owner(1), item(1), 1).await, Take::Taken);
    assert_eq!(store.take_out(owner(1), item(1), 1).await, Take::Taken);
    assert_eq!(store.take_out(owner(1), item(1), 2).await, Take::Elsewhere);
    // Whoever has it may put it back, and nobody else.
    assert_eq!(store.keep(owner(1), item(1), 2).await, Put::Gone);
    assert_eq!(store.keep(owner(1), item(1), 1).await, Put::Kept);
    assert_eq!(store.take_out(owner(1), item(1), 2).await, Take::Taken);
}

#[tokio::test]
async fn what_is_put_twice_stays_where_it_is() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = store(server.settings()).await;
    store.keep(owner(1), item(1), 0).await;
    let owners = (owner(1), owner(2));
    let handed = store.hand_over(owners, (item(1), b"text"), KEPT_FOR).await;
    assert_eq!(handed, Ok(HandOver::Done));
    assert_eq!(store.keep(owner(1), item(1), 0).await, Put::Kept);
    assert_eq!(store.names(owner(1)).await, []);
    assert_eq!(store.names(owner(2)).await, [item(1)]);
    // A late write of what this node has taken meanwhile.
    let had = Some(&[5; 16]);
    let taken = store.take(owner(1), item(2), &[6; 16], had).await;
    assert_eq!(taken, Ok(Take::Absent));
    assert_eq!(store.keep(owner(1), item(2), 5).await, Put::Gone);
    // It was taken out by the token that it has now: nobody else has it.
    let taken = store.take(owner(1), item(2), &[7; 16], Some(&[6; 16]));
    assert_eq!(taken.await, Ok(Take::Absent));
    assert_eq!(store.keep(owner(1), item(2), 6).await, Put::Gone);
    assert_eq!(store.keep(owner(1), item(2), 7).await, Put::Kept);
}

#[tokio::test]
async fn an_owner_has_no_more_than_it_may() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = store(server.settings()).await;
    for n in 0..64 {
        assert_eq!(store.keep(owner(1), item(n), 0).await, Put::Kept);
    }
    assert_eq!(store.keep(owner(1), item(64), 0).await, Put::NoRoom);
    store.keep(owner(2), item(65), 0).await;
    let handed = store.hand_over((owner(2), owner(1)), (item(65), b""), KEPT_FOR);
    assert_eq!(handed.await, Ok(HandOver::NoRoom));
    assert_eq!(store.names(owner(2)).await, [item(65)]);
    let replaced = [item(0), item(1)];
    let new = NewItem {
        name: item(64),
        text: b"",
        body: None,
        replaced: &replaced,
    };
    let put = store.put(owner(1), &new, &[0; 16], KEPT_FOR).await;
    assert_eq!(put, Ok(Put::Kept));
    assert_eq!(store.names(owner(1)).await.len(), 63);
    assert!(store.body(item(0)).await.unwrap().is_none());
    // What another owner has by now is not replaced.
    let owners = (owner(1), owner(3));
    let handed = store.hand_over(owners, (item(2), b"text"), KEPT_FOR).await;
    assert_eq!(handed, Ok(HandOver::Done));
    let replaced = [item(2)];
    let new = NewItem {
        name: item(66),
        replaced: &replaced,
        ..new
    };
    let put = store.put(owner(1), &new, &[0; 16], KEPT_FOR).await;
    assert_eq!(put, Ok(Put::Kept));
    assert_eq!(store.names(owner(3)).await, [item(2)]);
    assert!(store.body(item(2)).await.unwrap().is_some());
    store.take_out(owner(1), item(66), 1).await;
    // What is over takes no room.
    for n in 3..64 {
        server.ask(&["DEL", &store.key('m', item(n))]);
    }
    assert_eq!(store.names(owner(1)).await, [item(64)]);
    let set = server.ask(&["SMEMBERS", &store.key('o', owner(1))]);
    assert_eq!(set.lines().count(), 1);
}

#[tokio::test]
async fn sec_84_whoever_writes_to_the_store_hands_nothing_to_another_owner() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = store(server.settings()).await;
    store.keep(owner(1), item(1), 0).await;
    let (set, name) = (store.key('o', owner(2)), item(1).to_string());
    server.ask(&["SADD", &set, &name, "nonsense", "AAAA"]);
    assert_eq!(store.names(owner(2)).await, []);
    assert_eq!(store.names(owner(1)).await, [item(1)], "it is left alone");
    // Another value in its place.
    store.keep(owner(1), item(2), 0).await;
    let text = store.key('m', item(2));
    server.ask(&["COPY", &store.key('m', item(1)), &text, "REPLACE"]);
    server.ask(&[
        "COPY",
        &store.key('b', item(1)),
        &store.key('b', item(2)),
        "REPLACE",
    ]);
    assert_eq!(store.names(owner(1)).await, [item(1)]);
    assert!(store.body(item(2)).await.unwrap().is_none());
    // What is of no use at all.
    server.ask(&["SET", &store.key('o', owner(3)), "nonsense"]);
    assert_eq!(store.names(owner(3)).await, []);
    server.ask(&["SADD", &store.key('m', item(4)), "nonsense"]);
    server.ask(&["SADD", &store.key('o', owner(4)), &item(4).to_string()]);
    assert_eq!(store.names(owner(4)).await, []);
}
