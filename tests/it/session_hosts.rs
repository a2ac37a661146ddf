//! An id opens the host that it was set on, and no other: SEC-88.

use std::fs;

use redb::{Database, ReadableTable, TableDefinition};

use crate::harness::*;

const OTHER: &str = "other.test";

/// Answers with the session data that the query asks for: `/?set=role%3D1`.
async fn app() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let query = exchange.target().split_once('?').map_or("", |(_, q)| q);
            let query = query.to_owned();
            let set = form_urlencoded::parse(query.as_bytes())
                .find_map(|(name, value)| (name == "set").then(|| value.into_owned()));
            let mut fields: Vec<_> = set.iter().map(|set| ("X-Session-Set", &**set)).collect();
            if exchange.target() == "/cookie" {
                fields.push(("Set-Cookie", "own=1"));
            }
            exchange.reply("200 OK", &fields, "done").await;
        })
    })
    .await
}

/// Two apps, each on a host of its own.
async fn two(one: &Upstream, other: &Upstream) -> Gate {
    before_two(one, other).start().await
}

fn before_two(one: &Upstream, other: &Upstream) -> Vestibule {
    Vestibule::before(one)
        .app("name = \"one\"\nhost = \"gate.test\"\nsession_data = true")
        .rule("/public", "everyone")
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"other\"\nhost = \"{OTHER}\"\nupstream = \"{}\"\n\
             session_data = true\n[[app.rule]]\npath = \"/public\"\nallow = \"everyone\"",
            other.url()
        ))
}

#[tokio::test]
async fn sec_88_a_cookie_carried_to_another_host_is_unknown_there() {
    let (one, other) = (app().await, app().await);
    let gate = two(&one, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/?set=role%3D1").await.assert_status(200);
    let carried = gate.browser_for(OTHER).cookie(&ada.session_cookie());
    for there in [carried.clone(), carried.clone().over_http2()] {
        let page = there.get("/x").await;
        page.assert_redirects_to("/.vestibule/login?return_to=%2Fx");
        there.fetch("/x").await.assert_status(401);
        there.fetch("/.vestibule/session").await.assert_status(401);
        there.get("/.vestibule/account").await.assert_status(303);
        there.get("/.vestibule/form").await.assert_status(303);
        let logout = there.get("/.vestibule/logout").await;
        logout.assert_status(200);
        assert!(!logout.text().contains("ada"), "{logout}");
        there.get("/public").await.assert_status(200);
    }
    let public = other.last();
    for name in ["x-forwarded-user", "x-session-data", "cookie"] {
        assert_eq!(public.value(name), None, "{name}");
    }
    let headers = [
        ("origin", "https://other.test"),
        ("cookie", &*ada.session_cookie()),
    ];
    let socket = open_websocket_of(OTHER, gate.tcp().await, "/ws", &headers).await;
    assert_eq!(socket.err(), Some(401));
    let form = [("action", "end-others")];
    let account = carried.post_form("/.vestibule/account", &form).await;
    assert_ne!(account.status, 303, "{account}");
    // Neither a logout nor a login there ends it.
    let reply = carried.post_form("/.vestibule/logout", &[]).await;
    reply.assert_status(303);
    let carried = gate.browser_for(OTHER).cookie(&ada.session_cookie());
    let there = carried.login("ada", PASSWORD).await;
    there.get("/x").await.assert_status(200);
    assert_eq!(
        other.last().value("x-session-data"),
        None,
        "it is the other app's"
    );
    ada.get("/").await.assert_status(200);
    assert_eq!(one.last().value("x-session-data"), Some("role=1"));
    let back = gate.browser().cookie(&there.session_cookie());
    back.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn sec_88_a_host_is_the_same_in_every_spelling_and_on_every_port() {
    let (one, other) = (app().await, app().await);
    let gate = two(&one, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    for host in [
        "gate.test",
        "GATE.test",
        "gate.test.",
        "Gate.Test.:8443",
        "gate.test:1",
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {ada}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_88_an_app_without_host_knows_an_id_by_the_name_in_host() {
    let app = app().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let elsewhere = gate.browser_for(OTHER).cookie(&ada.session_cookie());
    elsewhere.fetch("/").await.assert_status(401);
    // One connection that asks for both: what it remembers is not good for each.
    let cookie = ada.session_cookie();
    let stream = tls::connect(gate.tcp().await, "127.0.0.1", &["http/1.1"]).await; // names no host
    let stream = stream.unwrap();
    let mut raw = Raw::new(stream);
    for (host, status) in [("gate.test", 200), (OTHER, 401), ("gate.test", 200)] {
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
    }
}

#[tokio::test]
async fn sec_88_a_lost_form_with_the_cookie_of_another_host_is_nobodys() {
    let (one, other) = (app().await, app().await);
    let gate = two(&one, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let carried = gate.browser_for(OTHER).cookie(&ada.session_cookie());
    let reply = carried.post_form("/save", &[("text", "long work")]).await;
    let invented = format!("{SESSION_COOKIE}={}", "A".repeat(43));
    let stranger = gate.browser_for(OTHER).cookie(&invented);
    let like = stranger.post_form("/save", &[("text", "long work")]).await;
    assert_eq!(reply.status, like.status, "as with an invented id: {reply}");
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn the_list_of_sessions_has_the_host_of_each() {
    let (one, other) = (app().await, app().await);
    let service = before_two(&one, &other).spawn().await;
    Browser::new(service.address, OTHER)
        .login("ada", PASSWORD)
        .await;
    let (code, said, error) = run(&service.files, &["session", "list", "--json"]);
    assert_eq!((code, &*error), (Some(0), ""), "{said}");
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(list[0]["hosts"], serde_json::json!([OTHER]));
    let (_, table, _) = run(&service.files, &["session", "list"]);
    assert!(table.contains("HOST") && table.contains(OTHER), "{table}");
}

/// A sessions file as commit 8c9850b left it, and the cookies of the two sessions in it that were
/// to stay: Ada's and Bob's, who had something in his.
const OLD_FILE: &[u8] = include_bytes!("fixtures/sessions-of-8c9850b.redb");
const OLD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$US2sR2jJAwgotflJHCjJfg$iTxGEclugBeATLrcolij7yx4l1XonzsA/AX+qLmWNS8";
const OLD_ADA: &str = "__Host-vestibule=7sboosew5oySfbk-yy0YWZv_EutObfGKamabnvT6ppc";
const OLD_BOB: &str = "__Host-vestibule=wWMV5gpiHMiGYB1HGn1FyId1Ip7kHVDqXAp-6qcTJPg";

/// That file, with sessions that outlive this test, whenever it runs.
fn write_old_file(files: &Files) {
    const SESSIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("sessions-1");
    let path = files.write("sessions.redb", "", 0o600);
    fs::write(&path, OLD_FILE).unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(SESSIONS).unwrap();
    let rows: Vec<_> = table
        .iter()
        .unwrap()
        .map(|row| {
            let (key, row) = row.unwrap();
            let text = String::from_utf8(row.value().to_vec()).unwrap();
            (*key.value(), text.replace("\"x\":2111", "\"x\":9111"))
        })
        .collect();
    assert_eq!(rows.len(), 3);
    for (key, row) in rows {
        table.insert(&key, row.as_bytes()).unwrap();
    }
    drop(table);
    transaction.commit().unwrap();
}

async fn upgraded(app: &Upstream) -> Gate {
    let user = |name| User {
        hash: OLD_HASH.to_owned(),
        ..User::new(name, PASSWORD)
    };
    Vestibule::before(app)
        .app("session_data = true")
        .account(user("ada"))
        .account(user("bob"))
        .session("remember_for = \"30d\"")
        .prepare(write_old_file)
        .start()
        .await
}

#[tokio::test]
async fn rel_19_sessions_of_the_version_before_go_on_on_the_host_of_their_first_use() {
    let app = app().await;
    let gate = upgraded(&app).await;
    let first = (0..20).map(|_| async { gate.browser().cookie(OLD_BOB).get("/").await.status });
    let first = futures_util::future::join_all(first).await;
    assert_eq!(first, [200; 20]);
    assert!(
        app.received()
            .iter()
            .all(|seen| seen.value("x-session-data") == Some("n=1, s=\"x\"")),
        "and keeps its data"
    );
    let elsewhere = |gate: &Gate| gate.browser_for(OTHER).cookie(OLD_BOB);
    elsewhere(&gate).fetch("/").await.assert_status(401);
    let gate = gate.restart().await;
    elsewhere(&gate).fetch("/").await.assert_status(401);
    gate.browser()
        .cookie(OLD_BOB)
        .get("/?set=n%3D2")
        .await
        .assert_status(200);
    gate.browser()
        .cookie(OLD_BOB)
        .get("/")
        .await
        .assert_status(200);
    assert_eq!(app.last().value("x-session-data"), Some("n=2, s=\"x\""));
    gate.browser_for(OTHER)
        .cookie(OLD_ADA)
        .get("/")
        .await
        .assert_status(200);
    gate.browser()
        .cookie(OLD_ADA)
        .fetch("/")
        .await
        .assert_status(401);
}

#[tokio::test]
async fn sec_43_a_session_of_the_version_before_gets_the_name_that_no_script_can_set() {
    let app = app().await;
    let gate = upgraded(&app).await;
    let (_, id) = OLD_ADA.split_once('=').unwrap();
    let new = format!("{SESSION_COOKIE}={id}");
    let first = (0..10).map(|_| async { gate.browser().cookie(OLD_ADA).get("/").await });
    for reply in futures_util::future::join_all(first).await {
        reply.assert_status(200);
        let set = reply.values("set-cookie");
        let (renewed, expired) = set.split_first().unwrap();
        assert!(
            renewed.starts_with(&format!("{new}; Secure; HttpOnly;")),
            "{set:?}"
        );
        assert!(
            renewed.contains("; Max-Age="),
            "remembered as before: {renewed}"
        );
        assert!(expired[0].starts_with("__Host-vestibule=; "), "{set:?}");
        assert!(
            expired.iter().all(|set| set.ends_with("; Max-Age=0")),
            "{set:?}"
        );
    }
    let ada = gate.browser().cookie(OLD_ADA);
    ada.get("/").await.assert_status(200);
    assert_eq!(ada.cookies(), new);
    let next = ada.get("/").await;
    next.assert_status(200);
    assert_eq!(next.values("set-cookie"), [""; 0], "once is enough");
    gate.browser()
        .cookie(OLD_ADA)
        .get("/")
        .await
        .assert_status(200); // it was on its way
    let cookies = gate.browser().cookie(OLD_ADA).get("/cookie").await;
    let cookies = cookies.values("set-cookie");
    assert!(
        cookies.contains(&"own=1; Secure") && cookies.len() == 4,
        "{cookies:?}"
    );
    gate.browser_for(OTHER)
        .cookie(&new)
        .fetch("/")
        .await
        .assert_status(401);

    let both = gate.browser().cookie(OLD_ADA).cookie(&new);
    both.logout().await.assert_status(303);
    assert_eq!(both.cookies(), "");
    gate.browser()
        .cookie(OLD_ADA)
        .fetch("/")
        .await
        .assert_status(401);
}

#[tokio::test]
async fn a_login_ends_the_session_of_the_version_before_and_its_cookie() {
    let app = app().await;
    let gate = upgraded(&app).await;
    let ada = gate.browser().cookie(OLD_ADA).login("ada", PASSWORD).await;
    assert_eq!(ada.cookies(), ada.session_cookie());
    gate.browser()
        .cookie(OLD_ADA)
        .fetch("/")
        .await
        .assert_status(401);
}
