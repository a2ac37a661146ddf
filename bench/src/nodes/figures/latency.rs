//! How soon the other nodes know.

use std::io;
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

/// Over a connection that is open already.
pub(super) async fn first(fleet: &Fleet, count: usize) -> io::Result<Vec<Figure>> {
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
    let [first, second] = &mut times;
    first.sort_unstable();
    second.sort_unstable();
    Ok(vec![
        Figure {
            what: format!("the first request of a session on a node, {count} times"),
            bar: "p50 < 0.5 ms",
            measured: shown(first),
            reached: Some(percentile(first, 50) < FIRST_BAR),
        },
        Figure {
            what: "its second request".to_owned(),
            bar: "",
            measured: shown(second),
            reached: None,
        },
    ])
}
