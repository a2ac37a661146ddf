//! What an answer of forward auth costs: to an auth request about a page load with a session, over a
//! connection that the proxy keeps.

use super::bench::{Bench, countable};
use super::client::{Client, Work, small_app};
use super::report::Report;
use super::{Cost, REQUESTS, TOLERANCE};
use crate::harness::*;

/// More than a quarter of the instructions reads the head into fields. CPU time beside nginx is what
/// `vestibule-bench --work questions` measures.
const AUTH_REQUEST: Cost = Cost {
    instructions: 43_200.0,
    allocations: 12.0,
    system_calls: 3,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn an_answer_of_forward_auth_costs_no_more_than_before() {
    let Some(program) = countable() else { return };
    let app = small_app().await;
    let auth = held_port();
    let listen = format!("auth_listen = [\"{auth}\"]\nauth_from = [\"127.0.0.1\"]");
    let gate = Vestibule::before(&app).server(&listen);
    let client = |_: &Service, cookie: &str| Client::of_proxy(auth, cookie);
    let bench = Box::pin(Bench::of(&program, app, gate, client)).await;
    let mut report = Report::new("an answer of forward auth");
    let [cost] = bench.costs([Work::AuthRequest], REQUESTS).await;
    report.add("AuthRequest", AUTH_REQUEST, cost, TOLERANCE);
    report.judge();
}
