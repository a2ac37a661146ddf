//! Too much to do keeps no signed-in user waiting, and no newcomer: REL-13, SEC-87.

mod crowds;
mod flood;
mod unread;

use std::fs;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::harness::tls::{self, HOST};
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

/// Opens streams that wait for the app until one is refused; how many wait.
async fn wait_until_refused(
    connection: &mut RawHttp2,
    fields: &[(&str, &str)],
    app: &Upstream,
) -> usize {
    let before = app.requests();
    let mut waiting = 0;
    loop {
        let stream = u32::try_from(1 + 2 * waiting).unwrap();
        connection.headers(stream, fields, true).await;
        let all = before + waiting + 1;
        let refused = some_within(PATIENCE, "the app or a refusal", async || {
            if app.requests() == all {
                return Some(false);
            }
            connection.has_status(stream).await.then_some(true)
        })
        .await;
        if refused {
            assert_eq!(connection.status(stream).await, Some(503));
            return waiting;
        }
        waiting += 1;
    }
}

#[tokio::test]
async fn sec_87_strangers_never_trigger_a_limit_for_users() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .server("max_connections = 40")
        .app("upstream_max_connections = 200")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut strangers = gate.raw_http2().await;
    let waiting = wait_until_refused(&mut strangers, &RawHttp2::get("/open"), &app).await;
    assert_eq!(waiting, 15, "half of what strangers may have");

    // A browser with thirty requests at a time, at the same address.
    let cookie = ada.session_cookie();
    let mut hers = wait_for_app(&gate, &cookie, &app, 30).await;
    ada.get("/quick").await.assert_status(200);
    let mut fields = RawHttp2::get("/slow");
    fields.push(("cookie", &cookie));
    for stream in [61, 63, 65] {
        hers.headers(stream, &fields, true).await;
    }
    assert_eq!(
        hers.status(65).await,
        Some(503),
        "she leaves a fifth to others"
    );

    // A made-up cookie makes nobody a user.
    let made_up = "__Host-vestibule=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut fields = RawHttp2::get("/.vestibule/login");
    fields.push(("cookie", made_up));
    let mut stranger = gate.raw_http2().await;
    stranger.headers(1, &fields, true).await;
    assert_eq!(stranger.status(1).await, Some(503));
    // Strangers from elsewhere are served.
    let mut other = RawHttp2::connect_from("127.0.0.2", gate.address()).await;
    other.headers(1, &fields, true).await;
    assert_eq!(other.status(1).await, Some(200));
}

#[tokio::test]
async fn sec_87_a_load_balancer_counts_by_its_clients() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .rule("/open", "everyone")
        .rule("/quick", "everyone")
        .server("max_connections = 40\ntrusted_proxies = [\"127.0.0.1\"]")
        .app("upstream_max_connections = 200")
        .start()
        .await;
    let mut balancer = gate.raw_http2().await;
    let mut greedy = RawHttp2::get("/open");
    greedy.push(("x-forwarded-for", "192.0.2.1"));
    wait_until_refused(&mut balancer, &greedy, &app).await;
    let mut other = RawHttp2::get("/quick");
    other.push(("x-forwarded-for", "192.0.2.2"));
    balancer.headers(101, &other, true).await;
    assert_eq!(balancer.status(101).await, Some(200));
}

#[tokio::test]
async fn rel_13_a_form_is_not_lost_because_others_come_first() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .server("max_connections = 40")
        .app("upstream_max_connections = 200")
        .start()
        .await;
    let mut strangers = gate.raw_http2().await;
    wait_until_refused(&mut strangers, &RawHttp2::get("/open"), &app).await;
    let stranger = gate.browser();
    stranger.get("/").await.assert_status(503);
    let kept = stranger.post_form("/save", &[("text", "long")]).await;
    kept.assert_status(401).assert_contains("Sign in");
}

/// A connection from an address of this machine that asks for a target once.
async fn asks_from(source: &str, gate: &Gate, target: &str, cookie: &str) -> Option<Raw> {
    let stream = tls::connect_from(source, gate.address(), &["http/1.1"]).await;
    let mut connection = Raw::new(stream.ok()?);
    let asks = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    connection.send(asks).await;
    Some(connection)
}

#[tokio::test]
async fn sec_87_connections_that_ask_nothing_make_room_for_users() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 20\nmax_connections_per_address = 10")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut hers = asks_from("127.0.0.1", &gate, "/", &cookie).await.unwrap();
    hers.response().await.assert_status(200);
    let mut silent = Vec::new();
    for source in ["127.0.0.2", "127.0.0.3"] {
        for _ in 0..10 {
            let stream = tls::connect_from(source, gate.address(), &["http/1.1"]).await;
            silent.extend(stream.ok().map(Raw::new));
        }
    }
    // All are taken, and she still gets as many new ones as a browser opens.
    let mut browser = Vec::new();
    for _ in 0..6 {
        let mut one = asks_from("127.0.0.1", &gate, "/", &cookie).await.unwrap();
        one.response().await.assert_status(200);
        browser.push(one);
    }
    assert_eq!(silent[0].rest().await, "", "the oldest went");
    hers.send(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n"
    ))
    .await;
    hers.response().await.assert_status(200);
    // A stranger from elsewhere gets the login page.
    let mut stranger = asks_from("127.0.0.4", &gate, "/.vestibule/login", "a=b").await;
    let stranger = stranger.as_mut().unwrap();
    stranger.response().await.assert_status(200);
}

#[tokio::test]
async fn sec_87_connections_of_the_redirect_listener_make_room_too() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 6\nredirect_http = [\"127.0.0.1:0\"]")
        .start()
        .await;
    let mut plain = Vec::new();
    for _ in 0..6 {
        plain.push(TcpStream::connect(gate.redirect_address()).await.unwrap());
    }
    eventually_some("a connection of a silent one", async || {
        let mut one = asks_from("127.0.0.2", &gate, "/.vestibule/login", "a=b").await?;
        (one.response().await.status == 200).then_some(())
    })
    .await;
    let mut byte = [0];
    let read = within("the oldest to go", plain[0].read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn sec_87_the_last_connections_are_for_users_and_small_networks() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .rule("/quick", "everyone")
        .server("max_connections = 20")
        .app("upstream_max_connections = 200")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut hers = asks_from("127.0.0.1", &gate, "/quick", &cookie)
        .await
        .unwrap();
    hers.response().await.assert_status(200);
    // In use: they do not make room by themselves.
    let mut waiting = Vec::new();
    for source in ["127.0.0.2", "127.0.0.3"] {
        for _ in 0..5 {
            waiting.push(asks_from(source, &gate, "/open", "a=b").await.unwrap());
        }
    }
    eventually("all to wait", || app.requests() == 11).await;
    let mut more = Vec::new();
    for _ in 0..8 {
        more.push(gate.raw().await);
    }
    let mut greedy = eventually_some("the limit to be noticed", async || {
        let mut greedy = gate.raw().await;
        greedy
            .send(format!("GET /quick HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await;
        let reply = greedy.response().await;
        (reply.status == 503).then(|| {
            reply.assert_header("connection", "close");
            greedy
        })
    })
    .await;
    assert_eq!(greedy.rest().await, "", "it makes room");
    for (source, cookie) in [("127.0.0.1", &*cookie), ("127.0.0.4", "a=b")] {
        let mut one = asks_from(source, &gate, "/quick", cookie).await.unwrap();
        one.response().await.assert_status(200);
    }
    drop((waiting, more));
}

#[tokio::test]
async fn rel_06_uploads_that_no_application_takes_make_room_the_largest_first() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/open", "everyone")
        .server("max_connections = 40")
        .app("upstream_max_connections = 2")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let upload = |path: &'static str| {
        let mut fields = RawHttp2::fields("POST", path);
        fields.push(("content-length", "100000000"));
        fields
    };
    let mut hers = gate.raw_http2().await;
    let mut fields = upload("/slow");
    fields.push(("cookie", &cookie));
    hers.headers(1, &fields, false).await;
    hers.data(1, &[b'x'; 16_000], false).await;

    // Twelve connections fill their windows, with more than may wait in all.
    let mut greedy = Vec::new();
    for _ in 0..12 {
        let mut connection = RawHttp2::connect_from("127.0.0.2", gate.address()).await;
        for stream in [1, 3, 5, 7] {
            connection.headers(stream, &upload("/open"), false).await;
        }
        for _ in 0..16 {
            for stream in [1, 3, 5, 7] {
                connection.data(stream, &[b'x'; 16_000], false).await;
            }
        }
        greedy.push(connection);
    }
    let ended = greedy
        .iter_mut()
        .map(|connection| Box::pin(connection.go_away()));
    let (_, _, others) = futures_util::future::select_all(ended).await;
    assert_eq!(others.len(), 11);
    hers.data(1, &[b'x'; 16_000], false).await;
    assert!(!hers.has_status(1).await, "hers goes on");
    let mut quick = RawHttp2::get("/.vestibule/session");
    quick.push(("cookie", &cookie));
    hers.headers(3, &quick, true).await;
    assert_eq!(hers.status(3).await, Some(200));
}

#[tokio::test]
async fn sec_87_of_uploads_behind_a_load_balancer_those_of_the_largest_client_go() {
    let app = Upstream::silent().await;
    let gate = Vestibule::before(&app)
        .public()
        .server("max_connections = 200\ntrusted_proxies = [\"127.0.0.1\"]")
        .app("upstream_max_connections = 2\nconnect_timeout = \"1m\"")
        .start()
        .await;
    let upload = |client: &'static str| {
        let mut fields = RawHttp2::fields("POST", "/open");
        fields.push(("content-length", "100000000"));
        fields.push(("x-forwarded-for", client));
        fields
    };
    let mut page = RawHttp2::get("/.vestibule/login");
    page.push(("x-forwarded-for", "192.0.2.2"));
    let mut connections = Vec::new();
    for _ in 0..12 {
        let mut connection = gate.raw_http2().await;
        connection.headers(1, &page, true).await;
        // Its windows are as large as we say once it has confirmed that.
        assert_eq!(connection.status(1).await, Some(200));
        connections.push(connection);
    }
    connections[0]
        .headers(11, &upload("192.0.2.2"), false)
        .await;
    connections[0].data(11, &[b'x'; 16_000], false).await;
    // One client fills the windows of all of them, with more than may wait in all.
    for connection in &mut connections {
        for stream in [13, 15, 17, 19] {
            connection
                .headers(stream, &upload("192.0.2.1"), false)
                .await;
            for _ in 0..15 {
                connection.data(stream, &[b'x'; 16_000], false).await;
            }
        }
    }
    let refused = eventually_some("room to be made", async || {
        for connection in &mut connections {
            if connection.has_status(13).await {
                return Some(connection.status(13).await);
            }
        }
        None
    });
    assert_eq!(refused.await, Some(503));
    assert!(!connections[0].has_status(11).await, "it goes on");
    for connection in &mut connections {
        connection.headers(21, &page, true).await;
        let answer = connection.outcome(21).await;
        assert_eq!(answer.status, Some(200), "it stays open: {answer:?}");
    }
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
    let mut stranger = service.raw().await;
    stranger
        .send(format!(
            "GET /.vestibule/login HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        ))
        .await;
    stranger.response().await.assert_status(200);
    let status = ask("status");
    let largest = &status["largest"]["connections"];
    assert_eq!(largest["networks"][0]["name"], "127.0.0.1", "{status}");
    assert_eq!(largest["networks"][0]["held"], 1, "{status}");
    assert_eq!(largest["users"], Value::Array(vec![]));
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
