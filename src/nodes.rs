//! The nodes that serve one site together, and what each of them can know of the others.
//!
//! They meet in the servers that keep their sessions, and nowhere else: with another store, a node is
//! alone.

mod heartbeat;
mod keys;
mod kind;
pub(crate) mod turns;
#[cfg(feature = "redis")]
mod values;
#[cfg(not(feature = "redis"))]
#[path = "nodes/no_values.rs"]
mod values;

use std::sync::Arc;

use crate::clock::Clock;
#[cfg(feature = "redis")]
use crate::redis::Link;
use crate::redis::{FileError, Settings};

pub(crate) use heartbeat::{Heartbeat, Node, SessionName, Streams};
pub(crate) use keys::{KeyRing, RingKey, RingOf};
pub(crate) use kind::{Kind, ValueError};
pub(crate) use values::Values;

/// What leads to the other nodes. Cheap to clone; the connections end with the last clone.
#[derive(Clone, Default)]
pub(crate) struct Nodes {
    values: Option<Values>,
}

impl Nodes {
    /// Reads the files with secrets, and connects in the background of this runtime. Without
    /// settings, this node is alone.
    pub(crate) fn open(settings: Option<&Arc<Settings>>, clock: &Clock) -> Result<Self, FileError> {
        let values = settings.map(|settings| Values::open(settings, clock));
        Ok(Self {
            values: values.transpose()?.flatten(),
        })
    }

    /// There are no others.
    pub(crate) fn alone() -> Self {
        Self::default()
    }

    /// The one link of the process; `None` where this node is alone.
    #[cfg(feature = "redis")]
    pub(crate) fn link(&self) -> Option<&Link> {
        self.values.as_ref().map(Values::link)
    }

    /// Small values that all nodes can read; `None` where this node is alone.
    pub(crate) fn values(&self) -> Option<&Values> {
        self.values.as_ref()
    }
}
