//! The `vestibule` program as a child process, and other children.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tokio::net::TcpSocket;

use super::eventually;
use super::files::Files;

/// A child in a process group of its own, which is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

/// What a child has written so far.
struct Pipe {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Program {
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        Self::spawn_as_is(command)
    }

    /// Hands over these two sockets, as systemd does (`sd_listen_fds(3)`); standard error goes to the
    /// file `STDERR`, if the program has that in its environment.
    pub(crate) fn spawn_on(sockets: [OwnedFd; 2], names: &str, program: &Command) -> Self {
        let mut shell = Command::new("sh");
        let script = "exec 3<&0 4<&2 0</dev/null 2>\"${STDERR:-/dev/null}\"; \
                      LISTEN_PID=$$ exec \"$@\"";
        shell.args(["-c", script, "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
        let [first, second] = sockets;
        shell.stdin(first).stderr(second);
        Self::spawn_as_is(shell)
    }

    fn spawn_as_is(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = child.stderr.take();
        let stderr = stderr.map_or_else(|| collect(io::empty()), collect);
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text.lock().unwrap().clone()
    }

    /// All that a child has written that has ended.
    pub(crate) async fn stdout_at_end(&self) -> String {
        eventually("the end of the output", || self.stdout.reader.is_finished()).await;
        self.stdout()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines of standard output, each of which has to be JSON.
    pub(crate) fn log(&self) -> Vec<Value> {
        let stdout = self.stdout();
        let whole = stdout
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
            })
            .collect()
    }

    /// Waits until something listens there.
    pub(crate) async fn wait_for_port(&mut self, address: SocketAddr) {
        let what = format!("{address} to listen");
        eventually(&what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "{status} before listening\n{}{}",
                    self.stdout(),
                    self.stderr()
                );
            }
            TcpStream::connect(address).is_ok()
        })
        .await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the program", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The group outlives its leader: chromedriver's browsers, jupyter's kernels.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- stdout\n{}\n--- stderr\n{}",
                self.stdout(),
                self.stderr()
            );
        }
    }
}

/// Reads along in a thread of its own, so that no pipe fills up.
fn collect(pipe: impl Read + Send + 'static) -> Pipe {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    let reader = thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            shared
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    Pipe { text, reader }
}

/// The program of this build.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.env("NO_COLOR", "1");
    for given_by_systemd in ["JOURNAL_STREAM", "LOGS_DIRECTORY", "STATE_DIRECTORY"] {
        command.env_remove(given_by_systemd);
    }
    command
}

/// Exit code, standard output and standard error.
pub(crate) type Ran = (Option<i32>, String, String);

/// Runs one command of the program to its end.
pub(crate) fn run_without_config(args: &[&str]) -> Ran {
    run_to_end(command().args(args), "")
}

/// The same with the configuration of these files.
pub(crate) fn run(files: &Files, args: &[&str]) -> Ran {
    run_with_input(files, args, "")
}

/// The same with something on standard input.
pub(crate) fn run_with_input(files: &Files, args: &[&str], input: &str) -> Ran {
    let config = files.path("config.toml");
    run_to_end(command().args(args).arg("--config").arg(config), input)
}

/// Runs any command to its end.
pub(crate) fn run_to_end(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A port that nobody else gets while the tests run, and on which nothing listens yet.
///
/// A socket that is bound and does not listen holds it: the system gives it to no other socket, and
/// a program that sets `SO_REUSEADDR`, as servers do, can listen there, again and again.
pub(crate) fn held_port() -> SocketAddr {
    static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    HELD.lock().unwrap().push(socket);
    address
}
