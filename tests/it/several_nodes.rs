//! Several nodes that share a Redis: what ends on one ends on all, and what happens while the store
//! is away.

mod away;
mod browser;
mod cluster;
mod ends;
mod faults;
mod forms;
mod full;
mod identity;
mod keys;
mod limits;
mod names;
mod nodes;
mod nonsense;
mod partitions;
mod rights;
mod slow;
mod stopped;
mod throttle;
mod tokens;
mod users;
mod versions;
mod watched;

use std::time::Duration;

use tokio::time::timeout;

use crate::harness::redis::Redis;
use crate::harness::*;

/// Within this an end has reached every node: it takes half a second, and machines are slow.
const SOON: Duration = Duration::from_secs(10);

/// One of the nodes in front of an app.
fn node(app: &Upstream, redis: &Redis) -> Vestibule {
    node_for(app, redis, "30s")
}

fn node_for(app: &Upstream, redis: &Redis, stale_for: &str) -> Vestibule {
    let keys = format!("wait_replicas = 0\nstale_for = \"{stale_for}\"");
    node_at(app, &redis.url(), &keys)
}

/// With more keys of `[session.redis]`.
fn node_at(app: &Upstream, url: &str, keys: &str) -> Vestibule {
    let key = "5a".repeat(32);
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .session("store = \"redis\"")
        .admin("socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"")
        .config(&format!(
            "[session.redis]\nurl = \"{url}\"\nkey = \"{key}\"\n{keys}"
        ))
}

/// Echoes WebSockets, and what else comes.
async fn app() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await
}

/// The browser as the load balancer leads it to another node.
fn led_to(node: &Gate, browser: &Browser) -> Browser {
    node.browser().cookie(&browser.session_cookie())
}

async fn websocket(node: &Gate, browser: &Browser) -> WebSocket {
    let cookie = browser.session_cookie();
    let headers = [("origin", "https://gate.test"), ("cookie", &*cookie)];
    let opened = open_websocket(node.tcp().await, "/ws", &headers).await;
    opened.unwrap()
}

/// Until this page is answered so.
async fn becomes(browser: &Browser, status: u16) {
    let asked = async || (browser.fetch("/").await.status == status).then_some(());
    eventually_some(&format!("{status} for /"), asked).await;
}

/// What somebody is answered by the app: a page for them, or none; never one for anybody else.
async fn own_page_or_none(browser: &Browser, name: &str, when: &str) -> u16 {
    let reply = browser.fetch("/").await;
    match reply.status {
        200 => {
            let own = format!("x-forwarded-user: {name}");
            assert!(
                reply.text().to_lowercase().contains(&own),
                "{when}: {reply}"
            );
        }
        401 | 503 => {}
        _ => panic!("{when}: {reply}"),
    }
    reply.status
}

/// What `/readyz` says.
async fn readiness(node: &Gate) -> String {
    told(node, "/readyz").await
}

/// What the listener for metrics says there.
async fn told(node: &Gate, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(node.metrics_address())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(Duration::from_secs(20), read)
        .await
        .unwrap()
        .unwrap();
    answer
}
