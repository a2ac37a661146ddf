//! Users who cannot be read, or have not been read yet.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rel_19_users_who_cannot_be_read_keep_their_sessions() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis).await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let there = led_to(&second, &ada);
    there.get("/").await.assert_status(200);
    damage(&redis, true);
    for browser in [&ada, &there] {
        becomes(browser, 503).await;
        let reply = browser.fetch("/").await;
        assert_unavailable(&reply);
    }
    let listed = done(&mut first, &["session", "list", "--user", "ada"], "");
    assert!(listed.contains("ada"), "{listed}");
    let (_, _, warned) = run(first.files(), &["user", "list"]);
    assert!(
        warned.contains("2 more in the session store cannot be read"),
        "{warned}"
    );
    // Long enough for every node to have judged all sessions.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    damage(&redis, false);
    for browser in [&ada, &there] {
        becomes(browser, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_node_that_starts_ends_nobodys_session_before_it_has_read_the_users() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let crowd = |files: &Files| {
        let hash = hash(PASSWORD);
        let user = |n: usize| format!("[user.user{n}]\npassword = \"{hash}\"\n");
        let text: String = (0..5000).map(user).collect();
        files.write("users.toml", &text, 0o600);
    };
    let mut first = with_users(&app, &redis, "30s").prepare(crowd).start().await;
    is_ready(&first).await;
    let mut browsers = Vec::new();
    for n in 0..20 {
        let name = format!("user{}", n * 200);
        let asked = async || {
            let browser = first.browser();
            (browser.try_login(&name, PASSWORD).await.status == 303).then_some(browser)
        };
        browsers.push(eventually_some("a login", asked).await);
    }
    for _ in 0..3 {
        let second = with_users(&app, &redis, "30s").start().await;
        is_ready(&second).await;
        second.browser().login("user7", PASSWORD).await;
    }
    // Nor one that cannot read them at all.
    hide(&redis, true);
    let third = with_users(&app, &redis, "30s").start().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let reply = led_to(&third, &browsers[0]).fetch("/").await;
    assert_unavailable(&reply);
    hide(&redis, false);
    for browser in &browsers {
        becomes(browser, 200).await;
    }
    becomes(&led_to(&third, &browsers[0]), 200).await;
    let listed = done(&mut first, &["session", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let of_crowd = listed.as_array().unwrap().iter();
    assert!(of_crowd.count() >= 20, "{listed}");
}
