//! Lists the nodes that serve the site together.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWrite;

use super::protocol::{Done, Line, NodeState, NodeView};
use super::{Answer, Context};
use crate::clock::Timestamp;
use crate::nodes::{Node, Streams, ValueError};

/// Gives the last line of the answer.
pub(super) async fn list<W: AsyncWrite + Unpin>(
    context: &Context,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    let nodes = match context.heartbeat.list().await {
        Ok(nodes) => nodes,
        Err(error) => {
            return Ok(Line::Error(format!(
                "the other nodes cannot be listed: {error}; see `vestibule status`"
            )));
        }
    };
    let now = context.clock.now();
    for node in nodes {
        answer.line(&Line::Node(Box::new(view(node, now)))).await?;
    }
    let alone = context.heartbeat.is_alone();
    Ok(Line::Done(Done::Nodes { alone }))
}

/// The open streams of all nodes, for a list that begins or goes on; `None` where there is one node.
pub(super) async fn streams(context: &Context, goes_on: bool) -> Option<Arc<Streams>> {
    let own = || context.sessions.open_streams();
    context.heartbeat.streams(own, goes_on).await
}

fn view(node: Node, now: Timestamp) -> NodeView {
    let state = match &node.about {
        Err(ValueError::Newer) => NodeState::Newer,
        Err(_) => NodeState::Damaged,
        Ok(_) if node.is_silent() => NodeState::Silent,
        Ok(_) => NodeState::Running,
    };
    let about = node.about.ok();
    let ago = |seen: std::time::Duration| {
        let seen = u64::try_from(seen.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(now.as_millis().saturating_sub(seen)).to_rfc3339()
    };
    NodeView {
        id: node.id.to_string(),
        name: about.as_ref().map(|about| about.name.clone()),
        version: about.as_ref().map(|about| about.version.clone()),
        started: about.as_ref().map(|about| about.started.to_rfc3339()),
        addresses: about.map_or_else(Vec::new, |about| about.addresses),
        last_seen: node.seen.map(ago),
        state,
        this: node.is_this,
    }
}
