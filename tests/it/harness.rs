//! What the tests are made of: a recording upstream, Vestibule on a free port, clients.

mod browser;
mod exchange;
mod files;
mod gate;
mod h2;
pub(crate) mod machine;
mod manager;
pub(crate) mod network;
mod program;
mod raw;
pub(crate) mod real;
pub(crate) mod redis;
mod reply;
pub(crate) mod tls;
mod upstream;
pub(crate) mod webdriver;
mod websocket;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub(crate) use browser::{Browser, SESSION_COOKIE};
pub(crate) use files::{Files, User, hash};
pub(crate) use gate::{Gate, Service, Vestibule};
pub(crate) use h2::{AnyBody, Frame, Http2, RawHttp2, frame, headers_block};
pub(crate) use manager::Manager;
pub(crate) use program::{
    Program, command, held_port, run, run_to_end, run_with_input, run_without_config,
};
pub(crate) use raw::Raw;
pub(crate) use reply::Reply;
pub(crate) use upstream::{Received, Upstream, echo};
pub(crate) use websocket::{WebSocket, open_websocket, open_websocket_of};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The password of the tests' users.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Awaits with a deadline.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until asking gives something.
pub(crate) async fn eventually_some<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    some_within(PATIENCE, what, ask).await
}

/// The same for what takes another time.
pub(crate) async fn some_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Our sockets to this port of the loopback that are not closed here, whether or not the other side
/// has closed its half.
pub(crate) fn sockets_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let rows = table.lines().map(|row| {
        let mut fields = row.split_whitespace().skip(2);
        (fields.next(), fields.next())
    });
    let (established, close_wait) = (Some("01"), Some("08"));
    let ours = rows.filter(|(address, state)| {
        address.is_some_and(|address| address.ends_with(&remote))
            && (*state == established || *state == close_wait)
    });
    ours.count()
}
