//! The last epoch that was removed.

use super::*;
use crate::redis::Servers;
use crate::session::redis::removed::REMOVED;

fn epochs_of(node: &Redis, user: &str) -> String {
    let shard = keys::Names::shard_of(UserKey::of(user));
    node.shared.names.epochs(shard)
}

#[tokio::test]
async fn rel_19_one_that_cannot_be_read_keeps_nobody_out_and_every_end_comes_after_it() {
    let server = server!();
    let node = patient_node(&server).await;
    let epochs = epochs_of(&node, "ada");
    let there = || server.ask(&["HGET", &epochs, REMOVED]);
    let is_good = || there().trim().parse::<u64>().is_ok_and(|it| it < 1 << 52);
    for damaged in [
        "garbage",
        "",
        "-1",
        "1e300",
        "0x7fffffffffff",
        "9007199254740992",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
    ] {
        server.ask(&["HSET", &epochs, REMOVED, damaged]);
        // Nor does a node that looks at all epochs take it for one and tell it.
        for _ in 0..keys::SHARDS {
            let age = Duration::from_hours(1);
            node.shared.remove_older(age).await.unwrap();
        }
        let ada = record("ada");
        node.insert(Arc::clone(&ada)).await.unwrap();
        assert!(is_good(), "{damaged}: {}", there());
        assert_eq!(node.load(ada.key).await, Ok(Some(Arc::clone(&ada))));
        // Before whoever ends them reads it, too.
        server.ask(&["HSET", &epochs, REMOVED, damaged]);
        let ended = node.remove_of_user("ada".into(), None).await;
        assert_eq!(ended, Ok(Some(Removed::all(1))), "{damaged}");
        assert!(is_good(), "{damaged}: {}", there());
        assert_eq!(node.load(ada.key).await, Ok(None), "{damaged}");
        // And before one is removed.
        server.ask(&["HSET", &epochs, REMOVED, damaged]);
        let user = UserKey::of("ada");
        node.shared.journal().forget_epochs(|_| true); // it would set the one of above again
        server.ask(&["DEL", &node.shared.names.user(user)]);
        server.ask(&["HSET", &epochs, &user.to_string(), "1000"]);
        let shard = keys::Names::shard_of(user);
        let old = [(user, b"1000".to_vec())];
        assert_eq!(node.shared.remove_epochs(shard, &old).await, Ok(1));
        assert!(is_good(), "{damaged}: {}", there());
        assert_ne!(
            there(),
            "1000\n",
            "{damaged}: there may have been later ones"
        );
    }
}

/// Before a node that still has the epoch has told it again.
#[tokio::test]
async fn rel_18_who_signs_in_on_a_new_server_is_not_ended_by_an_epoch_that_was_removed() {
    let mut server = server!();
    let slow = Slow::start(&server).await;
    let here = node_of(settings(Servers::One(slow_address(&slow)))).await;
    let there = patient_node(&server).await;
    here.forget_ends(Duration::from_hours(1)).await.unwrap();
    here.remove_of_user("ada".into(), None).await.unwrap();
    let epochs = epochs_of(&there, "ada");
    sweep_away(&there, &server, "ada", Duration::from_millis(50)).await;
    there.shared.journal().forget_epochs(|_| true);
    let removed = server.ask(&["HGET", &epochs, REMOVED]);
    slow.set_delay(Duration::from_millis(1500)); // nothing of it is answered in time
    server.restart();
    let ada = record("ada");
    let beginning = async {
        while there.insert(Arc::clone(&ada)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let beginning = tokio::time::timeout(Duration::from_secs(30), beginning).await;
    beginning.expect("she signs in");
    assert_eq!(
        server.ask(&["HGET", &epochs, REMOVED]),
        removed,
        "it is known"
    );
    slow.set_delay(Duration::ZERO);
    let told = async {
        while !has_epoch(&there, &server, "ada") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), told).await;
    told.expect("the epoch is told again");
    assert_eq!(loaded(&there, &ada).await, Some(Arc::clone(&ada)));
    let ended = there.remove_of_user("ada".into(), None).await;
    assert_eq!(ended, Ok(Some(Removed::all(1))));
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn rel_18_every_node_tells_it_to_a_server_that_may_have_lost_it() {
    let mut server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let epochs = epochs_of(&here, "ada");
    server.ask(&["HSET", &epochs, REMOVED, "123456"]);
    // Each node looks at all epochs now and then, whether anybody signs in there or not.
    for _ in 0..keys::SHARDS {
        there
            .shared
            .remove_older(Duration::from_hours(1))
            .await
            .unwrap();
    }
    drop(here);
    server.restart();
    let told = async {
        while server.ask(&["HGET", &epochs, REMOVED]) != "123456\n" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), told).await;
    told.expect("it is told again");
}
