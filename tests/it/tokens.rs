//! API tokens: for programs, within a scope, for a while, and cut out before the app sees them.

mod commands;
mod ends;
mod hidden;
mod scopes;
mod successors;

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

const TOKENS: &str = "tokens = true";

async fn app() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                "/download" => exchange.download_without_end().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await
}

fn before(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .account(User::new("Ada", PASSWORD).groups(&["staff"]))
        .user("bob", PASSWORD)
        .app(TOKENS)
}

/// A command that has to succeed; gives what it printed.
fn done(files: &Files, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(files, args);
    assert_eq!(code, Some(0), "{args:?}: {stdout}{stderr}");
    stdout
}

/// Makes a token of a user, with these further arguments.
fn made(files: &Files, user: &str, args: &[&str]) -> String {
    let token = done(files, &[&["token", "add", user], args].concat());
    let token = token.trim_end();
    assert_eq!(token.len(), 53, "{token}");
    token.to_owned()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// What a program sends, and nothing that browsers do.
async fn ask(browser: &Browser, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    browser.request(method, target, headers, Bytes::new()).await
}

async fn get(browser: &Browser, target: &str, authorization: &str) -> Reply {
    ask(browser, "GET", target, &[("authorization", authorization)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_signs_a_program_in_and_never_reaches_the_app() {
    let app = app().await;
    let service = before(&app)
        .app("token_header = \"X-Api-Key\"")
        .spawn()
        .await;
    let token = made(&service.files, "ada", &[]);
    let (bearer, basic) = (bearer(&token), basic("ADA", &token));
    let forged = [("x-forwarded-user", "root"), ("x_forwarded_user", "root")];
    for browser in [service.browser(), service.browser().over_http2()] {
        for way in [
            ("authorization", &*bearer),
            ("authorization", &basic),
            ("x-api-key", &token),
        ] {
            let before = app.requests();
            let headers = [way, forged[0], forged[1], ("x-other", "kept")];
            let reply = ask(&browser, "PROPFIND", "/dav", &headers).await;
            reply.assert_status(200);
            assert!(reply.values("set-cookie").is_empty(), "no session: {reply}");
            assert_eq!(app.requests(), before + 1);
            let head = app.last().head.to_ascii_lowercase();
            assert!(head.contains("x-forwarded-user: ada"), "{head}");
            assert!(head.contains("x-forwarded-groups: staff"), "{head}");
            assert!(head.contains("x-other: kept"), "{head}");
            for absent in ["authorization", "x-api-key", "root", "vst_"] {
                assert!(!head.contains(absent), "{absent} in {head}");
            }
        }
    }
    let bytes = app.bytes();
    for part in [token.as_bytes(), STANDARD.encode(&token).as_bytes()] {
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_the_apps() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let token = made(&service.files, "ada", &[]);
    let ada = service.browser().login("ada", PASSWORD).await;
    let wrong_sum = format!("Bearer vst_{}", "x".repeat(49));
    for own in [
        "Bearer of.the.app",
        &wrong_sum,
        "Basic YWRhOng=",
        "Negotiate YII",
    ] {
        get(&ada, "/", own).await.assert_status(200);
        assert_eq!(app.last().value("authorization"), Some(own));
        get(&service.browser(), "/", own).await.assert_status(401);
    }
    // The session of a browser does not count where somebody shows a token.
    let bobs = made(&service.files, "bob", &[]);
    get(&ada, "/", &bearer(&bobs)).await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("bob"));
    assert_eq!(app.last().value("authorization"), None);
    // Never from the query.
    let target = format!("/?access_token={token}");
    ask(&service.browser(), "GET", &target, &[])
        .await
        .assert_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_odd_credentials_let_nobody_in_and_reach_no_app() {
    let app = app().await;
    let service = before(&app)
        .app("token_header = \"X-Api-Key\"")
        .spawn()
        .await;
    let token = made(&service.files, "ada", &[]);
    let ours = format!("Authorization: Bearer {token}");
    let ours_in_own = format!("X-Api-Key: {token}");
    let basic = |pair: String| format!("Authorization: Basic {}", STANDARD.encode(pair));
    for (fields, status) in [
        (vec![ours.clone()], 200),
        (
            vec![ours.to_uppercase().replace(&token.to_uppercase(), &token)],
            200,
        ),
        (vec![ours.clone(), ours.clone()], 400),
        (vec![ours.clone(), "Authorization: Bearer x".into()], 400),
        (vec!["Authorization: Basic eDp5".into(), ours.clone()], 400),
        (vec![ours.clone(), ours_in_own.clone()], 400),
        (vec![ours_in_own.clone(), ours_in_own], 400),
        (vec![format!("Authorization: {token}")], 400),
        (vec![format!("Authorization: Token {token}")], 400),
        (
            vec![format!("Authorization: Bearer {token}, Bearer x")],
            400,
        ),
        (vec![format!("X-Api-Key: Bearer {token}")], 400),
        (vec![basic(format!("{token}:x-oauth-basic"))], 400),
        (vec![basic(format!("ada:{token}\n"))], 400),
        (vec![basic(format!("bob:{token}"))], 401),
        (vec![basic(format!(":{token}"))], 401),
        (vec![format!("{}!", basic(format!("ada:{token}")))], 400),
        (vec!["Authorization: Basic YWRh\tOng=".into()], 401),
        (vec!["Authorization: Basic".into()], 401),
        (vec![format!("Authorization: Bearer {}", &token[..52])], 401),
        (vec![format!("Proxy-Authorization: Bearer {token}")], 401),
        (vec![format!("Cookie: __Host-Http-vestibule={token}")], 401),
    ] {
        let before = app.requests();
        let mut raw = service.raw().await;
        let mut request = "GET / HTTP/1.1\r\nHost: gate.test\r\n".to_owned();
        for field in &fields {
            write!(request, "{field}\r\n").unwrap();
        }
        raw.send(request + "\r\n").await;
        raw.response().await.assert_status(status);
        let reached = app.requests() - before;
        assert_eq!(reached, usize::from(status == 200), "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_opens_none_of_our_own_pages() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let bearer = bearer(&made(&service.files, "ada", &[]));
    let page = [("authorization", &*bearer), ("accept", "text/html")];
    let reply = ask(&service.browser(), "GET", "/.vestibule/account", &page).await;
    reply.assert_status(303);
    get(&service.browser(), "/.vestibule/account", &bearer)
        .await
        .assert_status(401);
    let session = get(&service.browser(), "/.vestibule/session", &bearer).await;
    assert!(!session.text().contains("Ada"), "{session}");
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_what_a_browser_sends_along_by_itself_signs_nobody_in() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let token = made(&service.files, "ada", &[]);
    let (basic, bearer) = (basic("ada", &token), bearer(&token));
    let own = ("origin", "https://gate.test");
    for (more, by_basic, by_bearer) in [
        (("x-nothing", "more"), 200, 200),
        (own, 200, 200),
        (("origin", "https://evil.test"), 401, 200),
        (("origin", "null"), 401, 200),
        (("sec-fetch-site", "same-origin"), 401, 200),
        (("sec-fetch-mode", "cors"), 401, 200),
    ] {
        for (authorization, status) in [(&basic, by_basic), (&bearer, by_bearer)] {
            let headers = [("authorization", authorization.as_str()), more];
            let reply = ask(&service.browser(), "POST", "/", &headers).await;
            assert_eq!(reply.status, status, "{more:?} {authorization}: {reply}");
            if status == 401 {
                let asked = reply.values("www-authenticate").join(" ");
                assert!(!asked.to_lowercase().contains("basic"), "a dialog: {asked}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_how_to_sign_in_and_browsers_see_no_dialog() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let ours = [
        "Basic realm=\"Vestibule\", charset=\"UTF-8\"",
        "Bearer realm=\"Vestibule\"",
    ];
    let reply = ask(&service.browser(), "GET", "/", &[]).await;
    reply.assert_status(401);
    assert_eq!(reply.values("www-authenticate"), ours);
    assert!(
        reply
            .text()
            .contains("Send your user name and an API token")
    );
    let git = [("user-agent", "git/2.47.1")];
    let reply = ask(&service.browser(), "GET", "/info/refs", &git).await;
    assert_eq!(reply.values("www-authenticate"), ours);
    assert!(reply.text().contains("API token"), "{reply}");
    for browser in [
        ("sec-fetch-mode", "cors"),
        ("user-agent", "Mozilla/5.0 (X11)"),
        ("origin", "https://gate.test"),
    ] {
        let reply = ask(&service.browser(), "GET", "/", &[browser]).await;
        reply.assert_status(401);
        let asked = reply.value("www-authenticate").unwrap();
        assert!(asked.starts_with("Cookie "), "{asked}");
    }
    service.browser().get("/").await.assert_status(303);
    // Somebody else's token: right in form, and of nobody.
    let unknown = vestibule_token();
    let reply = get(&service.browser(), "/", &bearer(&unknown)).await;
    reply.assert_status(401);
    assert_eq!(reply.json()["error"], "invalid_token");
    let expected = [
        ours[0],
        "Bearer realm=\"Vestibule\", error=\"invalid_token\"",
    ];
    assert_eq!(reply.values("www-authenticate"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_takes_no_tokens_says_so_whether_they_are_good_or_not() {
    let app = app().await;
    let service = Vestibule::before(&app).user("ada", PASSWORD);
    let service = service.rule("/open", "everyone").spawn().await;
    let (good, unknown) = (made(&service.files, "ada", &[]), vestibule_token());
    let browser = service.browser();
    let told = [
        "basic realm=\"Sign in with a web browser\"",
        "Bearer realm=\"Vestibule\"",
    ];
    let curl = ("user-agent", "curl/8.5");
    let git = ("user-agent", "git/2.47.1");
    for token in [&good, &unknown] {
        for shown in [bearer(token), basic("ada", token)] {
            for agent in [curl, git] {
                let headers = [("authorization", &*shown), agent];
                let reply = ask(&browser, "GET", "/", &headers).await;
                reply.assert_status(401);
                for part in ["This app takes no API tokens", "tokens = true"] {
                    assert!(reply.text().contains(part), "{reply}");
                }
                assert_eq!(reply.values("www-authenticate"), told);
                if agent == curl {
                    assert_eq!(reply.json()["error"], "login_required");
                }
                // On public paths it is simply ignored.
                let reply = ask(&browser, "GET", "/open", &headers).await;
                reply.assert_status(200);
                assert_eq!(app.last().value("authorization"), None);
            }
        }
    }
    // What is the app's own is no token, and without any the words are the usual ones.
    let other = ask(&browser, "GET", "/", &[("authorization", "Bearer x"), curl]).await;
    assert_eq!(other.values("www-authenticate"), told);
    let nothing = ask(&browser, "GET", "/", &[curl]).await;
    assert_eq!(nothing.values("www-authenticate"), told[..1]);
    for reply in [other, nothing] {
        reply.assert_status(401);
        assert!(!reply.text().contains("API token"), "{reply}");
    }
    // A script in a page reads it as well, and its browser shows no dialog.
    let bearer = bearer(&good);
    let headers = [("authorization", &*bearer), ("sec-fetch-mode", "cors")];
    let reply = ask(&browser, "GET", "/", &headers).await;
    reply.assert_status(401).assert_contains("tokens = true");
    let asked = reply.values("www-authenticate").join(" ");
    assert!(
        asked.starts_with("Cookie ") && !asked.contains("Bearer"),
        "{asked}"
    );
}

/// A token that nobody has made.
fn vestibule_token() -> String {
    "vst_00000000000000000000000000000000000000000002CZclj".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_tokens_sees_none_that_is_sent_to_it_by_mistake() {
    let app = app().await;
    let other = Upstream::echo().await;
    let section = format!(
        "[[app]]\nname = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"\n\
         [[app.rule]]\npath = \"/public\"\nallow = \"everyone\"\n",
        other.url()
    );
    let service = before(&app)
        .app("host = \"gate.test\"")
        .config(&section)
        .spawn()
        .await;
    let bearer = bearer(&made(&service.files, "ada", &[]));
    let browser = service.browser().header("host", "other.test");
    let mut raw = service.raw_for("other.test").await;
    for (path, status) in [("/", 401), ("/public", 200)] {
        raw.send(format!(
            "GET {path} HTTP/1.1\r\nHost: other.test\r\nAuthorization: {bearer}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
    }
    drop(browser);
    assert_eq!(other.requests(), 1);
    let got = other.last();
    assert_eq!(got.value("authorization"), None);
    assert_eq!(got.value("x-forwarded-user"), None, "nobody");
}
