//! While the store is away, and after it has lost them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_without_the_store_nobody_signs_in_and_no_user_changes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let start = || with_users(&app, &redis, "5s").app("basic = true").start();
    let mut node = start().await;
    is_ready(&node).await;
    let ada = node.browser().login("ada", PASSWORD).await;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("bob:{PASSWORD}"));
    let basic = format!("Basic {pair}");
    let program = async |node: &Gate| {
        let headers = [("authorization", &*basic)];
        let browser = node.browser();
        browser
            .request(Method::GET, "/", &headers, Bytes::new())
            .await
    };
    program(&node).await.assert_status(200);
    redis.stop();
    notices(&node).await;
    ada.get("/").await.assert_status(200);
    let refused = node.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    // The login page once more, with the name.
    assert!(refused.text().contains(r#"value="ada""#), "{refused}");
    for args in [
        &["user", "list"][..],
        &["user", "disable", "ada"],
        &["user", "add", "zoe", "--password-stdin"],
        &["user", "passwd", "ada", "--password-stdin"],
        &["user", "remove", "ada"],
    ] {
        let error = fails(&mut node, args);
        assert!(
            error.contains("the session store cannot be reached"),
            "{error}"
        );
    }
    // One that starts now knows nobody, and says so of no password.
    let late = start().await;
    let refused = late.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert_unavailable(&program(&late).await);
    // A password that was verified before is good for as long as a session is.
    let asked = async || (program(&node).await.status == 503).then_some(());
    eventually_some("503 for a password", asked).await;
    redis.go_on();
    for node in [&node, &late] {
        is_ready(node).await;
        node.browser().login("ada", PASSWORD).await;
        program(node).await.assert_status(200);
    }
    done(&mut node, &["user", "disable", "ada"], "");
    let refused = late.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_store_that_was_emptied_has_the_users_of_the_nodes_again() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis).await;
    let passwd = ["user", "passwd", "ada", "--password-stdin"];
    done(&mut first, &passwd, NEW);
    done(&mut first, &["user", "remove", "bob"], "");
    redis.ask(&["FLUSHALL"]);
    // Also for one that comes meanwhile with an old file.
    let third = with_users(&app, &redis, "30s").start().await;
    is_ready(&third).await;
    for node in [&first, &second, &third] {
        node.browser().login("ada", NEW).await;
        for user in ["ada", "bob"] {
            let asked = async || {
                let refused = node.browser().try_login(user, PASSWORD).await;
                (refused.status == 401).then_some(())
            };
            some_within(SOON, "the old users to be gone", asked).await;
        }
    }
}
