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
    Box::pin(three_times_for_all_nodes(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_59_the_same_with_valkey() {
    let Some(valkey) = Redis::valkey(&[]) else {
        return;
    };
    Box::pin(three_times_for_all_nodes(&valkey)).await;
}

async fn three_times_for_all_nodes(redis: &Redis) {
    let app = app().await;
    let [first, second] = two_nodes(&app, redis).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_a_store_that_refuses_is_told_of_in_one_line() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let service = node(&app, &redis).config(THROTTLE).spawn().await;
    let is_connected = || {
        let mut lines = service.program.log().into_iter();
        lines.any(|line| line["message"] == "connected to the session store")
    };
    eventually("a connection", is_connected).await;
    let revoked = redis.ask(&["ACL", "SETUSER", "default", "-evalsha"]);
    assert_eq!(revoked, "OK\n");
    let refused = || {
        let lines = service.program.log().into_iter();
        let lines = lines.filter(|line| line.to_string().contains("NOPERM"));
        lines
            .map(|line| line["message"].to_string())
            .collect::<Vec<_>>()
    };
    let visitor = service.browser();
    visitor.try_login("ada", "wrong").await.assert_status(401);
    visitor.try_login("ada", PASSWORD).await.assert_status(503);
    eventually("a line", || !refused().is_empty()).await;
    assert_eq!(
        refused(),
        ["\"the session store does not do what it is asked\""]
    );
}
