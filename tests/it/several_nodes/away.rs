//! While the store is away, and when it is back.

use super::*;

/// What a request gets whose session nobody can look up: not a word of a login, and the cookie stays.
pub(super) fn assert_unavailable(reply: &Reply) {
    reply.assert_status(503);
    assert!(reply.value("retry-after").is_some(), "{reply}");
    assert_eq!(reply.value("set-cookie"), None, "{reply}");
    assert_eq!(reply.json()["error"], "sessions_unavailable");
}

/// Until the node has noticed that the store is away.
pub(super) async fn notices(node: &Gate) {
    let asked = async || {
        readiness(node)
            .await
            .contains("session store")
            .then_some(())
    };
    eventually_some("a node that is not ready", asked).await;
}

pub(super) async fn is_ready(node: &Gate) {
    let asked = async || {
        readiness(node)
            .await
            .starts_with("HTTP/1.1 200")
            .then_some(())
    };
    eventually_some("a node that is ready", asked).await;
}

#[tokio::test]
async fn rel_10_known_sessions_go_on_while_the_store_is_away_for_a_short_while() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let mut socket = websocket(&first, &ada).await;
    let unknown = led_to(&second, &ada);
    is_ready(&first).await;
    is_ready(&second).await;
    redis.stop();
    for node in [&first, &second] {
        notices(node).await;
    }
    for _ in 0..3 {
        ada.get("/").await.assert_status(200);
    }
    assert_eq!(socket.ask("still here").await, "still here");
    assert_unavailable(&unknown.fetch("/").await);
    // What cannot be looked up cannot be ended: the cookie stays, so that it can be tried again.
    let left = unknown.post_form("/.vestibule/logout", &[]).await;
    left.assert_status(503)
        .assert_contains("You stay signed in");
    assert!(left.value("retry-after").is_some() && left.value("set-cookie").is_none());
    assert!(unknown.is_signed_in());
    // Nobody signs in, and nobody is told that the password was wrong.
    let refused = second.browser().try_login("bob", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    redis.go_on();
    becomes(&unknown, 200).await;
    is_ready(&second).await;
    second.browser().login("bob", PASSWORD).await;
    assert_eq!(socket.ask("still here").await, "still here");
}

#[tokio::test]
async fn rel_10_a_session_goes_on_though_the_store_goes_away_right_after_the_login() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = app().await;
    for _ in 0..5 {
        let node = node(&app, &redis).start().await;
        let ada = node.browser().login("ada", PASSWORD).await;
        redis.kill();
        for _ in 0..3 {
            ada.get("/").await.assert_status(200);
        }
        node.stop().await;
        redis.start_again();
    }
}

#[tokio::test]
async fn rel_10_after_stale_for_nobody_knows_and_nothing_is_lost() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let node = node_for(&app, &redis, "2s").start().await;
    let ada = node.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let socket = websocket(&node, &ada).await;
    is_ready(&node).await;
    redis.stop();
    becomes(&ada, 503).await;
    assert_unavailable(&ada.fetch("/").await);
    let page = ada.get("/").await;
    page.assert_status(503);
    assert_eq!(page.value("set-cookie"), None);
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    redis.go_on();
    becomes(&ada, 200).await;
    is_ready(&node).await;
    let mut socket = websocket(&node, &ada).await;
    assert_eq!(socket.ask("again").await, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_a_logout_while_the_store_is_away_is_told_as_what_it_is() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let bob = first.browser().login("bob", PASSWORD).await;
    let elsewhere = [led_to(&second, &ada), led_to(&second, &bob)];
    for browser in &elsewhere {
        browser.get("/").await.assert_status(200);
    }
    let (of_ada, of_bob) = (websocket(&first, &ada).await, websocket(&first, &bob).await);
    is_ready(&first).await;
    redis.stop();
    notices(&first).await;
    let cookie = ada.session_cookie();
    let left = ada.logout().await;
    left.assert_status(503)
        .assert_contains("for up to 30 seconds where they are cut off, too");
    assert!(!ada.is_signed_in(), "the browser forgets it");
    let (code, said, error) = run(first.files(), &["session", "revoke", "--user", "bob"]);
    assert_eq!(code, Some(1), "{said}{error}");
    assert!(error.contains("up to 30 seconds"), "{error}");
    let ended = async { (of_ada.closed().await, of_bob.closed().await) };
    let ended = timeout(SOON, ended).await;
    assert_eq!(ended.expect("streams end"), (Some(1008), Some(1008)));
    let again = first.browser().cookie(&cookie);
    again.fetch("/").await.assert_status(401);
    let (code, said, error) = run(first.files(), &["status"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        said.contains("unknown: the store cannot be reached since"),
        "{said}"
    );
    let (_, said, _) = run(first.files(), &["status", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(said["sessions"]["open"].is_null(), "{said}");

    redis.go_on();
    for browser in &elsewhere {
        becomes(browser, 401).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_a_store_that_refuses_is_told_as_what_it_is() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let bob = first.browser().login("bob", PASSWORD).await;
    let elsewhere = [led_to(&second, &ada), led_to(&second, &bob)];
    for browser in &elsewhere {
        browser.get("/").await.assert_status(200);
    }
    let rights = |rights| {
        let set = ["ACL", "SETUSER", "default", rights];
        assert_eq!(redis.ask(&set), "OK\n");
    };
    rights("-evalsha");
    let left = ada.logout().await;
    left.assert_status(503)
        .assert_contains("go on with it until they can be");
    let (code, said, error) = run(first.files(), &["session", "revoke", "--user", "bob"]);
    assert_eq!(code, Some(1), "{said}{error}");
    assert!(error.contains("the session store refuses it"), "{error}");
    let (_, said, _) = run(first.files(), &["status"]);
    assert!(said.contains("2 of at most"), "it can be reached: {said}");
    rights("-mget");
    let (_, said, _) = run(first.files(), &["status"]);
    assert!(
        said.contains("unknown: the session store refuses"),
        "{said}"
    );
    let ready = readiness(&first).await;
    assert!(ready.contains("the session store refuses"), "{ready}");
    for right in ["+mget", "+evalsha"] {
        rights(right);
    }
    for browser in &elsewhere {
        becomes(browser, 401).await;
    }
    is_ready(&first).await;
}

/// By whom it was asked for, and that others may not know it yet.
#[tokio::test(flavor = "multi_thread")]
async fn rel_10_an_end_that_waits_for_the_store_is_in_the_audit_log() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let node = node(&app, &redis).spawn().await;
    let login = async |user| node.browser().login(user, PASSWORD).await;
    let ada = login("ada").await;
    let keys = || {
        let (_, said, error) = run(&node.files, &["session", "list", "--user", "ada", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&said).expect(&error);
        let keys = listed.as_array().unwrap().iter();
        let keys = keys.map(|session| session["key"].as_str().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    let own = keys().remove(0);
    login("ada").await;
    let other = keys().into_iter().find(|key| *key != own).unwrap();
    login("ada").await;
    let bob = login("bob").await;
    let csrf = ada.get("/.vestibule/account").await.hidden("csrf");
    assert_eq!(
        redis.ask(&["ACL", "SETUSER", "default", "-evalsha"]),
        "OK\n"
    );
    for fields in [
        &[("csrf", &*csrf), ("action", "end"), ("key", &*other)][..],
        &[("csrf", &*csrf), ("action", "end-others")],
    ] {
        let reply = ada.post_form("/.vestibule/account", fields).await;
        reply.assert_status(503);
    }
    bob.logout().await.assert_status(503);
    let revoked = run(&node.files, &["session", "revoke", &own]);
    assert_eq!(revoked.0, Some(1), "{revoked:?}");
    let audit = || {
        let log = node.program.log().into_iter();
        log.filter(|line| line["target"] == "audit").skip(4) // the logins
    };
    eventually("four lines", || audit().count() >= 4).await;
    let of = |key: &str| serde_json::json!(key[..8]);
    let nothing = serde_json::Value::Null;
    let expected = [
        ("session ended by its user", "ada", of(&other), of(&own)),
        (
            "other sessions ended by their user",
            "ada",
            nothing,
            of(&own),
        ),
    ];
    let lines: Vec<_> = audit().collect();
    for (line, (message, user, session, by)) in lines.iter().zip(expected) {
        assert_eq!(line["message"], message, "{lines:#?}");
        assert_eq!((&line["user"], &line["by"]), (&user.into(), &by));
        assert_eq!(
            (&line["session"], &line["complete"]),
            (&session, &false.into())
        );
    }
    assert_eq!(lines[2]["message"], "logout not saved", "{lines:#?}");
    assert_eq!(lines[3]["message"], "session revoked", "{lines:#?}");
    assert_eq!(lines[3]["session"], of(&own));
    assert_eq!(lines[3]["complete"], false);
}

#[tokio::test]
async fn rel_10_a_store_that_was_killed_and_comes_back_is_used_again() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut redis) = Redis::start_with(&durable) else {
        return;
    };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let bob = first.browser().login("bob", PASSWORD).await;
    led_to(&second, &bob).logout().await.assert_status(303);
    redis.kill();
    notices(&first).await;
    ada.get("/").await.assert_status(200);
    redis.start_again();
    is_ready(&first).await;
    is_ready(&second).await;
    for browser in [&ada, &led_to(&second, &ada)] {
        browser.get("/").await.assert_status(200);
    }
    for browser in [&bob, &led_to(&second, &bob)] {
        browser.fetch("/").await.assert_status(401);
    }
    second.browser().login("bob", PASSWORD).await;
}

#[tokio::test]
async fn rel_10_a_store_that_was_emptied_ends_sessions_on_every_node() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let elsewhere = led_to(&second, &ada);
    elsewhere.get("/").await.assert_status(200);
    let socket = websocket(&second, &ada).await;
    is_ready(&second).await;
    assert_eq!(redis.ask(&["FLUSHALL"]), "OK\n");
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    becomes(&ada, 401).await;
    becomes(&elsewhere, 401).await;
    second.browser().login("ada", PASSWORD).await;
}

#[tokio::test]
async fn sec_84_a_node_with_another_key_opens_no_session() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let url = redis.url();
    let other = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("store = \"redis\"")
        .config(&format!(
            "[session.redis]\nurl = \"{url}\"\nkey = \"{}\"\nwait_replicas = 0",
            "66".repeat(32)
        ))
        .start()
        .await;
    let ada = first.browser().login("ada", PASSWORD).await;
    led_to(&other, &ada).fetch("/").await.assert_status(401);
    ada.get("/").await.assert_status(200);
}
