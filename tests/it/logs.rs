//! What the program logs, and what it never does: SEC-71, SEC-72.

use serde_json::Value;

use crate::harness::*;

async fn service(app: &Upstream) -> Service {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await
}

/// The access lines, once there are so many.
async fn access_lines(service: &Service, count: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let log = service.program.log();
        log.into_iter()
            .filter(|line| line["target"] == "access")
            .collect()
    };
    eventually(&format!("{count} access lines"), || lines().len() >= count).await;
    lines()
}

#[tokio::test]
async fn each_request_is_one_line_that_says_who_what_and_how_it_ended() {
    let app = Upstream::raw("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello").await;
    let service = service(&app).await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.request(hyper::Method::PUT, "/x/y?secret=1", &[], "four".into())
        .await
        .assert_status(201);
    let lines = access_lines(&service, 3).await;
    let [.., line] = &lines[..] else {
        panic!("{lines:?}")
    };
    for (field, value) in [
        ("user", "ada".into()),
        ("client", "127.0.0.1".into()),
        ("app", "app".into()),
        ("method", "PUT".into()),
        ("path", "/x/y".into()),
        ("status", Value::from(201)),
        ("received", 4.into()),
        ("sent", 5.into()),
        ("complete", true.into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(line["session"].as_str().map(str::len), Some(8), "{line}");
    assert!(
        line["total_ms"].as_f64().is_some_and(|ms| ms >= 0.0),
        "{line}"
    );
    assert_eq!(lines.len(), 3, "login page, login, request: {lines:?}");
    service.browser().get("/public").await;
    let [.., stranger] = &access_lines(&service, 4).await[..] else {
        panic!()
    };
    assert!(
        stranger.get("user").is_none_or(Value::is_null),
        "{stranger}"
    );
    let ids: std::collections::BTreeSet<_> = lines
        .iter()
        .map(|line| line["request"].to_string())
        .collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn sec_71_nothing_that_a_client_sends_starts_a_line() {
    let app = Upstream::echo().await;
    let service = service(&app).await;
    let fake = "{\"target\":\"access\",\"user\":\"root\"}";
    for name in [
        format!("a\n{fake}"),
        format!("a\r\n{fake}"),
        format!("a\u{2028}{fake}"),
        format!("a\u{85}{fake}"),
        "\u{1b}[2Jx".to_owned(),
    ] {
        service.browser().try_login(&name, "wrong").await;
    }
    for target in ["/public%0a%0dfake", "/public?a%0ab", "/a%E2%80%A8b"] {
        service.browser().get(target).await;
    }
    let long = format!("/public/{}", "a".repeat(5000));
    service
        .browser()
        .header("user-agent", &"u".repeat(5000))
        .get(&long)
        .await;
    let lines = access_lines(&service, 14).await; // parsed as JSON, each of them
    assert_eq!(lines.len(), 14, "{lines:#?}");
    let events = service.program.log();
    assert!(events.iter().all(|line| line["user"] != "root"));
    let text = service.program.stdout();
    assert!(
        !text.contains(['\u{2028}', '\u{85}', '\u{1b}', '\r']),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.len() < 4000),
        "a line of any length"
    );
}

#[tokio::test]
async fn sec_72_secrets_are_not_logged() {
    let app = Upstream::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\nX: from-upstream-secret\r\n\r\n").await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[log]\nformat = \"json\"\nlevel = \"trace\"")
        .spawn()
        .await;
    service
        .browser()
        .try_login("ada", "wrong-password-typed")
        .await;
    service
        .browser()
        .login_at(
            "/.vestibule/login?return_to=/x%3Ftoken=return-to-secret",
            "ada",
            PASSWORD,
        )
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let browser = ada
        .clone()
        .header("authorization", "Bearer authorization-secret")
        .cookie("other=cookie-secret");
    browser
        .get("/path?token=query-secret")
        .await
        .assert_status(502);
    let cookie = ada.session_cookie();
    let id = cookie.split('=').nth(1).unwrap().to_owned();
    ada.logout().await;
    access_lines(&service, 7).await;
    let log = service.program.stdout() + &service.program.stderr();
    for secret in [
        "wrong-password-typed",
        "correct horse",
        "correct+horse",
        "authorization-secret",
        "cookie-secret",
        "query-secret",
        "return-to-secret",
        &id,
    ] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn the_audit_trail_says_who_signed_in_and_out_and_who_tried() {
    let app = Upstream::echo().await;
    let service = service(&app).await;
    service.browser().try_login("ada", "wrong").await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.logout().await;
    let audit = || -> Vec<Value> {
        service
            .program
            .log()
            .into_iter()
            .filter(|line| line["target"] == "audit")
            .collect()
    };
    eventually("three events", || audit().len() >= 3).await;
    let audit = audit();
    let messages: Vec<_> = audit
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["login failed", "login", "logout"], "{audit:#?}");
    assert!(
        audit.iter().take(2).all(|line| line["user"] == "ada"),
        "{audit:#?}"
    );
    assert!(
        audit.iter().all(|line| line["client"] == "127.0.0.1"),
        "{audit:#?}"
    );
    assert_eq!(audit[1]["session"], audit[2]["session"]);
}

/// As people search for them: `client=127.0.0.1`.
#[tokio::test]
async fn values_of_an_access_line_in_text_have_no_quotes() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .public()
        .config("[log]\nformat = \"text\"")
        .spawn()
        .await;
    service.browser().get("/a'b").await.assert_status(200);
    let last = app.last();
    let id = last.value("x-request-id").unwrap();
    let line = eventually_some("the line", async || {
        let text = service.program.stdout();
        let line = text.lines().find(|line| line.contains("method="));
        line.map(str::to_owned)
    })
    .await;
    for value in [
        &*format!(" request={id} "),
        " client=127.0.0.1 ",
        " method=GET ",
        " path=/a'b ",
        " version=HTTP/1.1 ",
    ] {
        assert!(line.contains(value), "{value} in {line}");
    }
}

#[tokio::test]
async fn the_access_log_can_be_off_and_lines_can_be_text() {
    let app = Upstream::echo().await;
    let mut service = Vestibule::before(&app)
        .public()
        .config("[log]\nformat = \"text\"\naccess = false")
        .spawn()
        .await;
    service.browser().get("/some-path").await.assert_status(200);
    service.program.signal(rustix::process::Signal::TERM);
    service.program.exit().await;
    let text = service.program.stdout_at_end().await;
    assert!(text.contains("listening") && !text.contains('{'), "{text}");
    assert!(!text.contains("some-path"), "{text}");
}

#[tokio::test]
async fn an_answer_that_broke_off_is_logged_as_such() {
    let app = Upstream::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    let service = service(&app).await;
    let mut raw = service.raw().await;
    raw.send("GET /public HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    raw.rest().await;
    let line = &access_lines(&service, 1).await[0];
    assert_eq!(
        (&line["complete"], &line["sent"]),
        (&Value::from(false), &Value::from(4)),
        "{line}"
    );
}
