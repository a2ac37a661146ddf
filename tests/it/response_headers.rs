//! `[app.response_headers]`: what visitors are told besides what an app says, and what they are not.

use crate::harness::*;

const KEYS: &str = "[app.response_headers]\nremove = [\"Server\", \"X-Powered-By\"]\n\
    set_missing = { \"Content-Security-Policy\" = \"frame-ancestors 'self' https://{host}\", \"X-There\" = \"ours\" }\n\
    [app.response_headers.set]\nX-Frame-Options = \"SAMEORIGIN\"\nX-Content-Type-Options = \"nosniff\"\n\
    X-Client = \"{client}\"\nX-Id = \"{request_id}\"\nX-Prefix = \"{prefix}\"";

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: old/1.0\r\nserver: again\r\nX-Powered-By: PHP/5\r\nX-There: theirs\r\n\
    X-Frame-Options: DENY\r\nX-Frame-Options: ALLOWALL\r\nX-Prefix: theirs\r\nContent-Length: 2\r\n\r\nok";

#[track_caller]
fn assert_changed(reply: &Reply, id: &str) {
    for (name, value) in [
        ("server", None),
        ("x-powered-by", None),
        ("x-there", Some("theirs")),
        ("x-frame-options", Some("SAMEORIGIN")),
        ("x-content-type-options", Some("nosniff")),
        (
            "content-security-policy",
            Some("frame-ancestors 'self' https://gate.test"),
        ),
        ("x-client", Some("127.0.0.1")),
        ("x-id", Some(id)),
        ("x-prefix", None), // there is none
    ] {
        assert_eq!(reply.value(name), value, "{name} in {reply}");
    }
}

#[tokio::test]
async fn visitors_get_what_the_configuration_says() {
    let app = Upstream::raw(ANSWER).await;
    let gate = Vestibule::before(&app)
        .app(KEYS)
        .rule("/public", "everyone")
        .user("ada", PASSWORD)
        .start()
        .await;
    let stranger = gate.browser();
    let ada = stranger.fresh().login("ada", PASSWORD).await;
    for (browser, target) in [
        (stranger.clone(), "/public"),
        (stranger.clone().over_http2(), "/public"),
        (ada.clone(), "/"),
        (ada.clone().over_http2(), "/"),
    ] {
        let reply = browser.get(target).await;
        reply.assert_status(200);
        assert_changed(&reply, app.last().value("x-request-id").unwrap());
    }
}

#[tokio::test]
async fn our_own_pages_stay_as_they_are() {
    let mut app = Upstream::raw(ANSWER).await;
    let keys = "[app.response_headers]\nremove = [\"Cache-Control\", \"X-Content-Type-Options\", \"Referrer-Policy\"]\n\
        [app.response_headers.set]\nContent-Security-Policy = \"default-src *\"\nX-Frame-Options = \"ALLOWALL\"\nX-Ours = \"1\"";
    let gate = Vestibule::before(&app)
        .app(keys)
        .rule("/public", "everyone")
        .start()
        .await;
    let browser = gate.browser();
    browser.get("/public").await.assert_header("x-ours", "1");
    app.stop().await;
    for (target, status) in [
        ("/.vestibule/login", 200),
        ("/public", 502),
        ("/", 303),
        ("/%zz", 400),
    ] {
        let reply = browser.get(target).await;
        reply.assert_status(status);
        assert_eq!(reply.value("x-ours"), None, "{target}: {reply}");
        reply.assert_header("cache-control", "no-store");
        for (name, loose) in [
            ("content-security-policy", "default-src *"),
            ("x-frame-options", "ALLOWALL"),
        ] {
            assert!(
                reply.value(name).is_none_or(|value| value != loose),
                "{target}: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn sec_67_protected_responses_stay_private() {
    let app = Upstream::raw(ANSWER).await;
    for (keys, protected, public) in [
        (
            "set = { Cache-Control = \"public, max-age=60\" }",
            "private, max-age=60",
            "public, max-age=60",
        ),
        (
            "set = { Cache-Control = \"no-store\" }",
            "no-store",
            "no-store",
        ),
        (
            "set_missing = { Cache-Control = \"max-age=5\" }",
            "private, max-age=5",
            "max-age=5",
        ),
    ] {
        let gate = Vestibule::before(&app)
            .app(&format!("[app.response_headers]\n{keys}"))
            .rule("/public", "everyone")
            .user("ada", PASSWORD)
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        ada.get("/").await.assert_header("cache-control", protected);
        gate.browser()
            .get("/public")
            .await
            .assert_header("cache-control", public);
    }
    let gate = Vestibule::before(&app)
        .app("[app.response_headers]\nremove = [\"Cache-Control\"]")
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_header("cache-control", "private");
}

/// What Vestibule itself adds comes after it.
#[tokio::test]
async fn what_is_removed_is_the_apps_and_not_ours() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let gate = Vestibule::before(&app)
        .app("hsts = \"1d\"\n[app.response_headers]\nremove = [\"Set-Cookie\"]")
        .public()
        .start()
        .await;
    let reply = gate.browser().get("/").await;
    assert_eq!(reply.value("set-cookie"), None, "{reply}");
    reply.assert_header("strict-transport-security", "max-age=86400");
}

#[tokio::test]
async fn response_headers_hold_for_websockets_and_after_a_reload() {
    let app = Upstream::websocket().await;
    let mut gate = Vestibule::before(&app).app(KEYS).public().start().await;
    let handshake = "GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: https://gate.test\r\n\r\n";
    let mut raw = gate.raw().await;
    raw.send(handshake).await;
    let head = raw.head().await;
    head.assert_status(101)
        .assert_header("x-frame-options", "SAMEORIGIN");
    gate.browser()
        .get("/")
        .await
        .assert_header("x-there", "ours");
    gate.reload(|text| text.replace(KEYS, "")).unwrap();
    let reply = gate.browser().get("/").await;
    assert_eq!(reply.value("x-there"), None, "{reply}");
}
