use super::*;

#[tokio::test]
async fn sec_69_what_is_not_exactly_such_a_form_is_refused_as_ever() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let acs = "/saml/acs";
    for (target, headers, status) in [
        (acs, but(&[("origin", "https://evil.test")]), 401),
        (acs, but(&[("origin", "https://idp.test")]), 401),
        (acs, but(&[("origin", "http://idp.test:8443")]), 401),
        (acs, but(&[("origin", "https://idp.test:8443/")]), 401),
        (acs, but(&[("origin", "https://IDP.test:8443")]), 401),
        (acs, but(&[("origin", "null")]), 401),
        (acs, but(&[("origin", "")]), 401),
        (
            acs,
            but(&[("origin", IDP), ("origin", "https://evil.test")]),
            401,
        ),
        (acs, but(&[("origin", IDP), ("origin", IDP)]), 401),
        (acs, but(&[("sec-fetch-site", "same-origin")]), 401),
        (acs, but(&[("sec-fetch-site", "none")]), 401),
        (acs, but(&[("sec-fetch-mode", "cors")]), 401),
        (acs, but(&[("sec-fetch-mode", "no-cors")]), 401),
        (acs, but(&[("sec-fetch-dest", "iframe")]), 401),
        (acs, but(&[("sec-fetch-dest", "embed")]), 401),
        (acs, but(&[("content-type", "text/plain")]), 401),
        (acs, but(&[("content-type", "application/json")]), 401),
        (acs, but(&[("content-type", "")]), 401),
        (
            acs,
            but(&[("content-type", URLENCODED), ("content-type", URLENCODED)]),
            401,
        ),
        (acs, but(&[("content-encoding", "gzip")]), 401),
        ("/saml/acs/", SENT.to_vec(), 401),
        ("/saml/acs/x", SENT.to_vec(), 401),
        ("/saml/acs;x", SENT.to_vec(), 401),
        ("/saml/ACS", SENT.to_vec(), 401),
        ("/saml/acs%2f", SENT.to_vec(), 400),
        ("/saml/acs/%2e", SENT.to_vec(), 401),
        ("/saml", SENT.to_vec(), 401),
        ("/", SENT.to_vec(), 401),
        ("/.vestibule/login", SENT.to_vec(), 400),
    ] {
        let reply = send(&gate.browser(), target, &headers, ANSWER).await;
        let is_dot = target.ends_with("%2e"); // the folder `/saml/acs/`, in normal form
        assert!(
            reply.status == status || is_dot,
            "{target} {headers:?}: {reply}"
        );
        assert_does_not_ask(&reply);
    }
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::GET] {
        let browser = gate.browser();
        let request = browser.request(method.clone(), acs, &SENT, ANSWER.into());
        assert_does_not_ask(&request.await);
    }
    assert_eq!(app.requests(), 0);
    // Without the key, the app and its users see no difference.
    let ada = gate.browser().login("ada", PASSWORD).await;
    send(&ada, "/saml/x", &SENT, ANSWER)
        .await
        .assert_status(200);
    assert_eq!(app.last().value("origin"), Some(IDP));
}

#[tokio::test]
async fn sec_54_nobody_else_presses_the_button() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = arrive(&ada, "/saml/acs").await;
    let (action, body) = (button(&page), format!("csrf={}\r\n", page.hidden("csrf")));
    // Another browser has not the cookie of the page, with a session or without.
    let other = gate.browser().login("ada", PASSWORD).await;
    press(&other, &action, &body)
        .await
        .assert_redirects_to(FORMS);
    press(&gate.browser(), &action, &body)
        .await
        .assert_status(401);
    arrive(&other, "/saml/acs").await;
    press(&other, &action, &body)
        .await
        .assert_redirects_to(FORMS);
    // Another site presses nothing, and neither does a script of the app, which has no token.
    let origin = ada.origin();
    for (said, status) in [
        (&[("origin", IDP)][..], 403),
        (&[("origin", "null"), ("sec-fetch-site", "cross-site")], 403),
        (&[("origin", ""), ("sec-fetch-site", "cross-site")], 403),
        (&[("origin", &origin), ("sec-fetch-site", "same-site")], 403),
        (
            &[
                ("origin", &*origin),
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "cors"),
            ],
            403,
        ),
    ] {
        let headers = but(&[said, &[("content-type", "text/plain")]].concat());
        let reply = send(&ada, &action, &headers, &body).await;
        assert_eq!(reply.status, status, "{said:?}: {reply}");
    }
    for token in ["csrf=\r\n", "csrf=x\r\n", "", "csrf=a\r\ncsrf=b\r\n"] {
        let reply = press(&ada, &action, token).await;
        assert!(matches!(reply.status, 303 | 400), "{token:?}: {reply}");
    }
    // No other target, host or form.
    let elsewhere = action.replace("/saml/acs", "/saml/x");
    press(&ada, &elsewhere, &body)
        .await
        .assert_redirects_to(FORMS);
    let more = action.replace('?', "?admin=1&");
    press(&ada, &more, &body).await.assert_redirects_to(FORMS);
    let there = gate.browser_for("other.test").login("ada", PASSWORD).await;
    let login_cookie = ada.cookies();
    let login_cookie = login_cookie
        .split("; ")
        .find(|pair| pair.contains("-login="));
    let there = there.cookie(login_cookie.unwrap());
    press(&there, &action, &body)
        .await
        .assert_redirects_to(FORMS);
    let posted = ada.post_form(&action, &[("a", "b")]).await; // a form of the app, as ever
    posted.assert_status(200);
    assert_eq!(app.requests(), 1);
    assert_eq!(app.last().target(), "/saml/acs");
    press(&ada, &action, &body).await.assert_status(200);
    assert_arrived(&app, "/saml/acs", "ada");
}

#[tokio::test]
async fn sec_87_forms_of_other_sites_are_bounded_and_take_no_room_from_users() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).login("kept_forms = \"1MiB\"").start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/edit").await.assert_status(200);
    let large = "a=".to_owned() + &"x".repeat(100 * 1024);
    let mut refused = None;
    for _ in 0..20 {
        let reply = send(&gate.browser(), "/saml/acs", &SENT, &large).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("there is a bound");
    refused
        .assert_status(401)
        .assert_contains("A form of another site was not delivered");
    assert_does_not_ask(&refused);
    // What a user was typing still finds its room.
    gate.advance(std::time::Duration::from_mins(31));
    let own = but(&[
        ("origin", "https://gate.test"),
        ("sec-fetch-site", "same-origin"),
    ]);
    let page = send(&ada, "/save", &own, &large).await;
    page.assert_contains("is kept for 15 minutes: sign in");
    let huge = "a=".to_owned() + &"x".repeat(1024 * 1024);
    let reply = send(&gate.browser(), "/saml/acs", &SENT, &huge).await;
    reply.assert_status(401);
    assert_eq!(app.requests(), 1);
}
