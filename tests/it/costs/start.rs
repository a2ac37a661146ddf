//! What a start costs: work, until the program listens, and memory, once somebody has signed in.

use std::process::Command;

use tokio::time::Instant;

use super::bench::{Bench, countable, one_thread};
use super::client::small_app;
use super::conditions::counted_build;
use super::idle::anonymous_kib;
use super::report::Report;
use crate::harness::*;

/// Instructions. AWS-LC by itself would take a hundred times as many to seed its random numbers: see
/// `.cargo/config.toml`.
const START: f64 = 5_070_000.0;

const TOLERANCE: f64 = 1.1;

/// KiB that no file is behind, after a login.
const MEMORY: f64 = 2900.0;

/// KiB of one hash.
const HASH: i64 = 19 * 1024;

/// Milliseconds after a login until the memory of its hash is free for other programs, and how many
/// a busy machine may take. Of the logins the fastest one counts.
const RETURN: (f64, f64) = (230.0, 600.0);
const LOGINS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_start_costs_no_more_than_before() {
    let Some(program) = countable() else { return };
    let bench = Bench::new(&program, small_app().await, "").await;
    let start = bench.start_under_callgrind().await;
    let mut report = Report::new("a start");
    report.compare(
        "instructions",
        (START, start.instructions),
        START * TOLERANCE,
    );
    report.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a build of its own: see CONTRIBUTING.md"]
#[expect(clippy::cast_precision_loss, reason = "KiB and milliseconds")]
async fn a_start_and_a_login_keep_no_more_memory_than_before() {
    let Some(program) = counted_build() else {
        return;
    };
    let app = small_app().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD);
    let service = gate.spawn_by(one_thread(Command::new(program))).await;
    let memory = || anonymous_kib(service.program.id());
    let began = memory();
    let mut fastest = f64::INFINITY;
    for _ in 0..LOGINS {
        service.browser().login("ada", PASSWORD).await;
        let login = Instant::now();
        eventually("the memory of the hash is given back", || {
            memory() < began + HASH / 2
        })
        .await;
        fastest = fastest.min(login.elapsed().as_secs_f64() * 1000.0);
    }
    let mut report = Report::new("memory after a start and a login");
    let kept = memory() as f64;
    report.compare("KiB", (MEMORY, kept), MEMORY * TOLERANCE);
    report.compare("ms until then", (RETURN.0, fastest), RETURN.1);
    report.judge();
}
