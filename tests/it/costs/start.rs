//! What a start costs, until the program listens.

use super::bench::{Bench, countable};
use super::client::small_app;
use super::report::Report;

/// Instructions. AWS-LC by itself would take a hundred times as many to seed its random numbers: see
/// `.cargo/config.toml`.
const START: f64 = 5_070_000.0;

const TOLERANCE: f64 = 1.1;

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
