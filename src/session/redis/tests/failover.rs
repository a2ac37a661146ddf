//! A server takes over, or begins anew, and lacks what another one had.

use ::redis::Value;

use super::*;
use crate::redis::servers::{Redis as Server, Slow};
use crate::redis::{Address, Servers};
use crate::session::redis::peers::Trust;

/// Long after a node that can reach the new server has told it what it knows.
const MEANWHILE: Duration = Duration::from_secs(2);

/// So that nothing is answered in time.
const TOO_LATE: Duration = Duration::from_millis(1500);

/// A node that something slow leads to the server.
async fn slow_node(server: &TestServer) -> (Slow, Redis) {
    let slow = Slow::start(server).await;
    let node = node_of(settings(Servers::One(slow_address(&slow)))).await;
    (slow, node)
}

#[tokio::test]
async fn rel_18_nothing_is_taken_for_ended_before_every_node_has_told_a_new_server() {
    let mut server = server!();
    let ((slow, here), there) = (slow_node(&server).await, patient_node(&server).await);
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    knows_of_another(&there).await;
    slow.set_delay(TOO_LATE);
    server.restart(); // nothing of it is on a disk
    let began = Clock::stopwatch();
    nobody_can_say(&there, &ada, MEANWHILE).await;
    slow.set_delay(Duration::ZERO);
    assert_eq!(loaded(&there, &ada).await, Some(Arc::clone(&ada)));
    // And then without a wait: all have told it.
    assert!(began.elapsed() < Duration::from_secs(50));
}

#[tokio::test]
async fn rel_18_a_session_that_may_be_lost_is_not_taken_for_over_by_whoever_changes_it() {
    let mut server = server!();
    let ((slow, here), there) = (slow_node(&server).await, patient_node(&server).await);
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    knows_of_another(&there).await;
    slow.set_delay(TOO_LATE);
    server.restart();
    let began = Clock::stopwatch();
    let id = HostId {
        key: record("ada").key,
        host: Host::parse("wiki.test").unwrap(),
    };
    while began.elapsed() < MEANWHILE {
        let added = there.add_id(ada.key, id.clone()).await;
        assert_eq!(added, Err(StoreError::Unavailable));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What she asks for is not forgotten because her session is not there yet.
    let others = there.remove_of_user("ada".into(), Some(ada.key)).await;
    assert!(others.is_err(), "{others:?}");
    slow.set_delay(Duration::ZERO);
    assert_eq!(loaded(&there, &ada).await, Some(Arc::clone(&ada)));
    assert!(there.add_id(ada.key, id).await.unwrap().is_some());
}

#[tokio::test]
async fn rel_18_a_session_that_has_ended_opens_nowhere_on_a_server_that_has_lost_its_end() {
    let mut server = server!();
    let (slow, here) = slow_node(&server).await;
    let bob = record("bob");
    here.insert(Arc::clone(&bob)).await.unwrap();
    let names = [name(&here, &bob.key), here.shared.names.nodes()];
    let mut before = Vec::new();
    for name in &names {
        before.push(dump(&server, name).await);
    }
    assert_eq!(here.remove(vec![bob.key]).await, Ok(1));
    slow.set_delay(TOO_LATE);
    server.restart();
    for (name, value) in names.iter().zip(&before) {
        restore(&server, name, value).await;
    }
    let late = patient_node(&server).await;
    nobody_can_say(&late, &bob, MEANWHILE).await;
    slow.set_delay(Duration::ZERO);
    assert_eq!(loaded(&late, &bob).await, None);
}

/// By those that have heard of it, where the node that ended it is gone.
#[tokio::test]
async fn rel_18_an_end_of_another_node_is_told_to_a_server_that_has_lost_it() {
    let mut server = server!();
    let (here, (slow, there)) = (node(&server).await, slow_node(&server).await);
    let bob = record("bob");
    here.insert(Arc::clone(&bob)).await.unwrap();
    let value = dump(&server, &name(&here, &bob.key)).await;
    let mut ends = there.ends();
    assert_eq!(here.remove(vec![bob.key]).await, Ok(1));
    while next(&mut ends).await != End::One(bob.key) {}
    here.close().await.unwrap();
    drop(here);
    let nodes = there.shared.names.nodes();
    assert_eq!(server.ask(&["HLEN", &nodes]), "1\n");
    let nodes_there = dump(&server, &nodes).await;
    slow.set_delay(TOO_LATE);
    server.restart();
    restore(&server, &name(&there, &bob.key), &value).await;
    restore(&server, &nodes, &nodes_there).await;
    let late = patient_node(&server).await;
    nobody_can_say(&late, &bob, MEANWHILE).await;
    slow.set_delay(Duration::ZERO);
    assert_eq!(loaded(&late, &bob).await, None);
}

async fn dump(server: &TestServer, name: &str) -> Vec<u8> {
    let dump = ::redis::cmd("DUMP").arg(name).take();
    let value = server.link().query(&dump).await.unwrap();
    bytes(&value).unwrap().to_vec()
}

async fn restore(server: &TestServer, name: &str, value: &[u8]) {
    let mut restore = ::redis::cmd("RESTORE");
    restore.arg(name).arg(0).arg(value);
    server.link().query(&restore).await.unwrap();
}

#[tokio::test]
async fn rel_18_a_node_that_has_left_is_not_waited_for_and_one_that_has_died_not_for_long() {
    let mut server = server!();
    let (here, there, other) = (
        node(&server).await,
        node(&server).await,
        node(&server).await,
    );
    knows_of_another(&here).await;
    there.close().await.unwrap();
    let nodes = here.shared.names.nodes();
    assert_eq!(server.ask(&["HLEN", &nodes]), "2\n");
    drop((there, other)); // the second like one that is killed
    server.restart();
    let began = Clock::stopwatch();
    let nobody = record("nobody");
    assert_eq!(loaded(&here, &nobody).await, None);
    let waited = began.elapsed();
    assert!((2..10).contains(&waited.as_secs()), "{waited:?}");
}

/// Whether the session is good, for so long.
async fn nobody_can_say(node: &Redis, record: &Record, how_long: Duration) {
    let began = Clock::stopwatch();
    while began.elapsed() < how_long {
        let found = node.load(record.key).await;
        assert_eq!(found, Err(StoreError::Unavailable));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nodes hear of each other when they say that they are there.
async fn knows_of_another(node: &Redis) {
    let nodes = node.shared.names.nodes();
    let knowing = async {
        let ask = async |command: &::redis::Cmd| node.shared.query(command).await.unwrap();
        while ask(::redis::cmd("HLEN").arg(&nodes)).await == Value::Int(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let said = async || ask(::redis::cmd("HGET").arg(&nodes).arg(&node.shared.node[..])).await;
        // What it said last may have come before the other's word.
        for _ in 0..2 {
            let before = said().await;
            while said().await == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let knowing = tokio::time::timeout(Duration::from_secs(20), knowing);
    knowing.await.expect("it says so every second");
}

#[tokio::test]
async fn rel_18_a_server_that_takes_no_writes_yet_is_not_believed_about_what_it_lacks() {
    let keeping = ["--appendonly", "yes", "--appendfsync", "always"];
    let options = [&keeping[..], &["--min-replicas-to-write", "1"]].concat();
    let Some(mut server) = Server::start_with(&options).map(TestServer) else {
        return;
    };
    let wants_none = ["CONFIG", "SET", "min-replicas-to-write", "0"];
    assert_eq!(server.ask(&wants_none), "OK\n");
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    knows_of_another(&there).await;
    // As if it had not got that far. The node that began it knows it still.
    assert_eq!(server.ask(&["DEL", &name(&here, &ada.key)]), "1\n");
    server.restart();
    let began = Clock::stopwatch();
    while began.elapsed() < Duration::from_secs(4) {
        let found = there.load(ada.key).await;
        assert!(found.is_err(), "{found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.ask(&wants_none), "OK\n");
    assert_eq!(loaded(&there, &ada).await, Some(ada));
}

/// As a name that leads to one server, then to another, and back.
#[tokio::test]
async fn rel_18_a_server_that_comes_back_before_another_could_be_told_is_believed_again() {
    let one = server!();
    let refusing = Server::start_with(&["--min-replicas-to-write", "1"]).unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let (switch, behind) = tokio::sync::watch::channel(one.port());
    let forwarding = tokio::spawn(async move {
        while let Ok((mut front, _)) = listener.accept().await {
            let mut behind = behind.clone();
            tokio::spawn(async move {
                let server = ("127.0.0.1", *behind.borrow_and_update());
                let mut back = tokio::net::TcpStream::connect(server).await?;
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut front, &mut back) => {}
                    _ = behind.changed() => {} // and the connections are cut
                }
                std::io::Result::Ok(())
            });
        }
    });
    let address = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
    };
    let node = node_of(settings(Servers::One(address))).await;
    let (ada, nobody) = (record("ada"), record("nobody"));
    node.insert(Arc::clone(&ada)).await.unwrap();
    let first = node.shared.link.run_id();
    switch.send_replace(refusing.port());
    let meets_another = async {
        let there = || node.shared.link.run_id();
        while there() == first || node.shared.met().trust(&first) != Trust::Nothing {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let meets_another = tokio::time::timeout(Duration::from_secs(20), meets_another);
    meets_another.await.expect("the other server is met");
    switch.send_replace(one.port());
    assert_eq!(loaded(&node, &nobody).await, None);
    assert_eq!(loaded(&node, &ada).await, Some(ada));
    forwarding.abort();
}
