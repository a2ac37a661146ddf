//! The nodes that share this store, and which server each of them has told what it knows.
//!
//! A server that takes over from one that has failed may lack ends and logins that had been answered.
//! Each node tells it again of its own ([`again`](super::again)). Until all have, a session that it has
//! may have ended, and one that it has not may be good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ::redis::Value;
use sha2::{Digest, Sha256};

use super::{Shared, bytes, scripts};
use crate::clock::Clock;
use crate::session::store::StoreError;

/// How often each node says that it is there.
const EVERY: Duration = Duration::from_secs(1);

/// A node that has not said so for longer is not waited for: more than sentinels take to name another
/// master.
const KEPT: Duration = Duration::from_mins(5);

/// How long the others are waited for: a node that has died with the server tells it nothing more.
const WAIT: Duration = Duration::from_secs(3);

/// How long what a server has is in doubt, where this node itself cannot tell it anything, as it takes
/// no writes.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// How far a server can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// A session that it has may have ended, and one that it has not may be good.
    Nothing,
    /// What it has not may be good.
    Found,
    All,
}

/// The server that this node has met last.
#[derive(Debug)]
pub(super) struct Met {
    run_id: String,
    at: Instant,
    is_settled: bool,
}

impl Met {
    pub(super) fn none() -> Self {
        Self {
            run_id: String::new(),
            at: Clock::stopwatch(),
            is_settled: false,
        }
    }

    /// Another server, or the same one after it has begun anew.
    pub(super) fn meet(&mut self, run_id: &str) {
        if self.run_id != run_id {
            *self = Self {
                run_id: run_id.to_owned(),
                ..Self::none()
            };
        }
    }

    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Of the server of this run id.
    pub(super) fn trust(&self, run_id: &str) -> Trust {
        if self.run_id.is_empty() {
            return Trust::Found; // nothing has failed yet, as far as is known
        }
        if self.run_id != run_id {
            return Trust::Nothing;
        }
        match self.is_settled {
            true => Trust::All,
            false if self.at.elapsed() >= IN_DOUBT => Trust::Found,
            false => Trust::Nothing,
        }
    }
}

type NodeId = [u8; 8];

/// The others, and what each has told which server.
#[derive(Default)]
pub(super) struct Peers {
    known: HashMap<NodeId, ServerId>,
    said: Option<Instant>,
    waits_until: Option<Instant>,
}

/// Of a run id, which may name many servers of a cluster: as long as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ServerId([u8; 8]);

impl ServerId {
    fn of(run_id: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(run_id).into();
        Self(std::array::from_fn(|at| digest[at]))
    }
}

impl Peers {
    /// This node has told this server what it knows: the others are waited for.
    pub(super) fn wait(&mut self) {
        self.said = None;
        self.waits_until = Some(Clock::stopwatch() + WAIT);
    }

    /// Whether the others are still waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits_until.is_some()
    }

    /// Says that this node is there and has told the server of this run id what it knows, and gives
    /// whether all others have. To be called often.
    pub(super) async fn attend(&mut self, shared: &Shared, run_id: &str) -> bool {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= EVERY);
        if is_due || self.is_waiting() {
            match shared.attend(ServerId::of(run_id)).await {
                Ok(there) => {
                    self.said = Some(Clock::stopwatch());
                    self.hear(there);
                }
                Err(error) => tracing::debug!(%error, "no other node can hear of this one"),
            }
        }
        let Some(until) = self.waits_until else {
            return true;
        };
        let server = ServerId::of(run_id);
        let have_all = self.said.is_some() && self.known.values().all(|told| *told == server);
        if have_all || Clock::stopwatch() >= until {
            self.waits_until = None;
        }
        self.waits_until.is_none()
    }

    /// A server that has lost its list knows of nobody: those that were known before are waited for.
    fn hear(&mut self, there: HashMap<NodeId, ServerId>) {
        if self.is_waiting() {
            self.known.extend(there);
        } else {
            self.known = there;
        }
    }
}

impl Shared {
    /// Gives the others that have said so lately.
    async fn attend(&self, server: ServerId) -> Result<HashMap<NodeId, ServerId>, StoreError> {
        let key = self.names.nodes();
        let kept = KEPT.as_millis().to_string();
        let channel = self.names.channel();
        let args: [&[u8]; 4] = [&self.node, &server.0, kept.as_bytes(), channel.as_bytes()];
        let script = &scripts::ATTEND;
        let answer = self.link.script(script, &[key.as_bytes()], &args).await;
        let Value::Array(parts) = answer.map_err(|error| super::failed(&error))? else {
            return Err(StoreError::Unavailable);
        };
        let (parts, _) = parts.as_chunks::<2>();
        let pairs = parts.iter().filter_map(|[node, told]| {
            let node: NodeId = bytes(node)?.try_into().ok()?;
            let told = ServerId(bytes(told)?.try_into().ok()?);
            (node != self.node).then_some((node, told))
        });
        Ok(pairs.collect())
    }

    /// Nobody is to wait for this node any more.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        let mut leave = ::redis::cmd("HDEL");
        leave.arg(self.names.nodes()).arg(&self.node[..]);
        self.query(&leave).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_18_a_server_is_believed_when_it_was_told_again() {
        let mut met = Met::none();
        assert_eq!(met.trust("a"), Trust::Found);
        met.meet("a");
        assert_eq!(met.trust("a"), Trust::Nothing);
        met.settle();
        assert_eq!(
            [met.trust("a"), met.trust("b")],
            [Trust::All, Trust::Nothing]
        );
        met.meet("a");
        assert_eq!(met.trust("a"), Trust::All);
        met.meet("b");
        assert_eq!([met.trust("a"), met.trust("b")], [Trust::Nothing; 2]);
        // One that takes no writes is never told.
        met.at = met.at.checked_sub(IN_DOUBT).unwrap();
        assert_eq!(met.trust("b"), Trust::Found);
    }

    #[test]
    fn rel_18_nodes_that_a_server_has_lost_are_waited_for() {
        let (here, before) = (ServerId::of("here"), ServerId::of("before"));
        let mut peers = Peers::default();
        peers.hear(HashMap::from([([1; 8], before), ([2; 8], before)]));
        peers.wait();
        peers.hear(HashMap::from([([2; 8], here), ([3; 8], here)]));
        let known = HashMap::from([([1; 8], before), ([2; 8], here), ([3; 8], here)]);
        assert_eq!(peers.known, known);
        peers.waits_until = None;
        peers.hear(HashMap::from([([3; 8], here)]));
        assert_eq!(peers.known, HashMap::from([([3; 8], here)]));
    }
}
