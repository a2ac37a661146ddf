//! A store that has moved: its name leads to another machine.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::*;
use crate::harness::real;
use crate::harness::redis::ask_at;

/// A node on a machine that knows names by this file; `None`, and a line that says why, where nothing can
/// be mounted.
fn with_hosts(file: &str) -> Option<Command> {
    real::find("unshare")?;
    let mounts = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let command = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", mounts, file, program]);
        command
    };
    if !command("true").output().unwrap().status.success() {
        real::missing("the right to mount a file");
        return None;
    }
    Some(command(env!("CARGO_BIN_EXE_vestibule")))
}

#[tokio::test]
async fn rel_10_a_store_whose_name_leads_elsewhere_is_followed() {
    let Some(mut before) = Redis::start() else {
        return;
    };
    let port = before.port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let leads_to = |address: &str| {
        let hosts_file = format!("127.0.0.1 localhost\n{address} store.test\n");
        fs::write(&hosts, hosts_file).unwrap();
    };
    leads_to("127.0.0.1");
    let Some(command) = with_hosts(&hosts.display().to_string()) else {
        return;
    };
    let app = app().await;
    let keys = "wait_replicas = 0\nstale_for = \"30s\"";
    let gate = node_at(&app, &format!("redis://store.test:{port}"), keys);
    let node = gate.spawn_by(command).await;
    node.browser().login("ada", PASSWORD).await;
    assert_ne!(before.ask(&["DBSIZE"]), "0\n");

    let mut moved = Command::new("redis-server");
    moved.args(["--bind", "127.0.0.2", "--port", &port, "--save", ""]);
    moved.current_dir(folder.path());
    let mut moved = Program::spawn(moved);
    let there: SocketAddr = format!("127.0.0.2:{port}").parse().unwrap();
    moved.wait_for_port(there).await;
    leads_to("127.0.0.2");
    before.kill();
    eventually("the node to say there that it is up", || {
        ask_at(there, &["DBSIZE"]).is_some_and(|count| count != "0\n")
    })
    .await;
    let login =
        async || (node.browser().get("/.vestibule/login").await.status == 200).then_some(());
    eventually_some("the login page", login).await;
    node.browser().login("bob", PASSWORD).await;
}
