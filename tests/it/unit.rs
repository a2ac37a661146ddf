//! The units of `packaging/` in a Debian of their own, installed as `packaging/README.md` says.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use tokio::time::Instant;

use crate::harness::machine::{Machine, Root};
use crate::harness::*;

const README: &str = include_str!("../../packaging/README.md");
const SERVICE: &str = "vestibule.service";
const CONFIG: &str = "/etc/vestibule/config.toml";

/// The fenced blocks of a language, in their order; from where no package is meant.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let (_, by_hand) = README.split_once("\n## By hand\n").unwrap();
    let parts = by_hand.split(&begin).skip(1);
    parts
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

/// A machine on which the first part of the README was done; the addresses are free ones.
async fn machine(app: &Upstream, https: SocketAddr, http: SocketAddr) -> Option<Machine> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = Root::new().await?;
    let program = "/usr/src/vestibule/target/release/vestibule";
    root.copy(env!("CARGO_BIN_EXE_vestibule"), program, 0o755);
    for entry in std::fs::read_dir(sources.join("packaging")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue; // for other programs
        }
        let name = entry.file_name().into_string().unwrap();
        let inside = format!("/usr/src/vestibule/packaging/{name}");
        root.copy(sources.join("packaging").join(name), &inside, 0o644);
    }
    for (unit, address) in [("vestibule", https), ("vestibule-http", http)] {
        let path = format!("/etc/systemd/system/{unit}.socket.d/address.conf");
        let text = format!("[Socket]\nListenStream=\nListenStream={address}\n");
        root.write(&path, &text, 0o644);
    }
    // A shorter one, or the test would wait for half a minute.
    let path = "/etc/systemd/system/vestibule.service.d/watchdog.conf";
    root.write(path, "[Service]\nWatchdogSec=4\n", 0o644);
    let certificate = tls::certificate();
    root.write("/etc/vestibule/cert.pem", &certificate.cert_pem, 0o600);
    root.write("/etc/vestibule/key.pem", &certificate.key_pem, 0o600);
    let config = blocks("toml")[0].replace("http://127.0.0.1:3000", &app.url());
    root.write(CONFIG, &config, 0o644);
    let machine = root.boot().await;
    let install = format!("cd /usr/src/vestibule\n{}", blocks("sh")[0]);
    machine.prints(&["sh", "-e", "-c", &install]).await;
    Some(machine)
}

/// The second part of the README, with a password where it would ask for one.
async fn start(machine: &Machine) {
    let block = blocks("sh")[1];
    let (add, start) = block.split_once('\n').unwrap();
    let mut add: Vec<_> = add.split_whitespace().collect();
    add.push("--password-stdin");
    let added = machine.run(&add, &format!("{PASSWORD}\n")).await;
    assert_eq!(added.0, Some(0), "{added:?}");
    let shown = machine.prints(&["sh", "-e", "-c", start]).await;
    assert!(shown.contains("active (running)"), "{shown}");
}

#[tokio::test]
async fn the_service_runs_under_its_unit_and_comes_back() {
    let app = Upstream::echo().await;
    let (https, http) = (held_port(), held_port());
    let Some(machine) = machine(&app, https, http).await else {
        return;
    };
    start(&machine).await;
    check_knows_whose_the_sockets_are(&machine, https).await;
    sec_80_it_is_nobody_and_may_next_to_nothing(&machine).await;
    let plain = real::http(http, Request::get("/")).await.unwrap();
    assert_eq!(plain.0, 308);
    let ada = Browser::new(https, tls::HOST);
    let ada = ada.login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-groups"), Some("admins"));
    status_says(&machine, "1 session").await;

    rel_01_a_reload_takes_over_what_is_right_and_nothing_else(&machine, &ada).await;
    rel_02_restarts_under_load_refuse_nobody(&machine, &ada, &app).await;
    rel_12_the_watchdog_restarts_what_hangs(&machine, &ada).await;
    sec_80_a_broken_configuration_is_not_tried_again(&machine, https).await;
}

/// The addresses are those of the socket units, whether the service runs or not.
async fn check_knows_whose_the_sockets_are(machine: &Machine, https: SocketAddr) {
    let config = std::fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    let named = format!("[server]\nlisten = [\"{https}\"]\n{config}");
    let path = "/etc/vestibule/named.toml";
    machine.root().write(path, &named, 0o644);
    let check = ["vestibule", "check", "--config", path];
    let default = machine.prints(&["vestibule", "check"]).await;
    let elsewhere = "[::]:443 (server.listen), where the running server does not listen\n";
    assert!(default.contains(elsewhere), "{default}");
    for (state, said) in [
        ("start", "where the running server listens already"),
        ("stop", "which systemd holds for the service"),
    ] {
        machine.prints(&["systemctl", state, SERVICE]).await;
        let checked = machine.prints(&check).await;
        let fact = format!("address      {https} (server.listen), {said}\n");
        assert!(checked.contains(&fact), "{state}: {checked}");
    }
    // As the user of the service, who cannot see what systemd alone may read.
    let runuser = ["runuser", "-u", "vestibule", "--"];
    let checked = machine.prints(&[&runuser[..], &check[..2]].concat()).await;
    for warning in [
        "cert.pem: you may not read it\n      help: check as root",
        "key.pem: you may not read it\n      help: check as root",
        "/etc/vestibule: you cannot make the sessions file in this folder",
    ] {
        assert!(checked.contains(warning), "{warning}: {checked}");
    }
    machine.prints(&["systemctl", "start", SERVICE]).await;
}

async fn sec_80_it_is_nobody_and_may_next_to_nothing(machine: &Machine) {
    let analysis = ["systemd-analyze", "security", "--no-pager"];
    let bound = [&analysis[..], &["--threshold=16", SERVICE]].concat();
    let (code, said, _) = machine.run(&bound, "").await;
    assert_eq!(code, Some(0), "more than 1.6:\n{said}");
    let id = machine.property(SERVICE, "MainPID").await;
    let status = machine
        .prints(&["cat", &format!("/proc/{id}/status")])
        .await;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let values = line.unwrap().split_whitespace().skip(1);
        values.collect::<Vec<_>>().join(" ")
    };
    assert!(!field("Uid:").contains("0 "), "{status}");
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2", "a filter for system calls");
    let fork = format!("cat /proc/{id}/task/*/stat | grep '(vestibule-hash)' | cut -d' ' -f19");
    let nice = machine.prints(&["sh", "-c", &fork]).await;
    let gives_way = |nice: &str| nice.parse::<i32>().unwrap() >= 10;
    assert!(nice.lines().all(gives_way), "{nice:?}");
    let open = "find /var/lib/vestibule /run/vestibule -perm /077 -type f";
    assert_eq!(machine.prints(&["sh", "-c", open]).await, "");
}

/// Waits until `systemctl status` shows this.
async fn status_says(machine: &Machine, part: &str) {
    eventually_some(part, async || {
        let status = machine.property(SERVICE, "StatusText").await;
        status.contains(part).then_some(())
    })
    .await;
}

async fn rel_01_a_reload_takes_over_what_is_right_and_nothing_else(
    machine: &Machine,
    ada: &Browser,
) {
    let config = std::fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    let id = machine.property(SERVICE, "MainPID").await;
    let rule = "[[app.rule]]\npath = \"/closed\"\nallow = \"nobody\"\n";
    let closed = format!("{config}\n{rule}");
    machine.root().write(CONFIG, &closed, 0o644);
    machine.prints(&["systemctl", "reload", SERVICE]).await;
    ada.get("/closed").await.assert_status(403);
    machine
        .root()
        .write(CONFIG, &format!("{config}\nnonsense = 1\n"), 0o644);
    let (code, ..) = machine.run(&["systemctl", "reload", SERVICE], "").await;
    assert_eq!(code, Some(1));
    ada.get("/closed").await.assert_status(403);
    machine.root().write(CONFIG, &config, 0o644);
    machine.prints(&["systemctl", "reload", SERVICE]).await;
    ada.get("/closed").await.assert_status(200);
    assert_eq!(machine.property(SERVICE, "MainPID").await, id);
}

async fn rel_02_restarts_under_load_refuse_nobody(
    machine: &Machine,
    ada: &Browser,
    app: &Upstream,
) {
    let enough = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..6)
        .map(|n| {
            let (ada, enough) = (ada.clone(), Arc::clone(&enough));
            let ada = if n % 2 == 0 { ada } else { ada.over_http2() };
            tokio::spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    ada.get("/").await.assert_status(200);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let before = app.requests();
        eventually("visitors to come", || app.requests() > before + 20).await;
        machine.prints(&["systemctl", "restart", SERVICE]).await;
    }
    enough.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.expect("nobody is turned away or signed out");
    }
    assert_eq!(machine.property(SERVICE, "NRestarts").await, "0");
}

async fn rel_12_the_watchdog_restarts_what_hangs(machine: &Machine, ada: &Browser) {
    let id = machine.property(SERVICE, "MainPID").await;
    let started = Instant::now();
    let stop = ["systemctl", "kill", "--signal=STOP", SERVICE];
    machine.prints(&stop).await;
    eventually_some("another process", async || {
        let next = machine.property(SERVICE, "MainPID").await;
        let state = machine.property(SERVICE, "ActiveState").await;
        (state == "active" && next != id).then_some(())
    })
    .await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    ada.get("/").await.assert_status(200);
    let log = machine.prints(&["journalctl", "--unit", SERVICE]).await;
    assert!(log.contains("Watchdog timeout"), "{log}");
}

async fn sec_80_a_broken_configuration_is_not_tried_again(machine: &Machine, https: SocketAddr) {
    let config = std::fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    let broken = format!("max_conections = 1\n{config}");
    machine.root().write(CONFIG, &broken, 0o644);
    let (code, ..) = machine.run(&["systemctl", "restart", SERVICE], "").await;
    assert_eq!(code, Some(1));
    // Where it is tried again, systemd goes to `auto-restart` at once, and never to `failed` first.
    let rests = ["failed", "auto-restart", "auto-restart-queued"];
    let state = eventually_some("the unit to come to rest", async || {
        let state = machine.property(SERVICE, "SubState").await;
        rests.contains(&&*state).then_some(state)
    })
    .await;
    assert_eq!(state, "failed");
    assert_eq!(machine.property(SERVICE, "ExecMainStatus").await, "78");
    assert_eq!(machine.property(SERVICE, "ActiveState").await, "failed");
    assert_eq!(machine.property(SERVICE, "NRestarts").await, "0");

    machine.root().write(CONFIG, &config, 0o644);
    machine.prints(&["systemctl", "start", SERVICE]).await;
    let anybody = Browser::new(https, tls::HOST);
    anybody.get("/").await.assert_status(303);
}
