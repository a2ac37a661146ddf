//! A Vestibule with a configuration of its own.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::app::App;
use crate::certificate::Certificate;
use crate::client::Client;
use crate::peers::{self, Site, USER};
use crate::process::Running;
use crate::rounds::free_port;

const START: Duration = Duration::from_mins(1);

/// What all of them share.
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    pub(crate) certificate: Certificate,
    pub(crate) app: App,
    /// Of the password of every user.
    pub(crate) hash: String,
    program: PathBuf,
    workers: usize,
}

/// What differs.
pub(crate) struct Setup {
    /// Of `[server]`.
    pub(crate) server: &'static str,
    pub(crate) log: bool,
    /// Where the sessions are: the last keys of `[session]`.
    pub(crate) store: String,
    pub(crate) users: Vec<String>,
    /// The apps and their rules, with `<app>` for the address.
    pub(crate) apps: String,
    /// The host to ask for; `None` is the usual one.
    pub(crate) host: Option<&'static str>,
}

/// One that serves.
pub(crate) struct Vestibule {
    pub(crate) running: Running,
    pub(crate) client: Client,
    /// From its start to its first answer.
    pub(crate) took: Duration,
    program: PathBuf,
    config: PathBuf,
}

const TEMPLATE: &str = r#"
[server]
listen = ["127.0.0.1:<port>"]
<server>
[server.timeouts]
keep_alive = "300s"
[tls]
cert = "cert.pem"
key = "key.pem"
[session]
max_sessions = 2000000
<store>
[login]
users_file = "users.toml"
[admin]
socket = "admin.sock"
[log]
access = <log>
"#;

/// In a file of the folder.
pub(crate) fn on_disk(file: &str) -> String {
    format!("store = \"disk\"\npath = \"{file}\"")
}

/// The app that has everything.
pub(crate) const APP: &str = "[[app]]\nupstream = \"http://<app>\"\n";

impl Ground {
    pub(crate) fn new(program: &Path, workers: usize) -> io::Result<Self> {
        Ok(Self {
            folder: tempfile::Builder::new()
                .prefix("vestibule-bench-")
                .tempdir()?,
            certificate: Certificate::make()?,
            app: App::start()?,
            hash: peers::hash(program)?,
            program: program.to_owned(),
            workers,
        })
    }

    pub(crate) fn upstream(&self) -> SocketAddr {
        self.app.address
    }

    /// Starts one; nobody is signed in.
    pub(crate) async fn start(&self, setup: &Setup) -> io::Result<Vestibule> {
        let site = Site {
            folder: self.folder.path().to_owned(),
            port: free_port()?,
            questions: free_port()?,
            app: self.upstream(),
            workers: self.workers,
            cert: self.certificate.cert.clone(),
            key: self.certificate.key.clone(),
        };
        let account = |user: &str| format!("[user.{user}]\npassword = \"{}\"\n", self.hash);
        let users = setup.users.iter().map(String::as_str).chain([USER]);
        let users: String = users.map(account).collect();
        site.write("users.toml", &users)?;
        let text = TEMPLATE
            .replace("<server>", setup.server)
            .replace("<store>", &setup.store)
            .replace("<log>", &setup.log.to_string());
        let config = site.configure("vestibule.toml", &(text + &setup.apps))?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--config"]).arg(&config);
        command.env("TOKIO_WORKER_THREADS", self.workers.to_string());
        command.current_dir(&site.folder);
        let mut client = Client::new(&self.certificate, site.port)?;
        if let Some(host) = setup.host {
            client = client.of_host(host);
        }
        let began = Instant::now();
        let mut running = Running::start(command, site.folder.join("output.log"))?;
        loop {
            match timeout(START, client.fetch("/")).await {
                Ok(Ok(_)) => break,
                Ok(Err(_)) if began.elapsed() < START => sleep(Duration::from_millis(1)).await,
                _ => {
                    let said = running.said();
                    return Err(io::Error::other(format!("it does not answer: {said}")));
                }
            }
            if let Some(said) = running.ended() {
                return Err(io::Error::other(format!("it does not start: {said}")));
            }
        }
        Ok(Vestibule {
            running,
            client,
            took: began.elapsed(),
            program: self.program.clone(),
            config,
        })
    }
}

impl Vestibule {
    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::new(self.client.clone())
    }

    /// Runs a command that asks it, and gives what it shows and for how long it took.
    ///
    /// # Errors
    /// The command failed.
    pub(crate) fn command(&self, arguments: &[&str]) -> io::Result<(Vec<u8>, Duration)> {
        let began = Instant::now();
        let mut command = Command::new(&self.program);
        let command = command.args(arguments).arg("--config").arg(&self.config);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output()?;
        if !status.success() {
            let said = String::from_utf8_lossy(&stderr).into_owned();
            return Err(io::Error::other(said));
        }
        Ok((stdout, began.elapsed()))
    }
}

/// Removes a file if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
