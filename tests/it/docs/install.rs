//! From nothing to the first app, in a Debian of its own.

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpStream;

use super::desk::Desk;
use super::page::Page;
use crate::harness::machine::{Machine, Root};
use crate::harness::*;

const HOST: &str = "app.example.org";

#[tokio::test]
async fn whoever_installs_it_has_an_app_behind_a_login_and_can_look_after_it() {
    let parts = ["openssl", "update-ca-certificates", "curl"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    let Some(root) = Root::new().await else {
        return;
    };
    let mut page = Page::open("install.md");
    let (app, https, http) = (Upstream::echo().await, held_port(), held_port());
    page.skip("sh", "the tests of the packages run it");
    page.skip("sh", "the tests of the packages run it");
    let mut desk = Desk::new(HOST);
    build(&mut page, &mut desk).await;
    certificate(&mut page, &mut desk, https).await;
    let challenges = page.next("toml");
    page.skip("sh", "no authority can be reached from here");
    let config = page
        .next("toml")
        .replace("http://127.0.0.1:3000", &app.url());
    let config = format!("{challenges}\n{config}");
    let machine = installed(root, &desk, &config, https, http).await;

    let add = page
        .next("sh")
        .replacen("vestibule", &format!("echo {PASSWORD} | vestibule"), 1);
    let add = add.replacen('\n', " --password-stdin\n", 1);
    run(&machine, &add).await;
    let shown = run(&machine, &page.next("sh")).await;
    assert!(shown.contains("active (running)"), "{shown}");
    let answers = [desk.run(&page.next("sh")).await, page.next("text")];
    let [answer, shown] = answers.map(|answer| {
        let mut answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["request_id"].take().is_string(), "{answer}");
        answer
    });
    assert_eq!(answer, shown);
    let mut plain = Raw::new(TcpStream::connect(http).await.unwrap());
    plain
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    plain.response().await.assert_status(308);
    run(
        &machine,
        "umask 022; cd /var/lib; mkdir -p acme/.well-known/acme-challenge\n\
         echo thumbprint > acme/.well-known/acme-challenge/token\n",
    )
    .await;
    let mut plain = Raw::new(TcpStream::connect(http).await.unwrap());
    plain
        .send("GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .await;
    let response = plain.response().await;
    assert_eq!(response.assert_status(200).text(), "thumbprint\n");
    let is_check = |got: &Received| got.value("user-agent") == Some("vestibule-check");
    assert!(
        app.received().iter().all(is_check),
        "only `check` has asked the app"
    );
    let ada = Browser::new(https, HOST).login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    assert_eq!(app.last().value("x-forwarded-groups"), Some("admins"));

    run(&machine, &page.next("sh")).await;
    ada.get("/").await.assert_status(200);
    let shown = run(&machine, &page.next("sh")).await;
    for part in ["  ada  ", "the configuration was read again"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    run(&machine, &page.next("sh")).await;
    eventually_some("ada to be out", async || {
        (ada.fetch("/").await.status == 401).then_some(())
    })
    .await;
}

/// Builds it as the page says, with the program of this build for what cargo would make.
async fn build(page: &mut Page, desk: &mut Desk) {
    let made = desk.path("target/release");
    std::fs::create_dir_all(&made).unwrap();
    let program = env!("CARGO_BIN_EXE_vestibule");
    std::fs::copy(program, made.join("vestibule")).unwrap();
    desk.write("usr/bin/.keep", "");
    desk.place("/usr/bin/", format!("{}/", desk.path("usr/bin").display()));
    desk.place("cargo build --release", "true");
    desk.run(&page.next("sh")).await;
}

/// Makes the page's certificate and has curl trust it as the page says.
async fn certificate(page: &mut Page, desk: &mut Desk, https: SocketAddr) {
    desk.run(&page.next("sh")).await;
    let trusted = desk.path("trusted").display().to_string();
    for folder in ["local", "hooks", "certs"] {
        desk.write(&format!("trusted/{folder}/.keep"), "");
    }
    desk.write("trusted/conf", "");
    desk.place(
        "/usr/local/share/ca-certificates",
        format!("{trusted}/local"),
    );
    desk.program(
        "update-ca-certificates",
        &format!(
            "--certsconf {trusted}/conf --certsdir {trusted} --localcertsdir {trusted}/local \
             --etccertsdir {trusted}/certs --hooksdir {trusted}/hooks"
        ),
    );
    desk.run(&page.next("sh")).await;
    let curl = format!(
        "silent\ncacert = {trusted}/certs/ca-certificates.crt\n\
         connect-to = {HOST}:443:{https}\n"
    );
    desk.write(".curlrc", &curl);
}

/// A machine as the package leaves it, with certificate and configuration.
async fn installed(
    root: Root,
    desk: &Desk,
    config: &str,
    https: SocketAddr,
    http: SocketAddr,
) -> Machine {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    root.copy(desk.path("usr/bin/vestibule"), "/usr/bin/vestibule", 0o755);
    for unit in [
        "vestibule.service",
        "vestibule.socket",
        "vestibule-http.socket",
    ] {
        let inside = format!("/usr/lib/systemd/system/{unit}");
        root.copy(packaging.join(unit), &inside, 0o644);
    }
    let inside = "/usr/lib/sysusers.d/vestibule.conf";
    root.copy(packaging.join("vestibule.sysusers"), inside, 0o644);
    for (unit, address) in [("vestibule", https), ("vestibule-http", http)] {
        let path = format!("/etc/systemd/system/{unit}.socket.d/address.conf");
        let text = format!("[Socket]\nListenStream=\nListenStream={address}\n");
        root.write(&path, &text, 0o644);
    }
    for (file, mode) in [
        ("/etc/vestibule/cert.pem", 0o644),
        ("/etc/vestibule/key.pem", 0o600),
    ] {
        root.copy(desk.path(file), file, mode);
    }
    root.write("/etc/vestibule/config.toml", config, 0o644);
    let machine = root.boot().await;
    let install = "systemd-sysusers vestibule.conf\n\
                   install -d -m 700 -o vestibule -g vestibule /var/lib/vestibule\n";
    run(&machine, install).await;
    machine
}

/// Runs a block of the page there, as root.
async fn run(machine: &Machine, block: &str) -> String {
    machine.prints(&["sh", "-e", "-c", block]).await
}
