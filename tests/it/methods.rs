//! Which methods an app gets: all that are registered, or those that its configuration names.

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

async fn ask(browser: &Browser, method: &str, target: &str) -> Reply {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    browser.request(method, target, &[], Bytes::new()).await
}

#[tokio::test]
async fn sec_10_an_app_gets_every_registered_method_but_connect_and_trace() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for method in [
        "GET",
        "POST",
        "PATCH",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "MKCALENDAR",
        "MOVE",
        "LOCK",
        "REPORT",
        "SEARCH",
        "ACL",
        "CHECKOUT",
        "MERGE",
        "MKACTIVITY",
        "VERSION-CONTROL",
        "QUERY",
    ] {
        ask(&ada, method, "/x").await.assert_status(200);
        assert!(
            app.last().head.starts_with(&format!("{method} /x ")),
            "{method}"
        );
        let stranger = ask(&gate.browser(), method, "/x").await;
        assert!(
            [303, 401].contains(&stranger.status),
            "{method}: {stranger}"
        );
    }
    let before = app.requests();
    for method in ["CONNECT", "TRACE", "PRI", "PURGE", "propfind", "FOO"] {
        let mut raw = gate.raw().await;
        let cookie = ada.cookies();
        raw.send(format!(
            "{method} /x HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        let reply = raw.response().await;
        assert!([400, 405].contains(&reply.status), "{method}: {reply}");
        let allow = reply.value("allow").unwrap_or_default();
        assert!(
            !allow.contains("TRACE") && !allow.contains("CONNECT"),
            "{allow}"
        );
    }
    assert_eq!(app.requests(), before);
}

#[tokio::test]
async fn an_app_may_name_its_own_methods_and_our_pages_keep_theirs() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .app("methods = [\"GET\", \"PURGE\"]")
        .user("ada", PASSWORD)
        .config("[server.limits]\nmethods = [\"GET\", \"PUT\"]")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ask(&ada, "PURGE", "/x").await.assert_status(200);
    for method in ["PUT", "POST", "HEAD", "MOVE"] {
        for browser in [&ada, &gate.browser()] {
            let refused = ask(browser, method, "/x").await;
            assert_eq!(
                refused.assert_status(405).value("allow"),
                Some("GET, PURGE")
            );
        }
    }
    let own = ask(&ada, "PURGE", "/.vestibule/login").await;
    assert_eq!(
        own.assert_status(405).value("allow"),
        Some("GET, HEAD, POST")
    );

    let text = |text: &str| text.replace("\"PURGE\"", "\"MOVE\"");
    gate.reload(text).unwrap();
    ask(&ada, "MOVE", "/x").await.assert_status(200);
    ask(&ada, "PURGE", "/x").await.assert_status(405);
    ada.logout().await;
    assert!(!ada.is_signed_in());
}
