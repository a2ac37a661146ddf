//! Another configuration while the service runs: REL-01, REL-16, SEC-80.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Method;
use rustix::process::Signal;
use tls::Certificate;
use tokio::time::{Duration, sleep};

use crate::harness::*;

fn rule(path: &str, allow: &str) -> String {
    format!("[[app.rule]]\npath = \"{path}\"\nallow = \"{allow}\"\n")
}

#[tokio::test]
async fn rel_01_a_rule_holds_from_the_next_request_on_and_sessions_go_on() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut raw = gate.raw().await;
    let cookie = ada.session_cookie();
    let request = format!("GET /secret HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n");
    raw.send(&request).await;
    raw.response().await.assert_status(200);

    let need_restart = gate.reload(|text| format!("{text}{}", rule("/secret", "nobody")));
    assert_eq!(need_restart.unwrap(), [""; 0]);
    raw.send(&request).await;
    raw.response().await.assert_status(403); // on the same connection
    ada.get("/other").await.assert_status(200);
    gate.reload(|text| text.replace("\"nobody\"", "\"everyone\""))
        .unwrap();
    gate.browser().get("/secret").await.assert_status(200);
}

#[tokio::test]
async fn rel_01_upstreams_pages_and_limits_are_swapped_together() {
    let (old, new) = (Upstream::echo().await, Upstream::echo().await);
    let mut gate = Vestibule::before(&old)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"30m\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let form = gate.browser();
    let page = form.get("/.vestibule/login").await;
    assert_eq!(old.requests(), 1);

    gate.reload(|text| {
        text.replace(&old.url(), &new.url())
            .replace("[login]\n", "[login]\ntitle = \"The new wiki\"\n")
            .replace("\"30m\"", "\"2h\"")
    })
    .unwrap();
    ada.get("/").await.assert_status(200);
    assert_eq!((old.requests(), new.requests()), (1, 1));
    let text = gate.browser().get("/.vestibule/login").await.text();
    assert!(text.contains("Sign in to The new wiki"), "{text}");
    // A form that was open meanwhile is still good, by its token alone.
    let fields = form_urlencoded::Serializer::new(String::new())
        .append_pair("csrf", &page.hidden("csrf"))
        .append_pair("username", "ada")
        .append_pair("password", PASSWORD)
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply = form.request(Method::POST, "/.vestibule/login", &headers, fields.into());
    reply.await.assert_status(303);
    gate.advance(Duration::from_mins(90));
    ada.get("/").await.assert_status(200); // the new idle timeout
}

#[tokio::test]
async fn rel_16_a_certificate_of_another_file_is_shown_from_the_next_handshake_on() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).public().start().await;
    let other = Certificate::generate(&["gate.test"]);
    gate.files().write("other.pem", &other.cert_pem, 0o644);
    gate.files().write("other.key", &other.key_pem, 0o600);
    let reload = |text: &str| {
        text.replace("cert.pem", "other.pem")
            .replace("\"key.pem\"", "\"other.key\"")
    };
    gate.reload(reload).unwrap();
    let stream = tls::connect(gate.tcp().await, "gate.test", &[])
        .await
        .unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(shown, other.cert.to_vec());
    // One that cannot be used changes nothing, not even what else is new.
    gate.files().write("other.key", "no key", 0o600);
    let error = gate.reload(|text| format!("{text}{}", rule("/x", "nobody")));
    assert!(error.unwrap_err().to_string().contains("other.key"));
    gate.browser().get("/x").await.assert_status(200);
}

#[tokio::test]
async fn rel_01_what_is_permitted_still_ends_as_it_began() {
    let app = Upstream::websocket().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let headers = [("origin", "https://gate.test"), ("cookie", cookie.as_str())];
    let mut socket = open_websocket(gate.tcp().await, "/ws", &headers)
        .await
        .unwrap();
    for path in ["/x", "/y", "/z"] {
        gate.reload(|text| format!("{text}{}", rule(path, "nobody")))
            .unwrap();
    }
    assert_eq!(socket.ask("still here").await, "still here");
    ada.logout().await;
    assert_eq!(
        socket.closed().await,
        Some(1008),
        "its session ends it as before"
    );
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let keys = gate
        .reload(|text| {
            text.replace("[session]\n", "[session]\nstore = \"memory\"\n")
                .replace("127.0.0.1:0", "127.0.0.1:1")
                .replace("[login]\n", "[login]\ntitle = \"New\"\n")
        })
        .unwrap();
    assert_eq!(
        keys,
        [
            "server.listen",
            "session.store and session.path and session.redis"
        ]
    );
    let text = gate.browser().get("/.vestibule/login").await.text();
    assert!(text.contains("Sign in to New"), "the rest holds: {text}");
}

#[tokio::test]
async fn sec_80_a_broken_configuration_or_users_file_changes_nothing_and_the_log_says_why() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let says = async |what: &str| {
        let said = || gate.program.stdout().contains(what);
        eventually(what, said).await;
    };
    gate.reload(|text| format!("{text}{}\nnonsense = 1\n", rule("/", "nobody")));
    says("the configuration was not read again; the old one stays").await;
    says("unknown key `nonsense`").await;
    ada.get("/").await.assert_status(200);
    gate.reload(|text| text.replace("\nnonsense = 1\n", "\n"));
    says("the configuration was read again").await;
    ada.get("/").await.assert_status(403);

    let users = gate.files.path("users.toml");
    let good = std::fs::read_to_string(&users).unwrap();
    gate.files.write("users.toml", "[user.ada", 0o600);
    gate.reload(|text| text.replace("\"nobody\"", "\"everyone\""));
    says("users.toml:1:").await;
    ada.get("/").await.assert_status(403);
    gate.files.write("users.toml", &good, 0o600);
    gate.reload(str::to_owned);
    eventually_some("the rule to hold", async || {
        (ada.get("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_level_can_be_changed_without_a_restart() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[log]\nlevel = \"warn\"")
        .spawn()
        .await;
    gate.browser().login("ada", PASSWORD).await;
    assert!(!gate.program.stdout().contains("\"audit\""));
    gate.reload(|text| text.replace("\"warn\"", "\"info\""));
    eventually_some("an audit line", async || {
        gate.browser().login("ada", PASSWORD).await;
        gate.program.stdout().contains("\"audit\"").then_some(())
    })
    .await;
}

#[tokio::test]
async fn rel_01_twenty_reloads_under_load_fail_no_request() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut raw = gate.raw().await;
        let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
        let cookie = ada.session_cookie();
        clients.push(tokio::spawn(async move {
            let request = format!("GET /a HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n");
            while !stop.load(Ordering::Relaxed) {
                raw.send(&request).await;
                raw.response().await.assert_status(200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for round in 0..20 {
        let before = served.load(Ordering::Relaxed);
        let rule = rule(&format!("/round{round}"), "nobody");
        gate.reload(|text| format!("{text}{rule}")).unwrap();
        eventually("requests to go on", || {
            served.load(Ordering::Relaxed) >= before + 50
        })
        .await;
        sleep(Duration::from_millis(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} requests, none failed", served.load(Ordering::Relaxed));
}

#[tokio::test]
async fn the_command_says_what_came_of_it_and_so_does_status() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let write = |change: &dyn Fn(&str) -> String| {
        let text = std::fs::read_to_string(gate.files.path("config.toml")).unwrap();
        gate.files.write("config.toml", &change(&text), 0o644);
    };
    let (code, out, said) = run(&gate.files, &["reload"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "the configuration was read again\n"),
        "{said}"
    );

    write(&|text| text.replace("key.pem", "no-such-key.pem"));
    let (code, _, said) = run(&gate.files, &["reload"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("no-such-key.pem"), "{said}");
    let (_, status, _) = run(&gate.files, &["status"]);
    assert!(status.contains("reload       failed at "), "{status}");
    assert!(status.contains("no-such-key.pem"), "{status}");

    write(&|text| {
        text.replace("no-such-key.pem", "key.pem")
            .replace("[session]\n", "[session]\nstore = \"memory\"\n")
    });
    let (code, _, said) = run(&gate.files, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("need a restart"), "{said}");
    assert!(said.contains("session.store"), "{said}");

    write(&|text| format!("{text}nonsense = 1\n"));
    let (code, _, said) = run(&gate.files, &["reload"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("unknown key `nonsense`"), "{said}");
    gate.browser().login("ada", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_file_stops_nobody() {
    let app = Upstream::echo().await;
    for name in ["cert.pem", "key.pem", "users.toml"] {
        let mut service = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .config("[log]\nformat = \"json\"")
            .spawn()
            .await;
        let ada = service.browser().login("ada", PASSWORD).await;
        service.files.replace_by_pipe(name);
        let told = |line: &serde_json::Value| {
            let error = line["error"].as_str().unwrap_or_default();
            line["level"] == "ERROR" && error.contains("it is no regular file")
        };
        eventually("the log to say it", || {
            service.program.log().iter().any(told)
        })
        .await;
        ada.get("/").await.assert_status(200);
        let (code, _, said) = run(&service.files, &["reload"]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("it is no regular file"), "{said}");
        ada.get("/").await.assert_status(200);
        service.program.signal(Signal::TERM);
        assert_eq!(service.program.exit().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_the_configuration_keeps_the_old_one() {
    let app = Upstream::echo().await;
    let mut service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    service.files.replace_by_pipe("config.toml");
    service.program.signal(Signal::HUP);
    let told = |line: &serde_json::Value| {
        let error = line["error"].as_str().unwrap_or_default();
        line["level"] == "ERROR"
            && error.contains("config.toml: cannot read this file: it is no regular file")
    };
    eventually("the log to say it", || {
        service.program.log().iter().any(told)
    })
    .await;
    ada.get("/").await.assert_status(200);
    service.program.signal(Signal::TERM);
    assert_eq!(service.program.exit().await.code(), Some(0));
}
