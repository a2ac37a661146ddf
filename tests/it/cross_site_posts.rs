//! Forms of other sites that an app takes wait for a click and a login: SEC-54, SEC-64, SEC-69 and
//! SEC-87.

/// In a real browser, from one origin to the other.
mod chromium;
/// What nobody sends.
mod discarding;
/// Requests that are not kept, clicks that are not believed, and limits.
mod refused;
/// What else waits in the browser.
mod side_by_side;

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

const IDP: &str = "https://idp.test:8443";
const FORMS: &str = "/.vestibule/form";
const URLENCODED: &str = "application/x-www-form-urlencoded";
const ANSWER: &str = "SAMLResponse=abc%2B&RelayState=%2Fstart";

/// What Chromium says of a form of another site.
const SENT: [(&str, &str); 8] = [
    ("accept", "text/html,*/*;q=0.8"),
    ("content-type", URLENCODED),
    ("origin", IDP),
    ("referer", "https://idp.test:8443/"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-user", "?1"),
];

fn wiki(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .app("host = \"gate.test\"\ntitle = \"Team Wiki\"")
        .user("ada", PASSWORD)
        .account(User::new("eve", PASSWORD).groups(&["admins"]))
        .rule("/", "signed-in")
        .rule(
            "/admin/acs",
            "{ groups = [\"admins\"] }\ncross_site_posts = [\"https://idp.test:8443\"]",
        )
        .rule("/saml", "signed-in")
        .rule("/saml/acs", "signed-in")
        .config("cross_site_posts = [\"https://idp.test:8443\", \"http://pay.test\"]")
        .config(&format!(
            "[[app]]\nhost = \"other.test\"\nupstream = \"{}\"\n\
             [[app.rule]]\npath = \"/saml/acs\"\nallow = \"signed-in\"\n\
             cross_site_posts = [\"{IDP}\"]",
            app.url()
        ))
}

/// The headers with others in place of them, or without those that are empty.
fn but<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_other = |name: &str| others.iter().any(|(other, _)| *other == name);
    let kept = SENT.iter().copied().filter(|(name, _)| !is_other(name));
    let others = others
        .iter()
        .copied()
        .filter(|(_, value)| !value.is_empty());
    kept.chain(others).collect()
}

async fn send(browser: &Browser, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let body = Bytes::from(body.to_owned());
    browser.request(Method::POST, target, headers, body).await
}

/// What comes of a form of the other site in this browser, which keeps its cookies back.
async fn arrive(browser: &Browser, target: &str) -> Reply {
    let page = send(&browser.clone().without_cookies(), target, &SENT, ANSWER).await;
    assert_asks(&page);
    page
}

#[track_caller]
fn assert_asks(page: &Reply) {
    page.assert_status(200)
        .assert_contains("<h1>Send this to Team Wiki?</h1>")
        .assert_contains("<dd>https:&#x2f;&#x2f;idp.test:8443</dd>")
        .assert_contains("<dd>Team Wiki</dd>")
        .assert_header("cache-control", "no-store")
        .assert_header("x-frame-options", "DENY");
    assert_eq!(page.value("set-cookie"), None, "it would replace another");
    let policy = page.value("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!page.text().contains("abc"), "no echo of the form: {page}");
}

#[track_caller]
fn assert_does_not_ask(page: &Reply) {
    assert!(!page.text().contains("vestibule-form="), "{page}");
    assert!(
        !page
            .values("set-cookie")
            .iter()
            .any(|set| set.contains("-login=")),
        "{page}"
    );
}

fn button(page: &Reply) -> String {
    let actions = page.actions();
    actions.first().unwrap_or_else(|| panic!("{page}")).clone()
}

/// Presses the first button of the page.
async fn click(browser: &Browser, page: &Reply) -> Reply {
    let body = format!("csrf={}\r\n", page.hidden("csrf"));
    press(browser, &button(page), &body).await
}

async fn press(browser: &Browser, action: &str, body: &str) -> Reply {
    let origin = browser.origin();
    let headers = but(&[
        ("origin", &origin),
        ("referer", "https://gate.test/saml/acs"),
        ("sec-fetch-site", "same-origin"),
        ("content-type", "text/plain"),
    ]);
    send(browser, action, &headers, body).await
}

#[track_caller]
fn assert_arrived(app: &Upstream, target: &str, user: &str) {
    let got = app.last();
    assert!(got.head.starts_with("POST "), "{}", got.head);
    assert_eq!(got.target(), target);
    assert_eq!(got.body, ANSWER.as_bytes());
    let length = ANSWER.len().to_string();
    for (name, value) in [
        ("origin", IDP),
        ("referer", "https://idp.test:8443/"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("content-type", URLENCODED),
        ("content-length", &length),
        ("x-forwarded-user", user),
    ] {
        assert_eq!(got.values(name), [value], "{name} in {}", got.head);
    }
}

#[tokio::test]
async fn a_form_of_a_listed_site_goes_on_after_one_click_as_that_sites() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let target = "/saml/acs?a=%2F&b=1?";
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let ada = browser.login("ada", PASSWORD).await;
        let before = app.requests();
        let page = arrive(&ada, target).await;
        page.assert_contains("<dd>&#x2f;saml&#x2f;acs</dd>");
        assert_eq!(app.requests(), before, "nothing is sent by itself");
        let answer = click(&ada, &page).await;
        answer.assert_status(200);
        assert_eq!(app.requests(), before + 1);
        assert_arrived(&app, target, "ada");
        // Once, whoever presses again.
        click(&ada, &page).await.assert_redirects_to(FORMS);
        ada.get(FORMS).await.assert_contains("Nothing is waiting");
        assert_eq!(app.requests(), before + 1);
    }
    // A browser that sends the session along, as one does from the same site, is asked as well.
    let ada = gate.browser().login("ada", PASSWORD).await;
    let before = app.requests();
    let same_site = but(&[("sec-fetch-site", "same-site"), ("referer", "")]);
    let page = send(&ada, "/saml/acs", &same_site, ANSWER).await;
    assert_asks(&page);
    assert_eq!(app.requests(), before);
    click(&ada, &page).await.assert_status(200);
    let got = app.last();
    assert_eq!(got.value("sec-fetch-site"), Some("same-site"));
    assert_eq!(got.value("referer"), None, "{}", got.head);
    // So is an old browser, which says nothing but where the form is from.
    let old = [SENT[0], SENT[1], ("origin", "http://pay.test")];
    let page = send(&gate.browser(), "/saml/acs", &old, ANSWER).await;
    page.assert_status(200)
        .assert_contains("<dd>http:&#x2f;&#x2f;pay.test</dd>");
}

#[tokio::test]
async fn sec_87_a_form_that_came_with_a_session_is_of_its_user_alone() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    let same_site = but(&[("sec-fetch-site", "same-site")]);
    let page = send(&browser, "/saml/acs", &same_site, ANSWER).await;
    assert_asks(&page);
    // She leaves, and somebody else signs in with her browser.
    let before = app.requests();
    let browser = browser.login("eve", PASSWORD).await;
    click(&browser, &page).await.assert_redirects_to(FORMS);
    browser
        .get(FORMS)
        .await
        .assert_contains("Nothing is waiting");
    assert_eq!(app.requests(), before);
}

#[tokio::test]
async fn headers_that_the_configuration_sets_stand_above_those_of_the_form() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app(
            "host = \"gate.test\"\ntitle = \"Team Wiki\"\n[app.request_headers]\n\
             set = { \"Origin\" = \"https://fixed.test\", \"Sec-Fetch-Site\" = \"none\" }\n\
             remove = [\"Referer\"]",
        )
        .user("ada", PASSWORD)
        .rule("/saml/acs", "signed-in")
        .config("cross_site_posts = [\"https://idp.test:8443\"]")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&ada, "/saml/acs").await;
    click(&ada, &page).await.assert_status(200);
    let got = app.last();
    assert_eq!(got.body, ANSWER.as_bytes());
    assert_eq!(got.values("origin"), ["https://fixed.test"], "{}", got.head);
    assert_eq!(got.values("sec-fetch-site"), ["none"], "{}", got.head);
    assert_eq!(got.value("referer"), None, "{}", got.head);
    assert_eq!(got.values("content-type"), [URLENCODED], "{}", got.head);
}

#[tokio::test]
async fn whoever_is_not_signed_in_signs_in_between_the_click_and_the_app() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let before = app.requests();
        let page = arrive(&browser, "/saml/acs").await;
        let login = click(&browser, &page).await;
        login
            .assert_status(401)
            .assert_contains("<title>Sign in to Team Wiki</title>")
            .assert_contains("goes on after you have signed in");
        let fields = [
            ("csrf", &*login.hidden("csrf")),
            ("return_to", "/"),
            ("username", "ada"),
            ("password", PASSWORD),
        ];
        let reply = browser.post_form("/.vestibule/login", &fields).await;
        reply.assert_redirects_to(FORMS);
        let page = browser.get(FORMS).await;
        page.assert_contains("data-send")
            .assert_contains("<dd>https:&#x2f;&#x2f;idp.test:8443</dd>");
        assert_eq!(app.requests(), before);
        click(&browser, &page).await.assert_status(200);
        assert_arrived(&app, "/saml/acs", "ada");
        assert_eq!(app.requests(), before + 1);
    }
    // Without the click, a login sends nothing.
    let browser = gate.browser();
    let page = arrive(&browser, "/saml/acs").await;
    let before = app.requests();
    let login = browser.try_login("ada", PASSWORD).await;
    login.assert_redirects_to("/");
    let forms = browser.get(FORMS).await;
    forms.assert_contains("Nothing is waiting");
    assert_eq!(app.requests(), before);
    click(&browser, &page).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
}

#[tokio::test]
async fn rules_time_and_configuration_hold_at_the_click() {
    let app = Upstream::echo().await;
    let mut gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&ada, "/admin/acs").await;
    click(&ada, &page).await.assert_status(403);
    let page = arrive(&ada, "/saml/acs").await;
    gate.advance(std::time::Duration::from_mins(15));
    click(&ada, &page).await.assert_redirects_to(FORMS);
    let page = arrive(&ada, "/saml/acs").await;
    gate.reload(|text| {
        text.replace(
            "\"https://idp.test:8443\", \"http://pay.test\"",
            "\"http://pay.test\"",
        )
    })
    .unwrap();
    click(&ada, &page).await.assert_redirects_to(FORMS);
    let refused = send(&gate.browser(), "/saml/acs", &SENT, ANSWER).await;
    refused
        .assert_status(401)
        .assert_contains("A form of another site was not delivered");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn a_form_that_the_app_cannot_get_waits_for_another_try() {
    let mut app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&ada, "/saml/acs").await;
    let reloaded = arrive(&ada, "/saml/acs").await;
    app.stop().await;
    for page in [&page, &reloaded] {
        click(&ada, page).await.assert_status(502);
    }
    app.start().await;
    // By the same button, as a reload of the error does it, or by the one of the other page.
    click(&ada, &reloaded).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
    let page = ada.get(FORMS).await;
    page.assert_contains("idp.test");
    click(&ada, &page).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
    assert_eq!(app.requests(), 2);
}

#[tokio::test]
async fn files_in_a_form_of_another_site_arrive_too() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let kind = "multipart/form-data; boundary=\"--a b\"";
    let body: Vec<u8> = (0..=255).collect();
    let headers = but(&[("content-type", kind)]);
    let stranger = ada.fresh();
    let page = stranger.request(Method::POST, "/saml/acs", &headers, body.clone().into());
    let page = page.await;
    assert_asks(&page);
    click(&ada, &page).await.assert_status(200);
    let got = app.last();
    assert_eq!(got.value("content-type"), Some(kind));
    assert_eq!(got.body, body);
}
