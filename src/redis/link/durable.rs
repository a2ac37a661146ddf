//! Waits until writes are on replicas.
//!
//! WAIT speaks of the writes of its own connection, and keeps that connection from anything else. So
//! it has one of its own, on which it follows a small write: what was answered before that one went
//! to the replicas before it. All who ask meanwhile wait together for the next round.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd, pipe};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connect::Connection;
use super::error::{ConnectError, LinkError};
use super::node::Node;
use super::server::replicas;
use super::slots::tag;
use crate::redis::Settings;

/// How long it is believed that there are replicas, or none.
const BELIEVED: Duration = Duration::from_secs(1);

/// Who waits: a key on the server, and where the answer goes.
pub(super) struct Asked {
    pub(super) key: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<bool, LinkError>>,
}

/// The connection of the last round, and how many replicas there were.
struct Round {
    connection: Connection,
    replicas: usize,
    /// When they were counted; `None` where some may be gone.
    counted: Option<Instant>,
}

/// Answers for as long as somebody may ask.
pub(super) async fn keep(
    node: Arc<Node>,
    settings: Arc<Settings>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let mut round = None;
    while let Some(first) = asked.recv().await {
        let mut waiting = vec![first];
        while let Ok(more) = asked.try_recv() {
            waiting.push(more);
        }
        let limit = settings.timeout * 2;
        let marker = marker(&settings.prefix, &waiting[0].key);
        let waited = timeout(limit, wait(&node, &settings, &mut round, &marker)).await;
        let outcome = waited.unwrap_or(Err(ConnectError::TimedOut));
        if outcome.is_err() {
            round = None;
        }
        for asked in waiting {
            let answer = outcome.as_ref().copied();
            // Who has given up waiting hears nothing.
            let _ = asked
                .answer
                .send(answer.map_err(|_| LinkError::Unavailable));
        }
    }
}

/// A key of the same slot.
fn marker(prefix: &str, key: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), b"{", tag(key), b"}:wait"].concat()
}

async fn wait(
    node: &Node,
    settings: &Settings,
    round: &mut Option<Round>,
    marker: &[u8],
) -> Result<bool, ConnectError> {
    let current = node.current().ok_or(ConnectError::TimedOut)?;
    let same = |round: &Round| round.connection.server.run_id == current.server.run_id;
    let round = if let Some(kept) = round.take().filter(same) {
        round.insert(kept)
    } else {
        let connection = Connection::open(settings, &current.address, &settings.login).await?;
        if connection.server.run_id != current.server.run_id {
            return Err(ConnectError::Replica);
        }
        round.insert(Round {
            replicas: connection.server.replicas,
            counted: Some(Instant::now()),
            connection,
        })
    };
    let mut handle = round.connection.handle();
    let wanted = if let Some(wanted) = settings.wait_replicas {
        wanted
    } else {
        if (round.counted).is_none_or(|counted| counted.elapsed() > BELIEVED) {
            let info = cmd("INFO").arg("replication").take();
            let info: String = info.query_async(&mut handle).await?;
            round.replicas = replicas(&info);
            round.counted = Some(Instant::now());
        }
        round.replicas.min(1)
    };
    if wanted == 0 {
        return Ok(true);
    }
    let mut commands = pipe();
    commands
        .cmd("SET")
        .arg(marker)
        .arg("")
        .arg("PX")
        .arg(60_000);
    let limit = settings.timeout.as_millis().max(1);
    commands
        .cmd("WAIT")
        .arg(wanted)
        .arg(u64::try_from(limit).unwrap_or(u64::MAX));
    let answers: Vec<Value> = commands.query_async(&mut handle).await?;
    let Some(Value::Int(reached)) = answers.last() else {
        return Err(ConnectError::Nonsense);
    };
    let is_reached = usize::try_from(*reached).is_ok_and(|reached| reached >= wanted);
    if !is_reached {
        round.counted = None;
    }
    Ok(is_reached)
}
