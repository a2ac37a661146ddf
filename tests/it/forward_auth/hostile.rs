use super::spoofs::{SPELLINGS, all, forged};
use super::*;

/// A name that only the client can have sent, of those that the proxy does not read.
fn is_read_by(proxy: &str, name: &str) -> bool {
    auth_request(proxy, "GET", "/", "")
        .lines()
        .any(|line| line.split(':').next().unwrap().eq_ignore_ascii_case(name))
}

/// The same of a path that is open to everybody, which an app could read as another one.
const NOT_PUBLIC: [&str; 6] = [
    "/%70ublic/x",
    "/publi%63",
    "/public%2fx",
    "//public/x",
    "/public/%2561/../x",
    "/publicx",
];

#[tokio::test(flavor = "multi_thread")]
async fn sec_95_names_of_forwarding_that_the_proxy_does_not_set_change_no_verdict() {
    let app = Upstream::echo().await;
    let gate = before(&app).app("host = \"gate.test\"").start().await;
    let bob = cookies(&gate, "bob").await;
    let to = gate.auth_address();
    let mut asked = 0;
    for proxy in PROXIES {
        let mut raw = connect(to).await;
        for (target, status) in [("/", 200), ("/admin", 403), ("/public", 200)] {
            for name in all() {
                for spelt in [
                    name.to_owned(),
                    name.replace('-', "_"),
                    name.replace('-', "."),
                ] {
                    if is_read_by(proxy, &spelt) {
                        continue;
                    }
                    let value = forged(name);
                    let long = "/".repeat(20_000);
                    for more in [
                        format!("{spelt}: {value}\r\n"),
                        format!("{spelt}: {value}\r\n{spelt}: {value}\r\n"),
                        format!("{spelt}: {long}\r\n"),
                        format!("{spelt}: \r\n"),
                    ] {
                        raw.send(auth_request(proxy, "GET", target, &format!("{bob}{more}")))
                            .await;
                        let reply = raw.response().await;
                        let shown: String = more.chars().take(80).collect();
                        assert_eq!(reply.status, status, "{proxy} {target} {shown}");
                        asked += 1;
                    }
                }
            }
        }
    }
    assert!(asked > 3000, "{asked}");
    // 64 KiB in one of them are no auth request: nobody is let in, and those after it are answered.
    let long = "/".repeat(65_536);
    for proxy in PROXIES {
        for name in all().filter(|name| !is_read_by(proxy, name)) {
            let more = format!("{bob}{name}: {long}\r\n");
            let reply = ask(to, auth_request(proxy, "GET", "/", &more)).await;
            reply.assert_status(431);
        }
        let reply = ask(to, auth_request(proxy, "GET", "/", &bob)).await;
        reply.assert_status(200);
    }
}

/// What comes after such an upgrade, nobody would be asked about.
#[tokio::test(flavor = "multi_thread")]
async fn sec_76_an_upgrade_to_anything_but_a_websocket_is_refused() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    for proxy in PROXIES {
        for more in [
            "HTTP2-Settings: AAMAAABk\r\n",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: tcp\r\n",
        ] {
            let mut raw = connect(gate.auth_address()).await;
            raw.send(auth_request(proxy, "GET", "/public", more)).await;
            raw.response().await.assert_status(403);
        }
        let mut raw = connect(gate.auth_address()).await;
        raw.send(auth_request(proxy, "GET", "/public", "")).await;
        raw.response().await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_29_no_spelling_of_a_path_opens_what_is_for_others() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let (bob, ada) = (cookies(&gate, "bob").await, cookies(&gate, "ada").await);
    let to = gate.auth_address();
    for proxy in PROXIES {
        for target in SPELLINGS {
            if proxy == "envoy" && target.starts_with("http") {
                continue;
            }
            for method in ["GET", "POST", "PROPFIND"] {
                let reply = ask(to, auth_request(proxy, method, target, &bob)).await;
                // Bytes beyond ASCII are no request line, nor is a backslash.
                let refused = [400, 403];
                assert!(refused.contains(&reply.status), "{proxy} {target}: {reply}");
            }
        }
        for target in NOT_PUBLIC {
            let reply = ask(to, auth_request(proxy, "GET", target, "")).await;
            assert!(
                [401, 403].contains(&reply.status),
                "{proxy} {target}: {reply}"
            );
        }
        for (target, status) in [
            ("/%61dmin/x", 200), // judged as both, and ada may open both
            ("/~ada/%7Eada/a%20b", 200),
            ("/caf%C3%A9", 200),
            ("/a//b", 403), // the app gets it as it is, and may read it as it likes
            ("/a/%2e%2e/b", 403),
            ("/a%2fb", 403),
            ("/.vestibule/login", 403),
            ("/%2evestibule/login", 403),
            ("/.vestibule", 403),
        ] {
            let reply = ask(to, auth_request(proxy, "GET", target, &ada)).await;
            assert_eq!(reply.status, status, "{proxy} {target}: {reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_93_what_an_app_takes_in_paths_is_judged_in_every_reading() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("allow_in_path = [\"encoded-slash\", \"double-slash\"]")
        .start()
        .await;
    let (bob, ada) = (cookies(&gate, "bob").await, cookies(&gate, "ada").await);
    let to = gate.auth_address();
    for (target, for_bob, for_ada) in [
        ("/a%2Fb", 200, 200),
        ("/a//b", 200, 200),
        ("/admin%2Fx", 403, 200),
        ("//admin/x", 403, 200),
        ("//host/admin/x", 403, 200),
        ("/a%2F..%2Fb", 403, 403),
        ("/%61dmin%2fx", 403, 200),
    ] {
        for (who, status) in [(&bob, for_bob), (&ada, for_ada)] {
            let reply = ask(to, auth_request("nginx", "GET", target, who)).await;
            assert_eq!(reply.status, status, "{target}: {reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_36_headers_that_an_app_may_take_for_ours_are_refused() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("[[app.rule]]\npath = \"/edit\"\nmethods = [\"PUT\"]\nallow = \"nobody\"")
        .start()
        .await;
    let ada = cookies(&gate, "ada").await;
    let to = gate.auth_address();
    for proxy in PROXIES {
        for (header, status) in [
            // The proxy replaces it.
            ("X-Forwarded-User: root", 200),
            ("X_Forwarded_User: root", 403),
            ("X-Forwarded_User: root", 403),
            ("X.Forwarded.User: root", 403),
            ("X~Forwarded-Groups: admins", 403),
            ("X-HTTP-Method-Override: PUT", 403),
            ("X_Method_Override: PUT", 403),
            ("Destination: https://gate.test/a/%61", 200), // nobody reads it in a GET
        ] {
            let more = format!("{ada}{header}\r\n");
            let reply = ask(to, auth_request(proxy, "GET", "/", &more)).await;
            assert_eq!(reply.status, status, "{proxy} {header}: {reply}");
        }
        for (destination, status) in [
            ("https://gate.test/a/b", 200),
            ("https://gate.test/admin/b", 200),
            ("https://gate.test/%61dmin/b", 403),
            ("https://gate.test/a//b", 403),
            ("https://evil.test/a", 403),
            ("https://gate.test/a/../b", 403),
        ] {
            let more = format!("{ada}Destination: {destination}\r\n");
            let reply = ask(to, auth_request(proxy, "MOVE", "/a", &more)).await;
            assert_eq!(reply.status, status, "{proxy} {destination}: {reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_95_auth_requests_without_a_name_or_with_two_are_refused() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let to = gate.auth_address();
    for proxy in PROXIES {
        let whole = auth_request(proxy, "GET", "/public", &ada);
        ask(to, &whole).await.assert_status(200);
        let names = whole
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("X-"));
        for line in names {
            let refused = async |auth_request: String| {
                let reply = ask(to, &auth_request).await;
                assert_eq!(reply.status, 403, "{auth_request}\n{reply}");
                assert_eq!(reply.json()["error"], "forward_auth", "{reply}");
            };
            let line = format!("{line}\r\n");
            refused(whole.replace(&line, "")).await;
            refused(whole.replace(&line, &line.repeat(2))).await;
            let name = line.split(':').next().unwrap();
            refused(whole.replace(&line, &format!("{name}: \r\n"))).await;
            refused(whole.replace(&line, &format!("{name}: \u{fc}\r\n"))).await;
            refused(whole.replace("https\r\n", "http\r\n")).await;
        }
        for target in [
            "/",
            "/metrics",
            "/.vestibule/login",
            "/nginx/",
            "/Nginx",
            "/envoy",
        ] {
            let line = whole.lines().next().unwrap();
            let other = whole.replace(line, &format!("GET {target} HTTP/1.1"));
            ask(to, other).await.assert_status(403);
        }
        // 64 KiB are no auth request; those after it are answered.
        let long = whole.replace(
            "\r\n\r\n",
            &format!("\r\nX-Long: {}\r\n\r\n", "x".repeat(65_536)),
        );
        ask(to, long).await.assert_status(431);
        ask(to, &whole).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_06_what_is_no_http_is_refused_there_as_anywhere() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let whole = auth_request("nginx", "GET", "/admin", &ada);
    for (from, to) in [
        ("\r\nX-Real", "\nX-Real"),
        ("X-Real-IP:", "X-Real-IP :"),
        ("X-Real-IP: ", "X-Real-IP:\r\n "),
        (
            "\r\nX-Real",
            "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nX-Real",
        ),
        ("/nginx", "/nginx#"),
    ] {
        let mut raw = connect(gate.auth_address()).await;
        raw.send(whole.replace(from, to)).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{to:?}: {answer}");
        assert!(!answer.contains("HTTP/1.1 200"), "{to:?}: {answer}");
    }
}

/// As everywhere: one credential, in a field.
#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_in_two_fields_or_in_the_query_lets_nobody_in() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).app("tokens = true").start().await;
    let files = gate.files();
    let (code, token, said) = tokio::task::block_in_place(|| run(files, &["token", "add", "ada"]));
    assert_eq!(code, Some(0), "{said}");
    let (token, to) = (token.trim_end(), gate.auth_address());
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let basic = "Authorization: Basic eDp5\r\n";
    for proxy in PROXIES {
        let good = ask(to, auth_request(proxy, "GET", "/", &bearer)).await;
        good.assert_status(200);
        for more in [
            bearer.repeat(2),
            format!("{bearer}{basic}"),
            format!("{basic}{bearer}"),
            format!("{bearer}authorization: Bearer x\r\n"),
            bearer.replace("Authorization", "X-Original-Authorization"),
            bearer.replace("Authorization", "Proxy-Authorization"),
            bearer.replace(&token[30..], &format!("\r\n {}", &token[30..])),
        ] {
            let reply = ask(to, auth_request(proxy, "GET", "/", &more)).await;
            assert!(
                [400, 401, 403].contains(&reply.status),
                "{proxy} {more}: {reply}"
            );
            assert_eq!(
                reply.value("x-forwarded-user"),
                None,
                "{proxy} {more}: {reply}"
            );
        }
        for name in ["access_token", "token", "authorization", "X-Api-Key"] {
            let target = format!("/?{name}={token}");
            let reply = ask(to, auth_request(proxy, "GET", &target, "")).await;
            reply.assert_status(401);
        }
    }
}
