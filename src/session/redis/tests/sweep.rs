//! Epochs that are not needed any more.

use std::collections::HashSet;

use ::redis::cmd;

use super::*;
use crate::session::redis::removed::REMOVED;

#[tokio::test]
async fn sec_84_an_epoch_goes_when_no_session_can_be_left_from_before_it() {
    let server = server!();
    let node = node(&server).await;
    let has = |user| has_epoch(&node, &server, user);
    for user in ["ada", "bob"] {
        node.insert(record(user)).await.unwrap();
        node.remove_of_user(user.into(), None).await.unwrap();
    }
    node.clear().await.unwrap();
    let bob = record("bob");
    node.insert(Arc::clone(&bob)).await.unwrap();
    // What is left in her index of the session that has ended.
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![]));
    sweep(&node, Duration::from_hours(1)).await;
    assert!(has("ada") && has("bob"), "none is old");
    let short = Duration::from_millis(20);
    sweep_away(&node, &server, "ada", short).await;
    sweep(&node, short).await;
    assert!(has("bob"), "his index has a session");
    let of_all = node.shared.names.epochs(keys::Shard::OF_ALL);
    assert_eq!(server.ask(&["HEXISTS", &of_all, "*"]), "1\n");
    // All goes on as before.
    assert_eq!(node.load(bob.key).await, Ok(Some(bob)));
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    let ended = node.remove_of_user("ada".into(), None).await;
    assert_eq!(ended, Ok(Some(Removed::all(1))));
    assert_eq!(node.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn sec_84_an_epoch_that_was_set_meanwhile_stays() {
    let server = server!();
    let node = node(&server).await;
    let user = UserKey::of("ada");
    let (epochs, field) = epoch_of(&node, "ada");
    node.remove_of_user("ada".into(), None).await.unwrap();
    let before = server.ask(&["HGET", &epochs, &field]);
    let before = before.trim().as_bytes().to_vec();
    node.remove_of_user("ada".into(), None).await.unwrap();
    let shard = keys::Names::shard_of(user);
    let old = [(user, before)];
    assert_eq!(node.shared.remove_epochs(shard, &old).await, Ok(0));
    assert_eq!(server.ask(&["HEXISTS", &epochs, &field]), "1\n");
    let now = server.ask(&["HGET", &epochs, &field]);
    let old = [(user, now.trim().as_bytes().to_vec())];
    assert_eq!(node.shared.remove_epochs(shard, &old).await, Ok(1));
}

#[tokio::test]
async fn sec_84_epochs_of_many_users_go_some_at_a_time() {
    let server = server!();
    let node = node(&server).await;
    // More than one look finds, and so many that the server keeps them as a table.
    let users: Vec<_> = (0..3000)
        .map(|number| UserKey::of(&number.to_string()))
        .collect();
    for user in &users {
        let epochs = node.shared.names.epochs(keys::Names::shard_of(*user));
        let set = cmd("HSET")
            .arg(epochs)
            .arg(user.to_string())
            .arg("1000")
            .take();
        node.shared.query(&set).await.unwrap();
    }
    let left = async || {
        let mut left = 0;
        for shard in keys::Shard::all() {
            let epochs = node.shared.names.epochs(shard);
            let count = async |command: &::redis::Cmd| {
                number(&node.shared.query(command).await.unwrap()).unwrap()
            };
            left += count(cmd("HLEN").arg(&epochs)).await;
            left -= count(cmd("HEXISTS").arg(&epochs).arg(REMOVED)).await;
        }
        left
    };
    node.shared
        .remove_older(Duration::from_hours(1))
        .await
        .unwrap();
    let first = left().await;
    assert!(
        (2600..3000).contains(&first),
        "{first} of 3000 after a round"
    );
    let swept = async {
        while left().await > 0 {
            sweep(&node, Duration::from_hours(1)).await;
        }
    };
    let swept = tokio::time::timeout(Duration::from_secs(30), swept).await;
    swept.expect("all are removed");
}

/// Each would take the place of another one, which would take its place in the next round.
#[tokio::test]
async fn rel_18_of_more_epochs_than_a_node_remembers_it_keeps_those_that_it_has_found_first() {
    let server = server!();
    let node = node(&server).await;
    let now = node.shared.clock.now().as_millis().to_string();
    let mut fields = vec![Vec::new(); keys::SHARDS.into()];
    for number in 0..journal::MAX_EPOCHS + 2000 {
        let user = UserKey::of(&number.to_string());
        fields[keys::Names::shard_of(user).index()].push(user.to_string());
    }
    for (shard, users) in keys::Shard::all().zip(&fields) {
        let mut set = cmd("HSET");
        set.arg(node.shared.names.epochs(shard));
        for user in users {
            set.arg(user).arg(&now);
        }
        node.shared.query(&set).await.unwrap();
    }
    let mut known = HashSet::new();
    // Twice round, and then some of it.
    for _ in 0..20 {
        sweep(&node, Duration::from_hours(1)).await;
        let epochs = node.shared.journal().epochs();
        let scopes: HashSet<_> = epochs.into_iter().map(|(scope, _)| scope).collect();
        assert!(scopes.is_superset(&known), "{} are left", scopes.len());
        known = scopes;
    }
    assert_eq!(known.len(), journal::MAX_EPOCHS);
}

/// Whose node still remembers an epoch that is not in the store any more.
#[tokio::test]
async fn rel_18_an_epoch_that_was_removed_does_not_come_back_with_another_server() {
    let mut server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let short = Duration::from_millis(50);
    here.forget_ends(short).await.unwrap();
    here.remove_of_user("ada".into(), None).await.unwrap();
    sweep_away(&there, &server, "ada", short).await;
    // By the node that knows nothing of it; it has not looked itself since.
    there.shared.journal().forget_epochs(|_| true);
    assert_eq!(here.shared.journal().epochs().len(), 1);
    let ada = record("ada");
    there.insert(Arc::clone(&ada)).await.unwrap();
    server.restart();
    assert_eq!(loaded(&there, &ada).await, Some(Arc::clone(&ada)));
    assert_eq!(loaded(&here, &ada).await, Some(ada));
}

/// As that above, of a node whose sessions last for longer: it tells every server of the epoch.
#[tokio::test]
async fn rel_18_an_epoch_that_another_node_has_removed_ends_nothing_that_began_since() {
    let mut server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    here.forget_ends(Duration::from_hours(1)).await.unwrap();
    here.remove_of_user("ada".into(), None).await.unwrap();
    sweep_away(&there, &server, "ada", Duration::from_millis(50)).await;
    there.shared.journal().forget_epochs(|_| true);
    let ada = record("ada");
    there.insert(Arc::clone(&ada)).await.unwrap();
    server.restart();
    assert_eq!(loaded(&there, &ada).await, Some(Arc::clone(&ada)));
    assert!(has_epoch(&here, &server, "ada"), "it is back");
    assert_eq!(loaded(&here, &ada).await, Some(Arc::clone(&ada)));
    // And she is signed out as ever.
    let ended = here.remove_of_user("ada".into(), None).await;
    assert_eq!(ended, Ok(Some(Removed::all(1))));
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn rel_18_an_end_comes_after_every_epoch_that_was_removed() {
    let server = server!();
    let node = node(&server).await;
    let user = UserKey::of("ada");
    let (epochs, field) = epoch_of(&node, "ada");
    let set = |text: &str| server.ask(&["HSET", &epochs, &field, text]);
    set("99999999999999"); // by a clock that was far ahead
    let old = [(user, b"99999999999999".to_vec())];
    let shard = keys::Names::shard_of(user);
    assert_eq!(node.shared.remove_epochs(shard, &old).await, Ok(1));
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(node.load(ada.key).await, Ok(Some(Arc::clone(&ada))));
    node.remove_of_user("ada".into(), None).await.unwrap();
    assert_eq!(node.load(ada.key).await, Ok(None));
    // One that is older changes nothing in that.
    node.shared.journal().forget_epochs(|_| true); // it would set the later one again
    server.ask(&["DEL", &node.shared.names.user(user)]);
    set("1000");
    let old = [(user, b"1000".to_vec())];
    assert_eq!(node.shared.remove_epochs(shard, &old).await, Ok(1));
    let bob = record("ada");
    node.insert(Arc::clone(&bob)).await.unwrap();
    node.remove_of_user("ada".into(), None).await.unwrap();
    assert_eq!(node.load(bob.key).await, Ok(None));
}

/// The node has only read the epoch, in a sweep or at the login; it was not there when it was set.
#[tokio::test]
async fn sec_46_an_end_comes_after_an_epoch_from_the_future_that_a_full_server_has_thrown_away() {
    for is_swept in [true, false] {
        let server = server!();
        let node = node(&server).await;
        let (epochs, field) = epoch_of(&node, "ada");
        let tomorrow = node.shared.clock.now().plus(Duration::from_hours(24));
        let tomorrow = tomorrow.as_millis().to_string();
        server.ask(&["HSET", &epochs, &field, &tomorrow]);
        if is_swept {
            sweep(&node, Duration::from_hours(12)).await;
        }
        let ada = record("ada");
        node.insert(Arc::clone(&ada)).await.unwrap();
        server.ask(&["DEL", &epochs]);
        let mut round = crate::session::redis::lost::Round::default();
        node.shared.restore_lost_epochs(&mut round).await.unwrap();
        let copy = format!("{}-copy", name(&node, &ada.key));
        server.ask(&["COPY", &name(&node, &ada.key), &copy]);
        node.remove_of_user("ada".into(), None).await.unwrap();
        // As if no index had known of it.
        server.ask(&["RENAME", &copy, &name(&node, &ada.key)]);
        let late = super::node(&server).await;
        assert_eq!(late.load(ada.key).await, Ok(None), "swept: {is_swept}");
    }
}
