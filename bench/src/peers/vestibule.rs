//! Vestibule as its users have it: a login, sessions on disk, every limit. All load comes from one
//! address, so that one limit is raised.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Login, PASSWORD, Peer, Site, USER};

pub(super) const VESTIBULE: Peer = Peer {
    name: "vestibule",
    title: "Vestibule",
    program: "vestibule",
    version: "--version",
    login: Login::Form("/.vestibule/login"),
    prepare: |site, program| prepare(site, program, "false", ""),
    answers: Some(|site, program| prepare(site, program, "false", ANSWERS)),
};

/// The access log is on by default; it is off in the other row because it is in all other rows.
/// Standard output, where it goes, is a file.
pub(super) const ACCESS_LOG: Peer = Peer {
    name: "vestibule-access-log",
    title: "Vestibule, access log on",
    program: "vestibule",
    version: "--version",
    login: Login::Form("/.vestibule/login"),
    prepare: |site, program| prepare(site, program, "true", ""),
    answers: Some(|site, program| prepare(site, program, "true", ANSWERS)),
};

const TEMPLATE: &str = r#"
[server]
listen = ["127.0.0.1:<port>"]
max_connections_per_address = 10000
<answers>
[server.timeouts]
keep_alive = "300s"
[tls]
cert = "cert.pem"
key = "key.pem"
[session]
store = "disk"
path = "sessions.redb"
[login]
users_file = "users.toml"
[admin]
socket = "admin.sock"
[log]
access = <access>
[[app]]
upstream = "http://<app>"
[app.identity]
"X-Remote-User" = "{user}"
"#;

const ANSWERS: &str = r#"
auth_listen = ["127.0.0.1:<questions>"]
auth_from = ["127.0.0.1"]
"#;

fn prepare(site: &Site, program: &Path, access: &str, answers: &str) -> io::Result<Command> {
    let hash = hash(program)?;
    site.write(
        "users.toml",
        &format!("[user.{USER}]\npassword = \"{hash}\"\n"),
    )?;
    let template = TEMPLATE
        .replace("<access>", access)
        .replace("<answers>", answers);
    let config = site.configure("vestibule.toml", &template)?;
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(config);
    command.env("TOKIO_WORKER_THREADS", site.workers.to_string());
    Ok(command)
}

/// Of the password of every user.
pub(crate) fn hash(program: &Path) -> io::Result<String> {
    let mut child = Command::new(program)
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(PASSWORD.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if hash.is_empty() {
        return Err(io::Error::other("`vestibule hash-password` says nothing"));
    }
    Ok(hash)
}
