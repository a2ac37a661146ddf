//! The program under the tools that count, and what it is asked.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{Protocol, TARGET, callgrind, strace};
use crate::harness::*;

/// One run under callgrind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) counts: callgrind::Counts,
    pub(super) took: Duration,
}

/// The program in front of an app, with somebody signed in.
pub(super) struct Bench {
    program: PathBuf,
    protocol: Protocol,
    app: Upstream,
    service: Mutex<Option<Service>>,
    cookie: String,
}

impl Bench {
    /// The login is not under valgrind, where hashing would take its time; the session is on disk.
    pub(super) async fn new(program: &Path, protocol: Protocol) -> Self {
        let app = Upstream::raw(answer()).await;
        let gate = Vestibule::before(&app).user("ada", PASSWORD);
        let service = gate.spawn_by(one_thread(Command::new(program))).await;
        let ada = service.browser().login("ada", PASSWORD).await;
        let cookie = ada.session_cookie();
        Self {
            program: program.to_owned(),
            protocol,
            app,
            service: Mutex::new(Some(stopped(service).await)),
            cookie,
        }
    }

    pub(super) async fn under_callgrind(&self, requests: usize, idle: Duration) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("counts");
        let mut command = Command::new("valgrind");
        command
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", output.display()))
            .arg(&self.program);
        let took = self.ask(command, requests, idle).await;
        let counts = callgrind::Counts::read(&output);
        Run { counts, took }
    }

    pub(super) async fn under_strace(&self, requests: usize) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        // -D: the child is the program itself, which is to get the signal.
        command.args(["-D", "-ff", "-o"]);
        command.arg(folder.path().join("trace")).arg(&self.program);
        self.ask(command, requests, Duration::ZERO).await;
        eventually_some("the trace", async || {
            strace::calls_of_a_request(folder.path())
        })
        .await
    }

    /// Runs the program by this command, asks so many times for the page, and leaves it alone for
    /// so long. Gives the time that it was up.
    async fn ask(&self, command: Command, requests: usize, idle: Duration) -> Duration {
        let service = self.service.lock().unwrap().take().unwrap();
        let service = service.start_again_by(one_thread(command)).await;
        let (before, started) = (self.app.requests(), Instant::now());
        match self.protocol {
            Protocol::Http1 => self.ask_by_http1(&service, requests).await,
            Protocol::Http2 => self.ask_by_http2(&service, requests).await,
        }
        assert_eq!(self.app.requests(), before + requests);
        sleep(idle).await;
        let took = started.elapsed();
        let service = stopped(service).await;
        *self.service.lock().unwrap() = Some(service);
        took
    }

    async fn ask_by_http1(&self, service: &Service, requests: usize) {
        let mut client = service.raw().await;
        let mut request = format!("GET {TARGET} HTTP/1.1\r\nHost: gate.test\r\n");
        for (name, value) in self.fields() {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        request.push_str("\r\n");
        for _ in 0..requests {
            client.send(&request).await;
            client.response().await.assert_status(200);
        }
    }

    async fn ask_by_http2(&self, service: &Service, requests: usize) {
        let client = service.http2().await;
        let fields = self.fields();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        for _ in 0..requests {
            client.get(TARGET, &fields).await.assert_status(200);
        }
    }

    /// As a browser sends them.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let fixed = [
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-user", "?1"),
        ];
        let mut fields: Vec<_> = fixed.map(|(name, value)| (name, value.to_owned())).into();
        fields.push(("cookie", format!("theme=dark; {}; lang=en", self.cookie)));
        fields
    }
}

/// Requests come one after the other, and one thread of the runtime serves them all.
fn one_thread(mut command: Command) -> Command {
    command.env("TOKIO_WORKER_THREADS", "1");
    command
}

/// 1 KiB with the fields that an app sends.
fn answer() -> String {
    let body = "x".repeat(1024);
    format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/html; \
         charset=utf-8\r\nContent-Length: 1024\r\nCache-Control: no-cache\r\nETag: \"1\"\r\n\
         Vary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\n\r\n{body}"
    )
}

async fn stopped(mut service: Service) -> Service {
    service.program.signal(Signal::TERM);
    assert!(service.program.exit().await.success());
    service
}
