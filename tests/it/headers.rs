//! What an upstream is told, SEC-35 to SEC-42: by Vestibule, and by nobody else.

use crate::harness::*;

const IDENTITY: &str = "[app.identity]\nX-Forwarded-User = \"{user}\"\nX-Forwarded-Groups = \"{groups}\"\n\
    X-Forwarded-Email = \"{email}\"\nRemote-User = \"{user}\"\n\"X-Who\" = \"user={user} session={session}\"";

async fn gate_for_ada(app: &Upstream) -> (Gate, Browser) {
    let ada = User::new("ada", PASSWORD)
        .groups(&["admins", "Domain Users"])
        .email("ada@example.org");
    let gate = Vestibule::before(app)
        .app(IDENTITY)
        .rule("/public", "everyone")
        .account(ada)
        .start()
        .await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    (gate, browser)
}

#[tokio::test]
async fn sec_37_an_upstream_is_told_once_who_asks() {
    let app = Upstream::echo().await;
    let (_gate, ada) = gate_for_ada(&app).await;
    for browser in [ada.clone(), ada.clone().over_http2()] {
        browser.get("/").await.assert_status(200);
        let last = app.last();
        assert_eq!(last.value("x-forwarded-user"), Some("ada"));
        assert_eq!(last.value("remote-user"), Some("ada"));
        assert_eq!(
            last.value("x-forwarded-groups"),
            Some("admins,Domain%20Users")
        );
        assert_eq!(last.value("x-forwarded-email"), Some("ada@example.org"));
        let who = last.value("x-who").unwrap();
        let session = who.strip_prefix("user=ada session=").unwrap();
        assert!(
            !browser.session_cookie().contains(session),
            "the session id itself: {who}"
        );
    }
}

#[tokio::test]
async fn sec_37_nobody_is_an_absent_header() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/public", "everyone")
        .user("bob", PASSWORD)
        .start()
        .await;
    gate.browser().get("/public").await.assert_status(200);
    let bob = gate.browser().login("bob", PASSWORD).await;
    bob.get("/").await.assert_status(200);
    let [anonymous, bob] = &app.received()[..] else {
        panic!("two requests")
    };
    for name in [
        "x-forwarded-user",
        "x-forwarded-groups",
        "x-forwarded-email",
    ] {
        assert_eq!(anonymous.value(name), None, "{name}");
    }
    assert_eq!(bob.value("x-forwarded-user"), Some("bob"));
    assert_eq!(bob.value("x-forwarded-groups"), None, "bob is in no group");
    assert_eq!(bob.value("x-forwarded-email"), None);
}

#[tokio::test]
async fn sec_35_a_visitor_cannot_say_who_they_are() {
    let app = Upstream::echo().await;
    let (gate, ada) = gate_for_ada(&app).await;
    let forged = [
        // SEC-35: as they are, in any case.
        "X-Forwarded-User",
        "x-forwarded-user",
        "X-FORWARDED-GROUPS",
        "x-forwarded-email",
        "Remote-User",
        "X-Who",
        // SEC-36: what CGI-like servers take for the same (CVE-2026-54763, CVE-2026-88011).
        "X_Forwarded_User",
        "X.Forwarded.User",
        "X-Forwarded_User",
        "x~forwarded~user",
        "X!Forwarded-User",
        "Remote_User",
        "REMOTE.USER",
        "X_Who",
        "x'who",
        "x|forwarded|groups",
        // SEC-41 and its neighbours.
        "X-Request-Id",
        "X-Real-IP",
        "X_Real_IP",
        "Forwarded",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Anything",
        "X-Client-IP",
        "True-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Session-Data",
        "X-Session-Set",
    ];
    for name in forged {
        let fields = format!("{name}: evil-admin\r\n{name}: evil-again\r\n");
        for (path, cookie) in [
            ("/public", String::new()),
            ("/", format!("Cookie: {}\r\n", ada.session_cookie())),
        ] {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "GET {path} HTTP/1.1\r\nHost: gate.test\r\n{cookie}{fields}\r\n"
            ))
            .await;
            raw.response().await.assert_status(200);
            let head = app.last().head;
            assert!(!head.contains("evil"), "{name} on {path}:\n{head}");
        }
        let lower = name.to_ascii_lowercase();
        let mut http2 = gate.raw_http2().await;
        let mut fields = RawHttp2::get("/public");
        fields.push((&lower, "evil"));
        http2.headers(1, &fields, true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{name}");
        let head = app.last().head;
        assert!(!head.contains("evil"), "{name} over HTTP/2:\n{head}");
    }
}

#[tokio::test]
async fn sec_38_a_nomination_cannot_remove_what_we_say() {
    let app = Upstream::echo().await;
    let (gate, ada) = gate_for_ada(&app).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: a=1; {}\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
         TE: trailers\r\nProxy-Connection: keep-alive\r\n\
         Connection: keep-alive, X-Forwarded-User, Remote-User, X-Who, X-Forwarded-For, Host, Cookie, X-Secret, X-Forwarded-Proto\r\n\r\n",
        ada.session_cookie()
    ))
    .await;
    raw.response().await.assert_status(200);
    let last = app.last();
    assert_eq!(last.value("x-forwarded-user"), Some("ada"));
    assert_eq!(last.value("remote-user"), Some("ada"));
    assert_eq!(last.value("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(last.value("x-forwarded-proto"), Some("https"));
    assert_eq!(last.value("host"), Some("gate.test"));
    for gone in ["x-secret", "keep-alive", "te", "proxy-connection"] {
        assert_eq!(last.value(gone), None, "{gone}");
    }
    let connection = last.value("connection").unwrap_or_default().to_lowercase();
    assert!(["", "keep-alive"].contains(&&*connection), "{connection}");
}

#[tokio::test]
async fn sec_38_a_nomination_cannot_unframe_a_body() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: gate.test\r\nConnection: Content-Length, Transfer-Encoding\r\n{framing}"
        ))
        .await;
        raw.response().await.assert_status(200);
        let last = app.last();
        assert_eq!(
            (last.body.as_slice(), last.complete),
            (&b"hello"[..], true),
            "{}",
            last.head
        );
    }
}

#[tokio::test]
async fn a_visitor_who_is_signed_in_is_named_on_public_paths_too() {
    let app = Upstream::echo().await;
    let (_gate, ada) = gate_for_ada(&app).await;
    ada.get("/public").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    ada.logout().await;
    ada.get("/public").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), None);
}

#[tokio::test]
async fn sec_38_fields_of_one_hop_end_with_it_on_the_way_back() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Internal\r\nX-Internal: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nUpgrade: h2c\r\n\r\nok",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let reply = browser.get("/").await;
        reply.assert_status(200).assert_header("x-kept", "1");
        for gone in [
            "x-internal",
            "keep-alive",
            "proxy-authenticate",
            "upgrade",
            "connection",
        ] {
            assert_eq!(reply.value(gone), None, "{gone} in {reply}");
        }
    }
}

#[tokio::test]
async fn sec_39_trailers_carry_no_identity() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n0\r\n\
         Set-Cookie: __Host-Http-vestibule=x\r\nX-Session-Set: a=1\r\n\r\n",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send(
        "POST / HTTP/1.1\r\nHost: gate.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
         Connection: close, TE\r\n\r\n0\r\nX-Forwarded-User: admin\r\n\r\n",
    )
    .await;
    let answer = raw.rest().await;
    assert!(
        !answer.contains("vestibule=x") && !answer.contains("session-set"),
        "{answer}"
    );
    assert_eq!(app.last().trailers, "");
    // HTTP/2 trailers: a second HEADERS frame that ends the stream.
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/"), false)
        .await;
    http2.data(1, b"hello", false).await;
    http2
        .headers(1, &[("x-forwarded-user", "admin")], true)
        .await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    let bytes = String::from_utf8_lossy(&app.bytes()).to_lowercase();
    assert!(!bytes.contains("admin"), "{bytes}");
}

#[tokio::test]
async fn sec_40_values_are_visible_ascii() {
    let app = Upstream::echo().await;
    let groups = ["Gäste", "a b", "100%", "x;y=\"z\""];
    let eve = User::new("eve", PASSWORD)
        .groups(&groups[..3])
        .email("ev\u{eb}@example.org");
    let gate = Vestibule::before(&app).account(eve).start().await;
    gate.browser()
        .login("eve", PASSWORD)
        .await
        .get("/")
        .await
        .assert_status(200);
    let last = app.last();
    assert_eq!(
        last.value("x-forwarded-groups"),
        Some("G%C3%A4ste,a%20b,100%25")
    );
    assert_eq!(
        last.value("x-forwarded-email"),
        Some("ev%C3%AB@example.org")
    );
}

#[tokio::test]
async fn sec_41_forwarding_headers_are_ours() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate
        .browser()
        .header("x-forwarded-for", "192.0.2.1, 10.0.0.1")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-proto", "http")
        .header("x-real-ip", "192.0.2.1")
        .header("forwarded", "for=192.0.2.1");
    for browser in [browser.clone(), browser.over_http2()] {
        browser.get("/").await.assert_status(200);
        let last = app.last();
        assert_eq!(last.value("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(last.value("x-forwarded-host"), Some("gate.test"));
        assert_eq!(last.value("x-forwarded-proto"), Some("https"));
        assert_eq!(last.value("host"), Some("gate.test"));
        assert_eq!(
            (last.value("x-real-ip"), last.value("forwarded")),
            (None, None)
        );
    }
}

#[tokio::test]
async fn sec_41_a_trusted_proxy_is_believed_up_to_the_first_stranger() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]")
        .start()
        .await;
    for (sent, expected) in [
        ("198.51.100.7", "198.51.100.7, 127.0.0.1"),
        (
            "192.0.2.9, 198.51.100.7, 10.1.2.3",
            "198.51.100.7, 10.1.2.3, 127.0.0.1",
        ),
        ("evil", "127.0.0.1"),
    ] {
        gate.browser()
            .header("x-forwarded-for", sent)
            .get("/")
            .await
            .assert_status(200);
        assert_eq!(
            app.last().value("x-forwarded-for"),
            Some(expected),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn sec_42_credentials_for_proxies_end_here() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate
        .browser()
        .header("proxy-authorization", "Basic c2VjcmV0");
    browser
        .header("authorization", "Bearer of-the-app")
        .get("/")
        .await
        .assert_status(200);
    let last = app.last();
    assert_eq!(last.value("proxy-authorization"), None);
    assert_eq!(
        last.value("authorization"),
        Some("Bearer of-the-app"),
        "the app's own business"
    );
}

#[tokio::test]
async fn an_app_may_get_its_identity_as_authorization() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("[app.identity]\nAuthorization = \"Vestibule {user}\"")
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let ada = gate
        .browser()
        .header("authorization", "Vestibule admin")
        .login("ada", PASSWORD)
        .await;
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value("authorization"), Some("Vestibule ada"));
    assert_eq!(
        app.last().values("x-forwarded-user"),
        Vec::<&str>::new(),
        "the table replaces the default"
    );
    let stranger = gate.browser().header("authorization", "Vestibule admin");
    stranger.get("/public").await.assert_status(200);
    assert_eq!(app.last().value("authorization"), None);
}

#[tokio::test]
async fn everything_else_passes_in_both_directions() {
    let app = Upstream::raw(
        "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 5\r\nETag: \"x\"\r\nContent-Type: text/plain\r\n\
         Location: /elsewhere\r\nX-Twice: 1\r\nX-Twice: 2\r\nCache-Control: no-store\r\n\r\nshort",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let browser = gate
        .browser()
        .header("accept-language", "de, en;q=0.5")
        .header("if-none-match", "\"x\"")
        .header("x-custom_with_underscore", "1")
        .header("range", "bytes=0-4");
    let reply = browser.get("/a?b=c").await;
    reply
        .assert_status(418)
        .assert_header("etag", "\"x\"")
        .assert_header("location", "/elsewhere");
    assert_eq!(reply.values("x-twice"), ["1", "2"]);
    assert_eq!(reply.text(), "short");
    let last = app.last();
    for (name, value) in [
        ("accept-language", "de, en;q=0.5"),
        ("if-none-match", "\"x\""),
        ("x-custom_with_underscore", "1"),
        ("range", "bytes=0-4"),
        ("sec-fetch-mode", "navigate"),
    ] {
        assert_eq!(last.value(name), Some(value));
    }
}

#[tokio::test]
async fn sec_36_no_client_names_a_proxy_for_cgi() {
    let app = Upstream::echo().await;
    let (gate, ada) = gate_for_ada(&app).await;
    for browser in [gate.browser(), ada.clone(), ada.clone().over_http2()] {
        for name in ["proxy", "Proxy", "PROXY"] {
            let browser = browser
                .clone()
                .header(&name.to_lowercase(), "evil.test:8080");
            browser.get("/public").await.assert_status(200);
            assert!(
                !app.last().head.contains("evil.test"),
                "{}",
                app.last().head
            );
        }
    }
    let browser = ada.header("proxy-status", "kept").header("pro.y", "kept");
    browser.get("/").await.assert_status(200);
    assert_eq!(
        app.last().head.matches("kept").count(),
        2,
        "{}",
        app.last().head
    );
}
