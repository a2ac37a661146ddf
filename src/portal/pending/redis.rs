//! The same in Redis or Valkey.
//!
//! All of one kind has one hash tag, since a login hands things from owner to owner in one step. An
//! owner is a set of names; each name leads to a sealed text, and to a sealed body. Each ends by
//! itself. Every node bounds what it adds; nobody else fills the store.

mod scripts;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ::redis::{Cmd, Script, Value, cmd};
use zeroize::Zeroizing;

use super::{HandOver, Item, Listed, Name, NewItem, OF_ONE_OWNER, Put, Take, Token};
use crate::clock::Timestamp;
use crate::nodes::Nodes;
use crate::random::NoRandomness;
use crate::redis::{Link, LinkError};
use crate::session::StoreError;

/// So many are asked for at once.
const CHUNK: usize = 256;

pub(in crate::portal) struct PendingStore {
    link: Link,
    kind: &'static str,
    kept_for: Duration,
}

type Answer<T> = Result<T, StoreError>;

impl PendingStore {
    /// For things of this kind, which are kept for so long at most; `None` where this node is alone.
    pub(in crate::portal) fn of(
        nodes: &Nodes,
        kind: &'static str,
        kept_for: Duration,
    ) -> Option<Self> {
        Some(Self {
            link: nodes.link()?.clone(),
            kind,
            kept_for,
        })
    }

    /// For how long somebody waits for several answers in a row.
    pub(in crate::portal) fn patience(&self) -> Duration {
        self.link.settings().timeout * 2
    }

    pub(in crate::portal) fn is_connected(&self) -> bool {
        self.link.generation().borrow().connected
    }

    /// What waits for `owner`, without the bodies. What cannot be read is left out, and left alone.
    pub(in crate::portal) async fn list(&self, owner: Name) -> Answer<Listed> {
        let set = self.key('o', owner);
        let Value::Array(answer) = self.script(&scripts::LIST, &[&set], &[]).await? else {
            return Err(StoreError::Unavailable);
        };
        let [Value::Int(now), Value::Array(members)] = answer.as_slice() else {
            return Err(StoreError::Unavailable);
        };
        let now = Timestamp::from_millis(u64::try_from(*now).unwrap_or_default());
        let names = members.iter().filter_map(|member| match member {
            Value::BulkString(member) => Name::parse(member),
            _ => None,
        });
        // There are no more, unless somebody else has written there.
        let names: Vec<_> = names.take(2 * OF_ONE_OWNER).collect();
        let texts = self.texts(&names).await?;
        let is_over = |(_, text): &(&Name, &Value)| **text == Value::Nil;
        let over: Vec<_> = names.iter().zip(&texts).filter(is_over).collect();
        if !over.is_empty() {
            self.clear(&set, over.into_iter().map(|(name, _)| *name))
                .await?;
        }
        let items = names.into_iter().zip(texts).filter_map(|(name, text)| {
            let Value::BulkString(sealed) = text else {
                return None;
            };
            let keys = self.link.keys();
            let text = keys.open(self.kind, &self.place(owner, name), &sealed);
            Some(Item {
                name,
                text: text.ok()?,
            })
        });
        Ok(Listed {
            now,
            items: items.collect(),
        })
    }

    async fn texts(&self, names: &[Name]) -> Answer<Vec<Value>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("MGET");
        for name in names {
            get.arg(self.key('m', *name));
        }
        match self.query(&get).await? {
            Value::Array(texts) if texts.len() == names.len() => Ok(texts),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// Takes names out of a set that lead nowhere any more.
    async fn clear(&self, set: &str, over: impl Iterator<Item = Name>) -> Answer<()> {
        let (mut keys, mut args) = (vec![set.to_owned()], Vec::new());
        for name in over {
            keys.push(self.key('m', name));
            args.push(name.to_string());
        }
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        self.script(&scripts::CLEAR, &keys, &args).await.map(drop)
    }

    /// Keeps something for `owner`, for as long as `left`. Where it is already, it stays as it is.
    pub(in crate::portal) async fn put(
        &self,
        owner: Name,
        item: &NewItem<'_>,
        token: &Token,
        left: Duration,
    ) -> Answer<Put> {
        let name = item.name;
        let text = self.sealed(&self.place(owner, name), item.text)?;
        let body_key = self.key('b', name);
        let body = item.body.map(|body| self.sealed(body_key.as_bytes(), body));
        let body = body.transpose()?.unwrap_or_default();
        let (set, meta, mark) = (
            self.key('o', owner),
            self.key('m', name),
            self.key('t', name),
        );
        let mut keys = vec![set, meta, body_key, mark];
        let member = name.to_string();
        let (left, kept_for) = (millis(left), millis(self.kept_for));
        let most = OF_ONE_OWNER.to_string();
        let mut args: Vec<&[u8]> = vec![member.as_bytes(), token, &text, &body];
        args.extend([left.as_bytes(), kept_for.as_bytes(), most.as_bytes()]);
        let replaced: Vec<_> = item.replaced.iter().map(Name::to_string).collect();
        for (name, member) in item.replaced.iter().zip(&replaced) {
            keys.extend([self.key('m', *name), self.key('b', *name)]);
            args.push(member.as_bytes());
        }
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        match self.script(&scripts::PUT, &keys, &args).await? {
            Value::Int(1) => Ok(Put::Kept),
            Value::Int(0) => Ok(Put::Gone),
            Value::Int(2) => Ok(Put::NoRoom),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// The body that was kept with something; `None` if it is not there, or cannot be read.
    pub(in crate::portal) async fn body(&self, name: Name) -> Answer<Option<Zeroizing<Vec<u8>>>> {
        let key = self.key('b', name);
        Ok(match self.query(cmd("GET").arg(&key)).await? {
            Value::BulkString(sealed) => {
                let keys = self.link.keys();
                keys.open(self.kind, key.as_bytes(), &sealed).ok()
            }
            _ => None,
        })
    }

    /// Takes something out; the same try may ask again. `had` is the token of what this node has
    /// besides, and may have sent: even if nothing is there, that is not kept any more, should it
    /// still arrive. So `token` has to be another one.
    pub(in crate::portal) async fn take(
        &self,
        owner: Name,
        name: Name,
        token: &Token,
        had: Option<&Token>,
    ) -> Answer<Take> {
        let kinds = [('o', owner), ('m', name), ('b', name), ('t', name)];
        let keys = kinds.map(|(kind, name)| self.key(kind, name));
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let (member, kept_for) = (name.to_string(), millis(self.kept_for));
        let had: &[u8] = had.map_or(b"", |had| had);
        let args = [member.as_bytes(), token, kept_for.as_bytes(), had];
        match self.script(&scripts::TAKE, &keys, &args).await? {
            Value::Int(1) => Ok(Take::Taken),
            Value::Int(0) => Ok(Take::Absent),
            Value::Int(2) => Ok(Take::Elsewhere),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// Hands something to another owner, who is told `text` of it.
    pub(in crate::portal) async fn hand_over(
        &self,
        (from, to): (Name, Name),
        (name, text): (Name, &[u8]),
        left: Duration,
    ) -> Answer<HandOver> {
        let text = self.sealed(&self.place(to, name), text)?;
        let keys = [('o', from), ('o', to), ('m', name)];
        let keys = keys.map(|(kind, name)| self.key(kind, name));
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let (member, left, kept_for) = (name.to_string(), millis(left), millis(self.kept_for));
        let most = OF_ONE_OWNER.to_string();
        let args = [member.as_bytes(), &text, left.as_bytes()];
        let args = [&args[..], &[kept_for.as_bytes(), most.as_bytes()]].concat();
        match self.script(&scripts::HAND_OVER, &keys, &args).await? {
            Value::Int(1) => Ok(HandOver::Done),
            Value::Int(0) => Ok(HandOver::Absent),
            Value::Int(2) => Ok(HandOver::NoRoom),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// Which of these are there still.
    pub(in crate::portal) async fn are_there(&self, names: &[Name]) -> Answer<Vec<bool>> {
        let mut are_there = Vec::with_capacity(names.len());
        for names in names.chunks(CHUNK) {
            let keys: Vec<_> = names.iter().map(|name| self.key('m', *name)).collect();
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            match self.script(&scripts::ARE_THERE, &keys, &[]).await? {
                Value::Array(found) if found.len() == names.len() => {
                    are_there.extend(found.iter().map(|it| *it == Value::Int(1)));
                }
                _ => return Err(StoreError::Unavailable),
            }
        }
        Ok(are_there)
    }

    /// `o` is a set of names, `m` what is said, `b` a body, `t` the mark of whoever has taken it.
    fn key(&self, what: char, name: Name) -> String {
        format!("{}{{{}}}:{what}:{name}", self.link.prefix(), self.kind)
    }

    /// What is said of something is good for one owner.
    fn place(&self, owner: Name, name: Name) -> Vec<u8> {
        format!("{}\0{owner}", self.key('m', name)).into_bytes()
    }

    fn sealed(&self, place: &[u8], plain: &[u8]) -> Answer<Vec<u8>> {
        let sealed = self.link.keys().seal(self.kind, place, plain);
        // Nothing else needs random bytes here, and without them nothing can be kept.
        sealed.map_err(|NoRandomness| StoreError::Unavailable)
    }

    async fn query(&self, command: &Cmd) -> Answer<Value> {
        let answer = self.link.query(command).await;
        answer.map_err(|error| failed(&error))
    }

    async fn script(&self, script: &Script, keys: &[&str], args: &[&[u8]]) -> Answer<Value> {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let answer = self.link.script(script, &keys, args).await;
        answer.map_err(|error| failed(&error))
    }
}

/// The link tells the log.
fn failed(error: &LinkError) -> StoreError {
    match error {
        LinkError::Full => StoreError::Full,
        LinkError::Refused(_) => StoreError::Refused,
        LinkError::Unavailable => StoreError::Unavailable,
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
