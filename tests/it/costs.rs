//! What the common request costs: a GET with a session, over a connection that is kept alive, for a
//! small answer. Instructions, allocations and system calls are counted, because they are the same
//! on a busy machine; clocks are not.
//!
//! ```sh
//! RUSTFLAGS="--cfg rustix_use_libc" cargo build --profile cost
//! cargo test --test it -- --ignored --nocapture costs::
//! ```
//!
//! rustix looks for the kernel's vDSO by itself, which is not where it says under valgrind: hence
//! its other backend for this build.

mod callgrind;
mod strace;

use std::env;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::harness::real::{find, missing};
use crate::harness::*;

/// What one request may cost. Lower numbers are committed together with the change that they are
/// due to; higher ones need a reason in its message.
///
/// Of commit 8c9850b, before requests were shared among networks and users, ids bound to hosts and
/// streams judged again: 112,832 and 128,926 instructions, 43.9 and 45.1 allocations, as many system
/// calls.
///
/// Instructions are of the compiler and of the CPU that valgrind plays: one with AVX2, where the
/// machine has it. Another compiler may move them: count `main` with it before blaming a change.
const HTTP1: Cost = Cost {
    instructions: 96_200.0,
    allocations: 35.0,
    system_calls: 6,
};
const HTTP2: Cost = Cost {
    instructions: 112_400.0,
    allocations: 36.1,
    system_calls: 6,
};
const COMPILER: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

/// Instructions may be so much above the number: how they fall into reads and wake-ups is not
/// quite the same each time.
const TOLERANCE: f64 = 1.02;

/// Half of an allocation is a rounding error, and one is one too many.
const ROUNDING: f64 = 0.5;

/// Requests before counting begins, and requests that are counted.
const WARM_UP: usize = 100;
const COUNTED: usize = 1000;

/// How long the program is left alone, to count what it does by the clock.
const IDLE: Duration = Duration::from_secs(10);

/// Where a request begins in a trace.
const TARGET: &str = "/counted";

#[derive(Clone, Copy, Debug)]
struct Cost {
    instructions: f64,
    allocations: f64,
    system_calls: u64,
}

/// One run under callgrind.
#[derive(Clone, Copy, Debug)]
struct Run {
    counts: callgrind::Counts,
    took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_request_costs_no_more_than_before() {
    let (Some(program), Some(_), Some(_)) = (counted_build(), find("valgrind"), find("strace"))
    else {
        return;
    };
    if !has_the_numbers_cpu() {
        missing("an x86-64 CPU with AVX2");
        return;
    }
    let mut report = Report::default();
    for (protocol, before) in [(Protocol::Http1, HTTP1), (Protocol::Http2, HTTP2)] {
        let bench = Bench::new(&program, protocol).await;
        let few = bench.under_callgrind(WARM_UP, Duration::ZERO).await;
        let idle = bench.under_callgrind(WARM_UP, IDLE).await;
        let many = bench
            .under_callgrind(WARM_UP + COUNTED, Duration::ZERO)
            .await;
        let a_request = |count: fn(&callgrind::Counts) -> u64| a_request(few, idle, many, count);
        let now = Cost {
            instructions: a_request(|counts| counts.instructions),
            allocations: a_request(|counts| counts.allocations),
            system_calls: bench.under_strace(WARM_UP + COUNTED).await,
        };
        report.add(protocol, before, now);
    }
    eprintln!("{report}");
    assert!(!report.is_above, "{report}");
}

/// What the second of two runs has counted more, for each of its requests; without what the program
/// does by the clock, of which a slow machine sees more.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
fn a_request(few: Run, idle: Run, many: Run, count: impl Fn(&callgrind::Counts) -> u64) -> f64 {
    let more = |run: Run| count(&run.counts) as f64 - count(&few.counts) as f64;
    let longer = |run: Run| run.took.as_secs_f64() - few.took.as_secs_f64();
    let a_second = more(idle) / longer(idle);
    (more(many) - a_second * longer(many)) / COUNTED as f64
}

/// The program in front of an app, with somebody signed in.
struct Bench {
    program: PathBuf,
    protocol: Protocol,
    app: Upstream,
    service: Mutex<Option<Service>>,
    cookie: String,
}

impl Bench {
    /// The login is not under valgrind, where hashing would take its time; the session is on disk.
    async fn new(program: &Path, protocol: Protocol) -> Self {
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

    async fn under_callgrind(&self, requests: usize, idle: Duration) -> Run {
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

    async fn under_strace(&self, requests: usize) -> u64 {
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

/// Numbers that were counted, beside the committed ones.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    table: Vec<String>,
    is_above: bool,
}

impl Report {
    fn add(&mut self, protocol: Protocol, before: Cost, now: Cost) {
        #[expect(clippy::cast_precision_loss, reason = "a handful of calls")]
        let calls = |cost: Cost| cost.system_calls as f64;
        let limits = [
            (
                "instructions",
                (before.instructions, now.instructions),
                before.instructions * TOLERANCE,
            ),
            (
                "allocations",
                (before.allocations, now.allocations),
                before.allocations + ROUNDING,
            ),
            ("system calls", (calls(before), calls(now)), calls(before)),
        ];
        for (what, (before, now), limit) in limits {
            let verdict = if now > limit { "  TOO MUCH" } else { "" };
            self.is_above |= now > limit;
            self.lines.push(format!(
                "{protocol:?}  {what:<12}  {before:>9.1} -> {now:>9.1}  ratio {:.3}{verdict}",
                now / before
            ));
        }
        self.table.push(format!("{protocol:?}: {now:.1?}"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "what a request costs, committed -> counted:")?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        let compiler = compiler();
        if compiler != COMPILER {
            writeln!(
                f,
                "counted with {compiler}, committed with {COMPILER}: first count main"
            )?;
        }
        writeln!(
            f,
            "to commit what was counted, put it into tests/it/costs.rs:"
        )?;
        for line in &self.table {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// The program as it is counted; the debug build is another one.
fn counted_build() -> Option<PathBuf> {
    let debug = Path::new(env!("CARGO_BIN_EXE_vestibule"));
    let program = debug.parent()?.parent()?.join("cost/vestibule");
    if !program.is_file() {
        missing("the build of `cargo build --profile cost`");
        return None;
    }
    Some(program)
}

#[cfg(target_arch = "x86_64")]
fn has_the_numbers_cpu() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_the_numbers_cpu() -> bool {
    false
}

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = run_to_end(Command::new(rustc).arg("-V"), "").1;
    version.trim().to_owned()
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
