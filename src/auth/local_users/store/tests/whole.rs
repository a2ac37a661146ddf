//! Users of whom the store has no record: they do not exist, or it has lost them.

use super::*;

#[tokio::test]
async fn who_never_was_is_gone_once_the_store_is_surely_whole() {
    let server = server!();
    let stale_for = server.settings().stale_for;
    let node = Node::start(server.settings(), None).await;
    let is_gone = async |name: &str| {
        node.store.catch_up().await.unwrap();
        node.store.is_gone(name)
    };
    // Nobody has brought any users there yet.
    node.clock.advance(10 * stale_for);
    assert!(!is_gone("nobody").await);
    node.add("ada").await;
    node.clock.advance(stale_for / 2);
    node.add("bo").await;
    node.clock.advance(stale_for / 2);
    assert!(!is_gone("nobody").await, "more have followed");
    let before = node.store.current.generation();
    node.clock.advance(stale_for);
    for name in ["nobody", "no  name"] {
        assert!(is_gone(name).await, "{name}");
    }
    assert!(
        node.store.current.generation() > before,
        "all are judged again"
    );
    assert!(!is_gone("ada").await);
    // From now on, somebody who comes puts nobody else in doubt.
    node.add("cy").await;
    assert!(is_gone("nobody").await && !is_gone("cy").await);
}

#[tokio::test]
async fn rel_18_where_the_store_may_have_lost_users_nobody_is_called_gone() {
    let mut server = server!();
    let stale_for = server.settings().stale_for;
    let node = Node::start(server.settings(), None).await;
    let is_whole = async |node: &Node| {
        let caught_up = async { while node.store.catch_up().await.is_err() {} };
        timeout(SOON, caught_up).await.unwrap();
        node.store.is_gone("nobody")
    };
    node.add("ada").await;
    let old = node.planted("ada").await.unwrap();
    node.store.set_disabled("ada", true).await.unwrap();
    node.clock.advance(stale_for);
    assert!(is_whole(&node).await);
    for case in ["emptied", "older", "restarted"] {
        match case {
            "emptied" => _ = server.ask(&["FLUSHALL"]),
            "older" => node.go_back_to("ada", &old).await,
            _ => server.restart(),
        }
        node.comes("to doubt", || !node.store.is_gone("nobody"))
            .await;
        node.comes("to have put her back", || {
            server.ask(&["HLEN", &node.key("sealed")]) == "1\n"
        })
        .await;
        let settled = async {
            while !is_whole(&node).await {
                node.clock.advance(stale_for);
            }
        };
        timeout(SOON, settled).await.expect(case);
        assert!(node.store.is_gone("ada"), "{case}: disabled");
    }
    // One that starts has to wait for those that may know better.
    let late = Node::start(server.settings(), None).await;
    assert!(!is_whole(&late).await);
    late.clock.advance(stale_for);
    assert!(is_whole(&late).await);
}
