//! What is said of nodes.

use serde::{Deserialize, Serialize};

/// A node as operators see it; times in UTC by RFC 3339. What cannot be read of it is `None`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeView {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    /// Of Vestibule.
    pub(crate) version: Option<String>,
    /// Where it listens for visitors.
    pub(crate) addresses: Vec<String>,
    pub(crate) started: Option<String>,
    /// `None` if it never was.
    pub(crate) last_seen: Option<String>,
    pub(crate) state: NodeState,
    /// Whether it is the one that was asked.
    pub(crate) this: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeState {
    /// What it has written was changed, or is sealed with another key.
    Damaged,
    /// A later version has written it, in a form that this one does not know.
    Newer,
    Running,
    /// It has not been heard of for a while.
    Silent,
}

/// Streams of a session on one node.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamsView {
    /// Its name.
    pub(crate) node: String,
    pub(crate) open: u32,
}
