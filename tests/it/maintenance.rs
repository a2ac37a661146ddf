//! An app that is closed says so, to all but those who mend it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::harness::*;

const SENTENCE: &str = "<b>Back</b> at six & \"not\" before.";
const SHOWN: &str = "&lt;b&gt;Back&lt;&#x2f;b&gt; at six &amp; &quot;not&quot; before.";
const KEYS: &str = "name = \"wiki\"\n\
                    maintenance = '<b>Back</b> at six & \"not\" before.'\n\
                    maintenance_allow = { groups = [\"menders\"], users = [\"EVE\"] }";
const CLOSED: &str = "This app is closed for maintenance";

/// Within this after the change: half a second, and machines are slow.
const SOON: Duration = Duration::from_secs(2);

fn users(gate: Vestibule) -> Vestibule {
    gate.account(User::new("ada", PASSWORD).groups(&["menders"]))
        .user("bob", PASSWORD)
        .user("eve", PASSWORD)
        .rule("/closed", "nobody")
        .rule("/eves", "{ users = [\"eve\"] }")
        .rule("/open", "everyone")
}

#[track_caller]
fn assert_closed(reply: &Reply) {
    reply.assert_status(503).assert_header("retry-after", "60");
    reply.assert_contains(CLOSED);
}

#[tokio::test]
async fn a_closed_app_shows_its_sentence_and_a_way_to_sign_in() {
    let app = Upstream::websocket().await;
    let gate = users(Vestibule::before(&app)).app(KEYS).start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        for target in ["/", "/x?y", "/open", "/closed", "/eves"] {
            let page = browser.get(target).await;
            assert_closed(&page);
            page.assert_header("content-type", "text/html; charset=utf-8")
                .assert_header("cache-control", "no-store")
                .assert_contains("href=\"/.vestibule/login?switch=1\"");
            let text = page.text();
            let notice = text
                .split("<p class=\"notice\">")
                .nth(1)
                .unwrap_or_default();
            let notice = notice.split("</p>").next().unwrap();
            assert_eq!(notice.replace("&#x2F;", "&#x2f;"), SHOWN, "{page}");
        }
        let answer = browser.fetch("/api").await;
        assert_closed(&answer);
        let answer = answer.json();
        assert_eq!(answer["error"], "maintenance");
        assert_eq!(
            answer["message"],
            format!("{CLOSED}. {SENTENCE} Try again later. If you may use it meanwhile, sign in.")
        );
        assert_closed(&browser.post_form("/x", &[("a", "b")]).await);
    }
    let fields = [("origin", "https://gate.test")];
    let socket = open_websocket(gate.tcp().await, "/open", &fields).await;
    assert_eq!(socket.err(), Some(503));
    let mut raw = gate.raw().await;
    raw.send("HEAD / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    raw.response_to_head().await.assert_status(503);
    let expects = "POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 3\r\n\
                   Expect: 100-continue\r\n\r\n";
    raw.send(expects).await;
    raw.response().await.assert_status(503);
    assert_eq!(app.requests(), 0, "nothing reached the app");
}

#[tokio::test]
async fn those_who_mend_it_go_on_and_the_rules_hold_for_them() {
    let app = Upstream::websocket().await;
    let gate = users(Vestibule::before(&app)).app(KEYS).start().await;
    for (user, expected) in [
        ("ada", [200, 403, 403, 200]),
        ("eve", [200, 403, 200, 200]),
        ("bob", [503; 4]),
    ] {
        let browser = gate.browser();
        let page = browser.get("/").await;
        let login = page.text();
        let login = login.split("<a href=\"").nth(1).unwrap();
        let login = login.split('"').next().unwrap().split('?').next().unwrap();
        browser
            .login_at(login, user, PASSWORD)
            .await
            .assert_status(303);
        for (target, status) in ["/", "/closed", "/eves", "/open"].iter().zip(expected) {
            assert_eq!(browser.get(target).await.status, status, "{user} {target}");
        }
        let cookie = browser.session_cookie();
        let fields = [("origin", "https://gate.test"), ("cookie", &*cookie)];
        let socket = open_websocket(gate.tcp().await, "/ws", &fields).await;
        assert_eq!(socket.is_ok(), user != "bob", "{user}");
        // Our own pages are nobody's app.
        browser.get("/.vestibule/account").await.assert_status(200);
        browser
            .fetch("/.vestibule/session")
            .await
            .assert_status(200);
        browser.logout().await;
        assert!(!browser.is_signed_in());
    }
}

#[tokio::test]
async fn other_apps_of_the_host_stay_open() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .app("name = \"wiki\"\nhost = \"gate.test\"")
        .public()
        .config(&format!(
            "[[app]]\nname = \"files\"\nhost = \"gate.test\"\npath = \"/files/\"\n\
             upstream = \"{}\"\n[[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n",
            app.url()
        ))
        .start()
        .await;
    let browser = gate.browser();
    browser.get("/").await.assert_status(200);
    gate.reload(|text| {
        text.replace(
            "name = \"wiki\"",
            "name = \"wiki\"\nmaintenance = \"Soon.\"",
        )
    })
    .unwrap();
    assert_closed(&browser.get("/").await);
    browser.get("/files/x").await.assert_status(200);
    gate.reload(|text| text.replace("maintenance = \"Soon.\"", "maintenance = \"\""))
        .unwrap();
    browser.get("/").await.assert_status(200);
}

#[tokio::test]
async fn rel_13_whoever_has_too_many_requests_reads_that_even_if_the_app_is_closed() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .app("name = \"wiki\"\nhost = \"gate.test\"\nmaintenance = \"Soon.\"")
        .server("max_connections = 16")
        .config(&format!(
            "[[app]]\nname = \"files\"\nhost = \"gate.test\"\npath = \"/files/\"\n\
             upstream = \"{}\"\n[[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n",
            app.url()
        ))
        .start()
        .await;
    assert_eq!(
        gate.browser().fetch("/").await.json()["error"],
        "maintenance"
    );
    let mut greedy = gate.raw_http2().await;
    for nth in 0..6 {
        let page = RawHttp2::get("/files/slow");
        greedy.headers(1 + 2 * nth, &page, true).await;
    }
    eventually("the app to be asked", || app.requests() == 6).await;
    let refusal = gate.browser().fetch("/").await;
    assert_eq!(refusal.json()["error"], "overloaded");
}

fn ran(service: &Service, args: &[&str]) -> (Option<i32>, String, String) {
    run(&service.files, args)
}

#[track_caller]
fn done(service: &Service, args: &[&str]) -> String {
    let (code, stdout, stderr) = ran(service, args);
    assert_eq!((code, &*stderr), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

fn closed(service: &Service) -> Value {
    let status: Value = serde_json::from_str(&done(service, &["status", "--json"])).unwrap();
    let apps = status["apps"].as_array().unwrap();
    let wiki = apps.iter().find(|app| app["name"] == "wiki").unwrap();
    wiki["maintenance"].clone()
}

#[tokio::test]
async fn a_command_closes_an_app_until_it_opens_it_or_the_server_restarts() {
    let app = Upstream::echo().await;
    let service = users(Vestibule::before(&app))
        .app("name = \"wiki\"")
        .server("")
        .spawn()
        .await;
    let bob = service.browser().login("bob", PASSWORD).await;
    bob.get("/").await.assert_status(200);
    let said = done(&service, &["app", "pause", "wiki", SENTENCE]);
    assert_eq!(
        said,
        "wiki is closed until `vestibule app resume wiki` or a restart\n"
    );
    let page = bob.get("/").await;
    assert_closed(&page);
    page.assert_contains("at six &amp; ");
    let now = closed(&service);
    assert_eq!(
        (&now["by"], &now["sentence"]),
        (&"command".into(), &SENTENCE.into())
    );
    let text = done(&service, &["status"]);
    let line = format!("closed       wiki, by `app pause`: {SENTENCE}\n");
    assert!(text.contains(&line), "{text}");

    service.reload(|text| format!("{text}\n# another\n"));
    let reloaded = done(&service, &["reload"]);
    assert_eq!(reloaded, "the configuration was read again\n");
    assert_closed(&bob.get("/").await);
    done(&service, &["app", "pause", "wiki"]);
    let page = bob.get("/").await;
    assert!(!page.text().contains("class=\"notice\""), "{page}");
    assert_eq!(closed(&service)["sentence"], Value::Null);

    assert_eq!(
        done(&service, &["app", "resume", "wiki"]),
        "wiki is open again\n"
    );
    assert_eq!(
        done(&service, &["app", "resume", "wiki"]),
        "wiki was not paused\n"
    );
    bob.get("/").await.assert_status(200);
    assert_eq!(closed(&service), Value::Null);

    done(&service, &["app", "pause", "wiki"]);
    let service = service.crash().await;
    bob.get("/").await.assert_status(200);
    let events: Vec<_> = service.program.log();
    assert!(events.iter().all(|line| line["message"] != "app paused"));
}

#[tokio::test]
async fn whoever_signs_in_at_a_closed_app_below_a_path_comes_back_to_it() {
    let app = Upstream::echo().await;
    let keys = format!("host = \"gate.test\"\npath = \"/wiki/\"\n{KEYS}");
    let gate = Vestibule::before(&app).user("ada", PASSWORD).app(&keys);
    let gate = gate.start().await;
    let browser = gate.browser();
    let page = browser.get("/wiki/x?y").await;
    assert_closed(&page);
    page.assert_contains("href=\"/.vestibule/login?switch=1&amp;return_to=/wiki&#x2f;\"");
    let form = browser
        .get("/.vestibule/login?switch=1&return_to=/wiki/")
        .await;
    assert_eq!(form.hidden("return_to"), "/wiki/");
}

#[tokio::test]
async fn what_cannot_be_closed_or_opened_is_said() {
    let app = Upstream::echo().await;
    let service = users(Vestibule::before(&app)).app(KEYS).spawn().await;
    let long = "x".repeat(501);
    for (args, expected, words) in [
        (
            &["pause", "wikki"][..],
            1,
            "there is no app `wikki`: did you mean `wiki`?",
        ),
        (&["resume", "wikki"], 1, "did you mean `wiki`?"),
        (
            &["pause", "zzz"],
            1,
            "there is no app `zzz`; `vestibule status` shows all",
        ),
        (
            &["pause", "wiki", "a\nb"],
            2,
            "a control character or line break",
        ),
        (&["pause", "wiki", &long], 2, "longer than 500 characters"),
        (&["pause"], 2, "required"),
        (
            &["resume", "wiki"],
            1,
            "take `maintenance` out of it, and run `vestibule reload`",
        ),
        (&["stop", "wiki"], 2, "unrecognized"),
    ] {
        let args = [&["app"], args].concat();
        let (code, stdout, stderr) = ran(&service, &args);
        assert_eq!((code, &*stdout), (Some(expected), ""), "{args:?} {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
    assert_eq!(closed(&service)["by"], "configuration");
    // A pause of what is closed already ends with `resume`, which says that it is closed still.
    done(&service, &["app", "pause", "wiki", "Longer."]);
    assert_eq!(closed(&service)["by"], "command");
    let (code, _, stderr) = ran(&service, &["app", "resume", "wiki"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("the pause is over, but the configuration closes"),
        "{stderr}"
    );
    eventually("the end of the pause in the log", || {
        let lines = service.program.log();
        lines.iter().any(|line| line["message"] == "app resumed")
    })
    .await;
    assert_eq!(closed(&service)["by"], "configuration");
}

/// Numbers for ever, WebSockets, and silence.
async fn endless() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                "/silent" | "/up" => exchange.wait_until_closed().await,
                _ => exchange.download_without_end().await,
            }
        })
    })
    .await
}

#[tokio::test]
async fn sec_89_streams_of_a_paused_app_end_except_those_of_its_menders() {
    let app = endless().await;
    let service = users(Vestibule::before(&app))
        .app("name = \"wiki\"\nmaintenance_allow = { groups = [\"menders\"] }")
        .spawn()
        .await;
    let cookie = async |user| {
        let browser = service.browser().login(user, PASSWORD).await;
        browser.session_cookie()
    };
    let (ada, bob) = (cookie("ada").await, cookie("bob").await);
    let open = async |target: &str, cookie: &str, more: &str| {
        let mut raw = service.raw().await;
        let line = if more.is_empty() { "GET" } else { "POST" };
        raw.send(format!(
            "{line} {target} HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n{more}\r\n"
        ))
        .await;
        raw
    };
    let socket = async |cookie: &str| {
        let fields = [("origin", "https://gate.test"), ("cookie", cookie)];
        open_websocket(service.tcp().await, "/ws", &fields)
            .await
            .unwrap()
    };
    let mut downloads = [open("/", &ada, "").await, open("/", &bob, "").await];
    for download in &mut downloads {
        download.head().await.assert_status(200);
    }
    let [mut of_ada, mut of_bob] = downloads;
    let (mut ada_socket, bob_socket) = (socket(&ada).await, socket(&bob).await);
    let mut waiting = open("/silent", &bob, "").await;
    let mut upload = open("/up", &bob, "Content-Length: 9\r\n").await;
    upload.send("part").await;
    app.wait_for(6).await;

    done(&service, &["app", "pause", "wiki", "Now."]);
    let ended = timeout(SOON, async {
        tokio::join!(
            of_bob.rest(),
            bob_socket.closed(),
            waiting.response(),
            upload.response()
        )
    });
    let (rest, code, waited, uploaded) = ended.await.expect("all of them soon");
    assert!(!rest.ends_with("0\r\n\r\n"), "it looks whole");
    assert_eq!(code, Some(1008));
    for reply in [waited, uploaded] {
        assert_closed(&reply);
        assert!(reply.text().contains("Now."), "{reply}");
    }
    assert_eq!(ada_socket.ask("still here").await, "still here");
    for _ in 0..3 {
        of_ada.chunk().await.expect("a chunk");
    }
    done(&service, &["app", "resume", "wiki"]);
    assert_eq!(socket(&bob).await.ask("again").await, "again");
}
