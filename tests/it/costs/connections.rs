//! What a connection costs: its handshake, one small request, and its end.

use super::Cost;
use super::bench::{Bench, Plan, countable};
use super::client::{Work, small_app};
use super::report::{Report, Tolerance};

const HTTP1: Cost = Cost {
    instructions: 1_516_000.0,
    allocations: 209.0,
    system_calls: 22,
};
/// By a ticket, which saves the signature.
const HTTP1_RESUMED: Cost = Cost {
    instructions: 1_467_000.0,
    allocations: 212.0,
    system_calls: 22,
};
const HTTP2: Cost = Cost {
    instructions: 1_582_000.0,
    allocations: 257.0,
    system_calls: 25,
};

const TOLERANCE: Tolerance = Tolerance {
    instructions: 1.02,
    // Whether a client's first frames come together with the end of its handshake: counted 263.8 to
    // 267.9 on two machines.
    allocations: 6.0,
    // Reads that come too early: the client computes, too.
    system_calls: 2,
};

const CONNECTIONS: Plan = Plan {
    warm_up: 10,
    rounds: 5,
    times: 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_connection_costs_no_more_than_before() {
    let Some(program) = countable() else { return };
    let bench = Bench::new(&program, small_app().await, "").await;
    let works = [
        Work::Http1Connection,
        Work::Http1ResumedConnection,
        Work::Http2Connection,
    ];
    let [http1, resumed, http2] = bench.costs(works, CONNECTIONS).await;
    let mut report = Report::new("a connection with one request");
    report.add("Http1", HTTP1, http1, TOLERANCE);
    report.add("Http1 resumed", HTTP1_RESUMED, resumed, TOLERANCE);
    report.add("Http2", HTTP2, http2, TOLERANCE);
    report.judge();
}
