//! What a request costs by how its sender signs in: a program with a token or a password, beside
//! the same program with a session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bench::{Bench, countable};
use super::client::{Client, Work, small_app};
use super::report::Report;
use super::{Cost, REQUESTS};
use crate::harness::*;

/// Of the instructions of a request with a session, and how many allocations more; 1.02 was counted. The
/// connection remembers both.
const TOKEN: (f64, f64) = (1.03, 0.5);

/// The same, where 1.09 was counted. The password was right a moment ago, so nothing hashes it as
/// passwords are hashed: two blocks of SHA-256 are most of it, some 2,100 instructions each in
/// AWS-LC, as the CPU that valgrind plays has no instructions for them.
const BASIC: (f64, f64) = (1.10, 2.5);

/// The same of a request for an app that gets identity tokens, beside one for an app that gets none, where
/// 1.29 was counted: the claims are written for each request, and signed once for those that are equal.
const IDENTITY_TOKEN: (f64, f64) = (1.40, 6.0);

#[derive(Clone, Copy)]
enum Caller {
    Session,
    Token,
    Basic,
}

async fn costs(program: &std::path::Path, caller: Caller, more: &str) -> [Cost; 2] {
    let app = small_app().await;
    let keys = format!("tokens = true\nbasic = true\n{more}");
    let gate = Vestibule::before(&app).app(&keys);
    let bench = Bench::of(program, app, gate, |service, cookie| match caller {
        Caller::Session => Client::of_program("cookie", cookie.to_owned()),
        Caller::Token => {
            let (code, token, error) = run(&service.files, &["token", "add", "ada"]);
            assert_eq!(code, Some(0), "{error}");
            Client::of_program("authorization", format!("Bearer {}", token.trim_end()))
        }
        Caller::Basic => {
            let pair = STANDARD.encode(format!("ada:{PASSWORD}"));
            Client::of_program("authorization", format!("Basic {pair}"))
        }
    });
    Box::pin(bench)
        .await
        .costs([Work::Http1, Work::Http2], REQUESTS)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn a_program_costs_about_as_much_by_token_or_password_as_by_session() {
    let Some(program) = countable() else { return };
    let mut report = Report::new("a request of a program, by session -> by its credential,");
    let sessions = costs(&program, Caller::Session, "").await;
    for (name, caller, bar) in [
        ("token", Caller::Token, TOKEN),
        ("basic", Caller::Basic, BASIC),
    ] {
        let credentials = costs(&program, caller, "").await;
        for (version, (session, now)) in ["Http1", "Http2"]
            .iter()
            .zip(sessions.iter().zip(credentials))
        {
            let name = format!("{version} {name}");
            report.compare_with(&name, *session, now, bar);
        }
    }
    report.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs valgrind, strace and a build of its own: see CONTRIBUTING.md"]
async fn an_identity_token_is_not_signed_for_each_of_many_equal_requests() {
    let Some(program) = countable() else { return };
    let mut report = Report::new("a request, without -> with an identity token,");
    let without = costs(&program, Caller::Session, "").await;
    let with = costs(&program, Caller::Session, "identity_token = true").await;
    for (version, (without, with)) in ["Http1", "Http2"].iter().zip(without.iter().zip(with)) {
        report.compare_with(version, *without, with, IDENTITY_TOKEN);
    }
    report.judge();
}
