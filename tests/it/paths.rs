//! Path policy, SEC-29 to SEC-34: what is judged is what is sent, whatever it looked like.

mod readings;

use http_body_util::{BodyExt, Full};
use hyper::Request;

use crate::harness::*;

/// One request in each form that a path can come in; gives the status of each.
async fn ask_in_every_form(gate: &Gate, path: &str) -> [u16; 3] {
    let mut raw = gate.raw().await;
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: gate.test\r\n\r\n"))
        .await;
    let origin = raw.response().await.status;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET https://gate.test{path} HTTP/1.1\r\nHost: gate.test\r\n\r\n"
    ))
    .await;
    let absolute = raw.response().await.status;
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get(path), true).await;
    let stream = http2.outcome(1).await;
    let refused = stream.reset.map(|_| 400); // h2 refuses some itself
    [origin, absolute, stream.status.or(refused).unwrap_or(400)]
}

/// Everyone may open everything but `/admin`.
async fn gate_with_admin(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .rule("/", "everyone")
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await
}

#[tokio::test]
async fn sec_29_what_servers_read_differently_is_refused() {
    let app = Upstream::echo().await;
    let gate = gate_with_admin(&app).await;
    for path in [
        "/a%2fb",
        "/a%2Fb",
        "/%2fadmin",
        "/public%2f..%2fadmin",
        "/a%5cb",
        "/a%5Cb",
        "/a\\b",
        "/a%00b",
        "/admin%00",
        "/%",
        "/%4",
        "/%zz",
        "/a%2",
        "/%%61dmin",
        "/%252fadmin",
        "/%252e%252e/admin",
        "/a%255cb",
        "/%25%32%66",
        "/%c0%af",
        "/%c0%ae%c0%ae/admin",
        "/%e0%80%af",
        "/%ff",
        "/%fe%fe",
        "/%ed%a0%80",
        "/a%0d%0ab",
        "/a%09b",
        "/a%1fb",
        "/a%7fb",
        "/%u0061dmin",
    ] {
        assert_eq!(ask_in_every_form(&gate, path).await, [400; 3], "{path}");
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
}

#[tokio::test]
async fn sec_30_dot_segments_never_reach_the_upstream() {
    let app = Upstream::echo().await;
    let gate = gate_with_admin(&app).await;
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2e/admin",
        "/public/%2e./admin",
        "/public/%2E%2E/admin",
        "/./admin",
        "/%2e/admin",
        "/x/y/../../admin",
        "/../admin",
        "/public/..;/admin",
        "/public/..;a=b/admin",
        "/public/%2e%2e;/admin",
        "/admin/.",
        "/admin/..;",
        "/x/../admin/",
        "/public/.../../../admin",
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([400, 401].contains(&status), "{path}: {status}");
        }
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    for (path, sent) in [
        ("/a/../b", "/b"),
        ("/a/./b/", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/%2e%2e/b", "/b"),
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([200, 400].contains(&status), "{path}: {status}");
            if status == 200 {
                assert_eq!(app.last().target(), sent, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn sec_31_every_spelling_of_a_path_is_one_path() {
    let app = Upstream::echo().await;
    let gate = gate_with_admin(&app).await;
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/%61dmin",
        "/adm%69n",
        "/%61%64%6d%69%6e/x",
        "/admin;x=1",
        "/admin;",
        "/admin;/x",
        "/;a/admin",
        "/admin%3bx",
        "//admin",
        "///admin//x",
        "/admin?x",
        "/admin?/../",
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([400, 401].contains(&status), "{path}: {status}");
        }
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    ask_in_every_form(&gate, "/%7euser/%41%2d?q=%61%2F").await;
    assert_eq!(app.last().target(), "/~user/A-?q=%61%2F");
    ask_in_every_form(&gate, "/caf%C3%A9/%5b1%5D").await;
    let sent = app.last().target().to_owned();
    assert!(sent.starts_with("/caf%C3%A9/"), "{sent}");
}

#[tokio::test]
async fn sec_32_a_rule_is_for_whole_segments() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/public", "everyone")
        .start()
        .await;
    for path in ["/public", "/public/", "/public/a/b", "/public?x"] {
        assert_eq!(ask_in_every_form(&gate, path).await, [200; 3], "{path}");
    }
    let before = app.requests();
    for path in [
        "/publicx",
        "/publi",
        "/Public",
        "/PUBLIC/",
        "/x/public",
        "/public.html",
        "/public%20",
        "/",
    ] {
        assert_eq!(ask_in_every_form(&gate, path).await, [401; 3], "{path}");
    }
    for path in ["//public", "/public//x", "//x/../public"] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([200, 400, 401].contains(&status), "{path}: {status}");
        }
    }
    let merged = app.received().split_off(before);
    assert!(
        merged.iter().all(|one| !one.target().contains("//")),
        "{merged:?}"
    );
}

#[tokio::test]
async fn sec_33_nothing_but_method_host_and_path_opens_the_gate() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/public", "everyone")
        .config("[[app.rule]]\npath = \"/posts\"\nmethods = [\"GET\"]\nallow = \"everyone\"")
        .start()
        .await;
    for field in [
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/public"),
        ("x-original-uri", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-path", "/public"),
        ("x-forwarded-prefix", "/public"),
        ("x-forwarded-host", "public.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=public.test"),
        ("x-forwarded-user", "ada"),
        ("x-forwarded-groups", "admins"),
        ("user-agent", "kube-probe/1.27"),
        ("user-agent", "GoogleHC/1.0"),
        ("authorization", "Basic YWRhOng="),
        ("x-http-method-override", "OPTIONS"),
        ("referer", "https://gate.test/public"),
        ("via", "1.1 localhost"),
    ] {
        let reply = gate
            .browser()
            .header(field.0, field.1)
            .fetch("/private")
            .await;
        assert_eq!(reply.status, 401, "{field:?}: {reply}");
        let http2 = gate
            .browser()
            .over_http2()
            .header(field.0, field.1)
            .fetch("/private")
            .await;
        assert_eq!(http2.status, 401, "{field:?}: {http2}");
    }
    for target in [
        "/private?/public",
        "/private?x=/public/",
        "/private?.css",
        "/private?/../public",
        "/private;/public",
        "/?path=/public",
    ] {
        let status = gate.browser().fetch(target).await.status;
        assert!([400, 401].contains(&status), "{target}: {status}");
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
}

#[tokio::test]
async fn sec_33_a_method_override_does_not_get_around_a_rule_for_methods() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .config("[[app.rule]]\npath = \"/posts\"\nmethods = [\"GET\"]\nallow = \"everyone\"")
        .start()
        .await;
    for name in [
        "x-http-method-override",
        "x-method-override",
        "X_HTTP_Method",
        "x-http-method",
    ] {
        let reply = gate
            .browser()
            .header(name, "DELETE")
            .fetch("/posts/1")
            .await;
        reply.assert_status(200);
        let head = app.last().head;
        assert!(!head.contains("DELETE"), "{head}");
    }
    let http2 = gate.http2().await;
    let post = Request::post("https://gate.test/posts/1")
        .header("x-http-method-override", "GET")
        .body(Full::default().map_err(|never| match never {}).boxed())
        .unwrap();
    assert_eq!(http2.send(post).await.unwrap().status(), 401);
}

#[tokio::test]
async fn sec_34_the_longest_rule_wins_and_an_unknown_path_is_protected() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/a", "everyone")
        .rule("/a/b", "nobody")
        .rule("/a/b/c", "everyone")
        .start()
        .await;
    for (path, status) in [
        ("/a", 200),
        ("/a/b", 403),
        ("/a/b/x", 403),
        ("/a/b/c", 200),
        ("/a/bc", 200),
        ("/x", 401),
    ] {
        assert_eq!(ask_in_every_form(&gate, path).await, [status; 3], "{path}");
    }
}

#[tokio::test]
async fn sec_29_an_app_may_ask_for_encoded_slashes() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("encoded_slash = true")
        .rule("/", "everyone")
        .rule("/admin", "nobody")
        .start()
        .await;
    assert_eq!(
        ask_in_every_form(&gate, "/group%2fproject/x").await,
        [200; 3]
    );
    assert!(
        app.last()
            .target()
            .eq_ignore_ascii_case("/group%2Fproject/x"),
        "{}",
        app.last().target()
    );
    for path in [
        "/a%5cb",
        "/a%00b",
        "/%252f",
        "/a/..%2f..%2fadmin",
        "/a/%2e%2e%2fadmin",
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([400, 403].contains(&status), "{path}: {status}");
        }
    }
}

/// `encoded_slash`, everyone may open everything but `/admin`.
async fn gate_with_encoded_slashes(app: &Upstream, more: &str) -> Gate {
    Vestibule::before(app)
        .app(&format!("encoded_slash = true\n{more}"))
        .user("ada", PASSWORD)
        .account(User::new("eve", PASSWORD).groups(&["admins"]))
        .rule("/", "everyone")
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await
}
