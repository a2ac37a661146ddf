//! Values that are no sessions, or not those that they are found as.

use std::ops::Bound;

use ::redis::{Value, cmd};

use super::value::Values;
use super::*;

async fn get(node: &Redis, name: &str) -> Vec<u8> {
    match node.shared.query(cmd("GET").arg(name)).await.unwrap() {
        Value::BulkString(value) => value,
        other => panic!("{other:?}"),
    }
}

async fn set(node: &Redis, name: &str, value: &[u8]) {
    let set = node.shared.query(cmd("SET").arg(name).arg(value)).await;
    assert_eq!(set, Ok(Value::Okay));
}

async fn all(node: &Redis) -> Vec<Arc<Record>> {
    let range = node.range(Bound::Unbounded, SessionKey::LAST, 9);
    range.await.unwrap()
}

#[tokio::test]
async fn sec_84_what_is_not_sealed_for_this_session_is_none() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("bob"));
    node.insert(Arc::clone(&ada)).await.unwrap();
    node.insert(Arc::clone(&bob)).await.unwrap();
    let good = get(&node, &name(&node, &ada.key)).await;
    let of_bob = get(&node, &name(&node, &bob.key)).await;
    let text = String::from_utf8_lossy(&good);
    assert!(
        !text.contains("ada") && !text.contains("gate.test"),
        "{text}"
    );

    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let copied = [&good[..value::SEALED], &of_bob[value::SEALED..]].concat();
    let no_access = [b"123456789o12345", &good[value::ACCESS..]].concat();
    for (case, wrong) in [
        ("nothing", &b""[..]),
        ("text", b"hello"),
        ("another session", &of_bob),
        ("the record of another session", &copied),
        ("one bit", &flipped),
        ("cut short", &good[..good.len() - 1]),
        ("no record", &good[..value::SEALED]),
        ("no access", &no_access),
    ] {
        set(&node, &name(&node, &ada.key), wrong).await;
        assert_eq!(node.load(ada.key).await, Ok(None), "{case}");
        assert_eq!(all(&node).await, [Arc::clone(&bob)], "{case}");
        assert_eq!(node.of_user("ada".into()).await, Ok(vec![]), "{case}");
    }
    set(&node, &name(&node, &ada.key), &good).await;
    assert_eq!(node.load(ada.key).await, Ok(Some(Arc::clone(&ada))));
    server.ask(&["DEL", &name(&node, &ada.key)]);
    server.ask(&["SADD", &name(&node, &ada.key), "another type"]);
    assert_eq!(node.load(ada.key).await, Ok(None));
    assert_eq!(node.remove(vec![ada.key]).await, Ok(0));
    assert_eq!(node.load(bob.key).await, Ok(Some(bob)));
}

#[tokio::test]
async fn sec_84_only_the_session_that_lists_an_id_is_opened_by_it() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("bob"));
    node.insert(Arc::clone(&ada)).await.unwrap();
    node.insert(Arc::clone(&bob)).await.unwrap();
    let id = |name: &str| HostId {
        key: record("ada").key,
        host: Host::parse(name).unwrap(),
    };
    let (of_ada, of_bob) = (id("wiki.test"), id("wiki.test"));
    node.add_id(ada.key, of_ada.clone()).await.unwrap().unwrap();
    node.add_id(bob.key, of_bob.clone()).await.unwrap().unwrap();
    let name = |id: &HostId| node.shared.names.other_id(&id.key);
    let leads_to_bob = get(&node, &name(&of_bob)).await;
    set(&node, &name(&of_ada), &leads_to_bob).await;
    assert_eq!(node.load(of_ada.key).await, Ok(None), "copied");
    // Sealed by a node that could not finish.
    let sealed = node.shared.values().encode_id(&of_ada.key, &bob.key);
    set(&node, &name(&of_ada), &sealed.unwrap()).await;
    assert_eq!(
        node.load(of_ada.key).await,
        Ok(None),
        "bob's knows nothing of it"
    );
    assert!(node.load(of_bob.key).await.unwrap().is_some());
}

#[tokio::test]
async fn rel_19_a_session_of_a_later_version_is_an_error_and_no_logout() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("bob"));
    node.insert(Arc::clone(&ada)).await.unwrap();
    node.insert(Arc::clone(&bob)).await.unwrap();
    let name = name(&node, &ada.key);
    let mut later = get(&node, &name).await;
    later[value::SEALED] += 1;
    set(&node, &name, &later).await;
    assert_eq!(node.load(ada.key).await, Err(StoreError::Unavailable));
    assert_eq!(all(&node).await, [bob]);
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![]));
    assert_eq!(get(&node, &name).await, later, "it is left alone");
    later[value::SEALED] -= 1;
    set(&node, &name, &later).await;
    let of_ada = node.of_user("ada".into()).await;
    assert_eq!(of_ada, Ok(vec![Arc::clone(&ada)]), "and so is the index");
    assert_eq!(all(&node).await.len(), 2);
    assert_eq!(node.remove(vec![ada.key]).await, Ok(1), "and can be ended");
}

#[tokio::test]
async fn rel_19_indexes_are_mended_when_they_are_wrong() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("ada"));
    node.insert(Arc::clone(&ada)).await.unwrap();
    node.insert(Arc::clone(&bob)).await.unwrap();
    server.ask(&["DEL", &name(&node, &ada.key)]);
    assert_eq!(node.count().await, Ok(2));
    assert_eq!(all(&node).await, [Arc::clone(&bob)]);
    assert_eq!(node.count().await, Ok(1));
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![Arc::clone(&bob)]));
    let index = node.shared.names.user(UserKey::of("ada"));
    assert_eq!(server.ask(&["SCARD", &index]), "1\n");
    let short = keys::Short::of(&bob.key);
    server.ask(&["DEL", &node.shared.names.bucket(short.bucket())]);
    assert_eq!(node.load(bob.key).await, Ok(Some(Arc::clone(&bob))));
    assert_eq!(node.remove(vec![bob.key]).await, Ok(1));
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(server.ask(&["SCRIPT", "FLUSH"]), "OK\n");
    node.insert(record("bob")).await.unwrap();
    assert_eq!(server.ask(&["SCRIPT", "FLUSH"]), "OK\n");
    assert_eq!(node.remove(vec![ada.key]).await, Ok(1));
    assert_eq!(node.count().await, Ok(1));
}

#[tokio::test]
async fn sec_84_a_record_is_kept_no_longer_than_it_can_be_good() {
    let server = server!();
    let node = node(&server).await;
    let ada = Arc::new(Record {
        expires: Clock::system().now().plus(Duration::from_hours(2)),
        ..Arc::unwrap_or_clone(record("ada"))
    });
    node.insert(Arc::clone(&ada)).await.unwrap();
    for name in [
        name(&node, &ada.key),
        node.shared.names.user(UserKey::of("ada")),
    ] {
        let left: i64 = server.ask(&["TTL", &name]).trim().parse().unwrap();
        assert!((2 * 3600..=3 * 3600).contains(&left), "{name}: {left}");
    }
    node.touch(ada.key, Timestamp::from_millis(77_000));
    node.close().await.unwrap();
    let left: i64 = server
        .ask(&["TTL", &name(&node, &ada.key)])
        .trim()
        .parse()
        .unwrap();
    assert!(left > 0, "an access changes nothing of it: {left}");
    let there = super::node(&server).await;
    let record = there.load(ada.key).await.unwrap().unwrap();
    assert_eq!(record.last_accessed, Timestamp::from_millis(77_000));
}

#[test]
fn rel_08_times_are_kept_by_the_clock_of_the_store() {
    let keys = crate::redis::SealKeys::parse(&"0".repeat(64)).unwrap();
    let names = Names::new("vestibule:");
    let node = |ahead| Values {
        keys: &keys,
        names: &names,
        ahead,
    };
    let ada = Record {
        created: Timestamp::from_millis(10_000_000),
        last_accessed: Timestamp::from_millis(11_000_000),
        expires: Timestamp::from_millis(20_000_000),
        ..Arc::unwrap_or_clone(record("ada"))
    };
    let epochs = value::Epochs {
        user: 7,
        all: 1 << 40,
    };
    // The clock of the one is an hour behind, that of the other a minute ahead.
    let value = node(3_600_000).encode(&ada, epochs).unwrap();
    let entry = node(-60_000).decode(&ada.key, &value).unwrap();
    assert_eq!(entry.epochs, epochs);
    assert_eq!(entry.record.created, Timestamp::from_millis(13_660_000));
    assert_eq!(
        entry.record.last_accessed,
        Timestamp::from_millis(14_660_000)
    );
    assert_eq!(entry.record.expires, Timestamp::from_millis(23_660_000));
    let same = node(3_600_000).decode(&ada.key, &value).unwrap();
    assert_eq!(same.record.created, ada.created);
    assert_eq!(same.record.expires, ada.expires);
}

#[tokio::test]
async fn rel_19_the_number_of_sessions_is_set_right_when_it_is_wrong() {
    let server = server!();
    let node = node(&server).await;
    for user in ["ada", "ada", "bob", "eve"] {
        node.insert(record(user)).await.unwrap();
    }
    let counts = || keys::Shard::all().map(|shard| (shard, node.shared.names.count(shard)));
    for wrong in ["7", "nonsense", "a list"] {
        for (_, name) in counts() {
            server.ask(&["DEL", &name]);
            match wrong {
                "a list" => server.ask(&["SADD", &name, "a"]),
                wrong => server.ask(&["SET", &name, wrong]),
            };
        }
        for (shard, _) in counts() {
            node.shared.recount(shard).await.unwrap();
        }
        assert_eq!(node.count().await, Ok(4), "{wrong}");
    }
    node.insert(record("ada")).await.unwrap();
    assert_eq!(node.count().await, Ok(5), "and is counted on from there");
}

/// Something of another type in the place of a record, or of an index.
#[tokio::test]
async fn rel_19_a_foreign_value_in_the_place_of_one_session_hides_no_other() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob, bob_too) = (record("ada"), record("bob"), record("bob"));
    for record in [&ada, &bob, &bob_too] {
        node.insert(Arc::clone(record)).await.unwrap();
    }
    let foreign = name(&node, &bob_too.key);
    server.ask(&["DEL", &foreign]);
    server.ask(&["LPUSH", &foreign, "foreign"]);
    let mut good = [Arc::clone(&ada), Arc::clone(&bob)];
    good.sort_by_key(|record| record.key);
    assert_eq!(all(&node).await, good);
    assert_eq!(node.of_user("bob".into()).await, Ok(vec![Arc::clone(&bob)]));
    assert_eq!(node.load(bob_too.key).await, Ok(None));
    let host = Host::parse("wiki.test").unwrap();
    assert_eq!(node.bind(bob_too.key, host, "wiki".into()).await, Ok(None));
    let all_of_bob = node.remove_of_user("bob".into(), None).await;
    assert_eq!(all_of_bob, Ok(Some(Removed::all(1))));
    assert_eq!(node.load(bob.key).await, Ok(None));
    node.clear().await.unwrap();
    assert_eq!(all(&node).await, []);
}

#[tokio::test]
async fn rel_19_an_index_of_another_type_is_made_anew() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    let short = keys::Short::of(&ada.key);
    let names = &node.shared.names;
    for index in [
        names.user(UserKey::of("ada")),
        names.bucket(short.bucket()),
        names.buckets(short.shard()),
        names.count(short.shard()),
        names.beginning(),
    ] {
        let break_it = || {
            server.ask(&["DEL", &index]);
            assert_eq!(server.ask(&["LPUSH", &index, "foreign"]), "1\n");
        };
        // Whoever signs in meets it first,
        break_it();
        node.insert(Arc::clone(&ada)).await.unwrap();
        assert_eq!(
            node.load(ada.key).await,
            Ok(Some(Arc::clone(&ada))),
            "{index}"
        );
        // or whoever lists or counts.
        break_it();
        all(&node).await;
        node.of_user("ada".into()).await.unwrap();
        node.count().await.unwrap();
        let below = node.insert_below(record("bob"), 100).await;
        assert_eq!(below, Ok(true), "{index}");
        node.insert(Arc::clone(&ada)).await.unwrap();
        node.shared.recount(short.shard()).await.unwrap();
        let listed = all(&node).await;
        assert!(listed.contains(&ada), "{index}: {listed:?}");
        let of_ada = node.of_user("ada".into()).await;
        assert_eq!(of_ada, Ok(vec![Arc::clone(&ada)]), "{index}");
        node.clear().await.unwrap();
        assert_eq!(all(&node).await, [], "{index}");
    }
}

#[tokio::test]
async fn rel_19_parts_of_the_index_that_nobody_knows_of_are_named_again() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    let shard = keys::Short::of(&ada.key).shard();
    server.ask(&["DEL", &node.shared.names.buckets(shard)]);
    assert_eq!(all(&node).await, []);
    node.shared.recount(shard).await.unwrap();
    assert_eq!(all(&node).await, [ada]);
}

#[tokio::test]
async fn rel_19_who_ends_all_is_told_where_not_all_could_be_counted() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    let index = node.shared.names.user(UserKey::of("ada"));
    server.ask(&["DEL", &index]);
    server.ask(&["LPUSH", &index, "foreign"]);
    let ended = node.remove_of_user("ada".into(), None).await;
    let unknown = Removed {
        count: 0,
        is_whole: false,
    };
    assert_eq!(ended, Ok(Some(unknown)));
    assert_eq!(node.load(ada.key).await, Ok(None), "it is over");
    let again = node.remove_of_user("ada".into(), None).await;
    assert_eq!(again, Ok(Some(Removed::all(0))));
}

#[tokio::test]
async fn rel_19_an_epoch_that_cannot_be_read_concerns_its_user_alone_and_an_end_mends_it() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("bob"));
    for record in [&ada, &bob] {
        node.insert(Arc::clone(record)).await.unwrap();
    }
    let user = UserKey::of("ada");
    let epochs = node.shared.names.epochs(keys::Names::shard_of(user));
    server.ask(&["HSET", &epochs, &user.to_string(), "garbage"]);
    assert_eq!(node.load(ada.key).await, Err(StoreError::Unavailable));
    let listed = node.of_user("ada".into()).await;
    assert_eq!(listed, Err(StoreError::Unavailable));
    let begun = node.insert(record("ada")).await;
    assert_eq!(begun, Err(StoreError::Unavailable));
    assert_eq!(all(&node).await, [Arc::clone(&bob)]);
    assert_eq!(node.load(bob.key).await, Ok(Some(Arc::clone(&bob))));
    node.insert(record("bob")).await.unwrap();
    node.remove_of_user("ada".into(), None).await.unwrap();
    assert_eq!(node.load(ada.key).await, Ok(None));
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(node.load(ada.key).await, Ok(Some(ada)));
    // That of all concerns all.
    let of_all = node.shared.names.epochs(keys::Shard::OF_ALL);
    server.ask(&["HSET", &of_all, "*", "garbage"]);
    assert_eq!(node.load(bob.key).await, Err(StoreError::Unavailable));
    node.clear().await.unwrap();
    assert_eq!(node.load(bob.key).await, Ok(None));
    let bob = record("bob");
    node.insert(Arc::clone(&bob)).await.unwrap();
    assert_eq!(node.load(bob.key).await, Ok(Some(bob)));
}

/// Scripts count in doubles, which are exact up to 2^53: no end could come after such an epoch.
#[tokio::test]
async fn sec_46_every_session_ends_though_an_epoch_is_beyond_what_a_script_can_count_to() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let user = UserKey::of("ada");
    let of_ada = here.shared.names.epochs(keys::Names::shard_of(user));
    let of_all = here.shared.names.epochs(keys::Shard::OF_ALL);
    let kept = format!("9007199254740993:{}", "k".repeat(32));
    for damaged in [
        "4503599627370497",
        "9007199254740991",
        "9007199254740992",
        "9223372036854775807",
        "18446744073709551615",
        &kept,
    ] {
        for (epochs, field) in [(&of_ada, user.to_string()), (&of_all, "*".to_owned())] {
            let end = async || {
                if field == "*" {
                    here.clear().await.map(drop)
                } else {
                    here.remove_of_user("ada".into(), None).await.map(drop)
                }
            };
            let (before, after) = (record("ada"), record("ada"));
            here.insert(Arc::clone(&before)).await.unwrap();
            server.ask(&["HSET", epochs, &field, damaged]);
            let begun = here.insert(Arc::clone(&after)).await;
            assert!(
                matches!(begun, Ok(()) | Err(StoreError::Unavailable)),
                "{damaged}: {begun:?}"
            );
            // The first one may be what mends it.
            for round in 0..2 {
                assert_eq!(end().await, Ok(()), "{damaged} in {field}, {round}");
                for node in [&here, &there] {
                    for ended in [&before, &after] {
                        let found = node.load(ended.key).await;
                        assert_eq!(found, Ok(None), "{damaged} in {field}, {round}");
                    }
                }
            }
            // And all goes on as before.
            let ada = record("ada");
            here.insert(Arc::clone(&ada)).await.unwrap();
            assert_eq!(there.load(ada.key).await, Ok(Some(Arc::clone(&ada))));
            assert_eq!(end().await, Ok(()), "{damaged} in {field}");
            for node in [&here, &there] {
                assert_eq!(node.load(ada.key).await, Ok(None), "{damaged} in {field}");
            }
        }
    }
}

/// Of which a user that lacks a right can say nothing.
#[tokio::test]
async fn rel_19_an_index_that_cannot_be_looked_at_is_left_alone() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    let rights = |rights: &[&str]| {
        let set = ["ACL", "SETUSER", "default"];
        assert_eq!(server.ask(&[&set[..], rights].concat()), "OK\n");
    };
    rights(&["-smembers", "-scard"]);
    assert_eq!(node.of_user("ada".into()).await, Err(StoreError::Refused));
    let range = node.range(Bound::Unbounded, SessionKey::LAST, 9).await;
    assert_eq!(range, Err(StoreError::Refused));
    rights(&["+smembers", "+scard"]);
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![Arc::clone(&ada)]));
    assert_eq!(all(&node).await, [ada]);
}
