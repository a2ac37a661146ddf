//! The socket itself: who gets it, who may ask there, and what bad clients cost.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::{app, before, done, listed};
use crate::harness::*;

fn assert_nothing_runs(files: &Files) {
    for args in [
        &["session", "list"][..],
        &["session", "list", "--json"],
        &["session", "revoke", "--all"],
        &["status"],
    ] {
        let (code, stdout, stderr) = run(files, args);
        assert_eq!((code, &*stdout), (Some(3), ""), "{args:?}: {stderr}");
        assert!(stderr.contains("no server is running"), "{stderr}");
    }
}

#[tokio::test]
async fn without_a_server_the_exit_code_is_3() {
    let app = app().await;
    let mut service = before(&app).spawn().await;
    let path = service.files.path("admin.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    service.program.signal(Signal::KILL);
    service.program.exit().await;
    assert!(path.exists(), "a crash leaves it");
    assert_nothing_runs(&service.files);
    let mut service = service.start_again().await; // in its place
    done(&service, &["status"]);
    service.program.signal(Signal::TERM);
    assert!(service.program.exit().await.success());
    assert!(!path.exists());
    assert_nothing_runs(&service.files);
}

/// All that the server answers to these bytes, the end included.
fn answer_to(path: &Path, bytes: &[u8]) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = client.write_all(bytes); // it may be refused before its end
    let _ = client.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer); // what was not read resets the connection
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn junk_is_answered_in_one_line_and_harms_nobody() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let path = service.files.path("admin.sock");
    let long = format!("{{\"command\":\"{}\"}}\n", "x".repeat(100_000));
    let deep = format!("{}\n", "[".repeat(4000));
    for (bytes, expected) in [
        (&b"\n"[..], "does not understand"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not understand"),
        (b"\x16\x03\x01\xff\xfe\n", "is not text in UTF-8"),
        (
            b"{\"command\":\"session-revoke-all\"",
            "ends before its line",
        ),
        (b"{\"command\":\"shutdown\"}\n", "does not understand"),
        (
            b"{\"command\":\"session-revoke-all\",\"user\":\"ada\"}\n",
            "does not understand",
        ),
        (
            b"{\"command\":\"session-revoke\",\"key\":\"\"}\n",
            "no session key",
        ),
        (long.as_bytes(), "longer than 65536 bytes"),
        (deep.as_bytes(), "does not understand"),
    ] {
        let answer = answer_to(&path, bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        assert!(answer.starts_with("{\"error\":\""), "{shown}: {answer:?}");
        assert!(answer.contains(expected), "{shown}: {answer}");
        assert_eq!(answer.matches('\n').count(), 1, "{shown}: {answer}");
    }
    assert_eq!(answer_to(&path, b""), "");
    ada.get("/").await.assert_status(200);
    assert_eq!(listed(&service, &[]).len(), 1);
}

#[tokio::test]
async fn clients_that_hang_or_do_not_read_cost_the_others_seconds_at_most() {
    let app = app().await;
    let group = "g".repeat(300_000); // more than a socket takes at once
    let service = Vestibule::before(&app)
        .account(User::new("ada", PASSWORD).groups(&[&group]))
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let path = service.files.path("admin.sock");
    let mut clients = Vec::new();
    for n in 0..16 {
        let mut client = UnixStream::connect(&path).unwrap();
        if n % 2 == 0 {
            let request = b"{\"command\":\"session-list\",\"after\":null}\n";
            client.write_all(request).unwrap();
        } else {
            client.write_all(b"{").unwrap();
        }
        clients.push(client);
    }
    ada.get("/").await.assert_status(200); // visitors notice nothing
    let status = tokio::task::spawn_blocking({
        let config = service.files.path("config.toml");
        move || run_to_end(command().args(["status", "--config"]).arg(config), "")
    });
    let (code, _, stderr) = within("status", status).await.unwrap();
    assert_eq!(code, Some(0), "{stderr}");
    // Who hangs in the middle of a request is told so; who does not read is cut off.
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        if n % 2 == 1 {
            assert_eq!(answer, "{\"error\":\"the request took too long\"}\n");
        }
    }
    let answer = answer_to(&path, b"{\"command\":\"session-list\"}\n");
    assert!(answer.len() > 300_000 && answer.ends_with("}\n"));
    assert_eq!(listed(&service, &[]).len(), 1);
}

#[tokio::test]
async fn a_second_server_does_not_take_the_socket_of_the_first() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let path = service.files.path("admin.sock");
    let shared = format!("socket = {path:?}");
    let second = before(&app).admin(&shared).write();
    let (code, stdout, stderr) = run(&second, &["serve"]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(
        stderr.contains("another server answers at the admin socket"),
        "{stderr}"
    );
    let status: Value = serde_json::from_str(&done(&service, &["status", "--json"])).unwrap();
    assert_eq!(status["pid"], service.program.id());
    let error = before(&app).admin(&shared).try_start().await.err().unwrap();
    assert!(error.to_string().contains("another server"), "{error}");
}

#[tokio::test]
async fn administration_can_be_switched_off() {
    let app = app().await;
    let service = before(&app).admin("socket = \"\"").spawn().await;
    service.browser().login("ada", PASSWORD).await;
    assert!(!service.files.path("admin.sock").exists());
    for args in [&["session", "list"][..], &["status"]] {
        let (code, _, stderr) = run(&service.files, args);
        assert_eq!(code, Some(1), "{args:?}");
        assert!(stderr.contains("switches administration off"), "{stderr}");
    }
}

#[tokio::test]
async fn a_socket_that_is_asked_for_and_cannot_be_stops_the_start() {
    let app = app().await;
    let files = before(&app)
        .admin("socket = \"no/such/admin.sock\"")
        .write();
    let (code, _, stderr) = run(&files, &["serve"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("no/such/admin.sock") && stderr.contains("[admin]"),
        "{stderr}"
    );
    let files = before(&app).write();
    files.write("admin.sock", "a file", 0o600);
    let (code, _, stderr) = run(&files, &["serve"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("is in the way"), "{stderr}");
    assert_eq!(
        fs::read_to_string(files.path("admin.sock")).unwrap(),
        "a file"
    );
}

#[tokio::test]
async fn other_users_of_the_machine_get_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can become another user: not tested");
        return;
    }
    let app = app().await;
    let service = before(&app).spawn().await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let folder = service.files.path("");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let program = service.files.path("vestibule");
    fs::copy(command().get_program(), &program).unwrap(); // where the other user can reach it
    let config = service.files.path("config.toml");
    let as_nobody = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.uid(65534).gid(65534).args(args);
        run_to_end(command.arg("--config").arg(&config), "")
    };
    let revoke = ["session", "revoke", "--all"];
    let (code, stdout, stderr) = as_nobody(&revoke);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("you may not ask the server"), "{stderr}");
    // And if somebody opens the file to everybody, the kernel still says who asks.
    let path = service.files.path("admin.sock");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let (code, stdout, stderr) = as_nobody(&revoke);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    ada.get("/").await.assert_status(200);
    let what = "the audit line";
    eventually(what, || {
        service.program.log().iter().any(|line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.starts_with("administration refused"))
                && (&line["target"], &line["by"]) == (&"audit".into(), &65534.into())
        })
    })
    .await;
}
