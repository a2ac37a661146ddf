//! An app, or a part of it, is opened from the networks that it is for, and from nowhere else.

use http::Method;

use crate::harness::*;

const PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]";
const INSIDE: &str =
    "networks = [\"192.0.2.0/24\", \"2001:db8::/32\", \"::ffff:198.51.100.0/120\"]";
const REFUSED: &str = "This cannot be opened from this network";

/// A browser that a trusted proxy names in this way.
fn named(gate: &Gate, client: &str) -> Browser {
    gate.browser().header("x-forwarded-for", client)
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    reply.assert_status(403).assert_contains(REFUSED);
    let text = reply.text();
    assert!(
        !text.contains("192.0.2") && !text.contains("2001:db8"),
        "it names the networks: {text}"
    );
    assert!(!text.contains("/.vestibule/login"), "{text}");
}

#[tokio::test]
async fn sec_41_an_app_is_refused_to_other_networks_before_anybody_is_asked_to_sign_in() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app(INSIDE)
        .server(PROXY)
        .user("ada", PASSWORD)
        .start()
        .await;
    for client in [
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "203.0.113.9, 192.0.2.1:4711",
        "2001:db8::7",
        "198.51.100.3",
    ] {
        let reply = named(&gate, client).get("/x?a=1").await;
        reply.assert_redirects_to("/.vestibule/login?return_to=%2Fx%3Fa%3D1");
        let ada = named(&gate, client).login("ada", PASSWORD).await;
        ada.get("/x").await.assert_status(200);
    }
    let (before, ada) = (
        app.requests(),
        named(&gate, "192.0.2.1").login("ada", PASSWORD).await,
    );
    let ada = ada.session_cookie();
    for client in [
        "203.0.113.9",
        "::ffff:203.0.113.9",
        "2001:db9::1",
        "192.0.2.1, 203.0.113.9",
        "unknown",
        "192.0.2.1, unknown",
        "192.0.2.1, _hidden",
        "192.0.2.1, 127.0.0.1:x",
        "127.0.0.1",
        "",
        "::c000:201",
        "0300.0.2.1",
    ] {
        let (stranger, user) = (named(&gate, client), named(&gate, client).cookie(&ada));
        for browser in [
            stranger.clone(),
            user.clone(),
            stranger.over_http2(),
            user.clone().over_http2(),
        ] {
            for target in ["/", "/favicon.ico"] {
                assert_refused(&browser.get(target).await);
            }
            let reply = browser.fetch("/api").await;
            assert_eq!(
                reply.assert_status(403).json()["error"],
                "network_not_allowed"
            );
            let posted = browser.post_form("/x", &[("a", "b")]).await;
            assert_refused(&posted);
            let other = browser.request(Method::DELETE, "/", &[], bytes::Bytes::new());
            other.await.assert_status(403);
        }
        let fields = [
            ("origin", "https://gate.test"),
            ("cookie", &*ada),
            ("x-forwarded-for", client),
        ];
        let socket = open_websocket(gate.tcp().await, "/ws", &fields).await;
        assert_eq!(socket.err(), Some(403), "{client}");
    }
    assert_eq!(app.requests(), before, "nothing reached the app");
}

#[tokio::test]
async fn sec_41_nobody_says_for_themselves_where_they_are() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("networks = [\"192.0.2.0/24\"]")
        .rule("/open", "everyone")
        .start()
        .await;
    for claim in [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-For: 127.0.0.1, 192.0.2.1",
        "X_Forwarded_For: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "X-Real-IP: 192.0.2.1",
        "X-Client-IP: 192.0.2.1",
        "True-Client-IP: 192.0.2.1",
        "X-Forwarded-Host: inside.test",
        "Host: 192.0.2.1",
    ] {
        let host = if claim.starts_with("Host") {
            String::new()
        } else {
            "Host: gate.test\r\n".to_owned()
        };
        let mut raw = gate.raw().await;
        raw.send(format!("GET /open HTTP/1.1\r\n{host}{claim}\r\n\r\n"))
            .await;
        assert!([403, 421].contains(&raw.response().await.status), "{claim}");
    }
    assert_eq!(app.requests(), 0);
    let gate = Vestibule::before(&app)
        .app("networks = [\"127.0.0.0/8\"]")
        .rule("/open", "everyone")
        .start()
        .await;
    let reply = gate.browser().header("x-forwarded-for", "9.9.9.9");
    reply.get("/open").await.assert_status(200);
}

/// A proxy whose word is believed, and that is within the networks itself: whom it does not name is
/// not there.
#[tokio::test]
async fn sec_41_a_client_that_a_trusted_proxy_does_not_name_is_in_no_network() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("networks = [\"127.0.0.0/8\", \"0.0.0.0/0\", \"::/0\"]")
        .server(PROXY)
        .public()
        .start()
        .await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.response().await.assert_status(403);
    named(&gate, "unknown").get("/").await.assert_status(403);
    named(&gate, "203.0.113.9")
        .get("/")
        .await
        .assert_status(200);
}

#[tokio::test]
async fn our_own_pages_work_from_outside_as_far_as_a_session_needs_them() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app(INSIDE)
        .server(PROXY)
        .user("ada", PASSWORD)
        .start()
        .await;
    let inside = named(&gate, "192.0.2.1").login("ada", PASSWORD).await;
    let form = named(&gate, "192.0.2.1");
    let page = form.get("/.vestibule/login").await;
    page.assert_status(200);
    let outside = named(&gate, "203.0.113.9").cookie(&inside.session_cookie());
    assert_refused(&outside.get("/").await);
    let stranger = named(&gate, "203.0.113.9").cookie(&form.cookies());
    for target in ["/.vestibule/login", "/.vestibule/login?switch=1"] {
        assert_refused(&stranger.get(target).await);
        assert_refused(&outside.get(target).await);
    }
    let (csrf, name) = (page.hidden("csrf"), page.hidden("return_to"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("return_to", &name),
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    assert_refused(&stranger.post_form("/.vestibule/login", &fields).await);
    assert!(
        !stranger.is_signed_in(),
        "a password opens nothing from there"
    );
    let style = page.text();
    let style = style
        .split("href=\"/.vestibule/assets/style")
        .nth(1)
        .unwrap();
    let style = format!(
        "/.vestibule/assets/style{}",
        style.split('"').next().unwrap()
    );
    outside.fetch(&style).await.assert_status(200);
    let session = outside.fetch("/.vestibule/session").await;
    session.assert_status(200);
    outside.get("/.vestibule/account").await.assert_status(200);
    outside.logout().await;
    assert!(!outside.is_signed_in());
    inside.get("/").await.assert_status(303);
}

#[tokio::test]
async fn a_login_belongs_to_the_host_and_so_to_whoever_may_open_one_of_its_apps() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .server(PROXY)
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"inner\"\nhost = \"gate.test\"\npath = \"/inner/\"\nupstream = \"{}\"\n{INSIDE}",
            app.url()
        ))
        .start()
        .await;
    let outside = named(&gate, "203.0.113.9").login("ada", PASSWORD).await;
    outside.get("/").await.assert_status(200);
    for target in ["/inner", "/inner/", "/inner/x"] {
        assert_refused(&outside.get(target).await);
    }
    let offered = outside
        .get("/.vestibule/login?return_to=%2Finner%2Fx")
        .await;
    offered
        .assert_status(200)
        .assert_contains("may not open that page");
    let inside = named(&gate, "192.0.2.1").cookie(&outside.session_cookie());
    inside.get("/inner/x").await.assert_status(200);
    inside.get("/inner").await.assert_status(308);
}

#[tokio::test]
async fn sec_33_a_rule_is_for_a_network_with_a_login_unless_it_says_everyone() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .server(PROXY)
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .user("bob", PASSWORD)
        .rule("/office", "{ networks = [\"192.0.2.0/24\"] }")
        .rule(
            "/admin",
            "{ groups = [\"admins\"], networks = [\"192.0.2.0/24\"] }",
        )
        .rule(
            "/bobs",
            "{ users = [\"bob\"], networks = [\"192.0.2.0/24\"] }",
        )
        .rule(
            "/open",
            "{ everyone = true, networks = [\"192.0.2.0/24\"] }",
        )
        .start()
        .await;
    let ada = named(&gate, "203.0.113.9").login("ada", PASSWORD).await;
    let bob = named(&gate, "203.0.113.9").login("bob", PASSWORD).await;
    let (ada, bob) = (ada.session_cookie(), bob.session_cookie());
    for (path, stranger, for_ada, for_bob) in [
        ("/office", 303, 200, 200),
        ("/admin/x", 303, 200, 403),
        ("/bobs", 303, 403, 200),
        ("/open", 200, 200, 200),
        ("/elsewhere", 303, 200, 200),
    ] {
        for (cookie, expected) in [
            (None, stranger),
            (Some(&ada), for_ada),
            (Some(&bob), for_bob),
        ] {
            for (client, is_inside) in [
                ("192.0.2.1", true),
                ("203.0.113.9", false),
                ("unknown", false),
            ] {
                let mut browser = named(&gate, client);
                if let Some(cookie) = cookie {
                    browser = browser.cookie(cookie);
                }
                let reply = browser.get(path).await;
                if is_inside || path == "/elsewhere" {
                    reply.assert_status(expected);
                } else {
                    assert_refused(&reply);
                }
            }
        }
    }
    // What a network may see is not for caches that others share (SEC-67).
    let open = named(&gate, "192.0.2.1").get("/open").await;
    open.assert_header("cache-control", "private");
}

#[tokio::test]
async fn sec_93_a_destination_is_judged_from_the_same_network() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .server(PROXY)
        .user("ada", PASSWORD)
        .rule("/office", "{ networks = [\"192.0.2.0/24\"] }")
        .start()
        .await;
    let ada = gate.browser().header("x-forwarded-for", "203.0.113.9");
    let ada = ada.login("ada", PASSWORD).await.session_cookie();
    for (client, status) in [("192.0.2.1", 200), ("203.0.113.9", 403), ("unknown", 403)] {
        for fields in [
            "Destination: /office/a",
            "Destination: https://gate.test/office/a",
            "Destination: /b\r\nIf: <https://gate.test/office/a> (<opaquelocktoken:1>)",
        ] {
            let before = app.requests();
            let mut raw = gate.raw().await;
            raw.send(format!(
                "MOVE /a HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: {client}\r\n\
                 Cookie: {ada}\r\n{fields}\r\n\r\n"
            ))
            .await;
            raw.response().await.assert_status(status);
            assert_eq!(
                app.requests() - before,
                usize::from(status == 200),
                "{fields}"
            );
        }
    }
}

#[tokio::test]
async fn a_load_balancer_names_the_network_by_the_proxy_protocol() {
    use tokio::io::AsyncWriteExt;
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("networks = [\"192.0.2.0/24\"]")
        .server("proxy_protocol_from = [\"127.0.0.1\"]")
        .public()
        .start()
        .await;
    for (header, status) in [
        ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", 200),
        ("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 56324 443\r\n", 200),
        ("PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", 403),
        ("PROXY UNKNOWN\r\n", 403),
    ] {
        let mut stream = gate.tcp().await;
        stream.write_all(header.as_bytes()).await.unwrap();
        let stream = tls::connect(stream, tls::HOST, &["http/1.1"])
            .await
            .unwrap();
        let mut raw = Raw::new(stream);
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
            .await;
        let reply = raw.response().await;
        assert_eq!(reply.status, status, "{header}");
    }
}

#[tokio::test]
async fn the_log_tells_a_client_of_another_network_from_one_that_is_not_named() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .app("networks = [\"192.0.2.0/24\"]")
        .server(PROXY)
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    for client in ["203.0.113.9", "unknown"] {
        let browser = service.browser().header("x-forwarded-for", client);
        browser.get("/").await.assert_status(403);
    }
    let lines = eventually_some("the access lines", async || {
        let lines = service.program.log();
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line["target"] == "access")
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    let errors: Vec<_> = lines
        .await
        .iter()
        .map(|line| line["error"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        errors,
        [
            "the client is in none of the `networks`",
            "a trusted proxy does not say who the client is: it is in none of the `networks`"
        ]
    );
}
