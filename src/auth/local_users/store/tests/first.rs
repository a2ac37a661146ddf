//! The first users.

use super::super::first::AGAIN;
use super::super::redis::Redis;
use super::*;
use crate::auth::users_file;

#[tokio::test]
async fn a_users_file_is_taken_over_once() {
    let server = server!();
    let (folder, first) = file("[user.ada\n");
    let missing = folder.path().join("none.toml");
    let node = Node::start(server.settings(), Some(&first)).await;
    let without = Node::start(server.settings(), Some(&missing)).await;
    assert_eq!((node.user("ada"), without.user("ada")), (None, None));
    let text = format!(
        "[user.Ada]\npassword = \"{}\"\ngroups = [\"a\"]\nemail = \"ada@example.org\"\ndisabled = true\n",
        hash().as_str()
    );
    std::fs::write(&first, text).unwrap();
    without
        .comes("to know ada", || without.user("ada").is_some())
        .await;
    let expected = users_file::read(&first).unwrap();
    assert_eq!(without.user("ada").as_ref(), expected.get("ada"));
    node.store.remove("ada").await.unwrap();
    drop((node, without));
    // Nobody is left who knows, but the store does.
    let again = Node::start(server.settings(), Some(&first)).await;
    again.store.catch_up().await.unwrap();
    assert_eq!(again.user("ada"), None);
    assert!(again.store.is_gone("ada"));
}

#[tokio::test]
async fn a_users_file_that_cannot_be_taken_over_keeps_nobody_else_out() {
    let server = server!();
    let text = format!(
        "[user.ada]\npassword = \"{}\"\ngroups = [\"{}\"]\n",
        hash().as_str(),
        "g".repeat(20_000)
    );
    let (_folder, first) = file(&text);
    let node = Node::start(server.settings(), Some(&first)).await;
    node.store.catch_up().await.unwrap();
    assert_eq!(node.user("ada"), None);
    node.add("bo").await;
    let large = User::new("cy".to_owned(), hash()).in_groups(vec!["g".repeat(20_000)]);
    assert!(matches!(
        node.store.add(large).await,
        Err(ChangeError::Store(StoreFault::TooLarge))
    ));
}

fn crowd(count: usize) -> Vec<(Field, Record)> {
    let user = |n| User::new(format!("user{n}"), hash());
    let first = |user: User| (Field::of(user.name()).unwrap(), Record::first(user));
    (0..count).map(user).map(first).collect()
}

/// Keys of users that are about to come, each on a line.
fn coming(server: &TestServer) -> String {
    server.ask(&["KEYS", "*coming*"]).trim().to_owned()
}

/// Each look finds the store empty, and would fill it with what it brings.
#[tokio::test]
async fn a_users_file_that_is_refused_leaves_nothing_and_is_tried_again_after_a_while() {
    let server = server!();
    let password = hash();
    let text = |largest: usize| {
        let user = |n| format!("[user.user{n:03}]\npassword = \"{}\"\n", password.as_str());
        let users: String = (0..2 * BATCH).map(user).collect();
        let groups = "g".repeat(largest);
        format!(
            "{users}[user.zoe]\npassword = \"{}\"\ngroups = [\"{groups}\"]\n",
            password.as_str()
        )
    };
    let (_folder, first) = file(&text(20_000));
    let begun = Clock::stopwatch();
    let node = Node::start(server.settings(), Some(&first)).await;
    for _ in 0..10 {
        node.store.catch_up().await.unwrap();
        assert_eq!(coming(&server), "");
    }
    std::fs::write(&first, text(10)).unwrap();
    for _ in 0..3 {
        node.store.catch_up().await.unwrap();
        // On a machine that is slow enough, the while may be over.
        if begun.elapsed() < AGAIN {
            assert_eq!(node.user("zoe"), None);
        }
    }
    node.clock.advance(AGAIN);
    node.comes("to know the last user", || node.user("zoe").is_some())
        .await;
    assert_eq!(node.store.list().await.unwrap().0.len(), 2 * BATCH + 1);
    assert_eq!(coming(&server), "");
}

#[tokio::test]
async fn an_attempt_that_fails_on_its_way_leaves_nothing() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let redis = Redis::new(&node.link, &node.clock);
    let all = redis.sealed(&crowd(BATCH + 3)).await.unwrap();
    assert_eq!(redis.bring(redis.next_attempt(), &all).await, Ok(true));
    let key = coming(&server);
    let time: i64 = server.ask(&["PTTL", &key]).trim().parse().unwrap();
    assert!(time > 0, "what a node leaves that goes now goes by itself");
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = redis.begin_with(&crowd(BATCH + 3)).await;
    assert_eq!(full, Err(StoreFault::Full));
    assert_eq!(coming(&server), "");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    // The last step is refused: all have come by then, and would stay for good.
    server.ask(&["ACL", "SETUSER", "default", "-rename"]);
    let refused = redis.begin_with(&crowd(BATCH + 3)).await;
    assert_eq!(refused, Err(StoreFault::Unavailable));
    assert_eq!(coming(&server), "");
    server.ask(&["ACL", "SETUSER", "default", "+rename"]);
    // What an earlier attempt has left is not taken for users of the next.
    assert_eq!(redis.bring(redis.next_attempt(), &all).await, Ok(true));
    assert_eq!(coming(&server), key, "one key for all attempts");
    assert_eq!(redis.begin_with(&crowd(3)).await, Ok(true));
    assert_eq!(server.ask(&["HLEN", &node.key("sealed")]), "3\n");
    // There are users.
    assert_eq!(redis.bring(redis.next_attempt(), &all).await, Ok(false));
    assert_eq!(redis.begin_with(&crowd(5)).await, Ok(false));
    assert_eq!(coming(&server), "");
}

/// A server that stood still does late what it was asked before: somebody has replaced the password in the file
/// since.
#[tokio::test]
async fn an_attempt_that_a_slow_server_carries_out_late_changes_nothing() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let redis = Redis::new(&node.link, &node.clock);
    let (old, new) = (crowd(BATCH + 3), crowd(BATCH + 3));
    let [old, new] = [redis.sealed(&old).await, redis.sealed(&new).await].map(Result::unwrap);
    let [first, second] = [redis.next_attempt(), redis.next_attempt()];
    assert_eq!(redis.bring(first, &old).await, Ok(true));
    assert_eq!(redis.bring(second, &new).await, Ok(true));
    for (is_first, late) in [(false, &old[BATCH..]), (true, &old[..BATCH])] {
        assert_eq!(redis.bring_some(first, is_first, late).await, Ok(false));
    }
    assert_eq!(redis.begin(first, &old).await, Ok(false));
    redis.drop_coming(first).await.unwrap();
    assert_eq!(redis.begin(second, &new).await, Ok(true));
    for (field, value) in &new {
        let get = cmd("HGET")
            .arg(node.key("sealed"))
            .arg(field.as_bytes())
            .take();
        let there = node.link.query(&get).await.unwrap();
        assert_eq!(there, Value::BulkString(value.clone()));
    }
    assert_eq!(
        server.ask(&["HLEN", &node.key("sealed")]),
        format!("{}\n", new.len())
    );
}

/// Without the others for good: after this, nobody reads the file.
#[tokio::test]
async fn nobody_is_there_if_some_of_the_first_users_got_lost_on_the_way() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let redis = Redis::new(&node.link, &node.clock);
    let all = redis.sealed(&crowd(BATCH + 3)).await.unwrap();
    let attempt = redis.next_attempt();
    assert_eq!(redis.bring(attempt, &all).await, Ok(true));
    let lost = cmd("HDEL")
        .arg(coming(&server))
        .arg(all[7].0.as_bytes())
        .take();
    assert_eq!(node.link.query(&lost).await.unwrap(), Value::Int(1));
    assert_eq!(redis.begin(attempt, &all).await, Ok(false));
    assert_eq!(server.ask(&["EXISTS", &node.key("sealed")]), "0\n");
    assert_eq!(coming(&server), "");
    let attempt = redis.next_attempt();
    assert_eq!(redis.bring(attempt, &all).await, Ok(true));
    assert_eq!(redis.begin(attempt, &all).await, Ok(true));
}

/// A node that goes in the middle has brought nobody, and is in nobody's way.
#[tokio::test]
async fn the_first_users_come_in_steps_and_are_all_there_at_once() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    // The last user of it is too large.
    let mut large = crowd(BATCH + 3);
    let groups = vec!["g".repeat(20_000)];
    let last = large.last_mut().unwrap();
    last.1 = Record::first(User::new("large".to_owned(), hash()).in_groups(groups));
    let refused = node.store.records.begin_with(&large).await;
    assert_eq!(refused, Err(StoreFault::TooLarge));
    assert_eq!(coming(&server), "");
    node.store.catch_up().await.unwrap();
    assert_eq!(
        node.store.list().await.unwrap().0.len(),
        0,
        "nobody has come"
    );
    let all = crowd(3 * BATCH + 7);
    assert_eq!(node.store.records.begin_with(&all).await, Ok(true));
    assert_eq!(
        server.ask(&["PTTL", &node.key("sealed")]),
        "-1\n",
        "they stay"
    );
    node.store.catch_up().await.unwrap();
    assert_eq!(node.store.list().await.unwrap().0.len(), all.len());
    let again = node.store.records.begin_with(&crowd(5)).await;
    assert_eq!(again, Ok(false), "there are users");
    assert_eq!(node.store.list().await.unwrap().0.len(), all.len());
}
