//! What a visitor meets without a session, and what is below `/.vestibule/`.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::page::{Page, quoted};
use crate::harness::*;

#[tokio::test]
async fn each_kind_of_request_gets_what_the_page_says() {
    let page = Page::open("visitors.md");
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let stranger = gate.browser();
    let load = stranger.get("/x?y=1").await;
    load.assert_header("location", "/.vestibule/login?return_to=%2Fx%3Fy%3D1");
    let headers = [
        ("accept", "text/html,*/*;q=0.8"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ];
    let form = stranger.fresh();
    let form = form
        .request(Method::POST, "/save", &headers, Bytes::from("text=long"))
        .await;
    form.assert_contains("is kept for 15 minutes: sign in");
    let foreign = [&headers[..3], &[("sec-fetch-site", "cross-site")]].concat();
    let foreign = stranger.request(Method::POST, "/save", &foreign, Bytes::from("text=long"));
    let foreign = foreign.await;
    foreign.assert_contains("was not delivered");
    let script = stranger.fetch("/x").await;
    let headers = [("origin", "https://gate.test")];
    let socket = open_websocket(gate.tcp().await, "/ws", &headers).await;
    let got = [
        load.status,
        form.status,
        foreign.status,
        script.status,
        socket.err().unwrap(),
    ];

    let rows = page.rows("request");
    let said: Vec<u16> = rows
        .iter()
        .map(|row| row[1][..3].parse().unwrap())
        .collect();
    assert_eq!(said, got);
    let said: Value = serde_json::from_str(quoted(rows[3][1]).pop_first().unwrap()).unwrap();
    let mut bodies = [script.json(), said];
    for body in &mut bodies {
        assert!(body["request_id"].take().is_string(), "{body}");
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(app.requests(), 0);

    let ada = stranger.login("ada", PASSWORD).await;
    let rows = page.rows("address");
    assert_eq!(rows.len(), 5, "{rows:?}");
    for row in rows {
        let name = quoted(row[0]).pop_first().unwrap();
        let target = format!("/.vestibule/{name}");
        let shown = if name == "login" { 303 } else { 200 };
        ada.get(&target).await.assert_status(shown);
        let fetched = ada.fetch(&target).await;
        if name == "session" {
            let said: Value = serde_json::from_str(quoted(row[1]).pop_first().unwrap()).unwrap();
            let told = fetched.assert_status(200).json();
            assert_eq!(told["user"], said["user"]);
            assert!(told["seconds_left"].as_u64() <= said["seconds_left"].as_u64());
        } else {
            fetched.assert_status(403);
            assert_eq!(fetched.json()["error"], "page_load_required");
        }
    }
}
