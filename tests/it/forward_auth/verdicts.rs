use super::*;

/// The user, and what is left of the cookies.
fn told(reply: &Reply) -> (Option<&str>, Option<&str>) {
    (
        reply.value("x-forwarded-user"),
        reply.value("x-vestibule-cookie"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_proxy_is_told_whether_its_client_may_and_who_it_is() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let to = gate.auth_address();
    let (ada, bob) = (cookies(&gate, "ada").await, cookies(&gate, "bob").await);
    for proxy in PROXIES {
        let ask = async |method, target, more: &str| {
            ask(to, auth_request(proxy, method, target, more)).await
        };
        let reply = ask("GET", "/page?a=/../b", &ada).await;
        reply.assert_status(200);
        assert_eq!(
            told(&reply),
            (Some("ada"), Some("theme=dark; x=1")),
            "{reply}"
        );
        assert_eq!(reply.value("x-forwarded-groups"), Some("admins,staff"));
        reply.assert_header("cache-control", "no-store");
        assert!(reply.value("x-request-id").is_some(), "{reply}");
        assert!(reply.values("set-cookie").is_empty(), "{reply}");
        assert!(reply.body.is_empty(), "{reply}");
        // By their own names for proxies that cannot rename a field.
        let by_name = ["traefik", "envoy"].contains(&proxy);
        assert_eq!(reply.value("cookie"), by_name.then_some("theme=dark; x=1"));

        ask("GET", "/admin/x", &ada).await.assert_status(200);
        ask("GET", "/admin/x", &bob).await.assert_status(403);
        ask("DELETE", "/page", &bob).await.assert_status(200);
        let reply = ask("GET", "/public/x", "Cookie: theme=dark\r\n").await;
        reply.assert_status(200);
        assert_eq!(told(&reply), (None, Some("theme=dark")), "{reply}");
        let reply = ask("GET", "/public", "").await;
        assert_eq!(told(&reply), (None, None), "{reply}");
        if proxy == "envoy" {
            let removed = reply.value("x-envoy-auth-headers-to-remove").unwrap();
            for name in [
                "x-forwarded-user",
                "x-forwarded-groups",
                "cookie",
                "authorization",
            ] {
                assert!(removed.split(", ").any(|it| it == name), "{removed}");
            }
        }
    }
    assert_eq!(app.requests(), 0, "the proxy sends requests on by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_loads_are_led_to_the_login_and_programs_are_told_so() {
    let app = Upstream::echo().await;
    let gate = before(&app).app("tokens = true").start().await;
    let to = gate.auth_address();
    for proxy in PROXIES {
        let asked = auth_request(proxy, "GET", "/page?a=1", PAGE_LOAD);
        let reply = ask(to, asked).await;
        reply.assert_status(if PASSING.contains(&proxy) { 303 } else { 401 });
        let login = "/.vestibule/login?return_to=%2Fpage%3Fa%3D1";
        reply.assert_header("location", login);

        let browser =
            "User-Agent: Mozilla/5.0\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";
        let reply = ask(to, auth_request(proxy, "GET", "/api", browser)).await;
        reply.assert_status(401);
        assert_eq!(reply.json()["error"], "login_required", "{reply}");
        assert_eq!(reply.value("location"), None, "{reply}");
        assert!(
            reply
                .value("www-authenticate")
                .unwrap()
                .starts_with("Cookie")
        );

        let program = "User-Agent: curl/8.5\r\n";
        let reply = ask(to, auth_request(proxy, "POST", "/api", program)).await;
        reply.assert_status(401);
        let challenges = reply.values("www-authenticate");
        assert!(
            challenges.iter().any(|it| it.starts_with("Basic")),
            "{reply}"
        );
        assert!(
            challenges.iter().any(|it| it.starts_with("Bearer")),
            "{reply}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_login_for_all_they_are_led_to_its_host() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("host = \"gate.test\"")
        .login("host = \"login.test\"")
        .start()
        .await;
    let to = gate.auth_address();
    for proxy in PROXIES {
        let reply = ask(to, auth_request(proxy, "GET", "/page", PAGE_LOAD)).await;
        reply.assert_status(if PASSING.contains(&proxy) { 303 } else { 401 });
        let location = reply.value("location").unwrap();
        assert!(
            location.starts_with("https://login.test/.vestibule/login?state="),
            "{location}"
        );
        assert_eq!(
            reply.values("set-cookie").len(),
            1,
            "one for nginx: {reply}"
        );
        // The login host has no app.
        let asked = auth_request_for(proxy, "GET", ("login.test", "/"), PAGE_LOAD);
        ask(to, asked).await.assert_status(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_programs_show_tokens_which_are_not_handed_on() {
    let app = Upstream::echo().await;
    let auth = held_port();
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server(&format!(
            "auth_listen = [\"{auth}\"]\nauth_from = [\"127.0.0.1\"]"
        ))
        .app("tokens = true\ntoken_header = \"X-Api-Key\"\nbasic = true")
        .spawn()
        .await;
    let (code, token, errors) = run(&service.files, &["token", "add", "ada"]);
    assert_eq!(code, Some(0), "{errors}");
    let token = token.trim_end();
    let ada = service.browser().login("ada", PASSWORD).await.cookies();
    for proxy in PROXIES {
        let ask = async |more: &str| ask(auth, auth_request(proxy, "PUT", "/dav", more)).await;
        for way in [
            format!("Authorization: Bearer {token}\r\n"),
            format!("X-Api-Key: {token}\r\n"),
        ] {
            let reply = ask(&way).await;
            reply.assert_status(200);
            assert_eq!(reply.value("x-forwarded-user"), Some("ada"), "{reply}");
            assert!(!format!("{reply}").contains("vst_"), "{reply}");
            assert_eq!(reply.value("x-vestibule-authorization"), None, "{reply}");
        }
        // What is the app's stays.
        let reply = ask(&format!(
            "Cookie: {ada}\r\nAuthorization: Bearer of.the.app\r\nX-Api-Key: theirs\r\n"
        ))
        .await;
        reply.assert_status(200);
        reply.assert_header("x-vestibule-authorization", "Bearer of.the.app");
        reply.assert_header("x-api-key", "theirs");
        // Beside a session, HTTP Basic is the app's, too.
        let reply = ask(&format!("Cookie: {ada}\r\nAuthorization: Basic YTpi\r\n")).await;
        reply.assert_header("x-vestibule-authorization", "Basic YTpi");

        for (wrong, status) in [
            (format!("Authorization: Bearer {token}x\r\n"), 403),
            (format!("Authorization: Bearer {}\r\n", &token[..52]), 401),
            (
                format!("Authorization: Bearer {token}\r\nX-Api-Key: {token}\r\n"),
                403,
            ),
            (
                format!("Cookie: {ada}\r\nAuthorization: a\r\nAuthorization: b\r\n"),
                403,
            ),
        ] {
            ask(&wrong).await.assert_status(status);
        }
    }
    // A token that reads opens no WebSocket and has no method read as another one.
    let (_, reads, _) = run(&service.files, &["token", "add", "ada", "--method", "GET"]);
    for proxy in PROXIES {
        let ask = async |method, more: &str| {
            let shown = format!("Authorization: Bearer {}\r\n{more}", reads.trim_end());
            ask(auth, auth_request(proxy, method, "/", &shown)).await
        };
        ask("GET", "").await.assert_status(200);
        ask("PUT", "").await.assert_status(403);
        ask("GET", "X-HTTP-Method-Override: DELETE\r\n")
            .await
            .assert_status(403);
        let handshake = "Sec-WebSocket-Version: 13\r\nOrigin: https://gate.test\r\n";
        ask("GET", handshake).await.assert_status(403);
    }
    run(&service.files, &["token", "revoke", "--user", "ada"]);
    for proxy in PROXIES {
        let shown = format!("Authorization: Bearer {token}\r\n");
        let reply = ask(auth, auth_request(proxy, "PUT", "/dav", &shown)).await;
        reply.assert_status(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_74_a_websocket_is_for_pages_of_the_app() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let to = gate.auth_address();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let protocol = "Sec-WebSocket-Protocol: chat\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for proxy in PROXIES {
        for asks in [key, version, protocol, upgrade] {
            for (origin, status) in [
                ("Origin: https://gate.test\r\n", 200),
                ("Origin: https://evil.test\r\n", 403),
                ("Origin: https://gate.test:8443\r\n", 403),
                ("Origin: null\r\n", 403),
                (
                    "Origin: https://gate.test\r\nOrigin: https://evil.test\r\n",
                    403,
                ),
                ("", 403), // a proxy may have dropped it
            ] {
                let asked = auth_request(proxy, "GET", "/ws", &format!("{ada}{asks}{origin}"));
                ask(to, asked).await.assert_status(status);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_75_the_end_of_a_session_counts_at_once_and_auth_requests_are_use_of_it() {
    let app = Upstream::echo().await;
    let gate = before(&app).session("idle_timeout = \"10m\"").start().await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    let to = gate.auth_address();
    let asked = auth_request(
        "nginx",
        "GET",
        "/",
        &format!("Cookie: {}\r\n", browser.cookies()),
    );
    let mut raw = connect(to).await;
    for _ in 0..3 {
        raw.send(&asked).await;
        raw.response().await.assert_status(200);
        gate.advance(std::time::Duration::from_mins(8));
    }
    browser.logout().await;
    raw.send(&asked).await;
    raw.response().await.assert_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_methods_and_maintenance_count_as_ever() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("networks = [\"203.0.113.0/24\", \"127.0.0.1\"]\nmethods = [\"GET\"]")
        .config(&format!(
            "[[app]]\nname = \"closed\"\nhost = \"closed.test\"\nupstream = \"{}\"\n\
             maintenance = \"Back at six.\"\n[[app]]\nname = \"elsewhere\"\nhost = \"elsewhere.test\"\n\
             upstream = \"{}\"\nnetworks = [\"127.0.0.0/8\"]",
            app.url(),
            app.url()
        ))
        .app("host = \"gate.test\"")
        .start()
        .await;
    let ada = cookies(&gate, "ada").await;
    let to = gate.auth_address();
    for proxy in PROXIES {
        let ask = async |method, place, more: &str| {
            ask(to, auth_request_for(proxy, method, place, more)).await
        };
        ask("GET", ("gate.test", "/"), &ada)
            .await
            .assert_status(200);
        ask("POST", ("gate.test", "/"), &ada)
            .await
            .assert_status(403);
        ask("TRACE", ("gate.test", "/"), &ada)
            .await
            .assert_status(403);
        ask("CONNECT", ("gate.test", "/"), &ada)
            .await
            .assert_status(403);
        // Where the proxy is does not count.
        ask("GET", ("elsewhere.test", "/"), PAGE_LOAD)
            .await
            .assert_status(403);
        let reply = ask("GET", ("closed.test", "/"), "").await;
        reply.assert_status(503);
        reply.assert_contains("Back at six.");
        reply.assert_header("retry-after", "60");
        ask("GET", ("unknown.test", "/"), &ada)
            .await
            .assert_status(403);
    }
}
