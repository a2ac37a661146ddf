use super::*;

/// The claims of a request for a page.
async fn asked(gate: &Gate, host: &str, app: &Upstream, target: &str) -> Value {
    let ada = gate.browser_for(host).login("ada", PASSWORD).await;
    ada.get(target).await.assert_status(200);
    let keys = gate.browser_for(host).get(KEYS).await;
    claims(&keys.assert_status(200).json(), &app.last())
}

#[tokio::test]
async fn with_a_login_of_its_own_each_host_issues_tokens_for_itself() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("host = [\"one.test\", \"two.test\", \"*.three.test\"]")
        .start()
        .await;
    for host in ["one.test", "two.test", "a.three.test"] {
        let claims = asked(&gate, host, &app, "/page").await;
        let origin = format!("https://{host}");
        for name in ["iss", "aud"] {
            assert_eq!(claims[name], origin);
        }
        assert_eq!(claims["htu"], format!("{origin}/page"));
    }
}

#[tokio::test]
async fn a_port_is_that_of_browsers() {
    let app = Upstream::echo().await;
    for (keys, host, origin) in [
        ("", "gate.test", "https://gate.test"),
        ("", "gate.test:8443", "https://gate.test:8443"),
        ("", "GATE.test.:443", "https://gate.test"),
        ("public_port = 444", "gate.test", "https://gate.test:444"),
        ("public_port = 443", "gate.test:8443", "https://gate.test"),
    ] {
        let gate = before(&app).server(keys).start().await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let ada = ada.header("host", host);
        ada.get("/").await.assert_status(200);
        let claims = claims(&super::keys(&gate).await, &app.last());
        assert_eq!([&claims["iss"], &claims["aud"]], [origin, origin], "{host}");
        assert_eq!(claims["htu"], format!("{origin}/"));
    }
}

#[tokio::test]
async fn the_path_is_the_one_that_the_app_gets_and_the_origin_that_of_the_browser() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before_url(&app.url())
        .app("host = \"gate.test\"\npath = \"/wiki/\"\nstrip_path = true\npreserve_host = false")
        .app(ON)
        .user("ada", PASSWORD)
        .start()
        .await;
    for (asked_for, got) in [
        ("/wiki/", "/"),
        ("/wiki/a%20b/%63?x=y", "/a%20b/c?x=y"),
        ("/wiki//J%c3%bcrgen", "/J%C3%BCrgen"),
    ] {
        let claims = asked(&gate, "gate.test", &app, asked_for).await;
        let request = app.last();
        assert_eq!(request.target(), got);
        assert_ne!(request.value("host"), Some("gate.test"));
        let path = got.split('?').next().unwrap();
        assert_eq!(claims["htu"], format!("https://gate.test{path}"));
        assert_eq!(claims["aud"], "https://gate.test");
    }
}

#[tokio::test]
async fn with_one_login_for_all_it_is_the_issuer_and_has_the_keys() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("host = [\"wiki.test\", \"*.apps.test\"]")
        .login("host = \"login.test\"")
        .config(&format!(
            "[[app]]\nhost = \"*.own.test\"\nupstream = \"{}\"\n{ON}\n",
            app.url()
        ))
        .start()
        .await;
    let login = gate.browser_for("login.test");
    let keys = login.get(KEYS).await.assert_status(200).json();
    gate.browser_for("wiki.test")
        .get(KEYS)
        .await
        .assert_status(404);
    // A wildcard that takes no part has a login, and so an issuer, of its own.
    for host in ["a.apps.test", "a.own.test"] {
        let own = asked(&gate, host, &app, "/").await;
        assert_eq!([&own["iss"], &own["aud"]], [&format!("https://{host}"); 2]);
    }

    let login = login.login("ada", PASSWORD).await;
    let wiki = gate.browser_for("wiki.test");
    let asked = wiki.get("/page").await;
    let at_login = asked
        .value("location")
        .unwrap()
        .strip_prefix("https://login.test");
    let back = login.get(at_login.unwrap()).await;
    let code = back
        .value("location")
        .unwrap()
        .strip_prefix("https://wiki.test");
    wiki.get(code.unwrap()).await.assert_redirects_to("/page");
    wiki.get("/page").await.assert_status(200);
    let claims = claims(&keys, &app.last());
    assert_eq!(claims["iss"], "https://login.test");
    assert_eq!(claims["aud"], "https://wiki.test");
    assert_eq!(claims["htu"], "https://wiki.test/page");
}
