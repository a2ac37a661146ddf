//! Records that cannot be read.

use super::*;
use crate::auth::password::Hasher;
use crate::auth::{Accounts, UsersHome, Verdict, VerifyError, Waiter};

#[tokio::test]
async fn rel_19_what_cannot_be_read_signs_nobody_in_and_is_left_alone() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let (ada, bo) = (node.add("ada").await, node.add("bo").await);
    let good = node.planted("ada").await.unwrap();
    let mut of_other_key = server.settings();
    of_other_key.key = SecretSource::Given(Secret::new("77".repeat(32)));
    let of_other_key = link(of_other_key);
    let place = |name| {
        let key = node.key("sealed");
        [key.as_bytes(), b"\0", Field::of(name).unwrap().as_bytes()].concat()
    };
    let row = Record::first(ada.clone()).encode();
    let later = String::from_utf8(row.clone()).unwrap();
    let later = later.replace("\"v\":1", "\"v\":2");
    let seal = |link: &Link, name, row: &[u8]| link.keys().seal(KIND, &place(name), row).unwrap();
    let mut changed = good.clone();
    changed[5] ^= 1; // of the salt
    for (case, value) in [
        ("changed", changed),
        ("of another user", node.planted("bo").await.unwrap()),
        ("of another key", seal(&of_other_key, "ada", &row)),
        (
            "of a later version",
            seal(&node.link, "ada", later.as_bytes()),
        ),
        ("sealed by a later version", [&[2], &good[1..]].concat()),
        ("cut", good[..9].to_vec()),
        ("too large", vec![1; 100_000]),
        (
            "of nobody",
            seal(&node.link, "ada", &Record::first(bo.clone()).encode()),
        ),
    ] {
        node.plant("ada", &value).await;
        node.lose_changes().await;
        node.comes("to know", || node.user("ada").is_none()).await;
        assert_eq!(node.user("bo"), Some(bo.clone()), "{case}");
        assert!(!node.store.is_gone("ada"), "{case}: nobody knows");
        assert_eq!(node.store.list().await.unwrap().1, 1, "{case}");
        for refused in [
            node.store.set_password("ada", &hash()).await,
            node.store.remove("ada").await,
            node.store.add(ada.clone()).await,
        ] {
            assert!(
                matches!(refused, Err(ChangeError::Unreadable { .. })),
                "{case}"
            );
        }
        assert_eq!(node.planted("ada").await, Some(value), "{case}");
        node.plant("ada", &good).await;
        node.lose_changes().await;
        node.comes("to know her again", || node.user("ada").is_some())
            .await;
    }
}

#[tokio::test]
async fn who_was_disabled_stays_so_whatever_is_put_in_the_place_of_it() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    node.add("ada").await;
    let enabled = node.planted("ada").await.unwrap();
    node.store.set_disabled("ada", true).await.unwrap();
    node.plant("ada", b"junk that nobody can read").await;
    node.lose_changes().await;
    node.store.catch_up().await.unwrap();
    assert!(node.store.is_gone("ada"), "that is known still");
    node.plant("ada", &enabled).await;
    node.lose_changes().await;
    let late = async || {
        let late = Node::start(server.settings(), None).await;
        late.user("ada").unwrap().disabled()
    };
    node.store.catch_up().await.unwrap();
    assert!(node.user("ada").is_none_or(|ada| ada.disabled()));
    let there = async || {
        while !late().await {}
    };
    timeout(SOON, there()).await.unwrap();
}

/// A login on a node that starts.
async fn verify(settings: Settings, name: &str, password: &str) -> Result<Verdict, VerifyError> {
    let clock = Clock::system();
    let nodes = Nodes::open(Some(&Arc::new(settings)), &clock).unwrap();
    let home = UsersHome::Store { first: None };
    let accounts = Arc::new(Accounts::open(&home, &nodes, &clock).unwrap());
    let followed = Arc::clone(&accounts);
    let _following = AbortOnDropHandle::new(tokio::spawn(async move { followed.follow().await }));
    let are_known = async {
        while !accounts.are_known() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, are_known).await.unwrap();
    let password = Secret::new(password.as_bytes().to_vec());
    accounts
        .verify(Waiter::User("test".into()), name, password)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_a_user_who_cannot_be_read_is_not_called_wrong() {
    let server = server!();
    let patient = |key: &str| {
        let mut settings = server.settings();
        settings.timeout = Duration::from_secs(10);
        settings.key = SecretSource::Given(Secret::new(key.repeat(32)));
        settings
    };
    let node = Node::start(patient("11"), None).await;
    let hash = Hasher::default().hash(b"ada's").unwrap();
    for name in ["ada", "bo"] {
        let user = User::new(name.to_owned(), hash.clone());
        node.store.add(user).await.unwrap();
    }
    let verdict = verify(patient("11"), "ada", "ada's").await;
    assert!(matches!(verdict, Ok(Verdict::SignedIn(_))));
    // Another key: of nobody.
    for name in ["ada", "BO"] {
        let verdict = verify(patient("77"), name, "ada's").await;
        assert!(
            matches!(verdict, Err(VerifyError::Unreadable)),
            "{verdict:?}"
        );
    }
    let verdict = verify(patient("77"), "nobody", "ada's").await;
    assert!(matches!(verdict, Ok(Verdict::Refused)), "{verdict:?}");
    // One that is damaged: of this one, whatever the password is.
    node.plant("ada", b"junk that nobody can read").await;
    for password in ["ada's", "wrong"] {
        let verdict = verify(patient("11"), "ada", password).await;
        assert!(
            matches!(verdict, Err(VerifyError::Unreadable)),
            "{verdict:?}"
        );
    }
    let verdict = verify(patient("11"), "bo", "ada's").await;
    assert!(matches!(verdict, Ok(Verdict::SignedIn(_))), "{verdict:?}");
}

#[tokio::test]
async fn a_value_that_is_damaged_where_it_lies_is_noticed_and_put_right() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    let (ada, bo) = (here.add("ada").await, here.add("bo").await);
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
    }
    for case in ["changed", "cut", "too large"] {
        let mut value = here.planted("ada").await.unwrap();
        // All far behind what tells it from others.
        match case {
            "changed" => *value.last_mut().unwrap() ^= 1,
            "cut" => _ = value.pop(),
            _ => value.extend(vec![1; 100_000]),
        }
        here.plant("ada", &value).await;
        for node in [&here, &there] {
            node.store.catch_up().await.unwrap();
            assert_eq!(node.user("ada"), Some(ada.clone()), "{case}: known still");
        }
        here.clock.advance(Duration::from_mins(1));
        let mended = async {
            while here.planted("ada").await.as_ref() == Some(&value) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, mended).await.expect(case);
        let late = Node::start(server.settings(), None).await;
        for node in [&here, &there, &late] {
            node.store.catch_up().await.unwrap();
            assert_eq!(node.user("ada"), Some(ada.clone()), "{case}");
            assert_eq!(node.user("bo"), Some(bo.clone()), "{case}");
            assert_eq!(node.store.list().await.unwrap().1, 0, "{case}");
        }
    }
    for node in [&here, &there] {
        let revoked = node.revoked();
        assert_eq!(revoked, Vec::<String>::new(), "nobody was ever out");
    }
}

#[tokio::test]
async fn rel_19_foreign_fields_are_passed_over_and_later_ones_in_a_record_are_read() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let ada = node.add("ada").await;
    let row = String::from_utf8(Record::first(ada.clone()).encode()).unwrap();
    let later = row.replace("\"r\":0", "\"r\":9,\"quota\":{\"mail\":[7]}");
    assert_ne!(later, row);
    let key = node.key("sealed");
    let place = [key.as_bytes(), b"\0", Field::of("ada").unwrap().as_bytes()].concat();
    let later = node.link.keys().seal(KIND, &place, later.as_bytes());
    node.plant("ada", &later.unwrap()).await;
    // One of them as long as ours, and of nobody.
    let as_long = "x".repeat(32);
    for field in ["x", "of another program, and longer than ours", &as_long] {
        server.ask(&["HSET", &key, field, "whatever"]);
    }
    node.lose_changes().await;
    let late = Node::start(server.settings(), None).await;
    for node in [&node, &late] {
        node.store.catch_up().await.unwrap();
        let (users, unreadable) = node.store.list().await.unwrap();
        assert_eq!((users.len(), unreadable), (1, 1));
        assert_eq!(node.user("ada"), Some(ada.clone()));
    }
    late.store.set_disabled("ada", true).await.unwrap();
    node.store.catch_up().await.unwrap();
    assert!(node.store.is_gone("ada"));
    assert_eq!(server.ask(&["HGET", &key, "x"]), "whatever\n");
    assert_eq!(server.ask(&["HLEN", &key]), "4\n", "all are left alone");
}

/// Runs the command that the error names, as an operator would.
fn run_on(server: &TestServer, error: &ChangeError) {
    let (ChangeError::OtherKey {
        removal: Some(removal),
    }
    | ChangeError::Unreadable { removal }) = error
    else {
        panic!("{error}");
    };
    assert!(error.to_string().contains(removal), "{error}");
    let here = format!("redis-cli -p {}", server.port());
    let command = removal.replacen("redis-cli", &here, 1);
    let run = std::process::Command::new("sh")
        .arg("-c")
        .arg(&command)
        .output();
    assert_eq!(
        String::from_utf8_lossy(&run.unwrap().stdout),
        "1\n",
        "{command}"
    );
}

#[tokio::test]
async fn who_is_damaged_is_removed_by_the_command_that_is_named_and_added_again() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let bo = node.add("bo").await;
    node.plant("ada", b"junk that nobody can read").await;
    node.store.catch_up().await.unwrap();
    assert_eq!(node.store.list().await.unwrap().1, 1);
    let ada = User::new("Ada".to_owned(), hash());
    run_on(&server, &node.store.add(ada.clone()).await.unwrap_err());
    node.store.add(ada.clone()).await.unwrap();
    assert_eq!(node.store.list().await.unwrap().1, 0);
    // Of whom this node has read before, it puts there what it knows.
    node.plant("bo", b"junk that nobody can read").await;
    node.lose_changes().await;
    node.comes("to know", || node.user("bo").is_none()).await;
    run_on(&server, &node.store.remove("bo").await.unwrap_err());
    node.comes("to know again", || node.user("bo").is_some())
        .await;
    assert_eq!(node.user("bo"), Some(bo));
    assert_eq!(node.user("ada"), Some(ada));
}

/// With no readable record, the node cannot tell a wrong key from damage.
#[tokio::test]
async fn where_the_only_user_is_damaged_the_command_that_removes_them_is_named_beside_the_key() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    node.plant("ada", b"junk that nobody can read").await;
    node.store.catch_up().await.unwrap();
    let bo = User::new("bo".to_owned(), hash());
    let error = node.store.add(bo.clone()).await.unwrap_err();
    assert!(error.to_string().contains("`key_file`"), "{error}");
    let tell = |name: &str, became| panic!("{name}: {became:?}");
    let imported = node
        .store
        .import(std::slice::from_ref(&bo), false, tell)
        .await;
    assert_eq!(imported.unwrap_err().1.to_string(), error.to_string());
    run_on(&server, &error);
    node.store.add(bo.clone()).await.unwrap();
    assert_eq!(node.user("bo"), Some(bo));
}

#[tokio::test]
async fn rel_19_a_removal_that_nobody_told_of_is_noticed_though_others_come_at_that_moment() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    here.add("bo").await;
    here.plant("ada", b"junk that nobody can read").await;
    here.store.catch_up().await.unwrap();
    let ada = User::new("ada".to_owned(), hash());
    let error = here.store.add(ada.clone()).await.unwrap_err();
    // It does not look as long as this is held.
    let turn = here.store.turn.lock().await;
    there.add("eve").await;
    there.add("zoe").await;
    run_on(&server, &error);
    drop(turn);
    here.comes("to know eve", || here.user("eve").is_some())
        .await;
    let added = async {
        while here.store.add(ada.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), added)
        .await
        .expect("the store has no ada any more");
}
