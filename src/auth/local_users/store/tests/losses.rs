//! What the store has lost, and what it cannot lose.

use super::*;

#[tokio::test]
async fn a_store_that_lost_users_gets_them_back_as_they_were_last() {
    let server = server!();
    let text = format!(
        "[user.ada]\npassword = \"{0}\"\n[user.bo]\npassword = \"{0}\"\n",
        hash().as_str()
    );
    let (_folder, first) = file(&text);
    let here = Node::start(server.settings(), Some(&first)).await;
    let there = Node::start(server.settings(), Some(&first)).await;
    here.comes("to have taken them over", || here.user("bo").is_some())
        .await;
    let old = here.planted("ada").await.unwrap();
    let new = hash();
    here.store.set_password("ada", &new).await.unwrap();
    there.store.remove("bo").await.unwrap();
    let removed = here.planted("bo").await.unwrap();
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
    }
    // It is emptied; then a server takes over that has not heard of the last changes.
    for is_emptied in [true, false] {
        if is_emptied {
            server.ask(&["FLUSHALL"]);
        } else {
            here.go_back_to("ada", &old).await;
        }
        here.comes("to have put them back", || {
            server.ask(&["HLEN", &here.key("sealed")]) == "2\n"
        })
        .await;
        let late = Node::start(server.settings(), Some(&first)).await;
        late.comes("to know the new password", || {
            late.user("ada").is_some_and(|ada| ada.password() == &new)
        })
        .await;
        for node in [&here, &there, &late] {
            node.store.catch_up().await.unwrap();
            assert_eq!(node.user("ada").unwrap().password(), &new);
            assert_eq!(node.user("bo"), None, "removed is removed");
            assert!(node.store.is_gone("bo"));
        }
        assert_ne!(here.planted("bo").await.unwrap(), removed, "sealed anew");
    }
    assert_eq!(here.revoked(), ["ada", "bo"]);
}

#[tokio::test]
async fn rel_10_without_the_store_nothing_changes_and_what_is_known_grows_old() {
    let mut server = server!();
    let node = Node::start(server.settings(), None).await;
    let ada = node.add("ada").await;
    server.kill();
    for _ in 0..2 {
        assert_eq!(node.store.catch_up().await, Err(StoreFault::Away));
    }
    let refused = node.store.remove("ada").await;
    assert!(matches!(refused, Err(ChangeError::Store(StoreFault::Away))));
    assert!(node.store.is_known());
    assert_eq!(node.user("ada"), Some(ada.clone()));
    node.clock.advance(server.settings().stale_for);
    assert!(!node.store.is_known());
    timeout(SOON, node.store.have_changed()).await.unwrap();
    assert_eq!(
        node.user("ada"),
        Some(ada.clone()),
        "nobody has removed her"
    );
    server.start_again();
    node.comes("to know them again", || node.store.is_known())
        .await;
    node.store.catch_up().await.unwrap();
    let late = Node::start(server.settings(), None).await;
    late.store.catch_up().await.unwrap();
    assert_eq!(late.user("ada"), Some(ada), "it came back empty");
}

#[tokio::test]
async fn what_was_set_in_the_store_counts_before_a_file_that_is_taken_over() {
    let server = server!();
    let here = Node::start(server.settings(), None).await;
    let ada = here.add("ada").await;
    for _ in 0..5 {
        // Another node takes over an old file at the moment at which the store has lost everything.
        let old = User::new("ada".to_owned(), hash());
        let records = [(Field::of("ada").unwrap(), Record::first(old))];
        server.ask(&["FLUSHALL"]);
        let _either = here.store.records.begin_with(&records).await.unwrap();
        for _ in 0..3 {
            here.store.catch_up().await.unwrap();
            assert_eq!(here.user("ada"), Some(ada.clone()));
        }
        let late = Node::start(server.settings(), None).await;
        late.comes("to know her password", || {
            late.user("ada") == Some(ada.clone())
        })
        .await;
    }
}
