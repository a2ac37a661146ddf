//! Wrong passwords count on all nodes together.

use super::away::is_ready;
use super::*;

const THROTTLE: &str = "[login.throttle]\naccount_failures = 3";

/// Until a node is ready it counts by itself.
async fn two_nodes(app: &Upstream, redis: &Redis) -> [Gate; 2] {
    let start = || node(app, redis).config(THROTTLE).start();
    let (first, second) = tokio::join!(start(), start());
    for node in [&first, &second] {
        is_ready(node).await;
    }
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_59_three_nodes_do_not_let_somebody_try_three_times_as_often() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = two_nodes(&app, &redis).await;
    for (node, status) in [(&first, 401), (&second, 401), (&first, 429)] {
        let reply = node.browser().try_login("ada", "wrong").await;
        reply.assert_status(status);
    }
    for node in [&first, &second] {
        let reply = node.browser().try_login("ada", PASSWORD).await;
        reply.assert_status(429);
        let wait: u32 = reply.value("retry-after").unwrap().parse().unwrap();
        assert!((600..=900).contains(&wait), "{wait}");
        node.browser().login("bob", PASSWORD).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_59_a_node_that_is_cut_off_counts_by_itself() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = app().await;
    let [first, second] = two_nodes(&app, &redis).await;
    first
        .browser()
        .try_login("ada", "wrong")
        .await
        .assert_status(401);
    redis.stop();
    first
        .browser()
        .try_login("ada", "wrong")
        .await
        .assert_status(401);
    first
        .browser()
        .try_login("ada", "wrong")
        .await
        .assert_status(429);
    redis.kill();
    first
        .browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(429);
    for status in [401, 401, 429] {
        let reply = second.browser().try_login("bob", "wrong").await;
        reply.assert_status(status);
    }
}
