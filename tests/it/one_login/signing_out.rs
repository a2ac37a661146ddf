use super::*;

/// The sign-out page that an app's host leads to, and its button.
async fn sign_out(profile: &Profile, host: &str) -> (Reply, Place) {
    let place = profile.load(host, "/.vestibule/logout").await;
    assert_eq!(place.host, LOGIN, "{}", place.page);
    place.page.assert_status(200);
    let csrf = place.page.hidden("csrf");
    let mut fields = vec![("csrf", csrf)];
    if place.page.text().contains("name=\"session\"") {
        fields.push(("session", place.page.hidden("session")));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let reply = profile
        .at(LOGIN)
        .post_form("/.vestibule/logout", &fields)
        .await;
    let done = profile.follow(LOGIN, "/.vestibule/logout", reply).await;
    (place.page, done)
}

#[tokio::test]
async fn sec_46_a_sign_out_ends_the_session_on_every_host_and_says_so() {
    let (wiki, metrics, gate) = started().await;
    let (profile, other) = (Profile::new(&gate), Profile::new(&gate));
    for profile in [&profile, &other] {
        profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
        profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    }
    let away = profile.at(WIKI).get("/.vestibule/logout").await;
    away.assert_header("clear-site-data", "\"cache\"");
    let (page, done) = sign_out(&profile, WIKI).await;
    for host in [WIKI, METRICS] {
        page.assert_contains(&format!("<li>{host}</li>"));
        done.page.assert_contains(&format!("<li>{host}</li>"));
    }
    page.assert_contains("<strong>ada</strong>");
    done.page.assert_contains("You are signed out");
    let before = wiki.requests() + metrics.requests();
    for host in [WIKI, METRICS] {
        profile.at(host).fetch("/").await.assert_status(401);
        profile.load(host, "/").await.assert_is_login();
    }
    assert_eq!(wiki.requests() + metrics.requests(), before);
    for host in [WIKI, METRICS] {
        other.at(host).fetch("/").await.assert_status(200);
    }
    // What ended is not for others to make up.
    let (path, _) = done.target.split_once('=').unwrap();
    let forged = profile.at(LOGIN).get(&format!("{path}=evil.test")).await;
    forged.assert_status(200);
    assert!(
        !forged.text().contains("evil") && !forged.text().contains("<li>"),
        "{forged}"
    );
}

#[tokio::test]
async fn sec_75_a_sign_out_on_the_login_host_ends_streams_of_the_apps() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            exchange
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                .await;
            std::future::pending::<()>().await;
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .login("host = \"login.test\"")
        .user("ada", PASSWORD)
        .start()
        .await;
    let profile = Profile::new(&gate);
    let login = profile.load("gate.test", "/").await;
    let reply = profile.fill_in(&login, "ada").await;
    let (_, back) = leads_to(LOGIN, &reply);
    profile.at("gate.test").get(&back).await.assert_status(303);
    let mut raw = gate.raw().await;
    let cookie = profile.at("gate.test").session_cookie();
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
    ))
    .await;
    raw.head().await.assert_status(200);
    assert_eq!(raw.chunk().await.as_deref(), Some(&b"a"[..]));
    profile.at(LOGIN).logout().await.assert_status(303);
    within("the end of the stream", raw.rest()).await;
}

#[tokio::test]
async fn a_session_that_only_an_apps_host_has_ends_there_as_well() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    // The browser has lost the cookie of the login.
    let lost = Profile::new(&gate);
    lost.at(WIKI).cookie(&profile.at(WIKI).session_cookie());
    lost.load(WIKI, "/").await.assert_is(WIKI, "/");
    let (page, done) = sign_out(&lost, WIKI).await;
    page.assert_contains("<strong>ada</strong>");
    done.page.assert_contains("You are signed out");
    for profile in [&lost, &profile] {
        profile.at(WIKI).fetch("/").await.assert_status(401);
    }
    // The name of a session is good for ten minutes, and never for another purpose.
    let next = Profile::new(&gate);
    next.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    let (_, target) = leads_to(WIKI, &next.at(WIKI).get("/.vestibule/logout").await);
    let (_, name) = target.split_once("?session=").unwrap();
    let stranger = Profile::new(&gate);
    for query in [
        format!("ended={name}"),
        format!("session={name}x"),
        "session=x".to_owned(),
    ] {
        let page = stranger
            .at(LOGIN)
            .get(&format!("/.vestibule/logout?{query}"))
            .await;
        page.assert_contains("You are signed out");
        assert!(!page.text().contains("ada"), "{page}");
    }
    gate.advance(std::time::Duration::from_mins(10));
    let page = stranger.at(LOGIN).get(&target).await;
    assert!(!page.text().contains("ada"), "{page}");
    next.at(WIKI).fetch("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_66_a_sign_out_takes_the_button_of_the_page() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    // An app that posts there gets to the page with the button; nothing has ended.
    let posted = profile.at(WIKI).post_form("/.vestibule/logout", &[]).await;
    let (host, target) = leads_to(WIKI, &posted);
    assert_eq!(host, LOGIN);
    profile.at(WIKI).fetch("/").await.assert_status(200);
    let page = profile.at(LOGIN).get(&target).await;
    page.assert_contains("<strong>ada</strong>");
    // Nor by a form of another site, or without the token.
    let elsewhere = profile.at(LOGIN).header("sec-fetch-site", "cross-site");
    let elsewhere = elsewhere.header("origin", "https://wiki.test");
    let forged = elsewhere
        .post_form("/.vestibule/logout", &[("csrf", "x")])
        .await;
    forged.assert_status(403);
    let without = profile
        .at(LOGIN)
        .post_form("/.vestibule/logout", &[("csrf", "x")])
        .await;
    without.assert_status(200);
    profile.at(WIKI).fetch("/").await.assert_status(200);
}

#[tokio::test]
async fn a_sign_out_leads_to_the_address_of_the_configuration() {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let gate = two(&wiki, &metrics).login("after_logout = \"https://wiki.test/public\"");
    let gate = gate.start().await;
    let profile = Profile::new(&gate);
    profile
        .sign_in("ada", METRICS, "/")
        .await
        .assert_is(METRICS, "/");
    let (_, done) = sign_out(&profile, METRICS).await;
    done.assert_is(WIKI, "/public");
}
