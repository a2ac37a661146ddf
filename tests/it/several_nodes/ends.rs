//! What one node does is so on the others.

use rustix::process::Signal;

use super::*;
use crate::session_data;

#[tokio::test]
async fn rel_18_a_login_on_one_node_is_a_session_on_every_other() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    for _ in 0..2 {
        led_to(&second, &ada).get("/").await.assert_status(200);
        ada.get("/").await.assert_status(200);
    }
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    // Nothing of it can be read in the store.
    let keys = redis.ask(&["KEYS", "*"]);
    let secret = ada.session_cookie();
    let secret = secret.split_once('=').unwrap().1;
    assert!(!keys.contains(secret) && keys.contains(":s:"), "{keys}");
    for key in keys.lines().filter(|key| key.contains(":s:")) {
        let value = redis.ask(&["DUMP", key]);
        assert!(!value.contains("ada") && !value.contains("gate.test"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_whatever_ends_a_session_on_one_node_ends_its_streams_on_the_others() {
    let Some(redis) = Redis::start() else { return };
    Box::pin(whatever_ends_a_session(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_the_same_with_valkey() {
    let Some(valkey) = Redis::valkey(&[]) else {
        return;
    };
    Box::pin(whatever_ends_a_session(&valkey)).await;
}

async fn whatever_ends_a_session(redis: &Redis) {
    let app = app().await;
    for how in ["logout", "one", "of a user", "all", "disabled"] {
        let mut first = node(&app, redis).start().await;
        let (second, third) = tokio::join!(node(&app, redis).start(), node(&app, redis).start());
        let ada = first.browser().login("ada", PASSWORD).await;
        let bob = first.browser().login("bob", PASSWORD).await;
        let elsewhere = led_to(&second, &ada);
        let sockets = [
            websocket(&second, &ada).await,
            websocket(&third, &ada).await,
        ];
        let mut kept = websocket(&second, &bob).await;
        let command = |args: &[&str]| {
            let (code, said, error) = run(first.files(), args);
            assert_eq!(code, Some(0), "{how}: {said}{error}");
            said
        };
        match how {
            "logout" => drop(ada.logout().await),
            "one" => {
                let mut command = command;
                let listed = command(&["session", "list", "--user", "ada", "--json"]);
                let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
                let key = listed[0]["key"].as_str().unwrap().to_owned();
                command(&["session", "revoke", &key]);
            }
            "of a user" => {
                let mut command = command;
                command(&["session", "revoke", "--user", "ADA"]);
            }
            "all" => {
                let mut command = command;
                command(&["session", "revoke", "--all"]);
            }
            _ => first.files().change_user("ada", |ada| ada.disabled = true),
        }
        let all = async {
            for socket in sockets {
                assert_eq!(socket.closed().await, Some(1008), "{how}");
            }
        };
        let ended = timeout(SOON, all).await;
        assert!(ended.is_ok(), "{how}: not within {SOON:?}");
        elsewhere.fetch("/").await.assert_status(401);
        if how == "all" {
            assert_eq!(kept.closed().await, Some(1008));
        } else {
            assert_eq!(kept.ask("still here").await, "still here", "{how}");
        }
        for node in [first, second, third] {
            node.stop().await;
        }
    }
}

#[tokio::test]
async fn rel_18_session_data_that_one_node_took_is_given_by_the_others() {
    let Some(redis) = Redis::start() else { return };
    let app = session_data::app().await;
    let with_data = || node(&app, &redis).app("session_data = true").start();
    let (first, second) = tokio::join!(with_data(), with_data());
    let ada = first.browser().login("ada", PASSWORD).await;
    let elsewhere = led_to(&second, &ada);
    ada.get(&session_data::query("count=1"))
        .await
        .assert_status(200);
    elsewhere.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-session-data"), Some("count=1"));
    // Both know the session by now, and keep what the other has set.
    elsewhere.get(&session_data::query("theme=\"dark\"")).await;
    ada.get(&session_data::query("lang=en")).await;
    let told = async || {
        elsewhere.get("/").await.assert_status(200);
        let told = app.last().value("x-session-data").unwrap().to_owned();
        told.contains("lang=en").then_some(())
    };
    eventually_some("the data of the other node", told).await;
    let fresh = node(&app, &redis).app("session_data = true").start().await;
    led_to(&fresh, &ada).get("/").await.assert_status(200);
    let told = app.last().value("x-session-data").unwrap().to_owned();
    for part in ["count=1", "theme=\"dark\"", "lang=en"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn rel_18_use_on_one_node_keeps_a_session_from_idling_on_the_others() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let elsewhere = led_to(&second, &ada);
    let mut socket = websocket(&first, &ada).await;
    for _ in 0..3 {
        for node in [&first, &second] {
            node.advance(Duration::from_mins(20));
        }
        elsewhere.get("/").await.assert_status(200);
        // Written once a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    ada.get("/").await.assert_status(200);
    assert_eq!(socket.ask("still here").await, "still here");
    for node in [&first, &second] {
        node.advance(Duration::from_mins(31));
    }
    ada.fetch("/").await.assert_status(401);
    elsewhere.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn rel_18_a_node_that_is_killed_takes_no_session_with_it() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut first = node(&app, &redis).spawn().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    first.program.signal(Signal::KILL);
    first.program.exit().await;
    let elsewhere = led_to(&second, &ada);
    elsewhere.get("/").await.assert_status(200);
    let first = first.start_again().await;
    let again = first.browser().cookie(&ada.session_cookie());
    again.get("/").await.assert_status(200);
    elsewhere.logout().await.assert_status(303);
    becomes(&again, 401).await;
}

#[tokio::test]
async fn sec_46_the_other_sessions_end_though_the_store_has_lost_the_index_of_the_user() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let other = second.browser().login("ada", PASSWORD).await;
    let (elsewhere, other_here) = (led_to(&second, &ada), led_to(&first, &other));
    for browser in [&elsewhere, &other_here] {
        browser.get("/").await.assert_status(200);
    }
    let mut kept = websocket(&second, &ada).await;
    let ended = websocket(&first, &other).await;
    let page = ada.get("/.vestibule/account").await;
    let keys = redis.ask(&["KEYS", "*:u:*"]);
    let keys: Vec<_> = keys.lines().collect();
    redis.ask(&[&["DEL"], &keys[..]].concat());
    let form = [("action", "end-others"), ("csrf", &*page.hidden("csrf"))];
    let done = ada.post_form("/.vestibule/account", &form).await;
    done.assert_status(303);
    let closed = timeout(SOON, ended.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    for browser in [&other, &other_here] {
        becomes(browser, 401).await;
    }
    for browser in [&ada, &elsewhere] {
        browser.get("/").await.assert_status(200);
    }
    assert_eq!(kept.ask("still here").await, "still here");
}

#[tokio::test]
async fn sec_46_the_account_page_goes_on_though_the_store_has_lost_the_index_of_its_user() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let node = node(&app, &redis).start().await;
    let ada = node.browser().login("ada", PASSWORD).await;
    let index = || redis.ask(&["KEYS", "*:u:*"]).trim().to_owned();
    let lost = index();
    assert_eq!(redis.ask(&["DEL", &lost]), "1\n", "{lost}");
    let page = ada.get("/.vestibule/account").await;
    page.assert_status(200).assert_contains("Your account");
    assert_eq!(index(), lost, "it is there again");
}
