//! Real applications and a real client: Prometheus, JupyterLab, curl.

use std::process::Command;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::tls::HOST;
use crate::harness::webdriver::Chromium;
use crate::harness::{
    Browser, Gate, PASSWORD, Program, Upstream, Vestibule, eventually_some, open_websocket, real,
    tls,
};

const QUERY: &str = "/api/v1/query?query=up";

async fn gate_before(app: &real::App) -> Gate {
    let url = format!("http://{}", app.address);
    Vestibule::before_url(&url)
        .user("ada", PASSWORD)
        .start()
        .await
}

/// What Prometheus says of itself, as soon as it has looked.
async fn first_sample(browser: &Browser) -> Value {
    eventually_some("a first sample", async || {
        let reply = browser.fetch(QUERY).await;
        reply.assert_status(200);
        let value = reply.json()["data"]["result"][0]["value"][1].clone();
        (!value.is_null()).then_some(value)
    })
    .await
}

/// Opens a page of the app in a real browser, by way of the login.
async fn open_in(browser: &Chromium, page: &str) {
    browser.goto(page).await;
    browser.type_into("[name=username]", "ada").await;
    browser.type_into("[name=password]", PASSWORD).await;
    browser.click("[type=submit]").await;
}

#[tokio::test]
async fn prometheus_answers_to_who_is_signed_in() {
    let Some(app) = real::prometheus().await else {
        return;
    };
    let gate = gate_before(&app).await;
    let stranger = gate.browser();
    let graph = stranger.get("/graph").await;
    graph.assert_redirects_to("/.vestibule/login?return_to=%2Fgraph");
    let refused = stranger.fetch(QUERY).await;
    refused.assert_status(401);
    assert_eq!(refused.json()["error"], "login_required", "{refused}");

    let ada = gate.browser().login("ada", PASSWORD).await;
    for ada in [ada.clone(), ada.over_http2()] {
        let up = first_sample(&ada).await;
        assert_eq!(up, "1");
    }
}

#[tokio::test]
async fn the_query_page_of_prometheus_works_in_a_browser() {
    let Some(app) = real::prometheus().await else {
        return;
    };
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let gate = gate_before(&app).await;
    // The page asks once; by then there has to be something.
    first_sample(&gate.browser().login("ada", PASSWORD).await).await;
    let port = gate.address().port();
    let page = format!("https://{HOST}:{port}/graph?g0.expr=prometheus_build_info&g0.tab=1");
    open_in(&browser, &page).await;
    // Its script asks the API, so the session goes with what scripts fetch.
    browser
        .wait_until("document.body.textContent.includes('prometheus_build_info{')")
        .await;
}

#[tokio::test]
async fn a_jupyter_kernel_computes_through_its_websocket() {
    let Some(app) = real::jupyter_lab().await else {
        return;
    };
    let gate = gate_before(&app).await;
    let origin = ("origin", "https://gate.test");
    gate.browser()
        .fetch("/api/kernels")
        .await
        .assert_status(401);
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/lab").await.assert_status(200);
    // Jupyter's own protection: the cookie that came with the page, again as a header.
    let cookies = ada.cookies();
    let xsrf = cookies
        .split("; ")
        .find_map(|pair| pair.strip_prefix("_xsrf="));
    let headers = [
        ("x-xsrftoken", xsrf.expect("Jupyter's own cookie")),
        ("content-type", "application/json"),
        origin,
    ];
    let kernel = ada
        .request(Method::POST, "/api/kernels", &headers, Bytes::from("{}"))
        .await;
    kernel.assert_status(201);
    let id = kernel.json()["id"].as_str().unwrap().to_owned();

    let channels = format!("/api/kernels/{id}/channels?session_id=test");
    let without = open_websocket(gate.tcp().await, &channels, &[origin]).await;
    assert_eq!(without.err(), Some(401));
    let elsewhere = [
        ("origin", "https://evil.test"),
        ("cookie", cookies.as_str()),
    ];
    let elsewhere = open_websocket(gate.tcp().await, &channels, &elsewhere).await;
    assert_eq!(elsewhere.err(), Some(403));
    let headers = [origin, ("cookie", cookies.as_str())];
    let mut socket = open_websocket(gate.tcp().await, &channels, &headers)
        .await
        .unwrap();
    let request = json!({
        "channel": "shell",
        "header": {
            "msg_id": "one", "msg_type": "execute_request", "session": "test",
            "username": "ada", "version": "5.3", "date": "2026-01-01T00:00:00Z",
        },
        "parent_header": {}, "metadata": {}, "buffers": [],
        "content": {
            "code": "6*7", "silent": false, "store_history": true,
            "user_expressions": {}, "allow_stdin": false, "stop_on_error": true,
        },
    });
    socket.send(&request.to_string()).await;
    let result = loop {
        let message: Value = serde_json::from_str(&socket.next().await).unwrap();
        assert_ne!(message["header"]["msg_type"], "error", "{message}");
        if message["header"]["msg_type"] == "execute_result" {
            break message;
        }
    };
    assert_eq!(result["content"]["data"]["text/plain"], "42", "{result}");

    ada.logout().await;
    assert_eq!(
        socket.closed().await,
        Some(1008),
        "it ends with the session"
    );
}

#[tokio::test]
async fn jupyter_lab_comes_up_in_a_browser() {
    let Some(app) = real::jupyter_lab().await else {
        return;
    };
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let gate = gate_before(&app).await;
    let port = gate.address().port();
    open_in(&browser, &format!("https://{HOST}:{port}/lab")).await;
    browser
        .wait_until("document.querySelector('.jp-Launcher, .jp-DirListing-content')")
        .await;
    assert_eq!(
        browser.url().await,
        format!("https://{HOST}:{port}/lab"),
        "and stays there"
    );
}

#[tokio::test]
async fn curl_signs_in_and_works_by_both_protocols() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let port = gate.address().port();
    let origin = format!("https://{HOST}:{port}");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", tls::certificate().cert_pem.as_bytes());
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let upload = format!("@{}", file("upload", &content));
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    // The body, then the version of HTTP and the status.
    let run = async |protocol: &str, jar: &str, args: &[&str]| {
        let mut command = Command::new(&curl);
        command
            .args(["--disable", "--silent", "--show-error", "--noproxy", "*"])
            .args(["--cacert", &certificate, "--resolve", &resolve, protocol])
            .args(["--cookie", jar, "--cookie-jar", jar])
            .args(["--write-out", "\n%{http_version} %{http_code}"])
            .args(args);
        let mut program = Program::spawn(command);
        let status = program.exit().await;
        assert!(status.success(), "{status}: {}", program.stderr());
        program.stdout_at_end().await
    };
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let jar = file(&format!("cookies-{version}"), b"");
        let ended = |answer: &str, status: u16| {
            let expected = format!("\n{version} {status}");
            assert!(
                answer.ends_with(&expected),
                "{expected:?} not at the end of:\n{answer}"
            );
        };
        let before = app.requests();
        let page = format!("{origin}/x?y=1");
        ended(&run(protocol, &jar, &[&page]).await, 401);
        let html = ["--header", "accept: text/html", &page];
        ended(&run(protocol, &jar, &html).await, 303);
        let own = format!("origin: {origin}");
        let password = format!("password={PASSWORD}");
        let login = format!("{origin}/.vestibule/login");
        let form = [
            "--header",
            &own,
            "--data-urlencode",
            "username=ada",
            "--data-urlencode",
            &password,
            &login,
        ];
        ended(&run(protocol, &jar, &form).await, 303);
        assert_eq!(app.requests(), before, "nothing has reached the app yet");

        let forged = "x-forwarded-user: root";
        let answer = run(protocol, &jar, &["--header", forged, &page]).await;
        ended(&answer, 200);
        assert!(answer.starts_with("GET /x?y=1 HTTP/1.1\r\n"), "{answer}");
        assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
        assert_eq!(app.last().value("x-forwarded-proto"), Some("https"));
        assert_eq!(
            app.last().value("cookie"),
            None,
            "the session stays with us"
        );

        let up = format!("{origin}/up");
        let answer = run(protocol, &jar, &["--data-binary", &upload, &up]).await;
        ended(&answer, 200);
        assert!(app.last().complete);
        assert!(app.last().body == content, "the upload came changed");
    }
}
