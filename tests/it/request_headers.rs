//! `[app.request_headers]`: what an app is told besides, and what it is not told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::harness::*;

const KEYS: &str = "[app.request_headers]\nset = { \"X-Real-IP\" = \"{client}\", \"X-Base\" = \"{proto}://{host}{prefix}\", \
    \"X-Origin\" = \"{proto}://{host}\", \"X-Trace\" = \"{request_id}\", \"X-Fixed\" = \"a b\" }\nremove = [\"X-C\", \"Accept-Language\"]";

async fn gate(app: &Upstream) -> (Gate, Browser) {
    let gate = Vestibule::before(app)
        .app(KEYS)
        .rule("/public", "everyone")
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    (gate, ada)
}

#[track_caller]
fn assert_told(told: &Received) {
    let id = told.value("x-request-id").unwrap();
    for (name, value) in [
        ("x-real-ip", Some("127.0.0.1")),
        ("x-origin", Some("https://gate.test")),
        ("x-fixed", Some("a b")),
        ("x-trace", Some(id)),
        ("x-base", None), // there is no prefix
        ("x-c", None),
        ("accept-language", None),
    ] {
        assert_eq!(told.value(name), value, "{name} in {}", told.head);
    }
}

#[tokio::test]
async fn an_app_is_told_what_the_configuration_says() {
    let app = Upstream::websocket().await;
    let (gate, ada) = gate(&app).await;
    let ada = ada.header("accept-language", "en").header("x-c", "1");
    for browser in [ada.clone(), ada.clone().over_http2()] {
        browser.get("/").await.assert_status(200);
        assert_told(&app.last());
        assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    }
    gate.browser().get("/public").await.assert_status(200);
    assert_told(&app.last());
    let session = ada.session_cookie();
    let fields = [
        ("origin", "https://gate.test"),
        ("cookie", &session),
        ("x-c", "1"),
    ];
    let socket = open_websocket(gate.tcp().await, "/", &fields).await;
    socket
        .unwrap_or_else(|status| panic!("{status}"))
        .close()
        .await;
    assert_told(&app.last());
}

#[tokio::test]
async fn below_a_path_the_prefix_is_told() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("path = \"/wiki/\"\nstrip_path = true")
        .app(KEYS)
        .rule("/wiki/", "everyone")
        .start()
        .await;
    gate.browser().get("/wiki/page").await.assert_status(200);
    assert_eq!(app.last().value("x-base"), Some("https://gate.test/wiki"));
}

#[tokio::test]
async fn the_client_is_the_one_that_trusted_proxies_name() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .server("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]")
        .app(KEYS)
        .public()
        .start()
        .await;
    for (chain, client) in [
        ("1.1.1.1, 2001:db8::1, 10.0.0.1", Some("2001:db8::1")),
        ("1.1.1.1", Some("1.1.1.1")),
        ("unknown", None),
        ("10.0.0.1", None),
    ] {
        let proxy = gate.browser().header("x-forwarded-for", chain);
        let proxy = proxy.header("x-real-ip", "9.9.9.9");
        proxy.get("/").await.assert_status(200);
        assert_eq!(app.last().value("x-real-ip"), client, "{chain}");
    }
}

#[tokio::test]
async fn sec_36_nothing_of_the_clients_comes_beside_it() {
    let app = Upstream::echo().await;
    let (gate, ada) = gate(&app).await;
    for name in [
        "X-Real-IP",
        "x_real_ip",
        "X.Real.IP",
        "X-Fixed",
        "x_fixed",
        "X~FIXED",
        "X-C",
        "x_c",
        "X.c",
        "X-Base",
        "X_BASE",
        "x!trace",
        "Accept_Language",
    ] {
        for fields in [
            format!("{name}: evil\r\n"),
            format!("{name}: evil\r\n{name}: evil-again\r\n"),
            format!("{name}: evil\r\nConnection: keep-alive, X-Fixed, X-Real-IP, {name}\r\n"),
        ] {
            for (path, cookie) in [
                ("/public", String::new()),
                ("/", format!("Cookie: {}\r\n", ada.session_cookie())),
            ] {
                let mut raw = gate.raw().await;
                raw.send(format!(
                    "GET {path} HTTP/1.1\r\nHost: gate.test\r\n{cookie}{fields}\r\n"
                ))
                .await;
                raw.response().await.assert_status(200);
                let last = app.last();
                assert!(!last.head.contains("evil"), "{fields}: {}", last.head);
                assert_told(&last);
            }
        }
        let lower = name.to_ascii_lowercase();
        let mut http2 = gate.raw_http2().await;
        let mut fields = RawHttp2::get("/public");
        fields.extend([(&*lower, "evil"), (&lower, "evil")]);
        http2.headers(1, &fields, true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{name}");
        assert!(!app.last().head.contains("evil"), "{}", app.last().head);
    }
    let mut raw = gate.raw().await;
    raw.send(
        "POST /public HTTP/1.1\r\nHost: gate.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\nX-Fixed: evil\r\nX-C: evil\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("evil"));
}

#[tokio::test]
async fn a_fixed_authorization_takes_the_place_of_the_clients() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("[app.request_headers.set]\nAuthorization = \"Basic dXNlcjpwYXNz\"")
        .rule("/public", "everyone")
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let session = format!("Cookie: {}\r\n", ada.session_cookie());
    for (path, fields) in [
        ("/public", ""),
        ("/", &*session),
        (
            "/",
            &format!("{session}Authorization: Basic b3RoZXI6eA==\r\n"),
        ),
        // What would sign a connection in is gone before anybody asks for one (SEC-92).
        (
            "/",
            &format!("{session}authorization: NTLM TlRMTVNTUAABAAAA\r\n"),
        ),
        (
            "/",
            &format!("{session}Authorization: Negotiate abc\r\nAuthorization: x\r\n"),
        ),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET {path} HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n"
        ))
        .await;
        raw.response().await.assert_status(200);
        let told = app.last();
        assert_eq!(
            told.value("authorization"),
            Some("Basic dXNlcjpwYXNz"),
            "{fields}"
        );
    }
    assert_eq!(app.connections(), 1, "and the connection is everybody's");
    let ada = ada
        .over_http2()
        .header("authorization", "NTLM TlRMTVNTUAABAAAA");
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_79_a_secret_value_comes_from_a_file_of_its_own() {
    const SECRET: &str = "Bearer {not-a-template}c2VjcmV0";
    let app = Upstream::echo().await;
    let keys = "[app.request_headers]\nset_file = { Authorization = \"app.token\" }";
    let vestibule = Vestibule::before(&app).app(keys).public();
    let vestibule = vestibule.prepare(|files| {
        files.write("app.token", &format!("{SECRET}\n"), 0o600);
    });
    let path = vestibule.path("app.token");
    let mut gate = vestibule.start().await;
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value("authorization"), Some(SECRET));

    // A reload reads it anew, and keeps what there is where it cannot.
    fs::write(&path, "Bearer other").unwrap();
    gate.reload(str::to_owned).unwrap();
    gate.browser().get("/").await.assert_status(200);
    assert_eq!(app.last().value("authorization"), Some("Bearer other"));
    for (content, mode, said) in [
        ("Bearer c2VjcmV0", 0o644, "chmod 600"),
        ("a\nc2VjcmV0", 0o600, "one line"),
        ("NTLM c2VjcmV0", 0o600, "NTLM"),
        ("", 0o600, "one line"),
    ] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = gate.reload(str::to_owned).unwrap_err().to_string();
        assert!(
            refused.contains("app.token") && refused.contains(said),
            "{refused}"
        );
        assert!(!refused.contains("c2VjcmV0"), "{refused}");
        gate.browser().get("/").await.assert_status(200);
        assert_eq!(app.last().value("authorization"), Some("Bearer other"));
    }
    fs::remove_file(&path).unwrap();
    let refused = gate.reload(str::to_owned).unwrap_err().to_string();
    assert!(refused.contains("app.token"), "{refused}");
}

#[tokio::test]
async fn check_says_what_is_wrong_with_the_file_and_shows_no_secret() {
    let app = Upstream::echo().await;
    let keys = "host = \"gate.test\"\n[app.request_headers]\nset_file = { Authorization = \"app.token\" }\n\
        [app.request_headers.set]\nX-Api-Key = \"c2VjcmV0\"";
    let files = Vestibule::before(&app)
        .app(keys)
        .user("ada", PASSWORD)
        .write();
    let check = || {
        let (code, stdout, stderr) = run(&files, &["check"]);
        (code, stdout + &stderr)
    };
    let (code, said) = check();
    // As a person, `check` does not know whether the service has it as a credential.
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("app.token: you do not see it"), "{said}");
    files.write("app.token", "Basic c2VjcmV0", 0o644);
    let (code, said) = check();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
    files.write("app.token", "Basic c2VjcmV0", 0o600);
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("app.token") && !said.contains("c2VjcmV0"),
        "{said}"
    );
    // Nor where something beside it is wrong.
    let text = fs::read_to_string(files.path("config.toml")).unwrap();
    let wrong = "set = { Authorization = \"Basic c2VjcmV0\", Host = \"x\" }";
    let text = text.replace("set_file = { Authorization = \"app.token\" }", wrong);
    let text = text.replace("[app.request_headers.set]\nX-Api-Key = \"c2VjcmV0\"", "");
    files.write("config.toml", &text, 0o644);
    let (code, said) = check();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("Host has keys of its own"), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
}

#[tokio::test]
async fn request_headers_come_and_go_with_a_reload() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).app(KEYS).public().start().await;
    let client = gate.browser().header("x-fixed", "of the client");
    client.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-fixed"), Some("a b"));
    gate.reload(|text| text.replace(KEYS, "")).unwrap();
    client.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-fixed"), Some("of the client"));
}

#[tokio::test]
async fn preserve_header_case_leaves_what_is_set_as_it_is() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("preserve_header_case = true")
        .app(KEYS)
        .public()
        .start()
        .await;
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\nX-FIXED: evil\r\nX-ODD: 1\r\n\r\n")
        .await;
    raw.response().await.assert_status(200);
    let head = app.last().head;
    assert!(
        head.contains("\r\nX-Fixed: a b") && head.contains("\r\nX-ODD: 1"),
        "{head}"
    );
}
