//! Chromium on two nodes at once, as a load balancer leads one tab to this node and the next one to another.

use super::*;
use crate::harness::webdriver::Chromium;

/// Opens a WebSocket of the app in the page that is shown.
async fn open(browser: &Chromium) {
    let open = "window.socket = new WebSocket(`wss://${location.host}/ws`)";
    browser.script(open).await;
    browser.wait_until("window.socket.readyState === 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_75_a_sign_out_at_one_node_closes_the_websockets_of_the_browser_at_both() {
    let (Some(redis), Some(browser)) = (Redis::start(), Chromium::start().await) else {
        return;
    };
    let app = app().await;
    let nodes = [
        node(&app, &redis).start().await,
        node(&app, &redis).start().await,
    ];
    let origins = nodes
        .each_ref()
        .map(|node| format!("https://gate.test:{}", node.address().port()));
    browser.goto(&origins[0]).await;
    browser.type_into("[name=username]", "ada").await;
    browser.type_into("[name=password]", PASSWORD).await;
    browser.click("[type=submit]").await;
    let is_let_in = "document.body.textContent.includes('X-Forwarded-User: ada')";
    browser.wait_until(is_let_in).await;
    open(&browser).await;
    let first = browser.tab().await;

    // A cookie is for all ports of a host (RFC 6265 §8.5).
    browser.new_tab().await;
    browser.goto(&origins[1]).await;
    browser.wait_until(is_let_in).await;
    open(&browser).await;
    let second = browser.tab().await;

    browser.new_tab().await;
    let logout = format!("{}/.vestibule/logout", origins[1]);
    browser.goto(&logout).await;
    browser.click("[type=submit]").await;
    let is_signed_out = "document.querySelector('h1').textContent === 'You are signed out'";
    browser.wait_until(is_signed_out).await;
    for tab in [first, second] {
        browser.switch_to(&tab).await;
        browser.wait_until("window.socket.readyState === 3").await;
        let again = "return fetch('/').then(answer => answer.status)";
        assert_eq!(browser.script(again).await, 401);
    }
}
