//! One of the nodes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::until;
use crate::process::Running;

pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) metrics: u16,
    program: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
    _ports: [TcpSocket; 2],
}

impl Node {
    /// Writes its files below `ground`; `configuration` may name `<port>` and `<metrics>`.
    pub(super) fn new(
        name: &'static str,
        program: &Path,
        ground: &Path,
        configuration: &str,
    ) -> io::Result<Self> {
        let folder = ground.join(name);
        fs::create_dir(&folder)?;
        let ((port, first), (metrics, second)) = (held_port()?, held_port()?);
        let text = configuration
            .replace("<port>", &port.to_string())
            .replace("<metrics>", &metrics.to_string());
        fs::write(folder.join("config.toml"), text)?;
        Ok(Self {
            name,
            port,
            metrics,
            program: program.to_owned(),
            folder,
            running: None,
            _ports: [first, second],
        })
    }

    /// Starts it, and waits until it is ready.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--config", "config.toml"]);
        command.current_dir(&self.folder);
        let running = Running::start(command, self.folder.join("output.log"))?;
        let running = self.running.insert(running);
        let metrics = self.metrics;
        let asked = async || match running.ended() {
            Some(said) => Some(Err(said)),
            None => is_ready(metrics).await.then_some(Ok(())),
        };
        let what = format!("node {} to be ready", self.name);
        let started = until(&what, asked).await;
        let (started, _) = started.map_err(|error| {
            let said = running.said();
            io::Error::other(format!("{error}; it says: {said}"))
        })?;
        started.map_err(|said| io::Error::other(format!("node {} ends: {said}", self.name)))
    }

    /// What the next start is of.
    pub(super) fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Ends it as a crash does.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.end(Signal::KILL)
    }

    /// Ends it as an operator does, and waits until it has ended.
    pub(super) async fn stop(&mut self) -> io::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.signal(Signal::TERM)?;
        let stopped = async || running.ended().map(drop);
        let what = format!("node {} to stop", self.name);
        until(&what, stopped).await.map(drop)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.signal(signal)?;
            running.wait();
        }
        Ok(())
    }

    pub(super) async fn is_ready(&self) -> bool {
        is_ready(self.metrics).await
    }

    /// Runs a command that asks it; gives what it shows.
    ///
    /// # Errors
    /// The command failed; the error is what it says.
    pub(super) async fn command(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--config", "config.toml"]);
        command.current_dir(&self.folder);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.map_err(io::Error::other)??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(io::Error::other(text(&output.stderr)))
        }
    }
}

/// What `/readyz` says, without waiting for long.
async fn is_ready(port: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    matches!(timeout(Duration::from_secs(5), asked).await, Ok(Ok(true)))
}

/// A port that nobody else gets: what is bound does not listen, so that a program can do so, again and
/// again.
pub(super) fn held_port() -> io::Result<(u16, TcpSocket)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok((socket.local_addr()?.port(), socket))
}
