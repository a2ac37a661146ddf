//! The account page in real browsers.

use super::{Quickstart, REFUSED, sign_in};
use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Upstream, Vestibule};

const NEW: &str = "quiet otters hum";

#[tokio::test]
async fn sec_75_one_browser_ends_the_session_of_another_whose_websocket_closes_in_view() {
    let (Some(this), Some(other)) = (Chromium::start().await, Chromium::start().await) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Quickstart::start(folder.path()).await;
    for browser in [&this, &other] {
        browser.goto(&quickstart.origin).await;
        sign_in(browser, &quickstart.user, &quickstart.password).await;
        browser
            .wait_until("document.querySelector('#heard')?.value === 'Connected.'")
            .await;
    }
    this.goto(&format!("{}/.vestibule/account", quickstart.origin))
        .await;
    let list = this.text(".sessions").await;
    assert_eq!(list.matches("Chrome on Linux").count(), 2, "{list}");
    assert_eq!(list.matches("This browser").count(), 1, "{list}");
    this.click("[name=key]").await;
    let ended = tokio::time::Instant::now();
    other
        .wait_until("document.querySelector('#heard').value.startsWith('Closed (1008)')")
        .await;
    let took = ended.elapsed();
    assert!(took.as_secs() < 5, "the WebSocket lived on for {took:?}");
    other
        .wait_until("document.querySelector('#clock').value.startsWith('The stream ended')")
        .await;
    other.goto(&quickstart.origin).await;
    assert_eq!(other.text("h1").await, "Sign in to the sample app");

    this.wait_until("!document.querySelector('[name=key]')")
        .await;
    assert_eq!(this.text("h1").await, "Your account");
    assert_eq!(this.errors().await, [""; 0]);
    this.goto(&quickstart.origin).await;
    this.wait_until("document.querySelector('#heard')?.value === 'Connected.'")
        .await;
}

async fn type_new_password(browser: &Chromium, old: &str) {
    browser.type_into("[name=old]", old).await;
    browser.type_into("[name=new]", NEW).await;
    browser.type_into("[name=again]", NEW).await;
}

#[tokio::test]
async fn a_visitor_changes_the_password_and_after_logout_back_shows_the_login() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let account = format!("{origin}/.vestibule/account");
    browser.goto(&account).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'Your account'")
        .await;
    type_new_password(&browser, "wrong").await;
    browser.click("#reveal").await;
    let shown = "return [...document.querySelectorAll('#old, #password, #again')].map(input => input.type).join()";
    assert_eq!(browser.script(shown).await, "text,text,text");
    browser.click("#submit").await;
    browser
        .wait_until("document.activeElement.getAttribute('role') === 'alert'")
        .await;
    assert_eq!(
        browser.text("[role=alert]").await,
        "The current password is not right."
    );
    type_new_password(&browser, PASSWORD).await;
    browser.click("#submit").await;
    browser
        .wait_until(
            "document.querySelector('.done')?.textContent.startsWith('Your password has been changed')",
        )
        .await;
    assert_eq!(browser.url().await, account);
    assert_eq!(browser.cookies().await.len(), 1);
    let errors = browser.errors().await;
    let refused = |error: &String| error.contains("status of 403"); // the wrong password
    assert!(errors.iter().all(refused), "{errors:?}");

    browser.click("[href='/.vestibule/logout']").await;
    browser.click("[action='/.vestibule/logout'] button").await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'You are signed out'")
        .await;
    // First to the page with the button, then to the one before.
    browser.back().await;
    browser
        .wait_until("location.pathname === '/.vestibule/logout'")
        .await;
    let text = browser.text("body").await;
    assert!(!text.contains("ada"), "from the cache:\n{text}");
    browser.back().await;
    browser
        .wait_until("location.pathname === '/.vestibule/login'")
        .await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.querySelector('[role=alert]')")
        .await;
    assert_eq!(browser.text("[role=alert]").await, REFUSED);
    sign_in(&browser, "ada", NEW).await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'Your account'")
        .await;
}

#[tokio::test]
async fn the_account_page_works_without_script() {
    let Some(browser) = Chromium::start_without_script().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let other = gate.browser().login("ada", PASSWORD).await;
    browser.goto(&format!("{origin}/.vestibule/account")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.click("[value=end-others]").await;
    browser
        .wait_until("document.querySelector('.sessions') && !document.querySelector('[name=key]')")
        .await;
    other.get("/").await.assert_status(303);
    type_new_password(&browser, PASSWORD).await;
    let hidden = "return document.querySelector('#reveal').hidden";
    assert_eq!(browser.script(hidden).await, true, "the script has run");
    browser.click("#submit").await;
    browser
        .wait_until(
            "document.querySelector('.done')?.textContent.startsWith('Your password has been changed')",
        )
        .await;
}
