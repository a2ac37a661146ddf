//! Passwords of people by HTTP Basic: for programs, verified and counted as a login is.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

fn before(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .account(User::new("Ada", PASSWORD).groups(&["staff"]))
        .user("bob", PASSWORD)
        .app("basic = true")
        .config("[login.throttle]\naccount_failures = 3")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What a program sends, and nothing that browsers do.
async fn ask(browser: &Browser, headers: &[(&str, &str)]) -> Reply {
    browser
        .request(Method::GET, "/", headers, Bytes::new())
        .await
}

async fn get(gate: &Gate, authorization: &str) -> Reply {
    ask(&gate.browser(), &[("authorization", authorization)]).await
}

#[tokio::test]
async fn a_password_signs_a_program_in_and_never_reaches_the_app() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let right = basic("ADA", PASSWORD);
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let headers = [
            ("authorization", right.as_str()),
            ("x-forwarded-user", "root"),
            ("x_forwarded_user", "root"),
        ];
        let reply = ask(&browser, &headers).await;
        reply.assert_status(200);
        assert!(reply.values("set-cookie").is_empty(), "no session: {reply}");
        let head = app.last().head.to_ascii_lowercase();
        assert!(head.contains("x-forwarded-user: ada"), "{head}");
        assert!(head.contains("x-forwarded-groups: staff"), "{head}");
        for absent in ["authorization", "root", "basic"] {
            assert!(!head.contains(absent), "{absent} in {head}");
        }
    }
    let encoded = right.strip_prefix("Basic ").unwrap().as_bytes();
    let bytes = app.bytes();
    for part in [encoded, PASSWORD.as_bytes()] {
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
}

#[tokio::test]
async fn sec_59_wrong_passwords_count_as_at_the_login_page_and_the_same_one_once() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    for _ in 0..10 {
        let reply = get(&gate, &basic("ada", "wrong")).await;
        reply.assert_status(401);
        assert_eq!(reply.json()["error"], "wrong_password");
        let asked = "Basic realm=\"Vestibule\", charset=\"UTF-8\"";
        assert_eq!(reply.values("www-authenticate"), [asked]);
    }
    get(&gate, &basic("ada", "another"))
        .await
        .assert_status(401);
    let throttled = get(&gate, &basic("ada", "one more")).await;
    throttled.assert_status(429);
    assert_eq!(throttled.json()["error"], "login_throttled");
    let wait: u64 = throttled.value("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{throttled}");
    get(&gate, &basic("ada", PASSWORD)).await.assert_status(429);
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(429);
    get(&gate, &basic("bob", PASSWORD)).await.assert_status(200);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_right_password_is_known_for_five_minutes_even_while_others_guess() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let right = basic("ada", PASSWORD);
    get(&gate, &right).await.assert_status(200);
    for guess in ["1", "2", "3", "4"] {
        get(&gate, &basic("ada", guess)).await;
    }
    get(&gate, &basic("ada", "5")).await.assert_status(429);
    get(&gate, &right).await.assert_status(200);
    gate.advance(Duration::from_mins(5));
    get(&gate, &right).await.assert_status(429);
    gate.advance(Duration::from_mins(15));
    get(&gate, &right).await.assert_status(200);
}

#[tokio::test]
async fn sec_51_another_password_or_no_user_ends_what_is_known_and_its_streams() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await;
    for how in ["password", "disabled"] {
        let mut gate = before(&app).start().await;
        let right = basic("ada", PASSWORD);
        get(&gate, &right).await.assert_status(200);
        let stream = tokio::net::TcpStream::connect(gate.address())
            .await
            .unwrap();
        let opened = open_websocket(stream, "/ws", &[("authorization", &*right)]).await;
        let mut socket = opened.unwrap();
        assert_eq!(socket.ask("here").await, "here");
        gate.files().change_user("Ada", |user| match how {
            "password" => *user = User::new("Ada", "quiet otters hum"),
            _ => *user = User::new("Ada", PASSWORD).disabled(),
        });
        let ended = within("the end of the stream", socket.closed()).await;
        assert_eq!(ended, Some(1008), "{how}");
        get(&gate, &right).await.assert_status(401);
    }
}

#[tokio::test]
async fn sec_96_what_a_browser_sends_along_by_itself_signs_nobody_in_and_shows_no_dialog() {
    let app = Upstream::echo().await;
    let gate = before(&app).rule("/public", "everyone").start().await;
    let right = basic("ada", PASSWORD);
    for (more, status) in [
        (("x-nothing", "more"), 200),
        (("origin", "https://gate.test"), 200),
        (("origin", "https://evil.test"), 401),
        (("origin", "null"), 401),
        (("sec-fetch-site", "none"), 401),
        (("sec-fetch-mode", "cors"), 401),
    ] {
        let headers = [("authorization", right.as_str()), more];
        let reply = ask(&gate.browser(), &headers).await;
        assert_eq!(reply.status, status, "{more:?}: {reply}");
        if status == 401 {
            let asked = reply.values("www-authenticate").join(" ");
            assert!(!asked.to_lowercase().contains("basic"), "a dialog: {asked}");
        }
        // Where everyone may, the app sees neither the password nor the user.
        let browser = gate.browser();
        let reply = browser.request(Method::GET, "/public", &headers, Bytes::new());
        reply.await.assert_status(200);
        let got = app.last();
        assert_eq!(got.value("authorization"), None, "{more:?}");
        let user = (status == 200).then_some("Ada");
        assert_eq!(got.value("x-forwarded-user"), user, "{more:?}");
    }
}

#[tokio::test]
async fn with_a_session_an_authorization_is_the_apps() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for own in [&*basic("bob", PASSWORD), "Basic !!!", "Bearer of.the.app"] {
        ask(&ada, &[("authorization", own)])
            .await
            .assert_status(200);
        assert_eq!(app.last().value("authorization"), Some(own));
        assert_eq!(app.last().value("x-forwarded-user"), Some("Ada"));
    }
}

#[tokio::test]
async fn broken_basic_lets_nobody_in() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let right = basic("ada", PASSWORD);
    for (authorization, status) in [
        ("Basic".to_owned(), 400),
        ("Basic !!!".to_owned(), 400),
        (format!("Basic {}", STANDARD.encode("no colon")), 400),
        (format!("Basic {}", STANDARD.encode(b"\xff:x")), 400),
        (right.replacen("Basic ", "Basic =", 1), 400),
        (format!("{}\t{}", &right[..12], &right[12..]), 400),
        (right.replacen("Basic ", "basic   ", 1), 200),
        (basic("", ""), 401),
        (basic("ada", ""), 401),
        (basic("nobody", PASSWORD), 401),
        (basic("bob", &"x".repeat(1025)), 401),
    ] {
        let reply = get(&gate, &authorization).await;
        assert_eq!(reply.status, status, "{authorization}: {reply}");
    }
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nAuthorization: {right}\r\nAuthorization: {right}\r\n\r\n"
    ))
    .await;
    raw.response().await.assert_status(400);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn without_basic_a_password_is_the_apps_and_opens_nothing() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let right = basic("ada", PASSWORD);
    get(&gate, &right).await.assert_status(401);
    let browser = gate.browser();
    let headers = [("authorization", right.as_str())];
    let reply = browser.request(Method::GET, "/public", &headers, Bytes::new());
    reply.await.assert_status(200);
    assert_eq!(app.last().value("authorization"), Some(&*right));
    assert_eq!(app.last().value("x-forwarded-user"), None);
}
