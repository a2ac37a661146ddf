//! Login pages that wait in tabs of their own, while somebody signs in in another one.

use super::{sign_in, sign_out};
use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Upstream, Vestibule};

const IS_ADA: &str = "document.body.textContent.includes('X-Forwarded-User: ada')";

/// A driver has every tab that it knows visible and in focus, so none gets either for real; in
/// [`twenty_tabs`](super::one_login), those that a page has opened do.
const LOOKED_AT: &str = "dispatchEvent(new Event('focus'))";

/// How often the page asks whether somebody has signed in when both events come at once. It asks
/// before it goes anywhere, so a page that does not ask stays.
const ASKS: &str = "
    const real = fetch;
    let asked = 0;
    window.fetch = (...request) => { asked += 1; return real(...request); };
    dispatchEvent(new Event('focus'));
    document.dispatchEvent(new Event('visibilitychange'));
    return asked;";

async fn is_refused(browser: &Chromium, user: &str) {
    sign_in(browser, user, "wrong").await;
    browser
        .wait_until("document.querySelector('[role=alert]')")
        .await;
}

#[tokio::test]
async fn a_login_that_waits_goes_on_when_another_tab_has_signed_in() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let wanted = format!("{origin}/page?q=a%20b#part");
    // The second one is where a page that waited has gone on to before, and waits again.
    let again = "/.vestibule/login?on=&return_to=%2Fpage%3Fq%3Da%2520b#part";
    for address in [wanted.clone(), format!("{origin}{again}")] {
        browser.goto(&address).await;
        is_refused(&browser, "ada").await;
        let waiting = browser.tab().await;
        browser.new_tab().await;
        browser.goto(&format!("{origin}/other")).await;
        sign_in(&browser, "ada", PASSWORD).await;
        browser.wait_until(IS_ADA).await;
        browser.switch_to(&waiting).await;
        browser.script(LOOKED_AT).await;
        browser.wait_until(IS_ADA).await;
        assert_eq!(browser.url().await, wanted);
        sign_out(&browser, &origin).await;
    }

    // Where nobody has signed in, it stays as it is.
    browser.goto(&wanted).await;
    browser.type_into("[name=username]", "bo").await;
    assert_eq!(browser.script(ASKS).await, 1);
    let asked = "return fetch('/.vestibule/session').then(answer => answer.status)";
    assert_eq!(browser.script(asked).await, 401);
    let typed = "return document.getElementById('username').value";
    assert_eq!(browser.script(typed).await, "bo");
}

/// It would go on as the user of before.
#[tokio::test]
async fn a_login_for_another_user_does_not_go_on_after_a_wrong_password() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let page = format!("{origin}/.vestibule/login?return_to=%2Fpage");
    let switch = format!("{page}&switch=1");
    browser.goto(&page).await;
    is_refused(&browser, "bo").await;
    assert_eq!(browser.script(ASKS).await, 1, "nobody is signed in");
    browser.goto(&switch).await;
    assert_eq!(browser.script(ASKS).await, 0, "asked for");
    is_refused(&browser, "cy").await;
    assert_eq!(browser.script(ASKS).await, 0, "asked for, and refused");

    browser.goto(&page).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until(IS_ADA).await;
    browser.goto(&switch).await;
    assert_eq!(browser.script(ASKS).await, 0);
    is_refused(&browser, "di").await;
    assert_eq!(browser.script(ASKS).await, 0);
    // As does the form of a page that this user may not open: its address does not say so.
    browser.goto(&switch).await;
    let plain = format!("history.replaceState(null, '', '{page}')");
    browser.script(&plain).await;
    is_refused(&browser, "ed").await;
    assert_eq!(browser.url().await, page);
    assert_eq!(browser.script(ASKS).await, 0, "ada is signed in");
    let here = "return document.getElementById('username').value";
    assert_eq!(browser.script(here).await, "ed");
}
