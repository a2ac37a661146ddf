//! What an idle connection costs: memory of the program, after one request.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::bench::one_thread;
use super::client::{Client, small_app};
use super::conditions::counted_build;
use super::report::Report;
use crate::harness::*;

/// KiB.
const HTTP1: f64 = 9.9;
const HTTP2: f64 = 33.0;

/// Pages are counted, which the allocator fills as it likes.
const TOLERANCE: f64 = 1.08;

/// Connections before counting begins, and connections that are counted.
const WARM_UP: usize = 500;
const COUNTED: usize = 1000;

/// Until a connection has given its buffers back.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a build of its own: see CONTRIBUTING.md"]
async fn an_idle_connection_costs_no_more_than_before() {
    let Some(program) = counted_build() else {
        return;
    };
    let mut report = Report::new("an idle connection");
    let http1 = async |service: &Service, client: &Client| {
        let mut connection = service.raw().await;
        client.get_by_http1(&mut connection).await;
        connection
    };
    let http1 = kib_of_each(&program, http1).await;
    report.compare("Http1  KiB", (HTTP1, http1), HTTP1 * TOLERANCE);
    let http2 = async |service: &Service, client: &Client| {
        let connection = service.http2().await;
        client.get_by_http2(&connection).await;
        connection
    };
    let http2 = kib_of_each(&program, http2).await;
    report.compare("Http2  KiB", (HTTP2, http2), HTTP2 * TOLERANCE);
    report.judge();
}

/// The memory of each connection that is made.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
async fn kib_of_each<C>(program: &Path, connect: impl AsyncFn(&Service, &Client) -> C) -> f64 {
    let app = small_app().await;
    let mut command = one_thread(Command::new(program));
    // What the allocator keeps for later is not the connection's.
    command.env("MIMALLOC_PURGE_DELAY", "0");
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections_per_address = 5000")
        .config("[server.timeouts]\nkeep_alive = \"1h\"") // a slow machine is to keep them all
        .spawn_by(command)
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let client = Client::new(&ada.session_cookie());
    let mut connections = Vec::new();
    let mut memory = async |more: usize| {
        for _ in 0..more {
            connections.push(connect(&service, &client).await);
        }
        sleep(QUIET).await;
        anonymous_kib(service.program.id())
    };
    let few = memory(WARM_UP).await;
    let many = memory(COUNTED).await;
    (many - few) as f64 / COUNTED as f64
}

/// Memory of the process that no file is behind.
pub(super) fn anonymous_kib(id: u32) -> i64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let number = value.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}
