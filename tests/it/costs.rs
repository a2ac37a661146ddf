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

mod bench;
mod callgrind;
mod conditions;
mod report;
mod strace;

use std::time::Duration;

use bench::{Bench, Run};
use conditions::{counted_build, has_the_numbers_cpu};
use report::Report;

use crate::harness::real::{find, missing};

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
