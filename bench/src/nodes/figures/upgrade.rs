//! One node after the other is stopped and started again, as an upgrade does it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;

use super::Figure;
use crate::body::Bulk;
use crate::client::{Client, Connection, Version};
use crate::nodes::fleet::Fleet;
use crate::nodes::walk::WHO;

/// Half of them by HTTP/2.
const CONNECTIONS: usize = 16;

/// How often a request is sent at most: like browsers, on another connection when one was closed
/// before the answer began.
const TRIES: usize = 3;

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    again: AtomicU64,
    failed: AtomicU64,
    done: AtomicBool,
}

/// `after` is the program that each node is started again with.
pub(super) async fn measure(
    fleet: &mut Fleet,
    requests: u64,
    after: Option<&Path>,
) -> io::Result<Vec<Figure>> {
    let visitors = fleet.fill(CONNECTIONS).await?;
    let (counts, mut tasks) = (Arc::new(Counts::default()), JoinSet::new());
    for (nth, visitor) in visitors.iter().enumerate() {
        let version = [Version::Http1, Version::Http2][nth % 2];
        tasks.spawn(ask(visitor.clone(), version, Arc::clone(&counts)));
    }
    let mut upgrades = 0;
    while upgrades < fleet.nodes.len() || counts.answered.load(Ordering::Relaxed) < requests {
        let nodes = fleet.nodes.len();
        let node = &mut fleet.nodes[upgrades % nodes];
        node.stop().await?;
        if let Some(after) = after {
            node.set_program(after);
        }
        node.start().await?;
        upgrades += 1;
    }
    counts.done.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    let mut lost = 0;
    for visitor in &visitors {
        for node in 0..fleet.nodes.len() {
            let answer = fleet.at(node, visitor).fetch(WHO).await?;
            lost += usize::from(answer.0 != StatusCode::OK);
        }
    }
    let [answered, again, failed] = [&counts.answered, &counts.again, &counts.failed]
        .map(|count| count.load(Ordering::Relaxed));
    let program = after.map_or("the same program", |_| "another program");
    Ok(vec![
        Figure {
            what: format!(
                "{upgrades} nodes stopped and started with {program}, behind HAProxy, {answered} requests"
            ),
            bar: "0 failed, 0 sessions lost",
            measured: format!("{failed} failed, {lost} sessions lost"),
            reached: Some(failed == 0 && lost == 0),
        },
        Figure {
            what:
                "of them sent again, as browsers do when a connection is closed before the answer"
                    .to_owned(),
            bar: "",
            measured: again.to_string(),
            reached: None,
        },
    ])
}

async fn ask(visitor: Client, version: Version, counts: Arc<Counts>) {
    let request = visitor.request(version, Method::GET, WHO);
    let mut connection: Option<Connection> = None;
    while !counts.done.load(Ordering::Relaxed) {
        let mut tries = 0;
        let answered = loop {
            tries += 1;
            let asked = async {
                let open = match &mut connection {
                    Some(open) => open,
                    none => none.insert(visitor.connect(version).await?),
                };
                open.send(&request, Bulk::empty()).await
            };
            match asked.await {
                Ok(response) => {
                    let whole = response.status() == StatusCode::OK;
                    break whole && response.into_body().collect().await.is_ok();
                }
                Err(_) if tries < TRIES => {
                    connection = None;
                    counts.again.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => break false,
            }
        };
        if answered {
            counts.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            connection = None;
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
