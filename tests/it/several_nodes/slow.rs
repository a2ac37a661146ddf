//! A store that answers, and takes its time for each answer.

use super::*;
use crate::harness::redis::Slow;

/// Of a command.
const TIMEOUT: Duration = Duration::from_millis(600);

/// Of an answer. A session close to `max_sessions` takes seven to begin, one after the other: more than
/// five times the timeout.
const DELAY: Duration = Duration::from_millis(450);

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_a_login_waits_for_a_slow_store_for_a_while_and_then_no_more() {
    let Some(redis) = Redis::start() else { return };
    let (app, slow) = (app().await, Slow::start(&redis).await);
    let keys = format!("wait_replicas = 0\ntimeout = \"{}ms\"", TIMEOUT.as_millis());
    let node = node_at(&app, &slow.url(), &keys).session("max_sessions = 100");
    let mut node = node.start().await;
    let ada = node.browser().login("ada", PASSWORD).await;
    super::away::is_ready(&node).await;
    slow.set_delay(DELAY);
    let bob = node.browser();
    let refused = bob.try_login("bob", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    assert!(!bob.is_signed_in());
    // One command, and so a matter of one delay.
    ada.logout().await;
    slow.set_delay(Duration::ZERO);
    super::away::is_ready(&node).await;
    // Nothing is left of the login that was refused.
    let none_is_left = async || {
        let (_, said, _) = run(node.files(), &["session", "list", "--json"]);
        (said.trim() == "[]").then_some(())
    };
    eventually_some("no session", none_is_left).await;
    bob.login("bob", PASSWORD)
        .await
        .get("/")
        .await
        .assert_status(200);
}
