//! What nodes say of themselves, in the store: a set of their ids, and values of each, under one hash
//! tag.

use std::time::Duration;

use ::redis::{Value, cmd, pipe};

use super::{Kept, MOST, NODE, NodeId, Told};
use crate::nodes::{ValueError, Values};

/// Values that are read at a time: an answer that takes too long would cost the connection, and with
/// it what others wait for.
const AT_ONCE: usize = 16;

impl Values {
    /// Has the others know of a node.
    pub(super) async fn beat(&self, id: NodeId, value: &[u8]) -> Result<(), ValueError> {
        self.tell(&NODE, id, value).await?;
        let all = self.node_ids();
        let mut name = pipe();
        name.cmd("SADD").arg(&all).arg(id.to_string());
        let kept_for = NODE.kept_for.as_millis().to_string();
        name.cmd("PEXPIRE").arg(&all).arg(kept_for);
        self.pipeline(&name).await.map(drop)
    }

    pub(super) async fn leave(&self, id: NodeId) -> Result<(), ValueError> {
        self.tell_no_more(&NODE, id).await?;
        let all = self.node_ids();
        let left = self.query(cmd("SREM").arg(all).arg(id.to_string())).await;
        left.map(drop)
    }

    /// Keeps the value of a node, in place of what there is.
    pub(super) async fn tell(
        &self,
        told: &Told,
        id: NodeId,
        value: &[u8],
    ) -> Result<(), ValueError> {
        let key = self.node_key(told, id);
        let sealed = self.seal(&told.kind, &key, value)?;
        let kept_for = told.kept_for.as_millis().to_string();
        let mut set = cmd("SET");
        set.arg(key).arg(sealed).arg("PX").arg(kept_for);
        self.query(&set).await.map(drop)
    }

    pub(super) async fn tell_no_more(&self, told: &Told, id: NodeId) -> Result<(), ValueError> {
        let key = self.node_key(told, id);
        self.query(cmd("DEL").arg(key)).await.map(drop)
    }

    /// What all nodes say of themselves, [`MOST`] of them at most. Ids whose value has ended are taken
    /// out of the set; a node that comes to life again puts its own back.
    pub(super) async fn all_nodes(&self) -> Result<Vec<Kept>, ValueError> {
        let all = self.node_ids();
        // As many as there are, unless there are more: it is the server that bounds its answer.
        let some = self.query(cmd("SRANDMEMBER").arg(&all).arg(MOST)).await?;
        let Value::Array(some) = some else {
            return Err(ValueError::Damaged);
        };
        // Others may be those of a later version.
        let ids: Vec<_> = some.iter().filter_map(id).collect();
        let kept = self.told_by(&NODE, &ids).await?;
        let is_gone = |id: &&NodeId| !kept.iter().any(|kept| kept.id == **id);
        let gone = ids.iter().filter(is_gone).map(NodeId::to_string);
        let gone: Vec<_> = gone.collect();
        if !gone.is_empty() {
            self.query(cmd("SREM").arg(&all).arg(gone)).await?;
        }
        Ok(kept)
    }

    /// The values of these nodes, some at a time.
    pub(super) async fn told_by(
        &self,
        told: &Told,
        ids: &[NodeId],
    ) -> Result<Vec<Kept>, ValueError> {
        let mut kept = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            let keys: Vec<_> = ids.iter().map(|id| self.node_key(told, *id)).collect();
            let mut look = pipe();
            look.cmd("MGET").arg(&keys);
            for key in &keys {
                look.cmd("PTTL").arg(key);
            }
            let mut answers = self.pipeline(&look).await?.into_iter();
            let Some(Value::Array(values)) = answers.next() else {
                return Err(ValueError::Damaged);
            };
            for (((id, key), value), left) in ids.iter().zip(&keys).zip(values).zip(answers) {
                let value = match value {
                    Value::BulkString(sealed) => self.open_sealed(&told.kind, key, &sealed),
                    Value::Nil if left == Value::Int(ABSENT) => continue,
                    _ => Err(ValueError::Damaged), // something else than a string
                };
                kept.push(Kept {
                    id: *id,
                    value,
                    age: age(told, &left),
                });
            }
        }
        Ok(kept)
    }

    fn node_ids(&self) -> String {
        format!("{}{{nodes}}:all", self.link().prefix())
    }

    fn node_key(&self, told: &Told, id: NodeId) -> String {
        format!("{}{{nodes}}:{}:{id}", self.link().prefix(), told.kind.name)
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
fn age(told: &Told, left: &Value) -> Option<Duration> {
    let Value::Int(left) = left else { return None };
    let left = Duration::from_millis(u64::try_from(*left).ok()?);
    Some(told.kept_for.saturating_sub(left))
}
