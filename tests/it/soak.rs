//! Hours at half load, with clients that abort at any moment: memory, descriptors and times stay
//! as they are (REL-14). Two hours of it:
//!
//! ```sh
//! VESTIBULE_SOAK_MINUTES=120 cargo test --release --test it -- --ignored --nocapture rel_14
//! ```

mod aborts;
mod app;
mod crowd;
mod load;

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::*;

use aborts::abort_at_random;
use app::serve_app;
use load::{CONNECTIONS, Load, Times};

const USERS: [&str; 4] = ["ada", "bob", "cleo", "dan"];

/// How long it is found out what full load is.
const FULL_LOAD: Duration = Duration::from_secs(10);

/// What was seen in one minute.
struct Minute {
    resident_kib: u64,
    descriptors: u64,
    p99: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as one wants, five minutes if nothing is said"]
async fn rel_14_hours_of_load_and_aborts_leave_nothing_behind() {
    let minutes = env::var("VESTIBULE_SOAK_MINUTES");
    let minutes = minutes.map_or(5, |minutes| minutes.parse().expect("a number of minutes"));
    let service = service("max_connections_per_address = 5000").await;
    let mut sessions = Vec::new();
    for user in USERS {
        let browser = service.browser().login(user, PASSWORD).await;
        sessions.push(browser.session_cookie());
    }
    let load = Arc::new(Load::new(service.address, sessions));
    let mut clients = JoinSet::new();
    for _ in 0..aborts::CLIENTS {
        clients.spawn(abort_at_random(service.address));
    }
    let full = load.at_full_speed(FULL_LOAD).await; // beside those that abort
    let rate = full / 2;
    eprintln!("full load is {full} requests/s; {rate}/s from now on, for {minutes} minutes");
    for nth in 0..CONNECTIONS {
        clients.spawn(Arc::clone(&load).at(rate, nth));
    }

    let mut seen = Vec::new();
    for minute in 1..=minutes {
        sleep(Duration::from_mins(1)).await;
        seen.push(look(&service, &load.take_times(), minute));
        if minute % 5 == 0 {
            service.program.signal(Signal::HUP); // a reload leaves nothing behind, either
        }
        if let Some(ended) = clients.try_join_next() {
            panic!("a client has ended: {ended:?}");
        }
    }
    clients.shutdown().await;

    assert_flat(&seen);
    eventually("connections to be gone", || {
        descriptors(service.program.id()) < 64
    })
    .await;
    eprintln!("afterwards {}", state(service.program.id()));
}

/// As one has it by default, with an access log that nobody reads.
async fn service(limits: &str) -> Service {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" > /dev/null", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_vestibule"));
    let app = serve_app().await;
    let mut vestibule = Vestibule::before_url(&format!("http://{app}"))
        .server(limits)
        .rule("/page", "everyone")
        .config("[login.throttle]\naddress_failures = 1000000");
    for user in USERS {
        vestibule = vestibule.user(user, PASSWORD);
    }
    vestibule.spawn_by(command).await
}

fn look(service: &Service, times: &Times, minute: u32) -> Minute {
    let id = service.program.id();
    let (p50, p99) = (times.quantile(0.5), times.quantile(0.99));
    eprintln!(
        "minute {minute:3}: {} requests, p50 {p50:.1?}, p99 {p99:.1?}, longest {:.1?}; {}",
        times.count(),
        times.quantile(1.0),
        state(id)
    );
    Minute {
        resident_kib: status(id, "VmRSS:"),
        descriptors: descriptors(id),
        p99,
    }
}

fn state(id: u32) -> String {
    format!(
        "{} KiB resident, {} descriptors, {} threads",
        status(id, "VmRSS:"),
        descriptors(id),
        status(id, "Threads:")
    )
}

pub(crate) fn status(id: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    let number = value.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

fn descriptors(id: u32) -> u64 {
    fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .count()
        .try_into()
        .unwrap()
}

/// The last quarter is like the second one; the first warms up.
fn assert_flat(seen: &[Minute]) {
    let quarter = seen.len() / 4;
    if quarter == 0 {
        return;
    }
    let (before, after) = (&seen[quarter..2 * quarter], &seen[seen.len() - quarter..]);
    let pair = |of: fn(&Minute) -> u64| (median(before, of), median(after, of));
    let (before, after) = pair(|minute| minute.resident_kib);
    eprintln!("resident: {before} KiB, then {after} KiB");
    assert!(after <= before + before / 10, "memory grows");
    let (before, after) = pair(|minute| minute.descriptors);
    eprintln!("descriptors: {before}, then {after}");
    assert!(after <= before + before / 5, "descriptors stay open");
    let (before, after) = pair(|minute| u64::try_from(minute.p99.as_micros()).unwrap());
    eprintln!("p99: {before} us, then {after} us");
    assert!(after <= before * 3 / 2, "answers take longer");
}

fn median(minutes: &[Minute], of: fn(&Minute) -> u64) -> u64 {
    let mut values: Vec<_> = minutes.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
