//! What nodes say of themselves, in the store: a set of their ids, and a value of each, under one hash
//! tag.

use std::time::Duration;

use ::redis::{Value, cmd, pipe};

use super::{KEPT_FOR, Kept, MOST, NodeId};
use crate::nodes::{Kind, ValueError, Values};

impl Values {
    /// Keeps the value of a node for an hour, in place of what there is.
    pub(super) async fn set_of_node(
        &self,
        kind: &Kind,
        id: NodeId,
        value: &[u8],
    ) -> Result<(), ValueError> {
        let (all, key) = (self.node_ids(kind), self.node_key(kind, id));
        let sealed = self.seal(kind, &key, value)?;
        let kept_for = KEPT_FOR.as_millis().to_string();
        let mut beat = pipe();
        beat.cmd("SET")
            .arg(key)
            .arg(sealed)
            .arg("PX")
            .arg(&kept_for);
        beat.cmd("SADD").arg(&all).arg(id.to_string());
        beat.cmd("PEXPIRE").arg(&all).arg(&kept_for);
        self.pipeline(&beat).await.map(drop)
    }

    pub(super) async fn remove_node(&self, kind: &Kind, id: NodeId) -> Result<(), ValueError> {
        let mut leave = pipe();
        leave.cmd("DEL").arg(self.node_key(kind, id));
        let all = self.node_ids(kind);
        leave.cmd("SREM").arg(all).arg(id.to_string());
        self.pipeline(&leave).await.map(drop)
    }

    /// The values of all nodes, of [`MOST`] at most. Ids whose value has ended are taken out of the
    /// set; a node that comes to life again puts its own back.
    pub(super) async fn of_nodes(&self, kind: &Kind) -> Result<Vec<Kept>, ValueError> {
        let all = self.node_ids(kind);
        // As many as there are, unless there are more: it is the server that bounds its answer.
        let some = self.query(cmd("SRANDMEMBER").arg(&all).arg(MOST)).await?;
        let Value::Array(some) = some else {
            return Err(ValueError::Damaged);
        };
        // Others may be those of a later version.
        let ids: Vec<_> = some.iter().filter_map(id).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| self.node_key(kind, *id)).collect();
        let mut look = pipe();
        look.cmd("MGET").arg(&keys);
        for key in &keys {
            look.cmd("PTTL").arg(key);
        }
        let mut answers = self.pipeline(&look).await?.into_iter();
        let Some(Value::Array(values)) = answers.next() else {
            return Err(ValueError::Damaged);
        };
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (((id, key), value), left) in ids.iter().zip(&keys).zip(values).zip(answers) {
            let value = match value {
                Value::BulkString(sealed) => self.open_sealed(kind, key, &sealed),
                Value::Nil if left == Value::Int(ABSENT) => {
                    gone.push(id.to_string());
                    continue;
                }
                _ => Err(ValueError::Damaged), // something else than a string
            };
            kept.push(Kept {
                id: *id,
                value,
                age: age(&left),
            });
        }
        if !gone.is_empty() {
            self.query(cmd("SREM").arg(&all).arg(gone)).await?;
        }
        Ok(kept)
    }

    fn node_ids(&self, kind: &Kind) -> String {
        format!("{}{{nodes}}:{}s", self.link().prefix(), kind.name)
    }

    fn node_key(&self, kind: &Kind, id: NodeId) -> String {
        format!("{}{{nodes}}:{}:{id}", self.link().prefix(), kind.name)
    }
}

/// What PTTL says of a key that is not there.
const ABSENT: i64 = -2;

fn id(member: &Value) -> Option<NodeId> {
    match member {
        Value::BulkString(text) => NodeId::parse(text),
        _ => None,
    }
}

/// By how long a value is still kept; `None` for one that somebody else keeps for ever.
fn age(left: &Value) -> Option<Duration> {
    let Value::Int(left) = left else { return None };
    let left = Duration::from_millis(u64::try_from(*left).ok()?);
    Some(KEPT_FOR.saturating_sub(left))
}
