//! Every answer of ours, SEC-64, SEC-65, SEC-67 to SEC-70, SEC-73.

mod titles;
mod without_session;

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/forbidden", "nobody")
        .rule("/public", "everyone")
        .start()
        .await
}

/// One of each kind of answer that we make.
async fn answers(gate: &Gate) -> Vec<(&'static str, Reply)> {
    let ada = gate.browser().login("ada", PASSWORD).await;
    vec![
        ("login page", gate.browser().get("/.vestibule/login").await),
        (
            "wrong password",
            gate.browser().try_login("ada", "wrong").await,
        ),
        ("redirect", gate.browser().get("/").await),
        ("401", gate.browser().fetch("/").await),
        ("403", ada.get("/forbidden").await),
        ("404", ada.get("/.vestibule/nothing").await),
        (
            "405",
            ada.request(Method::DELETE, "/.vestibule/login", &[], Bytes::new())
                .await,
        ),
        ("account", ada.get("/.vestibule/account").await),
        (
            "form of the account page",
            ada.post_form("/.vestibule/account", &[("action", "end-others")])
                .await,
        ),
        ("session", ada.get("/.vestibule/session").await),
        ("400", ada.get("/a%00b").await),
        ("logout page", ada.get("/.vestibule/logout").await),
        ("login", gate.browser().try_login("ada", PASSWORD).await),
        ("logout", ada.logout().await),
        ("signed out", ada.get("/.vestibule/logout").await),
    ]
}

#[tokio::test]
async fn the_page_of_an_address_without_an_app_has_its_style() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .app("host = \"gate.test\"")
        .start()
        .await;
    let stranger = gate.browser_for("other.test");
    let page = stranger.get("/").await;
    page.assert_status(421);
    let style = page.text();
    let style = style.split("rel=\"stylesheet\" href=\"").nth(1).unwrap();
    let style = style.split('"').next().unwrap();
    let here = stranger.get(style).await;
    here.assert_status(200)
        .assert_header("content-type", "text/css; charset=utf-8");
    assert_eq!(here.body, gate.browser().get(style).await.body);
    for other in [
        "/.vestibule/login",
        "/.vestibule/assets/",
        "/.vestibule/assets/other.css",
        "/style.css",
    ] {
        stranger.get(other).await.assert_status(421);
    }
    let posted = stranger.post_form(style, &[("a", "b")]).await;
    posted.assert_status(421);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_64_our_answers_are_locked_down() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for (name, reply) in Box::pin(answers(&gate)).await {
        let csp = reply
            .value("content-security-policy")
            .unwrap_or_else(|| panic!("{name}: {reply}"));
        assert!(csp.contains("default-src 'none'"), "{name}: {csp}");
        assert!(csp.contains("frame-ancestors 'none'"), "{name}: {csp}");
        assert!(!csp.contains("unsafe"), "{name}: {csp}");
        assert!(csp.contains("base-uri 'none'"), "{name}: {csp}");
        // The login leads on to an app, which may redirect to anywhere.
        let leads_on = matches!(name, "login page" | "wrong password");
        let action = if leads_on { "*" } else { "'self'" };
        let directive = format!("; form-action {action};");
        assert!(csp.contains(&directive), "{name}: {csp}");
        for (header, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(reply.value(header), Some(value), "{name}: {reply}");
        }
        let referrer = reply.value("referrer-policy");
        assert!(
            matches!(referrer, Some("same-origin" | "no-referrer")),
            "{name}: {reply}"
        );
        let hsts = reply.value("strict-transport-security").unwrap_or_default();
        assert!(hsts.contains("max-age="), "SEC-77, {name}: {reply}");
        assert_eq!(reply.value("server"), None, "SEC-70, {name}");
    }
}

#[tokio::test]
async fn sec_67_our_answers_are_kept_by_nobody() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for (name, reply) in Box::pin(answers(&gate)).await {
        assert_eq!(
            reply.value("cache-control"),
            Some("no-store"),
            "{name}: {reply}"
        );
    }
}

#[tokio::test]
async fn sec_67_shared_caches_do_not_keep_what_a_login_protects() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let control = exchange.header("x-answer").unwrap_or_default();
            let fields = [
                ("Cache-Control", control.as_str()),
                ("Content-Type", "text/plain"),
            ];
            let fields = if control.is_empty() {
                &fields[1..]
            } else {
                &fields[..]
            };
            exchange.reply("200 OK", fields, "page").await;
        })
    })
    .await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for answer in [
        "",
        "max-age=60",
        "public, max-age=60",
        "s-maxage=60",
        "no-store",
        "private",
        "no-cache",
    ] {
        let browser = if answer.is_empty() {
            ada.clone()
        } else {
            ada.clone().header("x-answer", answer)
        };
        let reply = browser.get("/").await;
        let control = reply.values("cache-control").join(", ");
        assert!(
            control.contains("private") || control.contains("no-store"),
            "{answer:?} became {control:?}"
        );
        assert!(
            !control.contains("public") && !control.contains("s-maxage"),
            "{answer:?} became {control:?}"
        );
        let stricter = answer != "no-store" || control.contains("no-store");
        assert!(stricter, "{answer:?} became {control:?}");
    }
    let public = gate
        .browser()
        .header("x-answer", "public, max-age=60")
        .get("/public")
        .await;
    public.assert_header("cache-control", "public, max-age=60");
}

#[tokio::test]
async fn sec_68_other_origins_may_read_nothing_of_ours() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for (method, target) in [
        (Method::OPTIONS, "/.vestibule/session"),
        (Method::GET, "/.vestibule/session"),
        (Method::GET, "/.vestibule/login"),
        (Method::OPTIONS, "/private"),
        (Method::GET, "/private"),
    ] {
        let headers = [
            ("origin", "https://evil.test"),
            ("access-control-request-method", "GET"),
        ];
        let reply = gate
            .browser()
            .request(method.clone(), target, &headers, Bytes::new())
            .await;
        let cors = reply
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("access-control"));
        assert_eq!(cors.count(), 0, "{method} {target}: {reply}");
    }
    let options = gate
        .browser()
        .request(Method::OPTIONS, "/private", &[], Bytes::new())
        .await;
    options.assert_status(401);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_65_nothing_that_a_visitor_says_becomes_markup() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let attack = "/x?\"><script>alert(1)</script>";
    let query: String = form_urlencoded::byte_serialize(attack.as_bytes()).collect();
    let pages = [
        gate.browser()
            .get(&format!("/.vestibule/login?return_to={query}"))
            .await,
        gate.browser()
            .try_login("\"><script>alert(1)</script>", "wrong")
            .await,
        gate.browser().get("/.vestibule/%3Cscript%3Ealert(1)").await,
    ];
    for page in &pages {
        assert!(!page.text().contains("<script>alert"), "{page}");
    }
    for (name, reply) in Box::pin(answers(&gate)).await {
        let text = reply.text();
        let inline = text
            .split("<script")
            .skip(1)
            .any(|rest| !rest.starts_with(" src="));
        let mut words = text.split_whitespace();
        let handler = words.any(|word| word.starts_with("on") && word.contains('='));
        assert!(!inline && !handler, "{name}: {reply}");
        assert!(
            !text.contains("<style") && !text.contains(" style="),
            "{name}: {reply}"
        );
        assert!(text.len() < 15 * 1024, "{name}: {} bytes", text.len());
    }
}

#[tokio::test]
async fn sec_70_errors_tell_nothing_of_the_inside() {
    let mut app =
        Upstream::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    let gate = Vestibule::before(&app).public().start().await;
    let bad = gate.browser().get("/").await;
    app.stop().await;
    let down = gate.browser().get("/secret-path?secret=query").await;
    for reply in [bad, down] {
        reply.assert_status(502).assert_contains("request id");
        for inside in [
            &app.authority(),
            "127.0.0.1",
            "hyper",
            "rustls",
            "Connection refused",
            "os error",
            "secret",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(!reply.text().contains(inside), "{inside} in {reply}");
        }
    }
}

#[tokio::test]
async fn errors_fit_who_asks() {
    let mut app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    app.stop().await;
    let page = gate.browser().get("/").await;
    assert!(
        page.value("content-type").unwrap().starts_with("text/html"),
        "{page}"
    );
    let fetched = gate.browser().fetch("/").await;
    assert!(
        !fetched
            .value("content-type")
            .unwrap()
            .starts_with("text/html"),
        "{fetched}"
    );
    fetched.assert_status(502);
}

#[tokio::test]
async fn head_gives_the_head_of_a_page() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut raw = gate.raw().await;
    for target in ["/.vestibule/login", "/.vestibule/nothing", "/"] {
        raw.send(format!(
            "HEAD {target} HTTP/1.1\r\nHost: gate.test\r\nAccept: text/html\r\n\r\n"
        ))
        .await;
        let head = raw.response_to_head().await;
        let page = gate.browser().get(target).await;
        assert_eq!(head.status, page.status, "{target}");
        assert_eq!(
            head.value("content-type"),
            page.value("content-type"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn sec_73_our_addresses_never_reach_an_app() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for path in [
        "/.vestibule",
        "/.vestibule/",
        "/.vestibule/login",
        "/.vestibule/nothing",
        "/.vestibule/assets/../../etc/passwd",
        "/.vestibule/assets/nothing.css",
        "/%2evestibule/login",
        "/.%76estibule/x",
        "/./.vestibule/x",
        "/a/../.vestibule/x",
        "//.vestibule/x",
        "/.vestibule;x/login",
        "/.vestibule//login",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::OPTIONS] {
            gate.browser()
                .request(method, path, &[], Bytes::new())
                .await;
        }
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    gate.browser().get("/.vestibulex").await.assert_status(200);
}

#[tokio::test]
async fn assets_come_from_us_with_their_type_and_may_be_kept() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let page = gate.browser().get("/.vestibule/login").await.text();
    let mut assets = 0;
    for part in page
        .split(['"', '\''])
        .filter(|part| part.contains("/assets/"))
    {
        let reply = gate.browser().fetch(part).await;
        reply
            .assert_status(200)
            .assert_header("x-content-type-options", "nosniff");
        assert!(
            reply
                .value("content-type")
                .is_some_and(|kind| kind.starts_with("text/") || kind.starts_with("image/")),
            "{reply}"
        );
        assert!(
            reply
                .value("cache-control")
                .is_some_and(|control| control.contains("max-age")),
            "{reply}"
        );
        assets += 1;
    }
    assert!(assets >= 3, "style, script and icon in {page}");
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "a third party in {page}"
    );
}
