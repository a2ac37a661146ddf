//! The first users.

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

/// A node that goes in the middle has brought nobody, and is in nobody's way.
#[tokio::test]
async fn the_first_users_come_in_steps_and_are_all_there_at_once() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let crowd = |count: usize| -> Vec<_> {
        let user = |n| User::new(format!("user{n}"), hash());
        let first = |user: User| (Field::of(user.name()).unwrap(), Record::first(user));
        (0..count).map(user).map(first).collect()
    };
    // Its second step fails: the last user of it is too large.
    let mut large = crowd(BATCH + 3);
    let groups = vec!["g".repeat(20_000)];
    let last = large.last_mut().unwrap();
    last.1 = Record::first(User::new("large".to_owned(), hash()).in_groups(groups));
    let refused = node.store.records.begin_with(&large).await;
    assert_eq!(refused, Err(StoreFault::TooLarge));
    let left = server.ask(&["KEYS", "*coming*"]);
    assert_eq!(left.lines().count(), 1, "{left}");
    let time: i64 = server.ask(&["PTTL", left.trim()]).trim().parse().unwrap();
    assert!(time > 0, "it goes by itself");
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
