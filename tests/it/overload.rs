//! Too much to do keeps nobody waiting who is signed in: REL-13.

mod flood;

use std::fs;

use serde_json::Value;

use crate::harness::*;

/// Opens a stream for each request on one connection, and lets all of them wait for the app.
async fn wait_for_app(gate: &Gate, cookie: &str, app: &Upstream, requests: u32) -> RawHttp2 {
    let mut connection = gate.raw_http2().await;
    let before = app.requests();
    for nth in 0..requests {
        let mut fields = RawHttp2::get("/slow");
        fields.push(("cookie", cookie));
        connection.headers(1 + 2 * nth, &fields, true).await;
    }
    let all = before + usize::try_from(requests).unwrap();
    eventually("all requests to wait", || app.requests() == all).await;
    connection
}

#[tokio::test]
async fn rel_13_when_most_requests_are_under_way_strangers_are_turned_away_and_nobody_else() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/quick", "everyone")
        .server("max_connections = 40")
        .app("upstream_max_connections = 100")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let stranger = gate.browser();
    stranger.get("/quick").await.assert_status(200);

    let cookie = ada.session_cookie();
    let mut greedy = wait_for_app(&gate, &cookie, &app, 20).await;
    // Half are under way: from here on no connection has more than a few.
    let mut fields = RawHttp2::get("/slow");
    fields.push(("cookie", &cookie));
    greedy.headers(41, &fields, true).await;
    assert_eq!(greedy.status(41).await, Some(503));
    let mut waiting = vec![greedy];
    for requests in [8, 2] {
        waiting.push(wait_for_app(&gate, &cookie, &app, requests).await);
    }
    for target in ["/quick", "/.vestibule/login", "/secret"] {
        let refused = stranger.get(target).await;
        refused.assert_status(503).assert_header("retry-after", "5");
        assert!(
            refused.text().contains("There is too much to do"),
            "{refused}"
        );
    }
    let refused = stranger.fetch("/quick").await;
    refused.assert_status(503).assert_header("retry-after", "5");
    let form = [("username", "ada"), ("password", PASSWORD)];
    let refused = stranger.post_form("/.vestibule/login", &form).await;
    refused.assert_status(503);
    for target in ["/quick", "/.vestibule/account", "/.vestibule/session"] {
        ada.get(target).await.assert_status(200);
    }

    for requests in [6, 4] {
        waiting.push(wait_for_app(&gate, &cookie, &app, requests).await);
    }
    let refused = ada.get("/quick").await;
    refused.assert_status(503).assert_header("retry-after", "5");
    drop(waiting);
    let stranger = stranger.fresh();
    eventually_some("better times", async || {
        let status = stranger.get("/quick").await.status;
        (status == 200).then_some(())
    })
    .await;
    ada.get("/quick").await.assert_status(200);
}

#[tokio::test]
async fn sec_28_who_reads_no_answer_takes_nobody_a_place() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 200")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let mut connection = gate.raw_http2().await;
        let no_window = [0, 4, 0, 0, 0, 0];
        connection.frame(frame::SETTINGS, 0, 0, no_window).await;
        for nth in 0..128 {
            let fields = RawHttp2::get("/.vestibule/login");
            connection.headers(1 + 2 * nth, &fields, true).await;
        }
        greedy.push(connection);
    }
    for connection in &mut greedy {
        // What is refused comes without a page that would have to wait.
        let refused = connection.outcome(255).await;
        assert!(refused.ended && refused.body.is_empty(), "{refused:?}");
    }
    ada.get("/").await.assert_status(200);
    let neighbour = gate.browser().login("ada", PASSWORD).await;
    neighbour.get("/").await.assert_status(200);
}

#[tokio::test]
async fn rel_13_a_form_is_not_lost_because_others_come_first() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 40")
        .app("upstream_max_connections = 100")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut waiting = Vec::new();
    for requests in [20, 8, 2] {
        waiting.push(wait_for_app(&gate, &cookie, &app, requests).await);
    }
    let stranger = gate.browser();
    stranger.get("/").await.assert_status(503);
    let kept = stranger.post_form("/save", &[("text", "long")]).await;
    kept.assert_status(401).assert_contains("Sign in");
    drop(waiting);
}

#[tokio::test]
async fn rel_13_the_last_connections_are_for_who_is_signed_in() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .server("max_connections = 20")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let asks = |target: &str, cookie: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n")
    };
    let cookie = ada.session_cookie();
    let mut hers = gate.raw().await;
    hers.send(asks("/", &cookie)).await;
    hers.response().await.assert_status(200);
    let mut strangers = Vec::new(); // they stay connected
    for _ in 0..17 {
        let mut stranger = gate.raw().await;
        stranger.send(asks("/open", "a=b")).await;
        stranger.response().await.assert_status(200);
        strangers.push(stranger);
    }

    // With the nineteenth no more than a tenth is left.
    let mut last = gate.raw().await;
    eventually_some("the limit to be noticed", async || {
        last.send(asks("/open", "a=b")).await;
        let reply = last.response().await;
        (reply.status == 503).then(|| reply.assert_header("connection", "close").clone())
    })
    .await;
    assert_eq!(last.rest().await, "", "it makes room");
    // Without the cookie she is told the same; her connection stays.
    hers.send(asks("/open", "a=b")).await;
    let refused = hers.response().await;
    refused.assert_status(503);
    assert!(refused.value("connection").is_none(), "{refused}");
    hers.send(asks("/", &cookie)).await;
    hers.response().await.assert_status(200);

    // Connections of strangers that wait for nothing make room, too; hers do not.
    let mut hers_too = gate.raw().await;
    for hers in [&mut hers, &mut hers_too] {
        hers.send(asks("/", &cookie)).await;
        hers.response().await.assert_status(200);
    }
    eventually_some("room for others", async || {
        let mut other = gate.raw().await;
        other.send(asks("/open", "a=b")).await;
        (other.response().await.status == 200).then_some(())
    })
    .await;
    for hers in [&mut hers, &mut hers_too] {
        hers.send(asks("/", &cookie)).await;
        hers.response().await.assert_status(200);
    }
    drop(strangers);
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_06_check_and_status_tell_one_memory_ceiling() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 1000")
        .login("kept_forms = \"1MiB\"")
        .spawn()
        .await;
    let (code, checked, said) = run(&service.files, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    let memory = checked.lines().find(|line| line.starts_with("memory "));
    let memory = memory.unwrap_or_else(|| panic!("{checked}"));
    assert!(memory.contains("at most "), "{memory}");
    for part in ["connections 63", "kept forms 1,", "sessions ", "hashing "] {
        assert!(memory.contains(part), "{memory}");
    }
    let ask = |command: &str| {
        let (code, told, said) = run(&service.files, &[command, "--json"]);
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str::<Value>(&told).unwrap()
    };
    let ceiling = ask("check")["memory_ceiling"].as_u64().unwrap();
    let status = ask("status");
    assert_eq!(status["memory"]["max"], ceiling);
    let resident = status["memory"]["open"].as_u64().unwrap();
    assert!((1 << 20..ceiling).contains(&resident), "{status}");
    assert_eq!(status["requests"]["max"], 1000);
    assert_eq!(status["shedding"], Value::Null);

    // Costlier passwords and more connections raise it without a restart.
    let users = fs::read_to_string(service.files.path("users.toml")).unwrap();
    let costly = users.replace("$m=19456,", "$m=65536,");
    assert_ne!(users, costly);
    service.files.write("users.toml", &costly, 0o600);
    service.reload(|text| text.replace("max_connections = 1000", "max_connections = 2000"));
    eventually("the new ceiling", || {
        let more = ask("status")["memory"]["max"].as_u64().unwrap() - ceiling;
        let hashing = more.checked_sub(1000 << 16);
        hashing.is_some_and(|more| more > 0 && more.is_multiple_of((65536 - 19456) << 10))
    })
    .await;
}
