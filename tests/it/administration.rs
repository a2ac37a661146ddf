//! `vestibule session` and `status`, and the socket behind them.

mod socket;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::harness::*;

/// Revoking reaches open streams within this.
const SOON: Duration = Duration::from_secs(1);

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
        .account(
            User::new("Ada", PASSWORD)
                .groups(&["staff", "admins"])
                .email("ada@example.org"),
        )
        .user("bob", PASSWORD)
}

/// A command that has to succeed; gives what it printed.
fn done(service: &Service, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(&service.files, args);
    assert_eq!((code, &*stderr), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

fn listed(service: &Service, args: &[&str]) -> Vec<Value> {
    let text = done(service, &[&["session", "list", "--json"], args].concat());
    let Ok(Value::Array(sessions)) = serde_json::from_str(&text) else {
        panic!("no array: {text}");
    };
    assert!(sessions.len() < 2 || text.lines().count() == sessions.len() + 2);
    sessions
}

fn key(session: &Value) -> &str {
    session["key"].as_str().unwrap()
}

#[tokio::test]
async fn sessions_are_listed_for_people_and_for_programs() {
    let app = app().await;
    let service = before(&app).spawn().await;
    assert_eq!(listed(&service, &[]), Vec::<Value>::new());
    let (code, stdout, said) = run(&service.files, &["session", "list"]);
    assert_eq!((code, &*stdout), (Some(0), ""));
    assert!(said.contains("there are no sessions"), "{said}");

    let ada = service.browser().header("user-agent", "Ada's (browser)");
    ada.login("ada", PASSWORD).await;
    service.browser().login("bob", PASSWORD).await;
    let sessions = listed(&service, &[]);
    assert_eq!(sessions.len(), 2);
    assert!(
        key(&sessions[0]) < key(&sessions[1]),
        "in the order of keys"
    );
    let of_ada = listed(&service, &["--user", "ADA"]);
    let [session] = of_ada.as_slice() else {
        panic!("{of_ada:?}");
    };
    assert_eq!(key(session).len(), 64);
    for (field, expected) in [
        ("user", Value::from("Ada")),
        ("groups", Value::from(vec!["staff", "admins"])),
        ("email", Value::from("ada@example.org")),
        ("method", Value::from("password")),
        ("client", Value::from("127.0.0.1")),
        ("user_agent", Value::from("Ada's (browser)")),
    ] {
        assert_eq!(session[field], expected, "{session}");
    }
    let times = ["created", "last_accessed", "expires"].map(|field| session[field].as_str());
    for time in times {
        let time = time.unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    }
    assert!(times[0] <= times[1] && times[1] < times[2], "{times:?}");

    let table = done(&service, &["session", "list"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("KEY "), "{table}");
    let table = done(&service, &["session", "list", "--user", "Ada"]);
    for part in [&key(session)[..8], "Ada", "127.0.0.1", "Ada's (browser)"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!table.contains("bob"), "{table}");
    let (code, _, said) = run(&service.files, &["session", "list", "--user", "eve"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("eve has no sessions"), "{said}");
}

#[tokio::test]
async fn sec_75_revoking_a_session_takes_effect_at_the_next_byte() {
    for how in ["key", "user", "all"] {
        let app = app().await;
        let service = before(&app).spawn().await;
        let ada = service.browser().login("ada", PASSWORD).await;
        let bob = service.browser().login("bob", PASSWORD).await;
        let open = async |browser: &Browser| {
            let cookie = browser.session_cookie();
            let headers = [("origin", "https://gate.test"), ("cookie", &*cookie)];
            let opened = open_websocket(service.tcp().await, "/ws", &headers).await;
            opened.unwrap()
        };
        let (socket, mut kept) = (open(&ada).await, open(&bob).await);
        let mut download = service.raw().await;
        let cookie = ada.session_cookie();
        let get = format!("GET /download HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n");
        download.send(get).await;
        download.head().await.assert_status(200);

        let sessions = listed(&service, &["--user", "ada"]);
        let short = &key(&sessions[0])[..8];
        let (args, said) = match how {
            "key" => (vec![short], "ended 1 session of Ada\n"),
            "user" => (vec!["--user", "ada"], "ended 1 session of ada\n"),
            _ => (vec!["--all"], "ended 2 sessions\n"),
        };
        assert_eq!(
            done(&service, &[&["session", "revoke"], &*args].concat()),
            said
        );
        ada.fetch("/page").await.assert_status(401);
        ada.get("/page").await.assert_status(303);
        let both = async {
            let (code, rest) = tokio::join!(socket.closed(), download.rest());
            assert_eq!(code, Some(1008), "{how}");
            assert!(!rest.ends_with("0\r\n\r\n"), "{how}: it looks whole");
        };
        let ended = timeout(SOON, both).await;
        assert!(ended.is_ok(), "{how}: not within {SOON:?}");
        if how == "all" {
            assert_eq!(timeout(SOON, kept.closed()).await, Ok(Some(1008)));
            bob.fetch("/page").await.assert_status(401);
        } else {
            assert_eq!(kept.ask("still here").await, "still here", "{how}");
            bob.get("/page").await.assert_status(200);
        }
        let again = service.browser().login("ada", PASSWORD).await;
        again.get("/page").await.assert_status(200);
        let service = service.crash().await;
        ada.fetch("/page").await.assert_status(401); // for good
        assert_eq!(listed(&service, &["--user", "ada"]).len(), 1, "{how}");
    }
}

#[tokio::test]
async fn whoever_revokes_is_in_the_audit_log() {
    let app = app().await;
    let service = before(&app).spawn().await;
    service.browser().login("ada", PASSWORD).await;
    let sessions = listed(&service, &[]);
    let short = &key(&sessions[0])[..8];
    done(&service, &["session", "revoke", short]);
    service.browser().login("bob", PASSWORD).await;
    done(&service, &["session", "revoke", "--user", "BOB"]);
    done(&service, &["session", "revoke", "--all"]);
    let logged = || service.program.stdout().contains("all sessions revoked");
    eventually("the last line", logged).await;
    let log = service.program.log();
    let line = |message: &str| {
        let line = log.iter().find(|line| line["message"] == message);
        let line = line.unwrap_or_else(|| panic!("{message} in {log:?}"));
        assert_eq!(line["target"], "audit");
        assert_eq!(line["by"], rustix::process::geteuid().as_raw());
        assert!(line["pid"].as_i64().is_some_and(|pid| pid > 0), "{line}");
        line
    };
    let one = line("session revoked");
    assert_eq!(
        (&one["session"], &one["user"]),
        (&short.into(), &"Ada".into())
    );
    let of_user = line("sessions of a user revoked");
    assert_eq!(
        (&of_user["user"], &of_user["sessions"]),
        (&"BOB".into(), &1.into())
    );
    assert_eq!(line("all sessions revoked")["sessions"], 0);
}

#[tokio::test]
async fn what_revokes_nothing_says_so() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let ada = service.browser().login("ada", PASSWORD).await;
    for (args, expected, words) in [
        (&["0123abcd"][..], 1, "no session begins with 0123abcd"),
        (&["0123abc"], 2, "is no session key"),
        (&["ada"], 2, "is no session key"),
        (&[], 2, "required"),
        (&["0123abcd", "--all"], 2, "cannot be used with"),
        (&["--user", "ada", "--all"], 2, "cannot be used with"),
    ] {
        let args = [&["session", "revoke"], args].concat();
        let (code, stdout, stderr) = run(&service.files, &args);
        assert_eq!((code, &*stdout), (Some(expected), ""), "{args:?} {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
    let none = done(&service, &["session", "revoke", "--user", "eve"]);
    assert_eq!(none, "eve has no sessions: none ended\n");
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn status_says_how_the_server_is() {
    let app = app().await;
    let gone = held_port();
    let service = Vestibule::before_url(&app.url())
        .app("name = \"wiki\"\nhost = \"gate.test\"")
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"gone\"\nhost = \"gone.test\"\nupstream = \"http://{gone}\""
        ))
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let status =
        || -> Value { serde_json::from_str(&done(&service, &["status", "--json"])).unwrap() };
    let now = status();
    assert_eq!(now["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(now["pid"], service.program.id());
    assert_eq!(now["listen"][0], service.address.to_string());
    assert_eq!(
        (&now["stopping"], &now["users"]),
        (&false.into(), &1.into())
    );
    assert_eq!(
        (&now["sessions"]["open"], &now["store"]),
        (&1.into(), &"disk".into())
    );
    assert_eq!(now["sessions"]["max"], 1_000_000);
    assert!(now["connections"]["open"].as_u64() >= Some(1), "{now}");
    let names: Vec<_> = now["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| &app["name"])
        .collect();
    assert_eq!(names, ["gone", "wiki"]);
    assert_eq!(now["apps"][1]["upstreams"][0]["address"], app.url());
    assert_eq!(
        now["apps"][0]["upstreams"][0]["reachable"], true,
        "nobody has tried"
    );

    let elsewhere = Browser::new(service.address, "gone.test");
    let elsewhere = elsewhere.login("ada", PASSWORD).await;
    elsewhere.get("/").await.assert_status(502);
    let now = status();
    assert_eq!(now["apps"][0]["upstreams"][0]["reachable"], false);
    assert_eq!(now["apps"][1]["upstreams"][0]["reachable"], true);
    let text = done(&service, &["status"]);
    for part in [
        &format!("https        {}", service.address),
        "sessions     2 of at most 1000000, store disk",
        &format!("app          gone -> http://{gone}: unreachable at the last try"),
        &format!("app          wiki -> {}\n", app.url()),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let app = app().await;
    let service = before(&app).spawn().await;
    service.browser().login("ada", PASSWORD).await;
    let config = service.files.path("config.toml");
    let mut child = command()
        .args(["session", "list", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("KEY "), "{line}");
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn while_it_stops_the_server_can_still_be_asked() {
    let app = app().await;
    let mut service = before(&app).server("drain_timeout = \"60s\"").spawn().await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let mut download = service.raw().await;
    let cookie = ada.session_cookie();
    let get = format!("GET /download HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n");
    download.send(get).await;
    download.head().await.assert_status(200);
    service.program.signal(Signal::TERM);
    eventually("the stop", || service.program.stdout().contains("stopping")).await;
    let status: Value = serde_json::from_str(&done(&service, &["status", "--json"])).unwrap();
    assert!(
        status["connections"]["open"].as_u64() >= Some(1),
        "{status}"
    );
    done(&service, &["session", "revoke", "--user", "ada"]);
    assert!(!download.rest().await.ends_with("0\r\n\r\n"));
    assert!(service.program.exit().await.success());
}
