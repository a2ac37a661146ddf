//! Epochs that a server has thrown away, because its memory was full.

use super::*;

/// Two users whose epochs are under one key.
fn neighbours() -> [String; 2] {
    let shard = |name: &str| keys::Names::shard_of(UserKey::of(name));
    let mut names = (0..).map(|number| format!("user{number}"));
    let other = names.find(|name| shard(name) == shard("ada")).unwrap();
    ["ada".to_owned(), other]
}

/// A session that has ended with all of this user, and that the store has nonetheless: no index knew of it.
/// Its epoch is thrown away.
async fn ended(server: &TestServer, node: &Redis, scope: EndScope) -> Arc<Record> {
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    let value = [
        name(node, &ada.key),
        format!("{}-copy", name(node, &ada.key)),
    ];
    server.ask(&["COPY", &value[0], &value[1]]);
    match scope {
        EndScope::User(_) => drop(node.remove_of_user("ada".into(), None).await.unwrap()),
        EndScope::All => drop(node.clear().await.unwrap()),
    }
    server.ask(&["DEL", &node.shared.names.epochs(Shared::shard_of(scope))]);
    assert_eq!(server.ask(&["RENAME", &value[1], &value[0]]), "OK\n");
    ada
}

#[tokio::test]
async fn rel_10_a_node_that_starts_after_an_epoch_was_thrown_away_opens_nothing_that_has_ended() {
    let server = server!();
    let [ada, other] = neighbours();
    for (scope, then) in [
        (EndScope::User(UserKey::of(&ada)), None),
        (EndScope::User(UserKey::of(&ada)), Some(&other)),
        (EndScope::All, None),
    ] {
        let here = node(&server).await;
        let over = ended(&server, &here, scope).await;
        // Which has the key there again, with one epoch of many.
        if let Some(user) = then {
            here.remove_of_user(user.clone(), None).await.unwrap();
        }
        let (key, field) = here.shared.field_of(scope);
        let restored = async {
            while server.ask(&["HEXISTS", &key, &field]) != "1\n" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let restored = tokio::time::timeout(Duration::from_secs(30), restored).await;
        restored.expect("nobody has asked for the session, and the epoch is there again");
        drop(here);
        let late = node(&server).await;
        assert_eq!(late.load(over.key).await, Ok(None), "{scope:?}, {then:?}");
        assert_eq!(server.ask(&["FLUSHALL"]), "OK\n");
    }
}

/// Which every node reads again and again.
#[tokio::test]
async fn rel_10_a_node_that_starts_after_an_end_puts_its_epoch_back_as_well() {
    let server = server!();
    for scope in [EndScope::User(UserKey::of("ada")), EndScope::All] {
        let here = node(&server).await;
        match scope {
            EndScope::User(_) => drop(here.remove_of_user("ada".into(), None).await.unwrap()),
            EndScope::All => drop(here.clear().await.unwrap()),
        }
        drop(here);
        let late = node(&server).await;
        for _ in 0..keys::SHARDS {
            late.forget_ends(Duration::from_hours(12)).await.unwrap();
        }
        let (key, field) = late.shared.field_of(scope);
        assert_eq!(server.ask(&["DEL", &key]), "1\n");
        let mut round = crate::session::redis::lost::Round::default();
        late.shared.restore_lost_epochs(&mut round).await.unwrap();
        assert_eq!(server.ask(&["HEXISTS", &key, &field]), "1\n", "{scope:?}");
    }
}

#[tokio::test]
async fn rel_18_who_signs_in_after_an_epoch_was_thrown_away_is_signed_in_on_every_node() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    for node in [&here, &there] {
        node.retrier.abort(); // it might put the epoch back before she signs in
    }
    for scope in [EndScope::User(UserKey::of("ada")), EndScope::All] {
        let mut ends = there.ends();
        ended(&server, &here, scope).await;
        let ada = record("ada");
        here.insert(Arc::clone(&ada)).await.unwrap(); // before anybody has asked for hers
        while !matches!(next(&mut ends).await, End::User(_) | End::All) {}
        for node in [&there, &here] {
            let found = node.load(ada.key).await;
            assert_eq!(found, Ok(Some(Arc::clone(&ada))), "{scope:?}");
        }
    }
}

/// Of a user without a session, for its age: nobody brings it back.
#[tokio::test]
async fn sec_84_an_epoch_that_was_removed_is_not_lost() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    here.remove_of_user("ada".into(), None).await.unwrap();
    sweep_away(&there, &server, "ada", Duration::from_millis(50)).await;
    let mut round = crate::session::redis::lost::Round::default();
    here.shared.restore_lost_epochs(&mut round).await.unwrap();
    assert!(!has_epoch(&here, &server, "ada"));
}
