//! The recipes, followed with the real programs.

mod auth_proxy;
mod form;

use bytes::Bytes;
use hyper::{Method, Request};
use serde_json::{Value, json};

use self::auth_proxy::AuthProxy;
pub(super) use self::form::INDEX;
use super::desk::Desk;
use super::page::Page;
use crate::harness::*;

#[tokio::test]
async fn prometheus_is_behind_the_login_and_watches_it() {
    if ["prometheus", "promtool"]
        .iter()
        .any(|part| real::find(part).is_none())
    {
        return;
    }
    let host = "prometheus.example.org";
    let (mut page, mut desk) = (Page::open("recipes/prometheus.md"), Desk::new(host));
    let own = desk.free("127.0.0.1:9090");
    desk.free("127.0.0.1:9180");
    let start = page.next("sh");
    let scrape = page.next("yaml");
    let address = desk.configure(&mut page);
    desk.run("vestibule user add ada --group operators").await;
    let served = desk.serve(address).await;

    let alerts = include_str!("../../../packaging/prometheus/alerts.yml");
    desk.write("/etc/prometheus/vestibule.yml", alerts);
    let scrape = "global: {scrape_interval: 1s}\n".to_owned() + &scrape;
    desk.write("/etc/prometheus/prometheus.yml", &scrape);
    let config = "/etc/prometheus/prometheus.yml";
    let said = desk.run(&format!("promtool check config {config}")).await;
    assert!(said.contains("SUCCESS: 1 rule files found"), "{said}");
    let mut prometheus = desk.start(&start);
    prometheus.wait_for_port(own).await;

    let stranger = served.browser(host);
    stranger.get("/graph").await.assert_status(303);
    let ada = stranger.login("ada", PASSWORD).await;
    ada.get("/-/healthy").await.assert_status(403);
    ada.fetch("/api/v1/admin/tsdb/snapshot")
        .await
        .assert_status(403);
    let query = "/api/v1/query?query=vestibule_logins_total%7Boutcome%3D%22signed_in%22%7D";
    eventually_some("Prometheus to count the login", async || {
        let reply = ada.fetch(query).await;
        if reply.status == 503 {
            return None; // it listens before it is ready
        }
        let count = &reply.json()["data"]["result"][0]["value"][1];
        (count == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn grafana_is_told_who_it_is_by_the_header_that_it_asks_for() {
    let host = "grafana.example.org";
    let (mut page, mut desk) = (Page::open("recipes/grafana.md"), Desk::new(host));
    let app = Upstream::websocket().await;
    desk.place("http://127.0.0.1:3000", app.url());
    let grafana = AuthProxy::parse(&page.next("ini"));
    let address = desk.configure(&mut page);
    let user = "vestibule user add ada --group editors --email ada@example.org";
    desk.run(user).await;
    let served = desk.serve(address).await;

    let sent_to = grafana
        .sign_out()
        .strip_prefix("https://grafana.example.org");
    let logout = sent_to.expect("our own host");
    let forged = served.browser(host).header("x-webauth-user", "admin");
    forged.get("/").await.assert_status(303);
    assert_eq!(app.requests(), 0);
    let ada = forged.login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let user = grafana.user(&app.last()).expect("a user");
    assert_eq!(user["login"], "ada", "and not who was forged");
    assert_eq!(user["Email"], "ada@example.org");
    assert_eq!(user["Groups"], "editors");

    let origin = format!("https://{host}");
    let headers = [("origin", &*origin), ("cookie", &ada.cookies())];
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let live = open_websocket_of(host, tcp, "/api/live/ws", &headers).await;
    let mut live = live.expect("Grafana Live");
    assert_eq!(live.ask("ping").await, "ping");
    assert_eq!(grafana.user(&app.last()).unwrap()["login"], "ada");
    let button = ada.get(logout).await;
    let fields = [("csrf", &*button.hidden("csrf"))];
    ada.post_form(logout, &fields).await;
    assert_eq!(live.closed().await, Some(1008), "it ends with the session");
    ada.get("/").await.assert_status(303);
}

#[tokio::test]
async fn jupyter_knows_who_it_is_and_ends_its_terminal_with_the_session() {
    if real::find("jupyter-lab").is_none() {
        return;
    }
    let host = "jupyter.example.org";
    let (mut page, mut desk) = (Page::open("recipes/jupyter.md"), Desk::new(host));
    let own = held_port();
    desk.place("127.0.0.1:8888", own.to_string());
    desk.place("port = 8888", format!("port = {}", own.port()));
    let tests_may_be_root = "c.ServerApp.allow_root = True\n";
    let config = page.next("python") + tests_may_be_root;
    desk.write("/etc/jupyter/jupyter_server_config.py", &config);
    let mut jupyter = desk.start(&page.next("sh"));
    let address = desk.configure(&mut page);
    desk.run("vestibule user add ada").await;
    let served = desk.serve(address).await;
    jupyter.wait_for_port(own).await;

    let direct = real::http(own, Request::get("/api/me")).await.unwrap();
    assert_eq!(direct.0, 403, "nobody is named");
    let stranger = served.browser(host);
    stranger.get("/lab").await.assert_status(303);
    let ada = stranger.login("ada", PASSWORD).await;
    ada.get("/lab").await.assert_status(200);
    let me = ada.fetch("/api/me").await.json();
    assert_eq!(me["identity"]["username"], "ada", "{me}");

    let cookies = ada.cookies();
    let xsrf = cookies
        .split("; ")
        .find_map(|pair| pair.strip_prefix("_xsrf="));
    let headers = [("x-xsrftoken", xsrf.expect("Jupyter's own cookie"))];
    let made = ada
        .request(Method::POST, "/api/terminals", &headers, Bytes::new())
        .await;
    made.assert_status(200);
    let target = format!(
        "/terminals/websocket/{}",
        made.json()["name"].as_str().unwrap()
    );
    let open = async |cookies: &str| {
        let headers = [
            ("origin", "https://jupyter.example.org"),
            ("cookie", cookies),
        ];
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        open_websocket_of(host, tcp, &target, &headers).await
    };
    assert_eq!(open("").await.err(), Some(401));
    let mut terminal = open(&cookies).await.expect("a terminal");
    terminal
        .send(&json!(["stdin", "echo $((6*7))\r"]).to_string())
        .await;
    loop {
        let said: Value = serde_json::from_str(&terminal.next().await).unwrap();
        if said[0] == "stdout" && said[1].as_str().unwrap().contains("42") {
            break;
        }
    }
    ada.logout().await;
    assert_eq!(
        terminal.closed().await,
        Some(1008),
        "it ends with the session"
    );
    assert_eq!(open(&cookies).await.err(), Some(401));
}

#[tokio::test]
async fn a_shell_in_the_browser_is_for_operators_and_ends_with_the_session() {
    if real::find("websocketd").is_none() {
        return;
    }
    let host = "terminal.example.org";
    let (mut page, mut desk) = (Page::open("recipes/terminal.md"), Desk::new(host));
    let own = held_port();
    desk.place("127.0.0.1:7681", own.to_string());
    desk.place("--port=7681", format!("--port={}", own.port()));
    let mut websocketd = desk.start(&page.next("sh"));
    let address = desk.configure(&mut page);
    desk.run("vestibule user add ada --group operators").await;
    desk.run("vestibule user add bob").await;
    let served = desk.serve(address).await;
    websocketd.wait_for_port(own).await;

    let open = async |cookies: &str, origin: &str| {
        let headers = [("origin", origin), ("cookie", cookies)];
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        open_websocket_of(host, tcp, "/", &headers).await
    };
    let origin = format!("https://{host}");
    assert_eq!(open("", &origin).await.err(), Some(401));
    let bob = served.browser(host).login("bob", PASSWORD).await;
    assert_eq!(open(&bob.cookies(), &origin).await.err(), Some(403));
    let ada = served.browser(host).login("ada", PASSWORD).await;
    ada.get("/")
        .await
        .assert_status(200)
        .assert_contains("WebSocket");
    let elsewhere = open(&ada.cookies(), "https://evil.example").await;
    assert_eq!(elsewhere.err(), Some(403));
    let mut shell = open(&ada.cookies(), &origin).await.expect("a shell");
    assert_eq!(shell.ask("echo $HTTP_X_FORWARDED_USER").await, "ada");
    ada.logout().await;
    assert_eq!(shell.closed().await, Some(1008), "it ends with the session");

    let ada = served.browser(host).login("ada", PASSWORD).await;
    let shell = open(&ada.cookies(), &origin).await.expect("a shell");
    desk.run("vestibule session revoke --user ada").await;
    assert_eq!(shell.closed().await, Some(1008), "it was revoked");
    ada.get("/").await.assert_status(303);
}
