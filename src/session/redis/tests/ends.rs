//! Ends that reach other nodes, and those that are lost on the way.

use super::*;
use crate::session::store::Obstacle;

#[tokio::test]
async fn rel_18_an_end_arrives_though_nothing_is_published() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    assert_eq!(
        server.ask(&["ACL", "SETUSER", "default", "resetchannels"]),
        "OK\n"
    );
    let (ada, mut ends) = (record("ada"), there.ends());
    here.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(here.remove(vec![ada.key]).await, Ok(1));
    assert_eq!(next(&mut ends).await, End::One(ada.key));
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn rel_18_a_gap_in_the_stream_is_noticed() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, mut ends) = (record("ada"), there.ends());
    here.remove(vec![ada.key]).await.unwrap();
    assert_eq!(next(&mut ends).await, End::One(ada.key));
    let stream = here.shared.names.ends(keys::Short::of(&ada.key).shard());
    server.ask(&["XTRIM", &stream, "MAXLEN", "0"]);
    assert_eq!(next(&mut ends).await, End::Lagged);
    here.remove(vec![ada.key]).await.unwrap();
    assert_eq!(
        next(&mut ends).await,
        End::One(ada.key),
        "and goes on from there"
    );
}

#[tokio::test]
async fn rel_18_a_store_that_was_emptied_is_noticed() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, mut ends) = (record("ada"), there.ends());
    here.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(server.ask(&["FLUSHALL"]), "OK\n");
    assert_eq!(next(&mut ends).await, End::Lagged);
    assert_eq!(there.load(ada.key).await, Ok(None));
    has_read(&here).await;
    here.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(here.remove(vec![ada.key]).await, Ok(1));
    loop {
        match next(&mut ends).await {
            End::Lagged => {}
            end => return assert_eq!(end, End::One(ada.key)),
        }
    }
}

#[tokio::test]
async fn rel_18_a_new_server_is_told_again_of_ends_first_and_then_of_logins() {
    let mut server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, bob, eve) = (record("ada"), record("bob"), record("eve"));
    for record in [&ada, &bob, &eve] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    assert_eq!(there.remove(vec![bob.key]).await, Ok(1));
    let all_of_eve = here.remove_of_user("eve".into(), None).await;
    assert_eq!(all_of_eve, Ok(Some(Removed::all(1))));
    has_read(&here).await;
    server.restart(); // nothing of it is on a disk
    let told_again = async {
        loop {
            match there.load(ada.key).await {
                Ok(Some(there)) => return assert_eq!(there, ada),
                Ok(None) => panic!("what is not there yet is taken for ended"),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let told_again = tokio::time::timeout(Duration::from_secs(20), told_again);
    told_again.await.unwrap();
    while next(&mut ends).await != End::Lagged {}
    let settled = async |node: &Redis| {
        while node.load(SessionKey::LAST).await != Ok(None) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(settled(&here), settled(&there));
    for over in [&bob, &eve] {
        assert_eq!(there.load(over.key).await, Ok(None));
        assert_eq!(here.load(over.key).await, Ok(None));
    }
    assert_eq!(here.count().await, Ok(1));
}

#[tokio::test]
async fn rel_10_an_end_that_could_not_be_written_is_written_when_the_store_is_back() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, bob) = (record("ada"), record("bob"));
    for record in [&ada, &bob] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    server.stop();
    let removals = tokio::join!(
        here.remove(vec![ada.key]),
        here.remove_of_user("bob".into(), None),
        here.load(record("eve").key)
    );
    let not_yet = StoreError::NotEverywhere(Obstacle::Away(here.stale_for().unwrap()));
    let away = StoreError::Unavailable;
    assert_eq!(removals.0, Err(not_yet));
    assert_eq!((removals.1, removals.2), (Err(not_yet), Err(away)));
    assert_eq!(here.load(ada.key).await, Ok(None), "this node knows it");
    server.go_on();
    let mut told = Vec::new();
    let all = async {
        while !(told.contains(&End::One(ada.key)) && told.contains(&End::User(UserKey::of("bob"))))
        {
            told.push(ends.recv().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all)
        .await
        .unwrap();
    for over in [&ada, &bob] {
        assert_eq!(there.load(over.key).await, Ok(None));
        assert_eq!(here.load(over.key).await, Ok(None));
    }
}

#[tokio::test]
async fn rel_18_all_sessions_of_a_user_end_whatever_the_index_knows() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, ada_too, bob) = (record("ada"), record("Ada"), record("bob"));
    for record in [&ada, &ada_too, &bob] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    let index = here.shared.names.user(UserKey::of("ada"));
    assert_eq!(server.ask(&["DEL", &index]), "1\n");
    let all_of_ada = here.remove_of_user("ADA".into(), None).await;
    assert_eq!(all_of_ada, Ok(Some(Removed::all(0))));
    assert_eq!(next(&mut ends).await, End::User(UserKey::of("ada")));
    for over in [&ada, &ada_too] {
        assert_eq!(there.load(over.key).await, Ok(None));
    }
    assert_eq!(there.load(bob.key).await, Ok(Some(Arc::clone(&bob))));
    let again = record("ada");
    there.insert(Arc::clone(&again)).await.unwrap();
    assert_eq!(here.load(again.key).await, Ok(Some(again)));

    // All, though no index knows of him.
    for shard in keys::Shard::all() {
        server.ask(&["DEL", &here.shared.names.buckets(shard)]);
    }
    here.clear().await.unwrap();
    assert_eq!(there.load(bob.key).await, Ok(None));
    let eve = record("eve");
    there.insert(Arc::clone(&eve)).await.unwrap();
    assert_eq!(here.load(eve.key).await, Ok(Some(eve)));
}

#[tokio::test]
async fn rel_18_what_one_node_changes_is_told_to_the_others() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, mut ends) = (record("ada"), there.ends());
    here.insert(Arc::clone(&ada)).await.unwrap();
    let set = crate::session::store::conformance::change(&crate::session::data::SET, "a=1");
    let changed = here.change_data(ada.key, "wiki".into(), set).await;
    assert!(changed.unwrap().unwrap().is_ok());
    assert_eq!(next(&mut ends).await, End::Changed(ada.key));
}

#[tokio::test]
async fn rel_18_an_end_is_told_though_everything_beside_it_is_broken() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = record("ada");
    let short = keys::Short::of(&ada.key);
    let names = &here.shared.names;
    for broken in [
        names.bucket(short.bucket()),
        names.buckets(short.shard()),
        names.count(short.shard()),
    ] {
        here.insert(Arc::clone(&ada)).await.unwrap();
        let mut ends = there.ends();
        server.ask(&["DEL", &broken]);
        server.ask(&["SET", &broken, "nonsense"]);
        assert_eq!(here.remove(vec![ada.key]).await, Ok(1), "{broken}");
        assert_eq!(next(&mut ends).await, End::One(ada.key), "{broken}");
        assert_eq!(there.load(ada.key).await, Ok(None), "{broken}");
        server.ask(&["DEL", &broken]);
    }
    // A foreign entry with a high id makes the stream refuse every entry after it.
    here.insert(Arc::clone(&ada)).await.unwrap();
    let mut ends = there.ends();
    server.ask(&["XADD", &names.ends(short.shard()), "*", "a", "b"]);
    assert_eq!(here.remove(vec![ada.key]).await, Ok(1));
    assert_eq!(next(&mut ends).await, End::Lagged);
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn rel_10_an_end_needs_no_memory_of_the_store() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, bob) = (record("ada"), record("bob"));
    for record in [&ada, &bob] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(here.insert(record("eve")).await.is_err());
    assert_eq!(here.remove(vec![ada.key]).await, Ok(1));
    // A session that could not be begun is ended, too, for the case that it is there.
    while next(&mut ends).await != End::One(ada.key) {}
    let all_of_bob = here.remove_of_user("bob".into(), None).await;
    assert_eq!(all_of_bob, Ok(Some(Removed::all(1))));
    // Of another stream, which may be read before.
    while next(&mut ends).await != End::User(UserKey::of("bob")) {}
    assert_eq!(there.load(bob.key).await, Ok(None));
}

#[tokio::test]
async fn rel_18_another_entry_of_the_same_number_is_noticed() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    let mut ends = there.ends();
    // Emptied, and begun anew by somebody before anybody has looked.
    let stream = here.shared.names.ends(keys::Short::of(&ada.key).shard());
    let script = "redis.call('DEL', KEYS[1])
        return redis.call('XADD', KEYS[1], '0-*', 'b', '', 'n', 'another')";
    server.ask(&["EVAL", script, "1", &stream]);
    assert_eq!(next(&mut ends).await, End::Lagged);
}

/// By a server whose memory was full.
#[tokio::test]
async fn rel_10_an_end_holds_on_every_node_that_has_heard_of_it_though_the_epoch_is_thrown_away() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    for scope in [EndScope::User(UserKey::of("ada")), EndScope::All] {
        let ada = record("ada");
        here.insert(Arc::clone(&ada)).await.unwrap();
        assert!(there.load(ada.key).await.unwrap().is_some());
        let value = [
            name(&here, &ada.key),
            format!("{}-copy", name(&here, &ada.key)),
        ];
        server.ask(&["COPY", &value[0], &value[1]]);
        let mut ends = there.ends();
        match scope {
            EndScope::User(_) => drop(here.remove_of_user("ada".into(), None).await.unwrap()),
            EndScope::All => drop(here.clear().await.unwrap()),
        }
        while !matches!(next(&mut ends).await, End::User(_) | End::All) {}
        server.ask(&["DEL", &here.shared.names.epochs(Shared::shard_of(scope))]);
        assert_eq!(server.ask(&["RENAME", &value[1], &value[0]]), "OK\n");
        for node in [&here, &there] {
            assert_eq!(node.load(ada.key).await, Ok(None), "{scope:?}");
        }
        // Who signs in after it is signed in.
        let ada = record("ada");
        here.insert(Arc::clone(&ada)).await.unwrap();
        for node in [&here, &there] {
            let found = node.load(ada.key).await;
            assert_eq!(found, Ok(Some(Arc::clone(&ada))), "{scope:?}");
        }
    }
}

/// What is told first, besides how far it has been told.
async fn first(ends: &mut mpsc::Receiver<End>) -> End {
    let first = tokio::time::timeout(Duration::from_secs(30), ends.recv());
    first.await.expect("it is told").unwrap()
}

#[tokio::test]
async fn rel_18_what_begins_before_the_first_read_of_the_ends_is_not_in_doubt() {
    let server = server!();
    let node = Redis::open(link(server.settings()), &Clock::system()).unwrap();
    let (ada, mut ends) = (record("ada"), node.ends());
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert!(node.load(ada.key).await.unwrap().is_some());
    let first = first(&mut ends).await;
    assert!(matches!(first, End::NoMoreUntil(_)), "{first:?}");
}

#[tokio::test]
async fn rel_18_what_was_given_out_before_the_ends_could_be_read_is_asked_for_again() {
    let server = server!();
    let rights = |rights| {
        let set = ["ACL", "SETUSER", "default", rights];
        assert_eq!(server.ask(&set), "OK\n");
    };
    rights("-xrevrange");
    let node = Redis::open(link(server.settings()), &Clock::system()).unwrap();
    let (ada, mut ends) = (record("ada"), node.ends());
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert!(ends.try_recv().is_err());
    rights("+xrevrange");
    assert_eq!(first(&mut ends).await, End::Lagged);
    assert_eq!(loaded(&node, &ada).await, Some(ada));
}

#[tokio::test]
async fn rel_18_ends_that_are_slow_to_write_delay_none_of_the_others() {
    let server = server!();
    // Which no replica ever has: each write waits for a second.
    let slow = Settings {
        wait_replicas: Some(1),
        ..server.settings()
    };
    let (here, there) = (node_of(slow).await, node(&server).await);
    let bob = record("bob");
    there.insert(Arc::clone(&bob)).await.unwrap();
    let (mut ends, now) = (here.ends(), here.shared.clock.now());
    for number in 0..20 {
        let scope = EndScope::User(UserKey::of(&format!("user{number}")));
        let end = here.shared.journal().begin_end(scope, None, now);
        here.shared.journal().finish_end(&end, None);
    }
    // Of one of them, by now.
    while !matches!(next(&mut ends).await, End::User(_)) {}
    assert_eq!(there.remove(vec![bob.key]).await, Ok(1));
    while next(&mut ends).await != End::One(bob.key) {}
    let (_, left) = here.shared.journal().unwritten();
    assert!(left.len() > 10, "{} are left", left.len());
}

#[tokio::test]
async fn rel_10_a_store_that_refuses_is_not_told_as_one_that_is_away() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, bob) = (record("ada"), record("bob"));
    for record in [&ada, &bob] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let rights = |rights| {
        let set = ["ACL", "SETUSER", "default", rights];
        assert_eq!(server.ask(&set), "OK\n");
    };
    let mut ends = there.ends();
    rights("-evalsha");
    let refused = StoreError::NotEverywhere(Obstacle::Refusal);
    assert_eq!(here.remove(vec![ada.key]).await, Err(refused));
    let all_of_bob = here.remove_of_user("bob".into(), None).await;
    assert_eq!(all_of_bob, Err(refused));
    assert_eq!(here.insert(record("eve")).await, Err(StoreError::Refused));
    assert_eq!(here.load(ada.key).await, Ok(None), "it is over here");
    assert!(there.load(ada.key).await.unwrap().is_some());
    assert!(here.connectivity().unwrap().is_connected);
    rights("-mget");
    assert_eq!(there.load(bob.key).await, Err(StoreError::Refused));
    rights("+mget");
    rights("+evalsha");
    let mut told = Vec::new();
    while !(told.contains(&End::One(ada.key)) && told.contains(&End::User(UserKey::of("bob")))) {
        told.push(next(&mut ends).await);
    }
    // Too few replicas for its settings: neither is it away then.
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(here.insert(record("eve")).await, Err(StoreError::Refused));
}
