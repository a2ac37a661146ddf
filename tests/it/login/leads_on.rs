//! Where the login leads: SEC-62, SEC-63, and on, for whoever is signed in.

use super::*;

/// A path with a query of `length` bytes.
fn target(length: usize) -> String {
    let start = "/report?from=%C3%A4&x=";
    format!("{start}{}", "a".repeat(length - start.len()))
}

/// Asks for a page without a session; gives where the login is.
async fn led_to_login(browser: &Browser, target: &str) -> String {
    let reply = browser.get(target).await;
    reply.assert_status(303);
    let location = reply.value("location").unwrap();
    assert!(location.starts_with("/.vestibule/login"), "{location}");
    location.to_owned()
}

/// Signs in by the form that this page shows.
async fn sign_in(browser: &Browser, page: &Reply, password: &str) -> Reply {
    let (csrf, return_to) = (page.hidden("csrf"), page.hidden("return_to"));
    let mut fields = vec![
        ("csrf", csrf.as_str()),
        ("return_to", &return_to),
        ("username", "ada"),
        ("password", password),
    ];
    let kept = page
        .text()
        .contains("name=\"kept\"")
        .then(|| page.hidden("kept"));
    fields.extend(kept.as_deref().map(|kept| ("kept", kept)));
    browser.post_form(LOGIN, &fields).await
}

#[tokio::test]
async fn sec_63_a_long_target_survives_the_login() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for length in [2048, 2049, 4000, 8192] {
        for browser in [gate.browser(), gate.browser().over_http2()] {
            let target = target(length);
            let login = led_to_login(&browser, &target).await;
            assert!(login.len() < 4096, "{login}");
            let form = browser.get(&login).await;
            assert!(form.text().len() < 15 * 1024 / 2, "{form}");
            // A wrong password in between does not lose it.
            let form = sign_in(&browser, &form, "wrong").await;
            form.assert_status(401);
            let reply = sign_in(&browser, &form, PASSWORD).await;
            reply.assert_redirects_to(&target);
            browser.get(&target).await.assert_status(200);
            assert_eq!(app.last().target(), target);
        }
    }
    let too_long = gate.browser().get(&target(8193)).await;
    too_long.assert_status(414);
}

#[tokio::test]
async fn sec_63_a_long_target_in_a_link_or_a_form_is_kept_as_well() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let target = target(3000);
    let query: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let browser = gate.browser();
    let form = browser.get(&format!("{LOGIN}?return_to={query}")).await;
    let reply = sign_in(&browser, &form, PASSWORD).await;
    reply.assert_redirects_to(&target);
    let fields = [
        ("username", "ada"),
        ("password", PASSWORD),
        ("return_to", &target),
    ];
    let reply = gate.browser().post_form(LOGIN, &fields).await;
    reply.assert_redirects_to(&target);
    let foreign = format!("//evil.test/{target}");
    let query: String = form_urlencoded::byte_serialize(foreign.as_bytes()).collect();
    let browser = gate.browser();
    let form = browser.get(&format!("{LOGIN}?return_to={query}")).await;
    let reply = sign_in(&browser, &form, PASSWORD).await;
    reply.assert_redirects_to("/");
}

#[tokio::test]
async fn sec_63_a_long_target_is_for_the_browser_that_was_going_there() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, other) = (gate.browser(), gate.browser());
    let (first, second) = (target(3000), target(4000));
    let in_one_tab = led_to_login(&browser, &first).await;
    let in_another = led_to_login(&browser, &second).await;
    let cookies = browser.cookies();
    assert_eq!(cookies.matches("-login=").count(), 1, "{cookies}");

    let form = other.get(&in_one_tab).await;
    let reply = sign_in(&other, &form, PASSWORD).await;
    reply.assert_redirects_to("/");

    let (form, same) = (
        browser.get(&in_one_tab).await,
        browser.get(&in_another).await,
    );
    let reply = sign_in(&browser, &form, PASSWORD).await;
    reply.assert_redirects_to(&first);
    // The other tab: its login cookie is gone, and it is signed in.
    browser.get(&in_another).await.assert_redirects_to(&second);
    let reply = sign_in(&browser, &same, PASSWORD).await;
    reply.assert_redirects_to(&second);

    let late = gate.browser();
    let login = led_to_login(&late, &first).await;
    gate.advance(std::time::Duration::from_hours(1));
    let form = late.get(&login).await;
    let reply = sign_in(&late, &form, PASSWORD).await;
    reply.assert_redirects_to("/");
}

#[tokio::test]
async fn whoever_is_signed_in_goes_on_from_the_login_page() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for (query, location) in [
        ("?return_to=%2Fx%3Fy%3D1", "/x?y=1"),
        ("?return_to=%2F.vestibule%2Faccount", "/.vestibule/account"),
        ("?return_to=%2F%2Fevil.test", "/"),
        ("?return_to=%2F.vestibule%2Flogin", "/"),
        ("?kept=unknown", "/"),
        ("", "/"),
    ] {
        let reply = ada.get(&format!("{LOGIN}{query}")).await;
        reply.assert_redirects_to(location);
        reply.assert_header("cache-control", "no-store");
        assert_eq!(reply.value("set-cookie"), None, "{reply}");
    }
    ada.logout().await;
    ada.get(LOGIN).await.assert_status(200);
}

#[tokio::test]
async fn the_login_page_names_whoever_may_not_go_on_or_wants_to_be_another() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .account(User::new("eve", PASSWORD).groups(&["admins"]))
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for (query, part) in [
        ("?return_to=%2Fadmin%2Fusers", "may not open that page"),
        ("?return_to=%2F%61dmin", "may not open that page"),
        ("?switch=1", "ends when you sign in here"),
        ("?switch=1&return_to=%2Fx", "ends when you sign in here"),
    ] {
        let page = ada.get(&format!("{LOGIN}{query}")).await;
        page.assert_status(200)
            .assert_contains("signed in as <strong>ada</strong>")
            .assert_contains(part);
    }
    // The page of the refusal leads to the form, and the form to the page.
    let refused = ada.get("/admin").await;
    refused
        .assert_status(403)
        .assert_contains("href=\"/.vestibule/login?switch=1\"");
    let before = ada.session_cookie();
    let login = format!("{LOGIN}?return_to=%2Fadmin");
    ada.login_at(&login, "eve", PASSWORD)
        .await
        .assert_redirects_to("/admin");
    ada.get("/admin").await.assert_status(200);
    ada.get(&login).await.assert_redirects_to("/admin");
    let old = gate.browser().cookie(&before);
    old.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn the_form_of_a_login_page_elsewhere_names_its_address() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let own = gate.browser().get(&format!("{LOGIN}?return_to=%2Fx")).await;
    assert_eq!(own.actions(), [""; 0], "the fragment survives: {own}");
    let headers = [
        ("accept", "text/html"),
        ("content-type", FORM),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ];
    let browser = gate.browser();
    let request = browser.request(Method::POST, "/save", &headers, Bytes::from("a=1"));
    let page = request.await;
    page.assert_status(401);
    assert_eq!(page.actions(), [LOGIN]);
}
