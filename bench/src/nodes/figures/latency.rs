//! How soon the other nodes know.

use std::io;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use tokio::time::{Instant, timeout};

use super::{Figure, percentile, shown};
use crate::body::Bulk;
use crate::client::{Client, Version};
use crate::nodes::fleet::{Fleet, USERS};
use crate::nodes::walk::{WHO, expect};
use crate::nodes::websocket::WebSocket;
use crate::process::Running;

/// A WebSocket that is open for longer after the end of its session stays open.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

const MESSAGES_BAR: Duration = Duration::from_millis(100);
const READS_BAR: Duration = Duration::from_millis(700);
const FIRST_BAR: Duration = Duration::from_micros(500);

/// With messages between the nodes, and without: then they go by what they read again and again.
pub(super) async fn ends(fleet: &Fleet, count: usize) -> io::Result<Vec<Figure>> {
    let with_messages = logouts(fleet, count).await?;
    for server in &fleet.servers {
        server.ask(&["ACL", "SETUSER", "default", "resetchannels"]);
        server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    let without = logouts(fleet, count).await?;
    let what = format!("a logout on A to the end of WebSockets on B and C, {count} times");
    Ok(vec![
        figure(what.clone(), "p99 < 100 ms", &with_messages, MESSAGES_BAR),
        figure(
            format!("{what}, pub/sub cut off"),
            "p99 < 700 ms",
            &without,
            READS_BAR,
        ),
    ])
}

fn figure(what: String, bar: &'static str, sorted: &[Duration], most: Duration) -> Figure {
    Figure {
        what,
        bar,
        measured: shown(sorted),
        reached: Some(percentile(sorted, 99) < most),
    }
}

/// From before the logout, with its page and its form, until both WebSockets are closed.
async fn logouts(fleet: &Fleet, count: usize) -> io::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for visitor in fleet.fill(count).await? {
        let mut sockets = Vec::new();
        for node in [1, 2] {
            let mut socket = WebSocket::open(&fleet.at(node, &visitor)).await?;
            socket.ask().await?;
            sockets.push(socket);
        }
        let [b, c] = <[_; 2]>::try_from(sockets).map_err(|_| io::Error::other("two sockets"))?;
        let visitor = fleet.at(0, &visitor);
        let began = Instant::now();
        let (status, b, c) = tokio::join!(
            visitor.sign_out(),
            timeout(CLOSED_WITHIN, b.closed()),
            timeout(CLOSED_WITHIN, c.closed())
        );
        expect(status?, StatusCode::SEE_OTHER)?;
        for closed in [b, c] {
            let open = |_| io::Error::other("a WebSocket is open still");
            times.push(closed.map_err(open)??.duration_since(began));
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// Over a connection that is open already; once as the machine is, and once with its CPUs kept awake: on
/// a quiet virtual machine, to wake one takes longer than the question to the store.
pub(super) async fn first(fleet: &Fleet, count: usize) -> io::Result<Vec<Figure>> {
    let quiet = times_of_first(fleet, count).await?;
    let awake = {
        let _busy = keep_awake()?;
        times_of_first(fleet, count).await?
    };
    let figure = |what: String, bar: &'static str, times: &[Duration]| Figure {
        what,
        bar,
        measured: shown(times),
        reached: (!bar.is_empty()).then(|| percentile(times, 50) < FIRST_BAR),
    };
    let what = format!("the first request of a session on a node, {count} times");
    let [first, second] = quiet;
    let [first_awake, second_awake] = awake;
    Ok(vec![
        figure(what.clone(), "p50 < 0.5 ms", &first),
        figure("its second request".to_owned(), "", &second),
        figure(
            format!("{what}, with the CPUs kept awake"),
            "p50 < 0.5 ms",
            &first_awake,
        ),
        figure("its second request".to_owned(), "", &second_awake),
    ])
}

/// Of the first request of each session, and of its second.
async fn times_of_first(fleet: &Fleet, count: usize) -> io::Result<[Vec<Duration>; 2]> {
    let visitors = fleet.fill(count).await?;
    let mut connection = fleet
        .at(1, &fleet.visitor()?)
        .connect(Version::Http1)
        .await?;
    let mut times = [Vec::new(), Vec::new()];
    for (nth, visitor) in visitors.iter().enumerate() {
        let request = Client::request(visitor, Version::Http1, Method::GET, WHO);
        for times in &mut times {
            let began = Instant::now();
            let response = connection.send(&request, Bulk::empty()).await?;
            expect(response.status(), StatusCode::OK)?;
            let body = response.into_body().collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            times.push(began.elapsed());
            if body != USERS[nth % USERS.len()] {
                return Err(io::Error::other(format!("the app sees {body:?}")));
            }
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    Ok(times)
}

/// Starts processes that do nothing, as fast as they can, whenever nobody else has anything to do.
fn keep_awake() -> io::Result<Vec<Running>> {
    let count = available_parallelism()?.get();
    let idler = |_| {
        let mut nice = Command::new("nice");
        // It ends by itself, whatever becomes of this program.
        nice.args([
            "-n",
            "19",
            "timeout",
            "60",
            "sh",
            "-c",
            "while :; do :; done",
        ]);
        Running::start(nice, "/dev/null".into())
    };
    (0..count).map(idler).collect()
}
