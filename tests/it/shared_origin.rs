//! SEC-90 and SEC-91: what an app and a script of it can do to our pages, which share its origin.

mod chromium;
mod our_pages;

use crate::harness::*;

const FAR_REACHING: &str = "Service-Worker-Allowed: /\r\n\
     Clear-Site-Data: \"cache\", \"cookies\"\r\n\
     clear-site-data: \"*\",\"storage\"\r\n\
     NEL: {\"report_to\":\"x\"}\r\n\
     Report-To: {\"group\":\"x\"}\r\n\
     Reporting-Endpoints: x=\"https://evil.test/\"\r\n\
     Alt-Svc: h3=\":443\"\r\n\
     Strict-Transport-Security: max-age=0\r\n\
     strict-transport-security: max-age=1; preload\r\n\
     X-Kept: 1\r\n";

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{FAR_REACHING}\r\nok")
}

fn values<'r>(reply: &'r Reply, names: &[&'static str]) -> Vec<Vec<&'r str>> {
    names.iter().map(|name| reply.values(name)).collect()
}

#[tokio::test]
async fn sec_90_what_reaches_beyond_the_app_is_dropped_from_every_answer() {
    for status in ["200 OK", "404 Not Found", "500 Internal Server Error"] {
        let app = Upstream::raw(format!(
            "HTTP/1.1 103 Early Hints\r\n{FAR_REACHING}\r\n{}",
            answer(status)
        ))
        .await;
        let gate = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .rule("/public", "everyone")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let browsers = [ada.clone(), ada.over_http2(), gate.browser()];
        for browser in browsers {
            let reply = browser.get("/public").await;
            reply.assert_header("x-kept", "1");
            let gone = [
                "service-worker-allowed",
                "nel",
                "report-to",
                "reporting-endpoints",
                "alt-svc",
            ];
            assert_eq!(values(&reply, &gone), [[""; 0]; 5], "{reply}");
            reply.assert_header("clear-site-data", "\"cache\"");
            reply.assert_header("strict-transport-security", "max-age=31536000");
        }
        let mut raw = gate.raw().await;
        raw.send("GET /public HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
            .await;
        let all = raw.rest().await.to_ascii_lowercase();
        for name in ["service-worker", "\"cookies\"", "\"*\"", "preload", "evil"] {
            assert!(!all.contains(name), "{name} in {all}");
        }
    }
}

#[tokio::test]
async fn sec_90_an_app_is_allowed_what_its_configuration_says_and_no_more() {
    let app = Upstream::raw(answer("200 OK")).await;
    let gate = Vestibule::before(&app)
        .app("allow_response = [\"service-worker-allowed\", \"clear-site-data\"]")
        .public()
        .start()
        .await;
    let reply = gate.browser().get("/").await;
    let names = [
        "service-worker-allowed",
        "clear-site-data",
        "nel",
        "alt-svc",
    ];
    let expected: [&[&str]; 4] = [
        &["/"],
        &["\"cache\", \"cookies\"", "\"*\",\"storage\""],
        &[],
        &[],
    ];
    assert_eq!(values(&reply, &names), expected, "{reply}");
    reply.assert_header("strict-transport-security", "max-age=31536000");
}

#[tokio::test]
async fn sec_90_the_handshake_of_a_websocket_is_an_answer_too() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async move {
            let key = exchange.header("sec-websocket-key").expect("a key");
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            exchange
                .send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n{FAR_REACHING}\r\n"
                ))
                .await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    raw.send(
        "GET /ws HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let head = raw.head().await;
    head.assert_status(101).assert_header("x-kept", "1");
    let names = ["service-worker-allowed", "nel", "alt-svc"];
    assert_eq!(values(&head, &names), [[""; 0]; 3], "{head}");
    head.assert_header("clear-site-data", "\"cache\"");
    head.assert_header("strict-transport-security", "max-age=31536000");
}

#[tokio::test]
async fn the_log_names_what_was_dropped_once_and_the_key_that_lets_it() {
    let app = Upstream::raw(answer("200 OK")).await;
    let service = Vestibule::before(&app)
        .public()
        .config("[log]\nformat = \"json\"\naccess = false")
        .spawn()
        .await;
    for _ in 0..3 {
        service.browser().get("/").await.assert_status(200);
    }
    let lines = || {
        let log = service.program.log().into_iter();
        let told = log.filter_map(|line| {
            let header = line["header"].as_str()?.to_owned();
            assert_eq!(line["app"], "app", "{line}");
            Some((header, line["key"].as_str().map(str::to_owned)))
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    eventually("a line for each header", || lines().len() >= 6).await;
    let key = |name: &str| Some(format!("allow_response = [\"{name}\"]"));
    let expected = [
        ("alt-svc", None),
        ("clear-site-data", key("clear-site-data")),
        ("nel", None),
        ("report-to", None),
        ("reporting-endpoints", None),
        ("service-worker-allowed", key("service-worker-allowed")),
    ];
    let expected = expected.map(|(header, key)| (header.to_owned(), key));
    assert_eq!(lines(), expected);
}

#[tokio::test]
async fn sec_90_no_service_worker_comes_from_a_path_for_everyone_unless_its_rule_says_so() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .config("[[app.rule]]\npath = \"/pwa\"\nallow = \"everyone\"\nservice_worker = true")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for browser in [ada.clone(), ada.clone().over_http2(), gate.browser()] {
        for field in [
            ("service-worker", "script"),
            ("service-worker", "Script"),
            ("sec-fetch-dest", "serviceworker"),
        ] {
            let browser = browser.clone().header(field.0, field.1);
            let refused = browser.fetch("/public/sw.js").await;
            refused.assert_status(403);
            assert_eq!(refused.json()["error"], "service_worker_not_allowed");
            browser.fetch("/pwa/sw.js").await.assert_status(200);
            let own = browser.fetch("/.vestibule/assets/login.js").await;
            assert_eq!(own.status, 403, "{own}");
        }
        browser.fetch("/public/sw.js").await.assert_status(200);
    }
    assert_eq!(app.requests(), 9 + 3);
    // Where everybody is known, the app answers for what its users may do to each other.
    let worker = ada.header("service-worker", "script");
    worker.fetch("/sw.js").await.assert_status(200);
}
