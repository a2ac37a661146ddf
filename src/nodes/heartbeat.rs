//! Each node writes every few seconds that it is there, and who it is. `vestibule node list` shows it.
//!
//! What a node has written ends by itself some time after the node has; a clean stop takes it away at
//! once. Nodes are found by a set of their ids, which every reader mends. When a node was last seen
//! goes by the clock of the store: how long its value is still kept tells how old it is.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a node that is alone keeps nothing for others")
)]

#[cfg(feature = "redis")]
mod store;
mod streams;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use zeroize::Zeroizing;

use self::streams::STREAMS;
pub(crate) use self::streams::{SessionName, Streams};
use super::{Kind, Nodes, ValueError, Values};
use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, random};

/// How often a node writes that it is there, and reads who else is.
const EVERY: Duration = Duration::from_secs(5);

/// The same until it has succeeded once.
const AT_FIRST: Duration = Duration::from_millis(250);

/// A node that has written nothing for so long is silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(15);

/// Maximum number of nodes read. More than this means foreign entries or a crash loop.
const MOST: usize = 256;

/// What a node tells of itself.
pub(super) struct Told {
    kind: Kind,
    /// When it is not told again. Part of the version of the kind: its age follows from it.
    kept_for: Duration,
}

/// Who it is. It is shown as silent for an hour.
const NODE: Told = Told {
    kind: Kind::new("node", 1, 4096),
    kept_for: Duration::from_hours(1),
};

/// How long the streams of others are believed while a list of sessions goes on page by page.
const STREAMS_KNOWN_FOR: Duration = Duration::from_secs(3);

/// Addresses that a node tells of.
const MOST_ADDRESSES: usize = 16;

/// Characters of a host name (RFC 1035).
const MOST_OF_HOST: usize = 63;

/// Of one process: another one has another, on the same machine, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId([u8; 8]);

impl NodeId {
    /// `None` for what is no id of this version.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let id = Self(u64::from_str_radix(text, 16).ok()?.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// What a node says of itself. Later versions may say more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The host, and the beginning of the id: two on one host differ.
    pub(crate) name: String,
    /// Of Vestibule.
    pub(crate) version: String,
    /// Where it listens for visitors, as bound.
    pub(crate) addresses: Vec<String>,
    /// By its own clock.
    pub(crate) started: Timestamp,
}

impl About {
    fn new(id: NodeId, addresses: Vec<String>, started: Timestamp) -> Self {
        let mut addresses = addresses;
        addresses.truncate(MOST_ADDRESSES);
        let id = id.to_string();
        Self {
            name: format!("{}-{}", host(), &id[..4]),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses,
            started,
        }
    }
}

/// The name of this machine, as far as it is one.
fn host() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name = name.chars().filter(char::is_ascii_graphic);
    let name: String = name.take(MOST_OF_HOST).collect();
    if name.is_empty() {
        "node".to_owned()
    } else {
        name
    }
}

/// A node, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// What it says of itself, if that can be read here.
    pub(crate) about: Result<About, ValueError>,
    /// How long ago it was seen; `None` if it never was.
    pub(crate) seen: Option<Duration>,
    pub(crate) is_this: bool,
}

impl Node {
    pub(crate) fn is_silent(&self) -> bool {
        self.seen.is_none_or(|seen| seen > SILENT_AFTER)
    }

    /// Whether it serves the site, by all that is known.
    fn is_there(&self) -> bool {
        !self.is_silent() && matches!(self.about, Ok(_) | Err(ValueError::Newer))
    }
}

/// A value of a node in the store.
pub(super) struct Kept {
    id: NodeId,
    value: Result<Zeroizing<Vec<u8>>, ValueError>,
    age: Option<Duration>,
}

/// What this node says of itself, and whom else it sees.
pub(crate) struct Heartbeat {
    id: NodeId,
    about: About,
    values: Option<Values>,
    /// Nodes that are there; zero while nobody can say.
    count: AtomicUsize,
    /// The store has streams of this node, perhaps.
    has_streams: AtomicBool,
    /// Those of all nodes, and when they were read.
    streams: Mutex<Option<(Instant, Arc<Streams>)>>,
}

impl Heartbeat {
    /// Of a node that listens there; [`keep`](Self::keep) has others know of it.
    pub(crate) fn new(
        nodes: &Nodes,
        addresses: Vec<String>,
        started: Timestamp,
    ) -> Result<Self, NoRandomness> {
        let id = NodeId(random()?);
        let values = nodes.values().cloned();
        Ok(Self {
            id,
            about: About::new(id, addresses, started),
            count: AtomicUsize::new(usize::from(values.is_none())),
            has_streams: AtomicBool::new(false),
            streams: Mutex::default(),
            values,
        })
    }

    /// Whether there can be no others.
    pub(crate) fn is_alone(&self) -> bool {
        self.values.is_none()
    }

    /// How many nodes there are, this one included; `None` while the store does not say.
    pub(crate) fn count(&self) -> Option<usize> {
        Some(self.count.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// Writes that this node is there, and its open `streams`, again and again; does not end.
    pub(crate) async fn keep(&self, streams: impl Fn() -> Vec<(SessionName, u32)>) {
        let Some(values) = &self.values else {
            return std::future::pending().await;
        };
        let mut has_succeeded = false;
        loop {
            // What keeps it from the store is in the log.
            let beat = self.beat(values).await;
            self.count.store(beat.unwrap_or(0), Ordering::Relaxed);
            if beat.is_ok() {
                has_succeeded = true;
                let _told = self.tell_streams(values, &streams()).await;
            }
            sleep(if has_succeeded { EVERY } else { AT_FIRST }).await;
        }
    }

    /// Gives how many nodes are there.
    async fn beat(&self, values: &Values) -> Result<usize, ValueError> {
        // All of it is text and numbers.
        let about = serde_json::to_vec(&self.about).map_err(|_| ValueError::TooLarge)?;
        values.beat(self.id, &about).await?;
        let nodes = self.read(values).await?;
        Ok(nodes.iter().filter(|node| node.is_there()).count())
    }

    async fn tell_streams(
        &self,
        values: &Values,
        open: &[(SessionName, u32)],
    ) -> Result<(), ValueError> {
        if !open.is_empty() {
            self.has_streams.store(true, Ordering::Relaxed);
            let open = streams::encode(open);
            return values.tell(&STREAMS, self.id, &open).await;
        }
        if self.has_streams.load(Ordering::Relaxed) {
            values.tell_no_more(&STREAMS, self.id).await?;
            self.has_streams.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes away what this node has written. To be called when it writes no more.
    pub(crate) async fn leave(&self) {
        if let Some(values) = &self.values {
            // Where it stays, it ends by itself, and shows a node that is silent.
            let _left = values.leave(self.id).await;
            let _told = self.tell_streams(values, &[]).await;
        }
    }

    /// All nodes by their names, this one included.
    pub(crate) async fn list(&self) -> Result<Vec<Node>, ValueError> {
        let mut nodes = match &self.values {
            Some(values) => self.read(values).await?,
            None => Vec::new(),
        };
        if !nodes.iter().any(|node| node.is_this) {
            nodes.push(Node {
                id: self.id,
                about: Ok(self.about.clone()),
                seen: self.is_alone().then_some(Duration::ZERO),
                is_this: true,
            });
        }
        nodes.sort_by_cached_key(|node| {
            let name = node.about.as_ref().map(|about| about.name.clone());
            (name.is_err(), name.ok(), node.id.0)
        });
        Ok(nodes)
    }

    /// The open streams of all nodes: those of this one as it has them now, those of others as they
    /// were some seconds ago. `None` where this node is alone. A list that goes on takes those that
    /// were just read.
    pub(crate) async fn streams(
        &self,
        own: impl FnOnce() -> Vec<(SessionName, u32)>,
        goes_on: bool,
    ) -> Option<Arc<Streams>> {
        let values = self.values.as_ref()?;
        let known = self.known_streams().clone();
        if let Some((at, streams)) = known.filter(|_| goes_on)
            && at.elapsed() < STREAMS_KNOWN_FOR
        {
            return Some(streams);
        }
        let streams = Arc::new(self.read_streams(values, &own()).await);
        *self.known_streams() = Some((Clock::stopwatch(), Arc::clone(&streams)));
        Some(streams)
    }

    fn known_streams(&self) -> MutexGuard<'_, Option<(Instant, Arc<Streams>)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_streams(&self, values: &Values, own: &[(SessionName, u32)]) -> Streams {
        let mut all = Streams::default();
        all.add(&self.about.name, own);
        let Ok(mut nodes) = self.read(values).await else {
            all.do_not_know("the other nodes");
            return all;
        };
        nodes.retain(|node| !node.is_this && node.is_there());
        let ids: Vec<_> = nodes.iter().map(|node| node.id).collect();
        let Ok(mut kept) = values.told_by(&STREAMS, &ids).await else {
            all.do_not_know("the other nodes");
            return all;
        };
        for node in &nodes {
            let id = node.id.to_string();
            let name = node.about.as_ref().map_or(&id, |about| &about.name);
            let Some(at) = kept.iter().position(|kept| kept.id == node.id) else {
                continue; // it has none
            };
            let kept = kept.swap_remove(at);
            let is_old = kept.age.is_none_or(|age| age > SILENT_AFTER);
            let open = kept.value.ok().filter(|_| !is_old);
            let open = open.and_then(|value| streams::decode(&value));
            if let Some(open) = &open {
                all.add(name, &open.by_session);
            }
            if open.is_none_or(|open| open.has_more) {
                all.do_not_know(name);
            }
        }
        all
    }

    async fn read(&self, values: &Values) -> Result<Vec<Node>, ValueError> {
        let kept = values.all_nodes().await?;
        let node = |kept: Kept| Node {
            id: kept.id,
            about: kept
                .value
                .and_then(|value| serde_json::from_slice(&value).map_err(|_| ValueError::Damaged)),
            seen: kept.age,
            is_this: kept.id == self.id,
        };
        Ok(kept.into_iter().map(node).collect())
    }
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
