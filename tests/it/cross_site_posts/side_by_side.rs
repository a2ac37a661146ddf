use super::*;

/// A form of the app itself that met no session, as the app's page sends it.
async fn late(browser: &Browser, body: &str) -> Reply {
    let origin = browser.origin();
    let own = but(&[("origin", &origin), ("sec-fetch-site", "same-origin")]);
    let page = send(browser, "/save", &own, body).await;
    page.assert_contains("is kept for 15 minutes: sign in");
    page
}

/// Another form of the other site than [`ANSWER`].
async fn arrive_with(browser: &Browser, body: &str) -> Reply {
    let page = send(&browser.clone().without_cookies(), "/saml/acs", &SENT, body).await;
    assert_asks(&page);
    page
}

/// Signs in by a page that was open, in a browser that says nothing of where its forms are from.
async fn sign_in_by(browser: &Browser, page: &Reply) -> Reply {
    let csrf = page.hidden("csrf");
    let fields = [
        ("csrf", &*csrf),
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let silent = [("content-type", URLENCODED), ("accept", "text/html")];
    send(browser, "/.vestibule/login", &silent, &form).await
}

/// Presses Send for each form that waits for this session, and gives what the app got.
async fn send_all(browser: &Browser, app: &Upstream) -> Vec<String> {
    let before = app.requests();
    let page = browser.get(FORMS).await;
    let csrf = format!("csrf={}\r\n", page.hidden("csrf"));
    for action in page.actions() {
        if action.contains("vestibule-form=") {
            press(browser, &action, &csrf).await.assert_status(200);
        }
    }
    let got = app.received().split_off(before);
    got.into_iter()
        .map(|got| String::from_utf8(got.body).unwrap())
        .collect()
}

#[tokio::test]
async fn a_late_form_that_waits_and_another_sites_form_both_arrive_after_the_login() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let login = late(&browser, "late=1").await;
        let cookies = browser.cookies();
        let page = arrive(&browser, "/saml/acs").await;
        let asked = click(&browser, &page).await;
        asked.assert_status(401);
        assert_eq!(asked.value("set-cookie"), None, "{asked}");
        assert_eq!(browser.cookies(), cookies);
        // By the login page of the late form, which was open all the time.
        let reply = sign_in_by(&browser, &login).await;
        reply.assert_redirects_to(FORMS);
        assert_eq!(send_all(&browser, &app).await, ["late=1", ANSWER]);
    }
    // The other way round: the click comes first, and its cookie is the browser's.
    let browser = gate.browser();
    let page = arrive(&browser, "/saml/acs").await;
    click(&browser, &page).await.assert_status(401);
    let login = late(&browser, "late=1").await;
    let reply = sign_in_by(&browser, &login).await;
    reply.assert_redirects_to(FORMS);
    assert_eq!(send_all(&browser, &app).await, [ANSWER, "late=1"]);
}

#[tokio::test]
async fn a_login_page_that_is_open_stays_good() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let browser = gate.browser();
    let login = browser.get("/.vestibule/login").await;
    let page = arrive(&browser, "/saml/acs").await;
    let reply = sign_in_by(&browser, &login).await;
    reply.assert_redirects_to("/");
    click(&browser, &page).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
}

#[tokio::test]
async fn the_forms_of_two_tabs_both_arrive_in_either_order() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    for (first, second) in [("tab=1", "tab=2"), ("tab=2", "tab=1"), ("tab=1", "tab=1")] {
        // Signed in.
        let ada = gate.browser().login("ada", PASSWORD).await;
        let tabs = [
            arrive_with(&ada, "tab=1").await,
            arrive_with(&ada, "tab=2").await,
        ];
        let tab = |body| &tabs[usize::from(body == "tab=2")];
        if first != second {
            for body in [first, second] {
                click(&ada, tab(body)).await.assert_status(200);
                assert_eq!(app.last().body, body.as_bytes());
            }
        }
        // Both clicks before the login.
        let browser = gate.browser();
        let tabs = [
            arrive_with(&browser, first).await,
            arrive_with(&browser, second).await,
        ];
        for tab in tabs.iter().rev() {
            click(&browser, tab).await.assert_status(401);
        }
        let login = browser.try_login("ada", PASSWORD).await;
        login.assert_redirects_to(FORMS);
        let mut sent = send_all(&browser, &app).await;
        sent.sort();
        let mut expected = [first, second];
        expected.sort_unstable();
        assert_eq!(sent, expected);
        // One before it, one after it.
        let browser = gate.browser();
        let tabs = [
            arrive_with(&browser, first).await,
            arrive_with(&browser, second).await,
        ];
        click(&browser, &tabs[1]).await.assert_status(401);
        let login = browser.try_login("ada", PASSWORD).await;
        login.assert_redirects_to(FORMS);
        click(&browser, &tabs[0]).await.assert_status(200);
        assert_eq!(app.last().body, first.as_bytes());
        assert_eq!(send_all(&browser, &app).await, [second]);
    }
}

#[tokio::test]
async fn whoever_clicks_twice_sends_once_and_loses_nothing() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let browser = gate.browser();
    let page = arrive(&browser, "/saml/acs").await;
    // Of two clicks in a row, the browser drops the answer to the first, with its cookie.
    let dropped = click(&browser.clone().without_cookies(), &page).await;
    dropped.assert_status(401);
    assert!(dropped.value("set-cookie").is_some(), "{dropped}");
    let asked = click(&browser, &page).await;
    asked.assert_status(401);
    assert_eq!(asked.value("set-cookie"), dropped.value("set-cookie"));
    click(&browser, &page)
        .await
        .assert_contains("goes on after you have signed in");
    let reply = sign_in_by(&browser, &asked).await;
    reply.assert_redirects_to(FORMS);
    // By the button of the first page, whose form the session has by now.
    click(&browser, &page).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
    for _ in 0..2 {
        click(&browser, &page).await.assert_redirects_to(FORMS);
    }
    let forms = browser.get(FORMS).await;
    forms.assert_contains("Nothing is waiting");
    browser.logout().await;
    let ended = click(&browser, &page).await;
    ended
        .assert_status(401)
        .assert_contains("Your session has ended");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn of_many_clicks_at_once_one_sends() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&ada, "/saml/acs").await;
    let clicks = (0..8).map(|_| click(&ada, &page));
    let replies = futures_util::future::join_all(clicks).await;
    let sent = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((sent, app.requests()), (1, 1));
}

#[tokio::test]
async fn whoever_signs_out_between_page_and_click_signs_in_again() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&browser, "/saml/acs").await;
    browser.logout().await;
    let login = click(&browser, &page).await;
    login.assert_status(401);
    assert_eq!(app.requests(), 0);
    let reply = sign_in_by(&browser, &login).await;
    reply.assert_redirects_to(FORMS);
    assert_eq!(send_all(&browser, &app).await, [ANSWER]);
}
