//! A form that met an ended session on one node is sent after a login on another, once.

use super::keys::two;
use super::*;
use crate::kept_forms::{
    FORMS, URLENCODED, assert_kept, assert_nothing_waits, kept, kept_and_signed_in, post, send,
    sign_in,
};

const WAITS: &str = "You were about to send this to app";

#[tokio::test]
async fn a_form_of_one_node_is_sent_once_after_a_login_on_another() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    for had_session in [false, true] {
        let browser = first.browser();
        if had_session {
            browser.try_login("ada", PASSWORD).await;
            browser.get("/edit").await.assert_status(200);
            led_to(&second, &browser).logout().await.assert_status(303);
            becomes(&browser, 401).await;
        }
        let before = app.requests();
        let page = post(&browser, "/save", URLENCODED, "a=1").await;
        assert_kept(&page);
        let there = browser.led_to(second.address());
        sign_in(&there, &page, "ada")
            .await
            .assert_redirects_to(FORMS);
        let page = there.get(FORMS).await;
        page.assert_status(200).assert_contains(WAITS);
        browser.get(FORMS).await.assert_contains(WAITS);
        send(&there, &page).await.assert_status(200);
        assert_eq!(app.last().body, b"a=1");
        assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
        send(&browser, &page).await.assert_redirects_to(FORMS);
        for node in [&browser, &there] {
            assert_nothing_waits(&node.get(FORMS).await);
        }
        assert_eq!(app.requests(), before + 1);
    }
}

#[tokio::test]
async fn a_form_of_one_node_is_nobody_elses_on_another() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    let browser = first.browser().login("ada", PASSWORD).await;
    browser.get("/edit").await.assert_status(200);
    led_to(&second, &browser).logout().await.assert_status(303);
    becomes(&browser, 401).await;
    let page = post(&browser, "/save", URLENCODED, "a=1").await;
    assert_kept(&page);
    let there = browser.led_to(second.address());
    sign_in(&there, &page, "bob").await.assert_redirects_to("/");
    assert_nothing_waits(&there.get(FORMS).await);
    there.logout().await;
    there.try_login("ada", PASSWORD).await;
    assert_nothing_waits(&there.get(FORMS).await);
}

#[tokio::test]
async fn rel_10_a_form_that_came_while_the_store_was_away_is_not_lost() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    redis.kill();
    is_ready(&first, false).await;
    let (browser, page) = kept(&first, "/save", "a=1").await;
    let there = browser.led_to(second.address());
    let login = there.try_login("ada", PASSWORD).await;
    login.assert_status(503);
    redis.start_again();
    is_ready(&first, true).await;
    is_ready(&second, true).await;
    let is_there = async || {
        let keys = redis.ask(&["KEYS", "vestibule:{posts}:m:*"]);
        (!keys.is_empty()).then_some(())
    };
    eventually_some("the form in the store", is_there).await;
    sign_in(&there, &page, "ada")
        .await
        .assert_redirects_to(FORMS);
    let page = there.get(FORMS).await;
    send(&there, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
}

#[tokio::test]
async fn rel_10_a_form_in_a_store_that_hangs_waits_on() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    let (browser, page) = kept_and_signed_in(&first, "/save", "a=1").await;
    let there = browser.led_to(second.address());
    there.get("/").await.assert_status(200);
    let before = app.requests();
    redis.stop();
    for node in [&browser, &there] {
        let refused = send(node, &page).await;
        refused.assert_status(503);
        assert!(refused.value("retry-after").is_some(), "{refused}");
    }
    assert_eq!(app.requests(), before);
    redis.go_on();
    let shown = async || {
        let page = there.get(FORMS).await;
        let waits = page.status == 200 && page.text().contains(WAITS);
        waits.then_some(page)
    };
    let page = eventually_some("the form", shown).await;
    send(&there, &page).await.assert_status(200);
    assert_eq!(
        (app.requests(), app.last().body),
        (before + 1, b"a=1".to_vec())
    );
    is_ready(&first, true).await;
    assert_nothing_waits(&browser.get(FORMS).await);
}

async fn is_ready(node: &Gate, expected: bool) {
    let status = if expected { " 200 " } else { " 503 " };
    let ready = async || readiness(node).await.contains(status).then_some(());
    eventually_some("the node to say whether it is ready", ready).await;
}
