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

/// What a browser says of a page that has the token of somebody else's page, and the error.
fn forgeries(own: &str) -> [(Vec<(&str, &str)>, &'static str); 10] {
    let elsewhere = "This form was sent from another site";
    let hidden = "Your browser does not say where this form came from";
    let site = |site| ("sec-fetch-site", site);
    let nothing = [
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-user",
    ];
    let old = |origin| {
        let nothing = nothing.iter().map(|name| (*name, ""));
        nothing.chain([("origin", origin)]).collect()
    };
    [
        (vec![("origin", IDP), site("cross-site")], elsewhere),
        (vec![("origin", "null"), site("cross-site")], elsewhere),
        (vec![("origin", ""), site("cross-site")], elsewhere),
        (vec![("origin", own), site("same-site")], elsewhere),
        (
            vec![("origin", IDP), site("same-origin")],
            "This form was sent to a different host name",
        ),
        // Safari says this of a page that hides itself.
        (vec![("origin", "null"), site("none")], hidden),
        (vec![("origin", own), site("none")], hidden),
        (old("https://evil.test"), elsewhere),
        (old("null"), hidden),
        (old(""), hidden),
    ]
}

#[tokio::test]
async fn sec_54_no_page_elsewhere_has_another_browser_press_the_button() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    // Whoever writes the origin of the other site by hand gets the token, without a browser.
    let page = send(&gate.browser(), "/saml/acs", &SENT, ANSWER).await;
    assert_asks(&page);
    let (action, body) = (button(&page), format!("csrf={}\r\n", page.hidden("csrf")));
    let victims = [
        gate.browser(),
        gate.browser().login("ada", PASSWORD).await,
        gate.browser().login("ada", PASSWORD).await.over_http2(),
    ];
    for victim in victims {
        let before = victim.cookies();
        for (said, error) in forgeries(&victim.origin()) {
            let headers = but(&[&*said, &[("content-type", "text/plain")]].concat());
            let reply = send(&victim, &action, &headers, &body).await;
            reply.assert_status(403).assert_contains(error);
            assert_eq!(reply.value("set-cookie"), None, "{said:?}");
        }
        // Nor does a script or a frame of this host.
        for said in [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "iframe")] {
            let own = victim.origin();
            let headers = but(&[
                ("content-type", "text/plain"),
                ("origin", &own),
                ("sec-fetch-site", "same-origin"),
                said,
            ]);
            let reply = send(&victim, &action, &headers, &body).await;
            reply.assert_status(403);
        }
        assert_eq!(victim.cookies(), before);
        victim
            .try_login("ada", PASSWORD)
            .await
            .assert_redirects_to("/");
    }
    assert_eq!(app.requests(), 0);
    // A browser without Fetch Metadata names its origin; one that hides it says more.
    let ada = gate.browser().login("ada", PASSWORD).await;
    for said in [
        [("origin", "null"), ("sec-fetch-site", "same-origin")],
        [("origin", &*ada.origin()), ("sec-fetch-site", "")],
    ] {
        let page = arrive(&ada, "/saml/acs").await;
        let mut headers = but(&[&said[..], &[("content-type", "text/plain")]].concat());
        if said[1].1.is_empty() {
            headers.retain(|(name, _)| !name.starts_with("sec-"));
        }
        let body = format!("csrf={}\r\n", page.hidden("csrf"));
        let reply = send(&ada, &button(&page), &headers, &body).await;
        reply.assert_status(200);
        assert_eq!(app.last().value("origin"), Some(IDP));
    }
}

#[tokio::test]
async fn sec_54_a_button_has_the_token_of_its_own_form_at_its_own_host() {
    let app = Upstream::echo().await;
    let gate = wiki(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let (page, other) = (
        arrive(&ada, "/saml/acs").await,
        arrive(&ada, "/saml/acs").await,
    );
    let (action, token) = (button(&page), page.hidden("csrf"));
    let body = format!("csrf={token}\r\n");
    let others = format!("csrf={}\r\n", other.hidden("csrf"));
    // Not of another form, of the session, made up, or twice.
    let account = ada.get("/.vestibule/account").await.hidden("csrf");
    let account = format!("csrf={account}\r\n");
    for wrong in [&others, &account, "csrf=\r\n", "csrf=x\r\n", ""] {
        let reply = press(&ada, &action, wrong).await;
        reply.assert_redirects_to(FORMS);
        let reply = press(&gate.browser(), &action, wrong).await;
        reply.assert_status(401);
        assert_eq!(reply.value("set-cookie"), None, "{reply}");
    }
    let twice = press(&ada, &action, &format!("{body}{body}")).await;
    twice.assert_status(400);
    // The token is good for nothing else: neither the login nor our other pages take it.
    let fields = [
        ("csrf", &*token),
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let silent = [("content-type", URLENCODED), ("accept", "text/html")];
    let reply = send(&gate.browser(), "/.vestibule/login", &silent, &form).await;
    reply.assert_status(403);
    // No other target or host.
    for elsewhere in [
        action.replace("/saml/acs", "/saml/x"),
        action.replace('?', "?admin=1&"),
    ] {
        let reply = press(&ada, &elsewhere, &body).await;
        reply.assert_redirects_to(FORMS);
        let reply = press(&gate.browser(), &elsewhere, &body).await;
        reply.assert_status(401);
    }
    let there = gate.browser_for("other.test");
    press(&there, &action, &body).await.assert_status(401);
    let there = there.login("ada", PASSWORD).await;
    let reply = press(&there, &action, &body).await;
    reply.assert_redirects_to(FORMS);
    let posted = ada.post_form(&action, &[("a", "b")]).await; // a form of the app, as ever
    posted.assert_status(200);
    assert_eq!(app.requests(), 1);
    assert_eq!(app.last().target(), "/saml/acs");
    for (body, action) in [(&body, &action), (&others, &button(&other))] {
        press(&ada, action, body).await.assert_status(200);
        assert_arrived(&app, "/saml/acs", "ada");
    }
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
        .assert_status(503)
        .assert_contains("A form of another site was not delivered")
        .assert_contains("there is no room for it right now");
    assert_does_not_ask(&refused);
    // What comes with a session has the room of users.
    let reply = send(&ada, "/saml/acs", &SENT, &large).await;
    assert_asks(&reply);
    // What a user was typing still finds its room.
    gate.advance(std::time::Duration::from_mins(31));
    let own = but(&[
        ("origin", "https://gate.test"),
        ("sec-fetch-site", "same-origin"),
    ]);
    let page = send(&ada, "/save", &own, &large).await;
    page.assert_contains("is kept for 15 minutes: sign in");
    let huge = "a=".to_owned() + &"x".repeat(1024 * 1024);
    let long = format!("/saml/acs?{}", "x".repeat(2048));
    for (target, body) in [("/saml/acs", &huge), (&long, &large)] {
        let reply = send(&gate.browser(), target, &SENT, body).await;
        reply
            .assert_status(413)
            .assert_contains("The form of another site is too large");
        assert!(!reply.text().contains("session"), "{reply}");
        assert_does_not_ask(&reply);
    }
    assert_eq!(app.requests(), 1);
}
