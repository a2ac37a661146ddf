//! Login pages that wait in tabs of their own, while somebody signs in in another one.

use super::{sign_in, sign_out};
use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Upstream, Vestibule};

const IS_ADA: &str = "document.body.textContent.includes('X-Forwarded-User: ada')";

/// A driver has every tab that it knows visible and in focus, so none gets either for real; in
/// [`twenty_tabs`](super::one_login), those that a page has opened do.
const LOOKED_AT: &str = "dispatchEvent(new Event('focus'))";

#[tokio::test]
async fn a_login_that_waits_goes_on_when_another_tab_has_signed_in() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let wanted = format!("{origin}/page?q=a%20b#part");
    browser.goto(&wanted).await;
    sign_in(&browser, "ada", "wrong").await;
    browser
        .wait_until("document.querySelector('[role=alert]')")
        .await;
    let waiting = browser.tab().await;
    browser.new_tab().await;
    browser.goto(&format!("{origin}/other")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until(IS_ADA).await;
    browser.switch_to(&waiting).await;
    browser.script(LOOKED_AT).await;
    browser.wait_until(IS_ADA).await;
    assert_eq!(browser.url().await, wanted);

    // The form for another user stays, and so does one where nobody has signed in.
    let stays = async || {
        browser.script(LOOKED_AT).await;
        let asked = "return fetch('/.vestibule/session').then(answer => answer.status)";
        let status = browser.script(asked).await;
        let typed = browser.script("return document.getElementById('username').value");
        assert_eq!(typed.await, "bo");
        status
    };
    browser
        .goto(&format!("{origin}/.vestibule/login?switch=1"))
        .await;
    browser.type_into("[name=username]", "bo").await;
    assert_eq!(stays().await, 200);
    sign_out(&browser, &origin).await;
    browser.goto(&wanted).await;
    browser.type_into("[name=username]", "bo").await;
    assert_eq!(stays().await, 401);
}
