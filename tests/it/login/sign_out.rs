//! Where a sign-out leads: SEC-62, SEC-64 and SEC-66.

use super::*;

const LOGOUT: &str = "/.vestibule/logout";

/// Two hosts; the second has a page for everyone.
async fn gate(app: &Upstream, after_logout: &str) -> Gate {
    Vestibule::before(app)
        .app("host = \"gate.test\"")
        .user("ada", PASSWORD)
        .rule("/goodbye", "everyone")
        .login(after_logout)
        .config(&format!(
            "[[app]]\nhost = \"files.test\"\nupstream = \"{}\"\n",
            app.url()
        ))
        .start()
        .await
}

#[tokio::test]
async fn people_are_led_where_the_configuration_says_after_a_sign_out() {
    let app = Upstream::echo().await;
    for (key, expected) in [
        ("", LOGOUT),
        ("after_logout = \"\"", LOGOUT),
        ("after_logout = \"/goodbye?a=1\"", "/goodbye?a=1"),
        (
            "after_logout = \"https://files.test/a#b\"",
            "https://files.test/a#b",
        ),
    ] {
        let gate = gate(&app, key).await;
        for ada in [gate.browser(), gate.browser().over_http2()] {
            let ada = ada.login("ada", PASSWORD).await;
            let page = ada.get(LOGOUT).await;
            let action = if expected == LOGOUT { "'self'" } else { "*" };
            let policy = page.value("content-security-policy").unwrap();
            let directive = format!("; form-action {action};");
            assert!(policy.contains(&directive), "{key}: {policy}");
            let form = [("csrf", page.hidden("csrf"))];
            let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
            let session = ada.session_cookie();
            let reply = ada.post_form(LOGOUT, &form).await;
            reply
                .assert_redirects_to(expected)
                .assert_header("clear-site-data", "\"cache\"")
                .assert_header("cache-control", "no-store");
            assert!(!ada.is_signed_in(), "{key}");
            let stale = gate.browser().cookie(&session);
            stale.fetch("/").await.assert_status(401);
            // Once more, from a page that was left open.
            let again = ada.post_form(LOGOUT, &form).await;
            again.assert_redirects_to(expected);
            // Whoever only looks is told as ever.
            ada.get(LOGOUT).await.assert_contains("You are signed out");
        }
    }
}

#[tokio::test]
async fn sec_66_a_form_of_an_app_or_of_another_site_signs_nobody_out_and_leads_nowhere() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "after_logout = \"/goodbye\"").await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let asked = ada.post_form(LOGOUT, &[]).await;
    asked.assert_status(200).assert_contains("Sign out of");
    let page = ada.get(LOGOUT).await;
    let foreign = [
        ("content-type", FORM),
        ("origin", "https://evil.test"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "cross-site"),
    ];
    let body = Bytes::from(format!("csrf={}", page.hidden("csrf")));
    let reply = ada.request(Method::POST, LOGOUT, &foreign, body).await;
    reply.assert_status(403);
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn a_program_is_told_by_our_page_and_a_reload_leads_elsewhere() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app, "after_logout = \"/goodbye\"").await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let csrf = ada.get(LOGOUT).await.hidden("csrf");
    let program = [("content-type", FORM), ("user-agent", "curl/8.5.0")];
    let body = Bytes::from(format!("csrf={csrf}"));
    let reply = ada.request(Method::POST, LOGOUT, &program, body).await;
    reply.assert_redirects_to(LOGOUT);

    gate.reload(|text| text.replace("after_logout = \"/goodbye\"", "after_logout = \"/later\""))
        .unwrap();
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.logout().await.assert_redirects_to("/later");
    // Nobody is signed in there: what the rules close asks for a login.
    let login = ada.get("/later").await;
    login.assert_redirects_to("/.vestibule/login?return_to=%2Flater");
    ada.get("/goodbye").await.assert_status(200);
}
