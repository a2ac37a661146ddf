//! What the common request costs: a GET with a session, over a connection that is kept alive, for a
//! small answer; and what connections, bodies and idle clients cost. Instructions, allocations and
//! system calls are counted, because they are the same on a busy machine; clocks are not.
//!
//! ```sh
//! RUSTFLAGS="--cfg rustix_use_libc" cargo build --profile cost
//! cargo test --test it -- --ignored --nocapture costs::
//! ```
//!
//! rustix looks for the kernel's vDSO by itself, which is not where it says under valgrind: hence
//! its other backend for this build.

mod auth_requests;
mod bench;
mod bulk;
mod callers;
mod callgrind;
mod client;
mod conditions;
mod connections;
mod idle;
mod report;
mod start;
mod stores;
mod strace;

use bench::{Bench, Plan, countable};
use client::{Work, small_app};
use report::{Report, Tolerance};

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
    instructions: 76_700.0,
    allocations: 18.0,
    system_calls: 6,
};
const HTTP2: Cost = Cost {
    instructions: 94_400.0,
    allocations: 24.0,
    system_calls: 6,
};

/// What the line of the access log has of [`HTTP1`].
const ACCESS_LINE: Cost = Cost {
    instructions: 3_000.0,
    allocations: 2.0,
    system_calls: 0,
};

const COMPILER: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

const TOLERANCE: Tolerance = Tolerance {
    instructions: 1.02,
    // Half of an allocation is a rounding error, and one is one too many.
    allocations: 0.5,
    system_calls: 0,
};

/// It is the difference of two numbers of some 77,000, each of which may be off by half a percent.
const ACCESS_LINE_TOLERANCE: Tolerance = Tolerance {
    instructions: 1.3,
    ..TOLERANCE
};

const REQUESTS: Plan = Plan {
    warm_up: 100,
    rounds: 5,
    times: 200,
};

#[derive(Clone, Copy, Debug)]
struct Cost {
    instructions: f64,
    allocations: f64,
    system_calls: u64,
}

impl Cost {
    fn minus(self, less: Self) -> Self {
        Self {
            instructions: self.instructions - less.instructions,
            allocations: self.allocations - less.allocations,
            system_calls: self.system_calls.saturating_sub(less.system_calls),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_request_costs_no_more_than_before() {
    let Some(program) = countable() else { return };
    let mut report = Report::new("a request");
    let bench = Bench::new(&program, small_app().await, "").await;
    let [http1, http2] = bench.costs([Work::Http1, Work::Http2], REQUESTS).await;
    report.add("Http1", HTTP1, http1, TOLERANCE);
    report.add("Http2", HTTP2, http2, TOLERANCE);
    let bench = Bench::new(&program, small_app().await, "[log]\naccess = false").await;
    let [without] = bench.costs([Work::Http1], REQUESTS).await;
    let line = http1.minus(without);
    report.add("Access line", ACCESS_LINE, line, ACCESS_LINE_TOLERANCE);
    report.judge();
}
