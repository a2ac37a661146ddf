use hyper::Method;

use super::*;

async fn status(browser: &Browser, method: Method, target: &str) -> u16 {
    let reply = browser.request(method, target, &[], bytes::Bytes::new());
    reply.await.status
}

#[tokio::test]
async fn each_host_has_the_pages_that_are_for_it() {
    let (wiki, metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let before = wiki.requests() + metrics.requests();
    for (page, at_login, at_app) in [
        ("account", 200, 404),
        ("login", 303, 404),
        ("logout", 200, 303),
        ("session", 200, 200),
        ("form", 404, 200),
        ("sso", 404, 303),
        ("x", 404, 404),
        ("", 404, 404),
    ] {
        let target = format!("/.vestibule/{page}");
        for host in [WIKI, METRICS] {
            let reply = profile.at(host).get(&target).await;
            assert_eq!(reply.status, at_app, "{host}{target}");
        }
        let reply = profile.at(LOGIN).get(&target).await;
        assert_eq!(reply.status, at_login, "{target}");
    }
    for target in ["/.vestibule/login", "/.vestibule/account"] {
        let fields = [
            ("username", "ada"),
            ("password", PASSWORD),
            ("action", "end-others"),
        ];
        let reply = gate.browser_for(WIKI).post_form(target, &fields).await;
        reply.assert_status(404);
        assert!(!sets_session(&reply));
    }
    // The login's host serves nothing else, whoever asks and however.
    let start = profile.at(LOGIN).get("/").await;
    start.assert_redirects_to("/.vestibule/account");
    for (method, target, expected) in [
        (Method::GET, "/x", 404),
        (Method::GET, "/.vestibulex", 404),
        (Method::GET, "//x", 404),
        (Method::POST, "/", 404),
        (Method::POST, "/x", 404),
        (Method::OPTIONS, "/x", 404),
        (Method::HEAD, "/", 303),
        (Method::GET, "/a%2fb", 400),
        (Method::POST, "/.vestibule/session", 405),
    ] {
        assert_eq!(
            status(&profile.at(LOGIN), method, target).await,
            expected,
            "{target}"
        );
    }
    let assets = profile.at(LOGIN).get("/.vestibule/account").await.text();
    let style = assets
        .split("href=\"")
        .find(|part| part.starts_with("/.vestibule/assets/style"));
    let style = style.unwrap().split('"').next().unwrap();
    for host in [LOGIN, WIKI, METRICS] {
        assert_eq!(
            status(&gate.browser_for(host), Method::GET, style).await,
            200
        );
    }
    assert_eq!(wiki.requests() + metrics.requests(), before);
}

#[tokio::test]
async fn sec_69_what_is_no_page_load_is_told_so_and_led_nowhere() {
    let (wiki, _metrics, gate) = started().await;
    let stranger = gate.browser_for(WIKI);
    for reply in [
        stranger.fetch("/api").await,
        stranger.clone().over_http2().fetch("/api").await,
        stranger
            .request(Method::POST, "/api", &[], bytes::Bytes::new())
            .await,
        stranger
            .request(
                Method::GET,
                "/api",
                &[("accept", "application/json")],
                bytes::Bytes::new(),
            )
            .await,
    ] {
        reply.assert_status(401);
        assert_eq!(reply.value("location"), None);
        let json = reply.json();
        assert_eq!(json["error"], "login_required", "{json}");
        let login = json["login_url"].as_str().unwrap();
        assert!(
            login == SSO || login == "/.vestibule/sso?background=1",
            "{login}"
        );
    }
    stranger
        .fetch("/.vestibule/session")
        .await
        .assert_status(401);
    stranger.fetch(SSO).await.assert_status(403);
    let headers = [("origin", "https://wiki.test")];
    let socket = open_websocket_of(WIKI, gate.tcp().await, "/ws", &headers).await;
    assert_eq!(socket.err(), Some(401));
    // Where a script leads people.
    let profile = Profile::new(&gate);
    let place = profile.load(WIKI, "/.vestibule/sso?background=1").await;
    place.assert_is_login();
    place.page.assert_contains("id=\"open\"");
    // In a frame there is a link to a tab.
    let frame = stranger
        .clone()
        .header("sec-fetch-dest", "iframe")
        .header("sec-fetch-site", "same-origin");
    let framed = frame.get("/framed").await;
    framed.assert_status(401);
    framed.assert_contains("href=\"/.vestibule/sso?return_to=%2Fframed\"");
    assert_eq!(wiki.requests(), 0);
}

#[tokio::test]
async fn wildcards_take_part_only_where_their_app_says_so() {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let mut gate = two(&wiki, &metrics).start().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    // On its own, with all of its pages.
    let own = profile.at("a.metrics.org");
    own.get("/x")
        .await
        .assert_redirects_to("/.vestibule/login?return_to=%2Fx");
    own.get(SSO).await.assert_status(404);
    let own = own.login("ada", PASSWORD).await;
    own.get("/x").await.assert_status(200);
    own.get("/.vestibule/account").await.assert_status(200);
    // A state for such a host is not honoured either.
    gate.reload(|text| {
        text.replace(
            "\"*.metrics.org\"]",
            "\"*.metrics.org\"]\nsso_wildcard = true",
        )
    })
    .unwrap();
    let (host, login) = leads_to(
        "b.metrics.org",
        &profile.at("b.metrics.org").get("/x").await,
    );
    assert_eq!(host, LOGIN);
    gate.reload(|text| text.replace("\nsso_wildcard = true", ""))
        .unwrap();
    profile.at(LOGIN).get(&login).await.assert_redirects_to("/");
    // Together.
    gate.reload(|text| {
        text.replace(
            "\"*.metrics.org\"]",
            "\"*.metrics.org\"]\nsso_wildcard = true",
        )
    })
    .unwrap();
    for host in ["b.metrics.org", "c.b.metrics.org"] {
        profile.load(host, "/x").await.assert_is(host, "/x");
        profile
            .at(host)
            .get("/.vestibule/account")
            .await
            .assert_status(404);
    }
    own.get("/x").await.assert_status(200);
    let thief = gate.browser_for("c.metrics.org");
    let thief = thief.cookie(&profile.at("b.metrics.org").session_cookie());
    thief.fetch("/x").await.assert_status(401);
}

#[tokio::test]
async fn the_host_of_the_login_comes_before_a_wildcard_around_it() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"*.example.test\"\nsso_wildcard = true")
        .public()
        .login("host = \"login.example.test\"")
        .user("ada", PASSWORD)
        .start()
        .await;
    let login = gate.browser_for("login.example.test");
    login
        .get("/")
        .await
        .assert_redirects_to("/.vestibule/account");
    login.get("/x").await.assert_status(404);
    assert_eq!(app.requests(), 0);
    gate.browser_for("a.example.test")
        .get("/x")
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_wildcard_around_the_login_has_no_say_in_where_the_login_leads() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"*.example.test\"\nsso_wildcard = true")
        .rule("/", "{ groups = [\"admins\"] }")
        .login("host = \"login.example.test\"")
        .user("bob", PASSWORD)
        .start()
        .await;
    let login = gate.browser_for("login.example.test");
    let bob = login.login("bob", PASSWORD).await;
    // The start page of this host is no page of the app that is closed to them.
    bob.get(SIGN_IN).await.assert_redirects_to("/");
    bob.get("/")
        .await
        .assert_redirects_to("/.vestibule/account");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn without_it_each_host_has_a_login_of_its_own() {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let mut gate = two(&wiki, &metrics).start().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    gate.reload(|text| text.replace("host = \"login.test\"", ""))
        .unwrap();
    // Whoever is signed in stays so.
    profile.at(WIKI).get("/x").await.assert_status(200);
    profile.at(LOGIN).get("/").await.assert_status(421);
    profile.at(WIKI).get(SSO).await.assert_status(404);
    profile
        .at(WIKI)
        .get("/.vestibule/account")
        .await
        .assert_status(200);
    let metrics = profile.at(METRICS);
    metrics
        .get("/x")
        .await
        .assert_redirects_to("/.vestibule/login?return_to=%2Fx");
    let metrics = metrics.login("ada", PASSWORD).await;
    metrics.get("/x").await.assert_status(200);
    let left = profile.at(WIKI).logout().await;
    left.assert_redirects_to("/.vestibule/logout");
    profile.at(WIKI).get("/x").await.assert_status(303);
    metrics.get("/x").await.assert_status(200);
    // And back: the sessions of single hosts go on there.
    gate.reload(|text| text.replace("[login]\n", "[login]\nhost = \"login.test\"\n"))
        .unwrap();
    metrics.get("/x").await.assert_status(200);
}

#[tokio::test]
async fn the_login_is_for_networks_that_may_open_some_app() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"wiki.test\"\nnetworks = [\"192.0.2.0/24\"]")
        .login("host = \"login.test\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .user("ada", PASSWORD)
        .start()
        .await;
    for (client, expected) in [("192.0.2.7", 200), ("198.51.100.7", 403)] {
        let login = gate.browser_for(LOGIN).header("x-forwarded-for", client);
        login.get(SIGN_IN).await.assert_status(expected);
        let here = gate
            .browser_for("wiki.test")
            .header("x-forwarded-for", client);
        let expected = if expected == 200 { 303 } else { 403 };
        here.get(SSO).await.assert_status(expected);
        here.get("/").await.assert_status(expected);
    }
}
