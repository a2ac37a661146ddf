//! Real applications and clients: Prometheus, JupyterLab, curl.

use std::process::Command;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::webdriver::Chromium;
use crate::harness::*;

#[tokio::test]
async fn prometheus_is_behind_a_login_with_its_page_and_its_api() {
    const PAGE: &str = "/classic/graph"; // of Debian's package
    let Some(app) = real::prometheus().await else {
        return;
    };
    let gate = Vestibule::before_url(&format!("http://{}", app.address))
        .user("ada", PASSWORD)
        .start()
        .await;
    let query = "/api/v1/query?query=up";
    gate.browser()
        .get(PAGE)
        .await
        .assert_redirects_to("/.vestibule/login?return_to=%2Fclassic%2Fgraph");
    gate.browser().fetch(query).await.assert_status(401);
    let ada = gate.browser().login("ada", PASSWORD).await;
    for browser in [ada.clone(), ada.over_http2()] {
        let result = eventually_some("a first sample", async || {
            let reply = browser.fetch(query).await;
            reply.assert_status(200);
            let result = reply.json()["data"]["result"][0]["value"][1].clone();
            (!result.is_null()).then_some(result)
        })
        .await;
        assert_eq!(result, "1", "Prometheus sees itself up");
        let page = browser.get(PAGE).await;
        page.assert_status(200).assert_contains("Prometheus");
    }

    let Some(chromium) = Chromium::start().await else {
        return;
    };
    let port = gate.address().port();
    let target = format!("https://gate.test:{port}{PAGE}?g0.expr=prometheus_build_info&g0.tab=1");
    chromium.goto(&target).await;
    chromium.type_into("[name=username]", "ada").await;
    chromium.type_into("[name=password]", PASSWORD).await;
    chromium.click("button[type=submit]").await;
    chromium
        .wait_until(
            "document.querySelector('table')?.textContent.includes('prometheus_build_info')",
        )
        .await;
    assert!(
        chromium
            .url()
            .await
            .contains("g0.expr=prometheus_build_info")
    );
}

#[tokio::test]
async fn a_jupyter_kernel_computes_through_the_gate() {
    let Some(app) = real::jupyter_lab().await else {
        return;
    };
    let gate = Vestibule::before_url(&format!("http://{}", app.address))
        .user("ada", PASSWORD)
        .start()
        .await;
    gate.browser().get("/lab").await.assert_status(303);
    gate.browser()
        .fetch("/api/kernels")
        .await
        .assert_status(401);
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/lab")
        .await
        .assert_status(200)
        .assert_contains("JupyterLab");
    let cookies = ada.cookies();
    let xsrf = cookies
        .split("_xsrf=")
        .nth(1)
        .expect("Jupyter's own cookie")
        .split(';')
        .next()
        .unwrap();
    let headers = [
        ("x-xsrftoken", xsrf),
        ("origin", "https://gate.test"),
        ("content-type", "application/json"),
    ];
    let started = ada
        .request(Method::POST, "/api/kernels", &headers, Bytes::from("{}"))
        .await;
    started.assert_status(201);
    let kernel = started.json()["id"].as_str().unwrap().to_owned();

    let channels = format!("/api/kernels/{kernel}/channels?session_id=test");
    let own = ("origin", "https://gate.test");
    let stranger = open_websocket(gate.tcp().await, &channels, &[own]).await;
    assert_eq!(stranger.err(), Some(401));
    let mut socket = open_websocket(gate.tcp().await, &channels, &[own, ("cookie", &cookies)])
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
        let kind = message["header"]["msg_type"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_ne!(kind, "error", "{message}");
        if kind == "execute_result" {
            break message;
        }
    };
    assert_eq!(result["content"]["data"]["text/plain"], "42");
    ada.logout().await;
    assert_eq!(socket.closed().await, Some(1008));
}

#[tokio::test]
async fn curl_signs_in_and_fetches_by_both_protocols() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://gate.test:{}", gate.address().port());
    let resolve = format!("gate.test:{}:127.0.0.1", gate.address().port());
    let cert = folder.path().join("cert.pem");
    std::fs::write(&cert, &tls::certificate().cert_pem).unwrap();
    let run = async |args: &[&str]| {
        let mut command = Command::new(&curl);
        command.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--resolve",
            &resolve,
        ]);
        command
            .arg("--cacert")
            .arg(&cert)
            .args(["--write-out", " %{http_version} %{http_code}"])
            .args(args);
        let mut program = Program::spawn(command);
        let status = program.exit().await;
        assert!(status.success(), "{status} {}", program.stderr());
        program.stdout_at_end().await
    };
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let jar = folder.path().join(version);
        let jar = jar.to_str().unwrap();
        let cookies = ["--cookie", jar, "--cookie-jar", jar];
        let refused = run(&[option, &format!("{url}/x")]).await;
        assert!(refused.ends_with(&format!(" {version} 401")), "{refused}");
        let login = format!("{url}/.vestibule/login");
        let form = [
            "--data-urlencode",
            "username=ada",
            "--data-urlencode",
            &format!("password={PASSWORD}"),
        ];
        let origin = format!("Origin: {url}");
        let signed_in =
            run(&[&[option, "--header", &origin, &login], &form[..], &cookies].concat()).await;
        assert!(
            signed_in.ends_with(&format!(" {version} 303")),
            "{signed_in}"
        );
        let fetched = run(&[&[option, &*format!("{url}/x?y=1")], &cookies[..]].concat()).await;
        assert!(fetched.ends_with(&format!(" {version} 200")), "{fetched}");
        assert!(
            fetched.starts_with("GET /x?y=1 HTTP/1.1\r\n")
                && fetched.contains("x-forwarded-user: ada"),
            "{fetched}"
        );
        let upload = run(&[
            &[
                option,
                "--data-binary",
                "@/proc/self/exe",
                &*format!("{url}/up"),
            ],
            &cookies[..],
        ]
        .concat())
        .await;
        assert!(upload.ends_with(" 200"), "{upload}");
        assert!(app.last().complete && app.last().body.len() > 10_000);
    }
}
