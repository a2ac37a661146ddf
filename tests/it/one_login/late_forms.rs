use bytes::Bytes;
use hyper::Method;

use super::*;

/// Sends a form as a page of the app does.
async fn post(browser: &Browser, target: &str, body: &'static str) -> Reply {
    let headers = [
        ("accept", "text/html,*/*;q=0.8"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "same-origin"),
    ];
    browser
        .request(
            Method::POST,
            target,
            &headers,
            Bytes::from_static(body.as_bytes()),
        )
        .await
}

/// Presses the button of the page that shows what waits.
async fn send(browser: &Browser, page: &Reply) -> Reply {
    let csrf = page.hidden("csrf");
    let action = page
        .actions()
        .into_iter()
        .find(|action| !action.starts_with("/.vestibule/"));
    let headers = [
        ("accept", "text/html,*/*;q=0.8"),
        ("content-type", "text/plain"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "same-origin"),
    ];
    let body = format!("csrf={csrf}\r\n");
    browser
        .request(Method::POST, &action.unwrap(), &headers, body.into())
        .await
}

#[tokio::test]
async fn a_late_form_waits_on_its_host_and_arrives_there_after_the_login() {
    let (wiki, metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let kept = post(&profile.at(WIKI), "/save?draft=1", "text=long+work").await;
    kept.assert_status(401);
    kept.assert_contains("kept for 15 minutes");
    kept.assert_contains("href=\"/.vestibule/sso\"");
    assert!(!kept.text().contains("password"), "{kept}");
    let place = profile.sign_in("ada", WIKI, SSO).await;
    place.assert_is(WIKI, "/.vestibule/form");
    assert_eq!(wiki.requests(), 0);
    // Nobody gets it on another host, or twice.
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let elsewhere = profile.at(METRICS).get("/.vestibule/form").await;
    elsewhere.assert_contains("Nothing is waiting");
    let sent = send(&profile.at(WIKI), &place.page).await;
    sent.assert_status(200);
    let arrived = wiki.last();
    assert_eq!(
        (arrived.target(), &*arrived.body),
        ("/save?draft=1", &b"text=long+work"[..])
    );
    assert_eq!(arrived.value("x-forwarded-user"), Some("ada"));
    let again = send(&profile.at(WIKI), &place.page).await;
    again.assert_redirects_to("/.vestibule/form");
    assert_eq!((wiki.requests(), metrics.requests()), (1, 1));
}

#[tokio::test]
async fn a_form_of_an_ended_session_is_its_users_and_nobody_elses() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    gate.advance(std::time::Duration::from_mins(31));
    let kept = post(&profile.at(WIKI), "/save", "text=adas").await;
    kept.assert_status(401);
    let place = profile.sign_in("bob", WIKI, SSO).await;
    place.assert_is(WIKI, "/");
    let waiting = profile.at(WIKI).get("/.vestibule/form").await;
    waiting.assert_contains("Nothing is waiting");

    gate.advance(std::time::Duration::from_mins(31));
    let kept = post(&profile.at(WIKI), "/save", "text=bobs").await;
    kept.assert_status(401);
    let place = profile.sign_in("bob", WIKI, SSO).await;
    place.assert_is(WIKI, "/.vestibule/form");
    // It is discarded by its button, which has the token of the session.
    let csrf = place.page.hidden("csrf");
    let form = place.page.hidden("form");
    let fields = [("csrf", &*csrf), ("action", "discard"), ("form", &form)];
    let discarded = profile
        .at(WIKI)
        .post_form("/.vestibule/form", &fields)
        .await;
    discarded.assert_redirects_to("/");
    let waiting = profile.at(WIKI).get("/.vestibule/form").await;
    waiting.assert_contains("Nothing is waiting");
    assert!(
        wiki.received()
            .iter()
            .all(|request| request.target() != "/save")
    );
}

#[tokio::test]
async fn a_form_that_waits_goes_with_the_sign_out_on_the_login_host() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    post(&profile.at(WIKI), "/save", "text=x")
        .await
        .assert_status(401);
    let place = profile.sign_in("ada", WIKI, SSO).await;
    place.assert_is(WIKI, "/.vestibule/form");
    profile.at(LOGIN).logout().await.assert_status(303);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    let waiting = profile.at(WIKI).get("/.vestibule/form").await;
    waiting.assert_contains("Nothing is waiting");
    let reply = send(&profile.at(WIKI), &place.page).await;
    assert_ne!(reply.status, 200, "{reply}");
    assert!(
        wiki.received()
            .iter()
            .all(|request| request.target() != "/save")
    );
}

#[tokio::test]
async fn sec_63_a_login_leads_back_to_addresses_as_long_as_they_may_be() {
    let (wiki, _metrics, gate) = started().await;
    for length in [1, 2000, 2048, 2049, 5000, 8000] {
        let profile = Profile::new(&gate);
        let target = format!("/deep?q={}", "a".repeat(length));
        profile
            .sign_in("ada", WIKI, &target)
            .await
            .assert_is(WIKI, &target);
        assert_eq!(wiki.last().target(), target);
    }
}

/// What a browser says of a form of another site, which comes without cookies.
const FROM_IDP: [(&str, &str); 6] = [
    ("accept", "text/html,*/*;q=0.8"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("origin", "https://idp.test"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "cross-site"),
];

#[tokio::test]
async fn a_form_of_another_site_waits_for_a_click_and_for_the_login_on_another_host() {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let gate = two(&wiki, &metrics)
        .rule(
            "/saml/acs",
            "{ groups = [\"admins\"] }\ncross_site_posts = [\"https://idp.test\"]",
        )
        .start()
        .await;
    let sent = |browser: Browser| async move {
        let body = Bytes::from_static(b"SAMLResponse=abc");
        let page = browser.without_cookies();
        page.request(Method::POST, "/saml/acs", &FROM_IDP, body)
            .await
    };
    // With a session on the app's host.
    let ada = Profile::new(&gate);
    ada.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    let before = wiki.requests();
    let page = sent(ada.at(WIKI)).await;
    page.assert_contains("Send this to wiki?");
    send(&ada.at(WIKI), &page).await.assert_status(200);
    assert_eq!(wiki.requests(), before + 1);
    // Without one: after the click it waits on this host, for whoever signs in on the other.
    let ada = Profile::new(&gate);
    let page = sent(ada.at(WIKI)).await;
    let asked = send(&ada.at(WIKI), &page).await;
    asked.assert_status(401);
    asked.assert_contains("href=\"/.vestibule/sso\"");
    assert!(!asked.text().contains("password"), "{asked}");
    let place = ada.sign_in("ada", WIKI, SSO).await;
    place.assert_is(WIKI, "/.vestibule/form");
    assert_eq!(wiki.requests(), before + 1);
    send(&ada.at(WIKI), &place.page).await.assert_status(200);
    let arrived = wiki.last();
    assert_eq!(arrived.target(), "/saml/acs");
    assert_eq!(&*arrived.body, b"SAMLResponse=abc");
    assert_eq!(arrived.value("origin"), Some("https://idp.test"));
    assert_eq!(arrived.value("x-forwarded-user"), Some("ada"));
    // The login's own host takes no form of anybody.
    let page = sent(gate.browser_for(LOGIN)).await;
    page.assert_status(404);
    assert_eq!((wiki.requests(), metrics.requests()), (before + 2, 0));
}
