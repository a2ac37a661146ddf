//! What a request costs whose session this node knows, by where sessions are kept: a node that shares them
//! with others asks nobody for it, and so it costs as much as with sessions on disk.

use super::bench::{Bench, countable};
use super::client::{Client, Work, small_app};
use super::report::Report;
use super::{Cost, REQUESTS};
use crate::harness::redis::Redis;
use crate::harness::*;

/// Of the instructions with sessions on disk, and how many allocations more.
const SHARED: (f64, f64) = (1.02, 0.5);

async fn costs(program: &std::path::Path, redis: Option<&Redis>) -> [Cost; 2] {
    let app = small_app().await;
    let gate = Vestibule::before(&app);
    let gate = match redis {
        Some(redis) => gate.session("store = \"redis\"").config(&format!(
            "[session.redis]\nurl = \"{}\"\nkey = \"{}\"",
            redis.url(),
            "5a".repeat(32)
        )),
        None => gate,
    };
    let client = |_: &Service, cookie: &str| Client::new(cookie);
    Box::pin(Bench::of(program, app, gate, client))
        .await
        .slow_to_begin()
        .costs([Work::Http1, Work::Http2], REQUESTS)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_session_that_a_node_knows_costs_as_much_where_several_nodes_share_it() {
    let Some(program) = countable() else { return };
    let Some(redis) = Redis::start() else { return };
    let mut report = Report::new("a request, with sessions on disk -> in Redis,");
    let on_disk = costs(&program, None).await;
    let shared = costs(&program, Some(&redis)).await;
    for (name, (on_disk, shared)) in ["Http1", "Http2"].iter().zip(on_disk.iter().zip(shared)) {
        report.compare_with(name, *on_disk, shared, SHARED);
        report.compare_calls(name, *on_disk, shared);
    }
    report.judge();
}
