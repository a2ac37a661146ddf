//! Limits that hold for all nodes together (SEC-52).

use futures_util::future::join_all;

use super::*;

/// Signs in so often on each node at once; gives the status of each answer.
async fn sign_in_at_once(nodes: &[&Gate], times: usize) -> Vec<u16> {
    let logins = (0..times * nodes.len()).map(|number| {
        let node = nodes[number % nodes.len()];
        async move { node.browser().try_login("ada", PASSWORD).await.status }
    });
    join_all(logins).await
}

fn sessions(node: &mut Gate) -> usize {
    let args = ["session", "list", "--user", "ada", "--json"];
    let (code, said, error) = run(node.files(), &args);
    assert_eq!(code, Some(0), "{error}");
    let listed: serde_json::Value = serde_json::from_str(&said).unwrap();
    listed.as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_52_two_nodes_begin_no_more_sessions_than_one() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let limited = || node(&app, &redis).session("max_sessions = 3").start();
    let (mut first, second) = tokio::join!(limited(), limited());
    let statuses = sign_in_at_once(&[&first, &second], 4).await;
    let begun = statuses.iter().filter(|status| **status == 303).count();
    assert!(begun <= 3, "{statuses:?}");
    assert_eq!(
        statuses.iter().filter(|status| **status == 503).count(),
        8 - begun
    );
    assert_eq!(sessions(&mut first), begun);
    for _ in begun..3 {
        second.browser().login("bob", PASSWORD).await;
    }
    for node in [&first, &second] {
        let refused = node.browser().try_login("bob", PASSWORD).await;
        refused
            .assert_status(503)
            .assert_contains("as many are signed in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_52_two_nodes_leave_a_user_no_more_sessions_than_one() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let limited = || node(&app, &redis).session("max_per_user = 2").start();
    let (mut first, mut second) = tokio::join!(limited(), limited());
    for _ in 0..3 {
        let statuses = sign_in_at_once(&[&first, &second], 3).await;
        assert_eq!(statuses, [303; 6]);
        for node in [&mut first, &mut second] {
            assert_eq!(sessions(node), 2);
        }
    }
}
