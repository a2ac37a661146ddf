//! Keys that seal.

use super::*;

#[tokio::test]
async fn sec_84_a_new_first_key_seals_users_anew() {
    let server = server!();
    let with_keys = |keys: &[&str]| {
        let mut settings = server.settings();
        let keys: Vec<_> = keys.iter().map(|key| key.repeat(32)).collect();
        settings.key = SecretSource::Given(Secret::new(keys.join("\n")));
        settings
    };
    let old = Node::start(with_keys(&["11"]), None).await;
    let ada = old.add("ada").await;
    let both = Node::start(with_keys(&["22", "11"]), None).await;
    both.store.catch_up().await.unwrap();
    drop((old, both));
    let new = Node::start(with_keys(&["22"]), None).await;
    assert_eq!(new.user("ada"), Some(ada));
}

#[tokio::test]
async fn nodes_with_their_keys_in_another_order_leave_each_other_in_peace() {
    let server = server!();
    let with_keys = |keys: [&str; 2]| {
        let mut settings = server.settings();
        let keys = keys.map(|key| key.repeat(32)).join("\n");
        settings.key = SecretSource::Given(Secret::new(keys));
        settings
    };
    let here = Node::start(with_keys(["11", "22"]), None).await;
    let there = Node::start(with_keys(["22", "11"]), None).await;
    for n in 0..5 {
        here.add(&format!("user{n}")).await;
    }
    let length = || {
        server
            .ask(&["XLEN", &here.key("changes")])
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
        assert_eq!(node.store.list().await.unwrap().0.len(), 5);
    }
    sleep(4 * EVERY).await;
    // Each was added once, and sealed anew by each node once at most.
    assert!(length() <= 15, "{}", length());
    let before = length();
    sleep(4 * EVERY).await;
    assert_eq!(length(), before);
}
