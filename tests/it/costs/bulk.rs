//! What a body of one MiB costs.

use super::Cost;
use super::bench::{Bench, Plan, countable};
use super::client::{Work, bulk_app};
use super::report::{Report, Tolerance};

const HTTP1_DOWN: Cost = Cost {
    instructions: 3_120_000.0,
    allocations: 92.0,
    system_calls: 31,
};
/// Allocations: the middle of nine counts of the same program, from 34 to 119.
const HTTP1_UP: Cost = Cost {
    instructions: 5_150_000.0,
    allocations: 80.0,
    system_calls: 93,
};
const HTTP2_DOWN: Cost = Cost {
    instructions: 3_435_000.0,
    allocations: 235.0,
    system_calls: 82,
};
const HTTP2_UP: Cost = Cost {
    instructions: 4_740_000.0,
    allocations: 340.0,
    system_calls: 113,
};

/// How a body falls into reads depends on how far its sender is ahead: a little where that is the app.
const DOWN: Tolerance = Tolerance {
    instructions: 1.05,
    allocations: 60.0,
    system_calls: 8,
};

/// Where it is the client, which encrypts, it depends on what else the machine does: of one program, from
/// 92 to 104 system calls were counted over HTTP/1.1, and from 95 to 128 over HTTP/2.
const UP: Tolerance = Tolerance {
    instructions: 1.05,
    allocations: 90.0,
    system_calls: 25,
};

const BODIES: Plan = Plan {
    warm_up: 2,
    rounds: 15,
    times: 1,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_body_costs_no_more_than_before() {
    let Some(program) = countable() else { return };
    let bench = Bench::new(&program, bulk_app().await, "").await;
    let works = [
        Work::Http1Download,
        Work::Http2Download,
        Work::Http1Upload,
        Work::Http2Upload,
    ];
    let costs = bench.costs(works, BODIES).await;
    let [http1_down, http2_down, http1_up, http2_up] = costs;
    let mut report = Report::new("a MiB of a body");
    report.add("Http1 down", HTTP1_DOWN, http1_down, DOWN);
    report.add("Http2 down", HTTP2_DOWN, http2_down, DOWN);
    report.add("Http1 up", HTTP1_UP, http1_up, UP);
    report.add("Http2 up", HTTP2_UP, http2_up, UP);
    report.judge();
}
