//! Ends of all sessions of a user but the one that asks for it.

use super::*;
use crate::clock::Timestamp;
use crate::redis::{Login, SecretSource};
use crate::secret::Secret;
use crate::session::store::Obstacle;

#[tokio::test]
async fn sec_46_the_other_sessions_of_a_user_end_whatever_the_index_knows() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, ada_too, bob) = (record("ada"), record("ada"), record("bob"));
    for record in [&ada, &ada_too, &bob] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let index = here.shared.names.user(UserKey::of("ada"));
    let mut ends = there.ends();
    for times in 1..=2 {
        server.ask(&["DEL", &index]);
        // Whoever has it open elsewhere goes on all the while.
        let watched = async {
            loop {
                let kept = there.load(ada.key).await.unwrap().unwrap();
                assert_eq!(kept.key, ada.key);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = watched => {}
            removed = here.remove_of_user("ada".into(), Some(ada.key)) => {
                assert_eq!(removed, Ok(Some(Removed::all(0))), "time {times}");
            }
        }
        while next(&mut ends).await != End::User(UserKey::of("ada")) {}
        for node in [&here, &there] {
            assert_eq!(node.load(ada_too.key).await, Ok(None));
            assert_eq!(node.load(bob.key).await, Ok(Some(Arc::clone(&bob))));
            assert!(node.load(ada.key).await.unwrap().is_some());
        }
    }
    let all_of_ada = here.remove_of_user("ada".into(), None).await;
    assert_eq!(all_of_ada, Ok(Some(Removed::all(0))));
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn rel_10_the_session_to_keep_is_kept_though_the_end_of_the_others_has_to_wait() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, ada_too) = (record("ada"), record("ada"));
    for record in [&ada, &ada_too] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    server.stop();
    let removed = here.remove_of_user("ada".into(), Some(ada.key)).await;
    let not_yet = StoreError::NotEverywhere(Obstacle::Away(here.stale_for().unwrap()));
    assert_eq!(removed, Err(not_yet));
    server.go_on();
    while next(&mut ends).await != End::User(UserKey::of("ada")) {}
    for node in [&here, &there] {
        assert_eq!(node.load(ada_too.key).await, Ok(None));
        assert!(node.load(ada.key).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn rel_18_two_ends_of_a_user_at_once_are_two() {
    let server = server!();
    let here = node(&server).await;
    let first = here.remove_of_user("ada".into(), None);
    let second = here.remove_of_user("ada".into(), None);
    assert_eq!(
        tokio::join!(first, second),
        (Ok(Some(Removed::all(0))), Ok(Some(Removed::all(0))))
    );
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(here.load(ada.key).await, Ok(Some(ada)));
}

/// A session of ada's that began at that time.
fn begun_at(created: Timestamp) -> Arc<Record> {
    Arc::new(Record {
        created,
        ..Arc::unwrap_or_clone(record("ada"))
    })
}

async fn is_good(nodes: &[&Redis], record: &Record) -> bool {
    let mut good = Vec::new();
    for node in nodes {
        good.push(node.load(record.key).await.unwrap().is_some());
    }
    assert!(
        good.iter().all(|one| *one == good[0]),
        "nodes differ: {good:?}"
    );
    good[0]
}

#[tokio::test]
async fn rel_10_an_end_that_had_to_wait_spares_what_has_begun_since() {
    let server = server!();
    let rights = |rights: &[&str]| {
        let set = ["ACL", "SETUSER", "here"];
        assert_eq!(server.ask(&[&set[..], rights].concat()), "OK\n");
    };
    rights(&["on", ">pass", "~*", "&*", "+@all"]);
    let mut as_user = server.settings();
    as_user.login = Login {
        username: Some("here".to_owned()),
        password: Some(SecretSource::Given(Secret::new("pass".to_owned()))),
    };
    let (here, there) = (node_of(as_user).await, node(&server).await);
    for keeps in [true, false] {
        let now = there.shared.clock.now();
        let (own, other) = (begun_at(now), begun_at(now));
        let later = begun_at(now.plus(Duration::from_secs(5)));
        for record in [&own, &other] {
            here.insert(Arc::clone(record)).await.unwrap();
        }
        let mut ends = there.ends();
        rights(&["-evalsha"]);
        let keep = keeps.then_some(own.key);
        let refused = StoreError::NotEverywhere(Obstacle::Refusal);
        let ended = here.remove_of_user("ada".into(), keep).await;
        assert_eq!(ended.map(drop), Err(refused));
        assert_eq!(here.load(other.key).await, Ok(None), "it is over here");
        // Elsewhere, meanwhile.
        there.insert(Arc::clone(&later)).await.unwrap();
        assert_eq!(here.load(later.key).await, Ok(Some(Arc::clone(&later))));
        rights(&["+evalsha"]);
        while next(&mut ends).await != End::User(UserKey::of("ada")) {}
        let nodes = [&here, &there];
        assert!(is_good(&nodes, &later).await, "it began after the click");
        assert_eq!(is_good(&nodes, &own).await, keeps);
        assert!(!is_good(&nodes, &other).await);
        // What the first round has spared is not spared by another one.
        there.remove_of_user("ada".into(), None).await.unwrap();
        for record in [&own, &later] {
            assert!(!is_good(&nodes, record).await);
        }
        has_read(&there).await; // of that end, too
    }
}

#[tokio::test]
async fn sec_46_of_two_who_end_the_others_at_once_one_stays_signed_in() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let nodes = [&here, &there];
    for round in 0..50 {
        let [one, two, third] = ["ada"; 3].map(record);
        for record in [&one, &two, &third] {
            here.insert(Arc::clone(record)).await.unwrap();
        }
        let other = if round % 2 == 0 { &there } else { &here };
        let ended = tokio::join!(
            here.remove_of_user("ada".into(), Some(one.key)),
            other.remove_of_user("ada".into(), Some(two.key)),
        );
        let (first, second) = (is_good(&nodes, &one).await, is_good(&nodes, &two).await);
        assert!(first ^ second, "round {round}: {first}, {second}");
        // Whose session was over by then is told so.
        let told = (ended.0.unwrap().is_some(), ended.1.unwrap().is_some());
        assert_eq!(told, (first, second), "round {round}");
        assert!(!is_good(&nodes, &third).await);
        here.remove_of_user("ada".into(), None).await.unwrap();
        assert!(!is_good(&nodes, &one).await && !is_good(&nodes, &two).await);
    }
}

#[tokio::test]
async fn rel_18_a_new_server_is_told_again_whom_an_end_has_kept() {
    let mut server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (own, other) = (record("ada"), record("ada"));
    for record in [&own, &other] {
        there.insert(Arc::clone(record)).await.unwrap();
    }
    let mut ends = there.ends();
    let ended = here.remove_of_user("ada".into(), Some(own.key)).await;
    assert_eq!(ended, Ok(Some(Removed::all(1))));
    while next(&mut ends).await != End::User(UserKey::of("ada")) {}
    has_read(&there).await;
    server.restart(); // nothing of it is on a disk
    assert_eq!(loaded(&there, &own).await, Some(Arc::clone(&own)));
    assert_eq!(loaded(&there, &other).await, None);
}

#[tokio::test]
async fn sec_46_who_comes_second_cuts_no_stream_of_who_comes_first() {
    let server = server!();
    let sessions = async || {
        let settings = crate::session::test_settings(Duration::from_mins(30));
        let store = Arc::new(node(&server).await);
        crate::session::Sessions::new(settings, store, Clock::system())
    };
    let nodes = [sessions().await, sessions().await];
    let store = node(&server).await;
    for round in 0..20 {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let now = Clock::system().now();
            let ada = Arc::new(Record {
                last_accessed: now,
                expires: now.plus(Duration::from_hours(1)),
                ..Arc::unwrap_or_clone(begun_at(now))
            });
            keys.push(ada.key);
            store.insert(ada).await.unwrap();
        }
        let mut streams = Vec::new();
        for key in &keys {
            for node in &nodes {
                let session = node.by_key(key).await.unwrap().unwrap();
                streams.push((*key, node.watch(&session)));
            }
        }
        let ended = tokio::join!(
            nodes[0].end_others_of_user("ada", Some(keys[0])),
            nodes[1].end_others_of_user("ada", Some(keys[1])),
        );
        let is_first = [ended.0.unwrap().is_some(), ended.1.unwrap().is_some()];
        assert!(is_first[0] ^ is_first[1], "round {round}: {is_first:?}");
        let first = keys[usize::from(is_first[1])];
        for (key, stream) in &streams {
            assert!(
                *key != first || !stream.ended().is_cancelled(),
                "round {round}"
            );
        }
        nodes[0].end_all_of_user("ada").await.unwrap();
    }
}
