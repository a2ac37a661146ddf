use bytes::Bytes;
use hyper::Method;

use super::*;
use crate::harness::run;

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_program_has_a_token_that_says_that_nobody_signed_in() {
    let app = Upstream::echo().await;
    let service = before(&app).app("tokens = true").spawn().await;
    let (code, api_token, stderr) = run(&service.files, &["token", "add", "ada"]);
    assert_eq!(code, Some(0), "{stderr}");
    let bearer = format!("Bearer {}", api_token.trim_end());
    let program = service.browser();
    let headers = [("authorization", bearer.as_str())];
    let asked = program.request(Method::PUT, "/dav/x", &headers, Bytes::new());
    asked.await.assert_status(200);
    let keys = program.get(KEYS).await.json();
    let claims = claims(&keys, &app.last());
    assert_eq!([&claims["sub"], &claims["name"]], ["users-file/ada", "ada"]);
    assert_eq!(
        [&claims["htm"], &claims["htu"]],
        ["PUT", "https://gate.test/dav/x"]
    );
    for absent in ["amr", "auth_time", "sid"] {
        assert_eq!(claims.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn a_password_by_http_basic_was_proved_and_opened_no_session() {
    use base64::engine::general_purpose::STANDARD;
    let app = Upstream::echo().await;
    let gate = before(&app).app("basic = true").start().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("ada:{PASSWORD}")));
    let headers = [("authorization", basic.as_str())];
    let asked = gate.browser();
    let asked = asked.request(Method::GET, "/", &headers, Bytes::new());
    asked.await.assert_status(200);
    let claims = claims(&keys(&gate).await, &app.last());
    assert_eq!(
        (&claims["name"], &claims["amr"]),
        (&json!("ada"), &json!(["pwd"]))
    );
    assert!(
        claims["auth_time"].is_u64() && claims.get("sid").is_none(),
        "{claims}"
    );
}

#[tokio::test]
async fn a_websocket_is_a_get_of_its_address() {
    let app = Upstream::websocket().await;
    let gate = before(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let headers = [("cookie", cookie.as_str()), ("origin", "https://gate.test")];
    let mut socket = open_websocket(gate.tcp().await, "/live?x", &headers)
        .await
        .unwrap();
    assert_eq!(socket.ask("hello").await, "hello");
    let claims = claims(&keys(&gate).await, &app.last());
    assert_eq!(
        [&claims["htm"], &claims["htu"]],
        ["GET", "https://gate.test/live"]
    );
}

#[tokio::test]
async fn a_late_form_has_a_token_of_the_moment_when_it_is_sent() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let browser = gate.browser();
    let kept = browser.post_form("/save", &[("text", "x")]).await;
    kept.assert_status(401);
    let signed_in = browser
        .post_form(
            "/.vestibule/login",
            &[
                ("csrf", &kept.hidden("csrf")),
                ("return_to", &kept.hidden("return_to")),
                ("username", "ada"),
                ("password", PASSWORD),
            ],
        )
        .await;
    signed_in.assert_redirects_to("/.vestibule/form");
    let page = browser.get("/.vestibule/form").await;
    let actions = page.actions();
    let button = actions.iter().find(|it| it.contains("vestibule-form="));
    let before = seconds_since_1970();
    let headers = [
        ("content-type", "text/plain"),
        ("origin", "https://gate.test"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "same-origin"),
    ];
    let csrf = format!("csrf={}\r\n", page.hidden("csrf"));
    let sent = browser.request(Method::POST, button.unwrap(), &headers, csrf.into());
    sent.await.assert_status(200);
    let request = app.last();
    assert_eq!(request.body, b"text=x");
    let claims = claims(&keys(&gate).await, &request);
    assert_eq!(
        [&claims["htm"], &claims["htu"]],
        ["POST", "https://gate.test/save"]
    );
    assert!(claims["iat"].as_u64().unwrap() >= before);
}

#[tokio::test]
async fn a_path_for_everyone_has_a_token_with_a_login_only() {
    let app = Upstream::echo().await;
    let gate = before(&app).public().start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value(HEADER), None);
    ada.get("/").await.assert_status(200);
    claims(&keys(&gate).await, &app.last());
}

#[tokio::test]
async fn users_of_any_alphabet_have_their_own_names() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app(ON)
        .user("Jürgen", PASSWORD)
        .user("Ада", PASSWORD)
        .start()
        .await;
    let keys = keys(&gate).await;
    for (typed, name) in [("ju\u{308}rgen", "Jürgen"), ("ада", "Ада")] {
        let browser = gate.browser().login(typed, PASSWORD).await;
        browser.get("/").await.assert_status(200);
        let claims = claims(&keys, &app.last());
        assert_eq!(claims["name"], name);
        assert_eq!(claims["sub"], format!("users-file/{name}"));
    }
}

#[tokio::test]
async fn users_in_very_many_groups_have_a_token_with_all_of_them() {
    let app = Upstream::echo().await;
    let groups: Vec<_> = (0..2000).map(|n| format!("group-{n}")).collect();
    let names: Vec<_> = groups.iter().map(String::as_str).collect();
    let gate = Vestibule::before(&app)
        .app(ON)
        .account(User::new("ada", PASSWORD).groups(&names))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let claims = claims(&keys(&gate).await, &app.last());
    assert_eq!(claims["groups"], json!(groups));
}

#[tokio::test]
async fn a_body_that_is_read_ahead_takes_its_time_and_the_token_is_of_the_end_of_it() {
    let app = Upstream::echo().await;
    let gate = before(&app).app("buffer_requests = \"1MiB\"").start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "PUT /upload HTTP/1.1\r\nHost: gate.test\r\nCookie: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n",
        ada.session_cookie()
    ))
    .await;
    let begun = seconds_since_1970();
    eventually("another second", || seconds_since_1970() > begun + 1).await;
    let end = seconds_since_1970();
    assert_eq!(app.requests(), 0);
    raw.send("0\r\n\r\n").await;
    raw.response().await.assert_status(200);
    let request = app.last();
    assert_eq!(
        (request.value("content-length"), &*request.body),
        (Some("4"), &b"slow"[..])
    );
    let claims = claims(&keys(&gate).await, &request);
    assert!(claims["iat"].as_u64().unwrap() >= end, "{claims}");
    assert_eq!(
        [&claims["htm"], &claims["htu"]],
        ["PUT", "https://gate.test/upload"]
    );
}
