//! A form that meets an ended session is kept, and arrives after the login, once and as it was.

/// In a real browser, from typing to arriving.
mod chromium;
/// What is kept, and what never is.
mod keeping;
/// A form belongs to one user, one session, one host and target, and is sent once.
mod owning;
/// What was kept arrives as it was, whatever happens on the way.
mod sending;

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

pub(crate) const FORMS: &str = "/.vestibule/form";
pub(crate) const URLENCODED: &str = "application/x-www-form-urlencoded";

/// What our Send button sends, and nobody else.
const PLAIN: &str = "text/plain";

/// More than `idle_timeout`.
const IDLE: std::time::Duration = std::time::Duration::from_mins(31);

/// What Chromium says when a page of this host sends its form.
const OWN_FORM: [(&str, &str); 3] = [
    ("accept", "text/html,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
];

async fn gate(app: &Upstream) -> Gate {
    people(Vestibule::before(app)).start().await
}

fn people(gate: Vestibule) -> Vestibule {
    gate.user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .account(User::new("eve", PASSWORD).groups(&["admins"]))
}

/// Sends a form as a page of the app does.
pub(crate) async fn post(
    browser: &Browser,
    target: &str,
    kind: &str,
    body: impl Into<Bytes>,
) -> Reply {
    let headers = [&OWN_FORM[..], &[("content-type", kind)]].concat();
    browser
        .request(Method::POST, target, &headers, body.into())
        .await
}

/// A browser whose form has just been kept, and the page that says so.
pub(crate) async fn kept(gate: &Gate, target: &str, body: &'static str) -> (Browser, Reply) {
    let browser = gate.browser();
    let page = post(&browser, target, URLENCODED, body).await;
    assert_kept(&page);
    (browser, page)
}

#[track_caller]
pub(crate) fn assert_kept(page: &Reply) {
    page.assert_status(401)
        .assert_contains("is kept for 15 minutes: sign in")
        .assert_header("cache-control", "no-store");
    assert!(page.value("www-authenticate").is_some(), "{page}");
}

/// Signs in by the login form that this page shows.
pub(crate) async fn sign_in(browser: &Browser, page: &Reply, user: &str) -> Reply {
    let (csrf, return_to) = (page.hidden("csrf"), page.hidden("return_to"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("return_to", &return_to),
        ("username", user),
        ("password", PASSWORD),
    ];
    let reply = browser.post_form("/.vestibule/login", &fields).await;
    assert!(browser.is_signed_in(), "no session from {reply}");
    reply
}

/// Keeps a form, signs in, and gives the page with the buttons.
pub(crate) async fn kept_and_signed_in(
    gate: &Gate,
    target: &str,
    body: &'static str,
) -> (Browser, Reply) {
    let (browser, page) = kept(gate, target, body).await;
    let reply = sign_in(&browser, &page, "ada").await;
    reply.assert_redirects_to(FORMS);
    let page = browser.get(FORMS).await;
    page.assert_status(200)
        .assert_contains("You were about to send this to app");
    (browser, page)
}

/// Where the Send button of the page sends.
fn address(page: &Reply) -> String {
    page.actions()
        .into_iter()
        .find(|action| action.contains("vestibule-form="))
        .unwrap_or_else(|| panic!("no Send button on {page}"))
}

/// Presses Send.
pub(crate) async fn send(browser: &Browser, page: &Reply) -> Reply {
    press(browser, &address(page), &page.hidden("csrf")).await
}

/// Presses Send on a page with this address and token.
async fn press(browser: &Browser, address: &str, csrf: &str) -> Reply {
    post(browser, address, PLAIN, format!("csrf={csrf}\r\n")).await
}

#[track_caller]
pub(crate) fn assert_nothing_waits(page: &Reply) {
    page.assert_status(200)
        .assert_contains("Nothing is waiting to be sent");
    assert!(!page.text().contains("<form"), "{page}");
}
