use super::*;

/// An app below a path.
fn below_a_path(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .app("host = \"gate.test\"\npath = \"/wiki/\"\ntitle = \"Team Wiki\"")
        .user("ada", PASSWORD)
        .rule("/wiki/acs", "signed-in")
        .config("cross_site_posts = [\"https://idp.test:8443\"]")
}

/// Presses "Do not send it".
async fn discard(browser: &Browser, page: &Reply) -> Reply {
    let fields = ["csrf", "form", "action", "return_to"].map(|name| (name, page.hidden(name)));
    let fields = fields.each_ref().map(|(name, value)| (*name, &**value));
    browser.post_form(FORMS, &fields).await
}

#[tokio::test]
async fn whoever_does_not_send_a_form_discards_it_and_goes_to_the_app() {
    let app = Upstream::echo().await;
    let gate = below_a_path(&app).start().await;
    for browser in [
        gate.browser(),
        gate.browser().login("ada", PASSWORD).await,
        gate.browser().over_http2(),
    ] {
        let page = arrive(&browser, "/wiki/acs").await;
        assert_eq!(page.actions()[1], FORMS);
        let cookies = browser.cookies();
        for _ in 0..2 {
            discard(&browser, &page).await.assert_redirects_to("/wiki/");
        }
        assert_eq!(browser.cookies(), cookies);
        let late = click(&browser, &page).await;
        assert!(matches!(late.status, 303 | 401), "{late}");
    }
    // After the click, too, and after the login; and nothing but this form.
    let browser = gate.browser();
    let pages = [
        arrive(&browser, "/wiki/acs").await,
        arrive(&browser, "/wiki/acs").await,
        arrive(&browser, "/wiki/acs").await,
    ];
    for page in &pages {
        click(&browser, page).await.assert_status(401);
    }
    discard(&browser, &pages[0])
        .await
        .assert_redirects_to("/wiki/");
    browser
        .try_login("ada", PASSWORD)
        .await
        .assert_redirects_to(FORMS);
    discard(&browser, &pages[1])
        .await
        .assert_redirects_to("/wiki/");
    let left = browser.get(FORMS).await;
    assert_eq!(left.actions().len(), 2, "{left}");
    click(&browser, &left).await.assert_status(200);
    assert_arrived(&app, "/wiki/acs", "ada");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn sec_54_nobody_else_discards_a_form() {
    let app = Upstream::echo().await;
    let gate = below_a_path(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let (page, other) = (
        arrive(&ada, "/wiki/acs").await,
        arrive(&ada, "/wiki/acs").await,
    );
    let form = |csrf: &str| {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("csrf", csrf)
            .append_pair("form", &page.hidden("form"))
            .append_pair("action", "discard")
            .append_pair("return_to", "https://evil.test/")
            .finish()
    };
    let own = ada.origin();
    for said in [
        &[("origin", IDP)][..],
        &[("origin", "null"), ("sec-fetch-site", "none")],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[
            ("origin", &own),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
        ],
    ] {
        let reply = send(&ada, FORMS, &but(said), &form(&page.hidden("csrf"))).await;
        reply.assert_status(403);
    }
    let silent = [("content-type", URLENCODED), ("accept", "text/html")];
    let reply = send(&ada, FORMS, &silent, &form(&page.hidden("csrf"))).await;
    reply.assert_status(403);
    let from_here = but(&[("origin", &own), ("sec-fetch-site", "same-origin")]);
    for csrf in ["", "x", &other.hidden("csrf")] {
        let reply = send(&ada, FORMS, &from_here, &form(csrf)).await;
        reply.assert_redirects_to(FORMS);
        let reply = send(&gate.browser(), FORMS, &from_here, &form(csrf)).await;
        reply.assert_status(401);
    }
    click(&ada, &page).await.assert_status(200);
    assert_arrived(&app, "/wiki/acs", "ada");
    // It leads to no other site.
    let reply = send(&ada, FORMS, &from_here, &form(&page.hidden("csrf"))).await;
    reply.assert_redirects_to("/");
}
