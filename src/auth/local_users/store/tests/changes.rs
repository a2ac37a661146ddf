//! Changes of users, by one node and by two at once.

use super::*;

#[tokio::test]
async fn rel_18_what_becomes_of_a_user_on_one_node_is_so_on_the_other() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    let ada = here.add("Ada").await;
    assert_eq!(here.user("ada"), Some(ada.clone()), "at once");
    there
        .comes("to know ada", || there.user("ADA").is_some())
        .await;
    assert_eq!(there.user("ada"), Some(ada.clone()));

    let new = hash();
    there.store.set_password("ADA", &new).await.unwrap();
    here.comes("to know the password", || {
        here.user("ada").unwrap().password() == &new
    })
    .await;
    assert_eq!(here.revoked(), ["ada"]);
    assert!(here.store.set_disabled("ada", true).await.unwrap());
    assert!(!here.store.set_disabled("ada", true).await.unwrap());
    there
        .comes("to know the end", || there.store.is_gone("ada"))
        .await;
    assert!(there.store.set_disabled("ada", false).await.unwrap());
    let now = there.user("ada").unwrap();
    assert_ne!(now.id(), ada.id(), "who was disabled has another id");
    let expected = ada.with_password(new).with_id(now.id().clone());
    assert_eq!(now, expected, "all else is as it was");

    there.store.remove("ada").await.unwrap();
    here.comes("to forget ada", || here.user("ada").is_none())
        .await;
    assert!(here.store.is_gone("Ada"));
    assert!(matches!(
        here.store.remove("ada").await,
        Err(ChangeError::Name(_))
    ));
    here.add("ADA").await;
    there
        .comes("to know her again", || there.user("ada").is_some())
        .await;
    assert!(matches!(
        there.store.add(User::new("ada".to_owned(), hash())).await,
        Err(ChangeError::Name(_))
    ));
    let late = Node::start(server.settings(), None).await;
    assert_eq!(late.user("ada").unwrap().name(), "ADA");
    let (listed, unreadable) = late.store.list().await.unwrap();
    assert_eq!((listed.len(), unreadable), (1, 0));
}

#[tokio::test]
async fn changes_at_the_same_time_lose_nothing() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    here.add("ada").await;
    for round in 0..20 {
        let (disabled, new) = (round % 2 == 0, hash());
        let (one, other) = tokio::join!(
            here.store.set_disabled("ada", disabled),
            there.store.set_password("ada", &new),
        );
        assert!(one.unwrap());
        other.unwrap();
        for node in [&here, &there] {
            let ada = node.store.find("ada").await.unwrap().unwrap();
            assert_eq!((ada.disabled(), ada.password()), (disabled, &new));
        }
    }
    let adding = [&here, &there].map(|node| node.store.add(User::new("bo".to_owned(), hash())));
    let added = futures_util::future::join_all(adding).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 1);
    let old = here.store.find("ada").await.unwrap().unwrap();
    let (one, two) = (hash(), hash());
    let (one, two) = tokio::join!(
        here.store.replace_password("ada", old.password(), &one),
        there.store.replace_password("ada", old.password(), &two),
    );
    assert!(
        !(one.unwrap() && two.unwrap()),
        "only one was of the old one"
    );
}
