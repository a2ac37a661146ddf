//! Users of another file.

use std::collections::BTreeMap;

use super::*;
use crate::auth::users_file::edit::EditError;

/// What became of each who was imported, and who was not.
async fn import(
    node: &Node,
    users: &[User],
    replace: bool,
) -> (BTreeMap<String, Outcome>, BTreeMap<String, ChangeError>) {
    let (mut told, mut failed) = (BTreeMap::new(), BTreeMap::new());
    let tell = |name: &str, became| {
        let name = name.to_owned();
        assert!(!told.contains_key(&name) && !failed.contains_key(&name));
        match became {
            Ok(outcome) => _ = told.insert(name, outcome),
            Err(error) => _ = failed.insert(name, error),
        }
    };
    node.store.import(users, replace, tell).await.unwrap();
    (told, failed)
}

fn users(names: impl IntoIterator<Item = String>) -> Vec<User> {
    let hash = hash();
    let user = |name| User::new(name, hash.clone());
    names.into_iter().map(user).collect()
}

#[tokio::test]
async fn an_import_adds_keeps_and_replaces_and_tells_of_each() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    let ada = here.add("Ada").await;
    here.add("gone").await;
    here.store.remove("gone").await.unwrap();
    let crowd = users((0..2 * BATCH + 7).map(|n| format!("user{n}")));
    let (told, failed) = import(&here, &crowd, false).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(told.len(), crowd.len());
    assert!(told.values().all(|outcome| *outcome == Outcome::Added));
    there.store.catch_up().await.unwrap();
    assert_eq!(
        there.store.list().await.unwrap().0.len(),
        crowd.len() + 1,
        "and ada"
    );
    let again = users(["ada", "user3", "gone", "zoe"].map(str::to_owned));
    let (told, _) = import(&there, &again, false).await;
    let expected = |who_was_there, others| {
        let outcomes = [
            ("ada", who_was_there),
            ("gone", others),
            ("user3", who_was_there),
            ("zoe", others),
        ];
        BTreeMap::from(outcomes.map(|(name, outcome)| (name.to_owned(), outcome)))
    };
    assert_eq!(told, expected(Outcome::Kept, Outcome::Added));
    here.store.catch_up().await.unwrap();
    assert_eq!(here.user("ada"), Some(ada.clone()));
    let (told, _) = import(&there, &again, true).await;
    assert_eq!(told, expected(Outcome::Replaced, Outcome::Replaced));
    here.store.catch_up().await.unwrap();
    let expected = ada.with_password(again[0].password().clone());
    assert_eq!(
        here.user("ada"),
        Some(expected),
        "the password, and no more"
    );
    let late = Node::start(server.settings(), None).await;
    assert_eq!(late.user("ada"), here.user("ada"));
}

#[tokio::test]
async fn two_nodes_that_import_the_same_file_add_each_user_once() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    let crowd = users((0..3 * BATCH).map(|n| format!("user{n}")));
    let (one, two) = tokio::join!(import(&here, &crowd, false), import(&there, &crowd, false));
    for (_, failed) in [&one, &two] {
        assert!(failed.is_empty(), "{failed:?}");
    }
    for user in &crowd {
        let outcomes = [&one.0, &two.0].map(|told| told[user.name()]);
        let added = outcomes.iter().filter(|it| **it == Outcome::Added);
        assert_eq!(added.count(), 1, "{}: {outcomes:?}", user.name());
    }
    assert_eq!(
        here.store.list().await.unwrap(),
        there.store.list().await.unwrap()
    );
}

#[tokio::test]
async fn who_cannot_be_imported_is_told_of_and_the_others_are_imported() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    node.add("junk").await;
    node.plant("junk", b"junk that nobody can read").await;
    node.lose_changes().await;
    node.comes("to know", || node.user("junk").is_none()).await;
    let names = ["ada", "bo", "junk", "cy"].map(str::to_owned);
    let (told, failed) = import(&node, &users(names), true).await;
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["ada", "bo", "cy"]);
    assert!(node.user("bo").is_some() && node.user("cy").is_some());
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["junk"]);
    assert!(matches!(failed["junk"], ChangeError::Unreadable { .. }));

    let mut large = users(["dee", "large", "eve"].map(str::to_owned));
    large[1] = large[1].clone().in_groups(vec!["g".repeat(20_000)]);
    let (told, failed) = import(&node, &large, false).await;
    assert!(matches!(
        failed["large"],
        ChangeError::Store(StoreFault::TooLarge)
    ));
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["dee", "eve"]);

    let names = ["a  b", "flo"].map(str::to_owned);
    let (told, failed) = import(&node, &users(names), false).await;
    assert!(matches!(
        failed["a  b"],
        ChangeError::Name(EditError::NoSuchUser { .. })
    ));
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["flo"]);
}

#[tokio::test]
async fn nobody_is_added_beyond_the_limit_and_those_who_are_there_are_changed_still() {
    let server = server!();
    let mut patient = server.settings();
    patient.timeout = Duration::from_secs(10);
    let node = Node::start(patient, None).await;
    node.add("ada").await;
    // Fields that are not user names, so nodes skip them.
    let script = "for n = ARGV[1], ARGV[2] do redis.call('HSET', KEYS[1], 'x' .. n, 'y') end";
    let key = node.key("sealed");
    for n in 0..50 {
        let (first, last) = (n * 1000 + 1, (n * 1000 + 1000).min(49_998));
        let numbers = [first, last].map(|number| number.to_string());
        server.ask(&["EVAL", script, "1", &key, &numbers[0], &numbers[1]]);
    }
    let names = ["bo", "cy", "ada"].map(str::to_owned);
    let (told, failed) = import(&node, &users(names), true).await;
    assert!(matches!(
        failed["cy"],
        ChangeError::Store(StoreFault::TooMany)
    ));
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["ada", "bo"]);
    let refused = node.store.add(User::new("dee".to_owned(), hash())).await;
    assert!(matches!(
        refused,
        Err(ChangeError::Store(StoreFault::TooMany))
    ));
    node.store.set_disabled("ada", true).await.unwrap();
    let (_, failed) = import(&node, &users(["ada".to_owned()]), true).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(node.user("ada").unwrap().disabled());
}

#[tokio::test]
async fn rel_10_without_the_store_an_import_says_so_and_tells_of_nobody() {
    let mut server = server!();
    let node = Node::start(server.settings(), None).await;
    server.kill();
    let mut told = Vec::new();
    let tell = |name: &str, _| told.push(name.to_owned());
    let one = users(["ada".to_owned()]);
    let imported = node.store.import(&one, false, tell).await;
    let (stopped_at, error) = imported.unwrap_err();
    assert_eq!(stopped_at, "ada");
    assert!(matches!(error, ChangeError::Store(StoreFault::Away)));
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(node.user("ada"), None);
}

/// The others could not read what it would write, and nothing is wrong with what is there.
#[tokio::test]
async fn sec_84_a_node_with_another_key_changes_nobody_and_says_that_it_is_the_key() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    for name in ["ada", "bo", "cy", "dee"] {
        node.add(name).await;
    }
    let mut of_other_key = server.settings();
    of_other_key.key = SecretSource::Given(Secret::new("77".repeat(32)));
    let other = Node::start(of_other_key, None).await;
    let file = users(["zoe", "ada"].map(str::to_owned));
    let tell = |name: &str, became| panic!("{name}: {became:?}");
    let imported = other.store.import(&file, true, tell).await;
    let (stopped_at, error) = imported.unwrap_err();
    assert_eq!(stopped_at, "zoe");
    assert!(matches!(error, ChangeError::OtherKey { removal: None }));
    for refused in [
        other.store.add(file[0].clone()).await,
        other.store.check("zoe", false).await,
        other.store.remove("ada").await,
    ] {
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("`key_file`") && !said.contains("HDEL"),
            "{said}"
        );
    }
    node.store.catch_up().await.unwrap();
    let (users, unreadable) = node.store.list().await.unwrap();
    assert_eq!((users.len(), unreadable), (4, 0));
}
