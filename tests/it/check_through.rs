//! `vestibule check --through` on raw bytes; tests of the documentation run it with real proxies in
//! front.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::harness::tls::HOST;
use crate::harness::*;

async fn start(app: &Upstream, keys: &str) -> Gate {
    let gate = Vestibule::before(app).public().server(keys);
    gate.start().await
}

/// What the server answers to a command, line by line.
async fn ask(gate: &mut Gate, request: Value) -> Vec<Value> {
    let socket = gate.files().path("admin.sock");
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("{request}\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut answer = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        answer.push(serde_json::from_str(&line).unwrap());
    }
    answer
}

/// Begins a run, and gives the key of it.
async fn begin(gate: &mut Gate) -> String {
    let answer = ask(gate, json!({"command": "probes-begin"})).await;
    let key = &answer[0]["done"]["probes-begun"]["key"];
    key.as_str().expect("a key").to_owned()
}

async fn end(gate: &mut Gate, key: &str) -> Vec<Value> {
    ask(gate, json!({"command": "probes-end", "key": key})).await
}

/// The value of the field of a probe.
fn sign(key: &str, number: u32) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::{Hmac, KeyInit, Mac};
    let key = BASE64.decode(key).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(&number.to_be_bytes());
    format!("{number}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

async fn get(gate: &Gate, target: &str, fields: &str) -> Reply {
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}Connection: close\r\n\r\n"
    ))
    .await;
    raw.response().await
}

#[tokio::test]
async fn a_probe_of_this_run_is_noted_and_reaches_no_app() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "trusted_proxies = [\"127.0.0.1\"]").await;
    let key = begin(&mut gate).await;
    let probe = format!("Vestibule-Probe: {}\r\n", sign(&key, 7));
    let fields = format!("{probe}X-Forwarded-For: 203.0.113.9\r\n");
    get(&gate, "/a?b=c", &fields).await.assert_status(204);
    get(&gate, "/a%00", &probe).await.assert_status(204);
    get(&gate, "/.vestibule/session", &probe)
        .await
        .assert_status(204);
    let lines = end(&mut gate, &key).await;
    let (number, read) = (&lines[0]["probe"][0], &lines[0]["probe"][1]);
    assert_eq!(number, 7);
    assert_eq!(read[0]["way"], "forwarded");
    assert_eq!(read[0]["client"], "203.0.113.9");
    assert_eq!(read[0]["method"], "GET");
    assert_eq!(read[0]["host"], HOST);
    assert_eq!(read[0]["target"], "/a?b=c");
    assert_eq!(read[0]["refused"], Value::Null);
    assert_eq!(read[1]["target"], "/a%00");
    assert!(read[1]["refused"].is_string(), "{read}");
    assert_eq!(read[2]["way"], "own-page");
    assert_eq!(app.requests(), 0);

    get(&gate, "/a", &probe).await.assert_status(200); // the run is over
    assert_eq!(app.requests(), 1);
}

/// Whoever knows of a run still has no part in it.
#[tokio::test]
async fn nobody_else_can_have_a_request_noted() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "").await;
    let before = begin(&mut gate).await;
    let key = begin(&mut gate).await;
    let signed = sign(&key, 1);
    let (number, mac) = signed.split_once('.').unwrap();
    let good = format!("Vestibule-Probe: {signed}\r\n");
    for forged in [
        "Vestibule-Probe: \r\n".to_owned(),
        "Vestibule-Probe: 1\r\n".to_owned(),
        "Vestibule-Probe: 1.\r\n".to_owned(),
        format!("Vestibule-Probe: 2.{mac}\r\n"),
        format!("Vestibule-Probe: {number}.{}\r\n", &mac[1..]),
        format!("Vestibule-Probe: {}\r\n", sign(&before, 1)),
        format!("Vestibule-Probe: {}\r\n", sign(&key, 1_000)),
        format!("Vestibule_Probe: {signed}\r\n"),
        format!("{good}{good}"),
    ] {
        get(&gate, "/a", &forged).await.assert_status(200);
        assert!(app.last().head.starts_with("GET /a "), "{forged}");
    }
    let lines = end(&mut gate, &key).await;
    assert_eq!(lines, [json!({"done": {"probes-ended": {}}})]);
    for over in [&key, &before] {
        let lines = end(&mut gate, over).await;
        assert!(lines[0]["error"].is_string(), "{lines:?}");
    }
}

#[tokio::test]
async fn a_run_that_was_broken_off_is_over_after_two_minutes() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "").await;
    let key = begin(&mut gate).await;
    let probe = format!("Vestibule-Probe: {}\r\n", sign(&key, 1));
    get(&gate, "/a", &probe).await.assert_status(204);
    gate.advance(Duration::from_secs(121));
    let lines = end(&mut gate, &key).await;
    assert!(lines[0]["error"].is_string(), "{lines:?}");
    get(&gate, "/a", &probe).await.assert_status(200);
}

#[tokio::test]
async fn a_probe_is_noted_four_times_at_most_and_in_short() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "").await;
    let key = begin(&mut gate).await;
    let probe = format!("Vestibule-Probe: {}\r\n", sign(&key, 1));
    let long = format!("/{}", "a".repeat(4_000));
    for _ in 0..6 {
        get(&gate, &long, &probe).await.assert_status(204);
    }
    let lines = end(&mut gate, &key).await;
    let read = lines[0]["probe"][1].as_array().unwrap();
    assert_eq!(read.len(), 4);
    assert_eq!(read[0]["target"], long[..512]);
}

/// Without a proxy in front, clients choose nothing.
#[tokio::test]
async fn the_command_says_that_clients_choose_nothing() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "").await;
    let (code, out, said) = check_directly(&mut gate).await;
    assert_eq!(code, Some(0), "{out}{said}");
    assert!(out.contains("clients choose nothing"), "{out}");
    assert!(out.contains("client   127.0.0.2\n"), "{out}");
    assert_eq!(app.requests(), 0);
}

/// As with a `trusted_proxies` that clients are in.
#[tokio::test]
async fn the_command_finds_that_clients_choose_their_address() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "trusted_proxies = [\"127.0.0.0/8\"]").await;
    let (code, out, said) = check_directly(&mut gate).await;
    assert_eq!(code, Some(1), "{out}{said}");
    for expected in [
        "error: address of the client: clients choose the address",
        "`X-Forwarded-For: 192.0.2.66`",
        "`Forwarded: for=192.0.2.66;host=spoofed.invalid;proto=http`",
        "error: request id: ",
        "`trusted_proxies` names the proxy alone",
        "name another one of this machine by --from",
    ] {
        assert!(out.contains(expected), "{expected} in\n{out}");
    }
    for unexpected in ["X_Forwarded_For", "X-Real-IP", "error: host", "error: path"] {
        assert!(!out.contains(unexpected), "{unexpected} in\n{out}");
    }
}

#[tokio::test]
async fn the_command_says_what_is_missing() {
    let app = Upstream::echo().await;
    let mut gate = start(&app, "").await;
    let nobody = held_port().to_string();
    let other = app.authority();
    for (url, place, code, expected) in [
        (
            "wiki.example.org",
            &other,
            2,
            "is not an address: write it as in",
        ),
        ("ftp://wiki.example.org", &other, 2, "is not an address"),
        ("https://a@wiki.example.org", &other, 2, "is not an address"),
        (
            "https://wiki.example.org",
            &nobody,
            1,
            "no answer from wiki.example.org",
        ),
        (
            "http://wiki.example.org",
            &other,
            1,
            "the server saw nothing of it",
        ),
    ] {
        let (ended, out, said) = check(&mut gate, url, place).await;
        assert_eq!(ended, Some(code), "{url} {out}{said}");
        assert!(said.contains(expected), "{url} {said}");
    }
}

/// `vestibule check --through URL --connect-to PLACE`.
async fn check(gate: &mut Gate, url: &str, place: &str) -> (Option<i32>, String, String) {
    let mut check = command();
    check.args(["check", "--through", url, "--connect-to", place]);
    check.arg("--config").arg(gate.files().path("config.toml"));
    let run = move || run_to_end(&mut check, "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn check_directly(gate: &mut Gate) -> (Option<i32>, String, String) {
    let address = gate.address().to_string();
    check(gate, &format!("https://{HOST}"), &address).await
}
