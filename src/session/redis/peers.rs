//! The nodes that share this store, and which server each of them has told what it knows.
//!
//! A server that takes over from one that has failed may lack ends and logins that had been answered.
//! Each node tells it again of its own ([`again`](super::again)). Until all have, a session that it has
//! may have ended, and one that it has not may be good.
//!
//! This list is apart from that of `vestibule node list`, which is for people: it belongs to the store of
//! the sessions, is renewed more often, and knows nothing of a node but this.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
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

/// How many times `timeout` the others are waited for, since the server takes writes, and within which
/// bounds: a node that has died with the one before tells it nothing more.
const WAIT: u32 = 3;
const SHORTEST_WAIT: Duration = Duration::from_secs(3);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long what a server has is in doubt at least, where nothing can be told it, as it takes no writes.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// How far a server can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// A session that it has may have ended, and one that it has not may be good.
    Nothing,
    /// A session that it has is good; one that it has not may be good, too.
    Found,
    /// A session that it has not has ended.
    All,
}

/// The server that this node has met last.
#[derive(Debug)]
pub(super) struct Met {
    run_id: String,
    at: Instant,
    is_settled: bool,
    /// How long what it has is in doubt, as long as it is not settled.
    in_doubt: Duration,
}

impl Met {
    /// Sessions that this node knows go on for `stale_for`; only after it, it needs those of a server
    /// that nobody can tell anything.
    pub(super) fn none(stale_for: Duration) -> Self {
        Self {
            run_id: String::new(),
            at: Clock::stopwatch(),
            is_settled: false,
            in_doubt: stale_for.max(IN_DOUBT),
        }
    }

    /// Another server, or the same one after it has begun anew.
    pub(super) fn meet(&mut self, run_id: &str) {
        if self.run_id != run_id {
            *self = Self {
                run_id: run_id.to_owned(),
                ..Self::none(self.in_doubt)
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
        if self.is_settled {
            Trust::All
        } else if self.at.elapsed() >= self.in_doubt {
            Trust::Found
        } else {
            Trust::Nothing
        }
    }
}

type NodeId = [u8; 8];

/// The others, and what each has told which server.
#[derive(Default)]
pub(super) struct Peers {
    known: HashMap<NodeId, ServerId>,
    said: Option<Instant>,
    waiting: Waiting,
}

/// For the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    #[default]
    No,
    /// For a server that takes the word of this node first: until then, none can tell it anything.
    Begins,
    Until(Instant),
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
        self.waiting = Waiting::Begins;
    }

    /// Whether the others are still waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting != Waiting::No
    }

    /// Says that this node is there and has told the server of this run id what it knows, and gives
    /// whether all others have. To be called often.
    pub(super) async fn attend(&mut self, shared: &Shared, run_id: &str) -> bool {
        let server = ServerId::of(run_id);
        let is_due = self.said.is_none_or(|said| said.elapsed() >= EVERY);
        if is_due || self.is_waiting() {
            match shared.attend(server).await {
                Ok(there) => {
                    let wait = shared.limit(WAIT).clamp(SHORTEST_WAIT, LONGEST_WAIT);
                    self.hear(there, server, wait);
                }
                Err(error) => tracing::debug!(%error, "no other node can hear of this one"),
            }
        }
        !self.is_waiting()
    }

    /// A server that has lost its list knows of nobody: those that were known before are waited for.
    fn hear(&mut self, there: HashMap<NodeId, ServerId>, server: ServerId, wait: Duration) {
        let now = Clock::stopwatch();
        self.said = Some(now);
        let until = match self.waiting {
            Waiting::No => {
                self.known = there;
                return;
            }
            Waiting::Begins => now + wait,
            Waiting::Until(until) => until,
        };
        self.known.extend(there);
        let have_all = self.known.values().all(|told| *told == server);
        self.waiting = if have_all || now >= until {
            Waiting::No
        } else {
            Waiting::Until(until)
        };
    }
}

impl Shared {
    /// Gives the others that have said so lately.
    async fn attend(&self, server: ServerId) -> Result<HashMap<NodeId, ServerId>, StoreError> {
        if self.has_left.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable);
        }
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
        self.has_left.store(true, Ordering::SeqCst);
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
        let stale_for = Duration::from_secs(30);
        let mut met = Met::none(stale_for);
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
        met.at = met.at.checked_sub(stale_for / 2).unwrap();
        assert_eq!(met.trust("b"), Trust::Nothing);
        met.at = met.at.checked_sub(stale_for / 2).unwrap();
        assert_eq!(met.trust("b"), Trust::Found);
    }

    #[test]
    fn rel_18_nodes_that_a_server_has_lost_are_waited_for() {
        let (here, before) = (ServerId::of("here"), ServerId::of("before"));
        let wait = Duration::from_secs(3);
        let mut peers = Peers::default();
        peers.hear(
            HashMap::from([([1; 8], before), ([2; 8], before)]),
            before,
            wait,
        );
        peers.wait();
        peers.hear(HashMap::from([([2; 8], here), ([3; 8], here)]), here, wait);
        let known = HashMap::from([([1; 8], before), ([2; 8], here), ([3; 8], here)]);
        assert_eq!(peers.known, known);
        let Waiting::Until(until) = peers.waiting else {
            panic!("{:?}", peers.waiting);
        };
        peers.hear(HashMap::default(), here, wait);
        assert_eq!(peers.waiting, Waiting::Until(until), "as long as before");
        peers.waiting = Waiting::Until(Clock::stopwatch());
        peers.hear(HashMap::default(), here, wait);
        assert!(!peers.is_waiting(), "it does not come");
        peers.hear(HashMap::from([([3; 8], here)]), here, wait);
        assert_eq!(peers.known, HashMap::from([([3; 8], here)]));
    }
}
