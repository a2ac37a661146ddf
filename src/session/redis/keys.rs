//! What the keys in Redis are called.
//!
//! Sixteen shards, by the first hex digit of what is looked up: all keys of a shard have its digit
//! for a hash tag, and so are in one slot of a cluster. A session is named there by the first 64
//! bits of its key; the other bits are beside it, and one without them is another session. Names of
//! 11 characters, and indexes that are sets of integers, take a third of the memory that whole keys
//! would.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::session::id::SessionKey;
use crate::session::user_key::UserKey;

pub(super) const SHARDS: u8 = 16;

/// All that one hash tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shard(u8);

impl Shard {
    /// Where the epoch of all sessions is.
    pub(super) const OF_ALL: Self = Self(0);

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    fn of(first: u8) -> Self {
        Self(first >> 4)
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{:x}}}", self.0)
    }
}

/// The beginning of a session key, by which it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Short([u8; Short::BYTES]);

impl Short {
    pub(super) const BYTES: usize = 8;

    pub(super) fn of(key: &SessionKey) -> Self {
        Self(std::array::from_fn(|at| key.as_bytes()[at]))
    }

    /// As it stands in an index, which holds integers.
    pub(super) fn to_member(self) -> String {
        i64::from_be_bytes(self.0).to_string()
    }

    pub(super) fn from_member(member: &[u8]) -> Option<Self> {
        let member: i64 = std::str::from_utf8(member).ok()?.parse().ok()?;
        Some(Self(member.to_be_bytes()))
    }

    /// The whole key, with what is kept beside the record.
    pub(super) fn with(self, tail: [u8; tail::BYTES]) -> SessionKey {
        let mut bytes = [0; 32];
        bytes[..Self::BYTES].copy_from_slice(&self.0);
        bytes[Self::BYTES..].copy_from_slice(&tail);
        SessionKey::from_bytes(bytes)
    }

    pub(super) fn shard(self) -> Shard {
        Shard::of(self.0[0])
    }

    pub(super) fn bucket(self) -> Bucket {
        Bucket(self.shard(), self.0[0] << 4 | self.0[1] >> 4)
    }
}

/// The bits of a session key that its name in Redis has not.
pub(super) mod tail {
    use super::{SessionKey, Short};

    pub(in super::super) const BYTES: usize = 32 - Short::BYTES;

    pub(in super::super) fn of(key: &SessionKey) -> [u8; BYTES] {
        std::array::from_fn(|at| key.as_bytes()[Short::BYTES + at])
    }
}

/// A part of the index of a shard. There are 256, so that with two million sessions each is still
/// small enough for Redis to keep as an array of integers (`set-max-intset-entries`, 512).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(pub(super) Shard, pub(super) u8);

/// Names with the prefix of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Of the record of a session.
    pub(super) fn record(&self, short: Short) -> String {
        self.of_short("s", short)
    }

    /// Of the session that another id opens.
    pub(super) fn other_id(&self, id: &SessionKey) -> String {
        self.of_short("i", Short::of(id))
    }

    /// Of what is in a part of the index.
    pub(super) fn bucket(&self, Bucket(shard, number): Bucket) -> String {
        format!("{}{shard}:b:{number:02x}", self.prefix)
    }

    /// Of the parts of the index that there are.
    pub(super) fn buckets(&self, shard: Shard) -> String {
        self.of_shard(shard, "buckets")
    }

    /// Of the number of sessions in the index.
    pub(super) fn count(&self, shard: Shard) -> String {
        self.of_shard(shard, "count")
    }

    /// Of the stream of ends.
    pub(super) fn ends(&self, shard: Shard) -> String {
        self.of_shard(shard, "ends")
    }

    /// Of the epochs of users, and of all sessions.
    pub(super) fn epochs(&self, shard: Shard) -> String {
        self.of_shard(shard, "epochs")
    }

    /// Of the sessions of a user.
    pub(super) fn user(&self, user: UserKey) -> String {
        format!("{}{}:u:{user}", self.prefix, Self::shard_of(user))
    }

    /// Of those among them that are about to be taken out.
    pub(super) fn leaving(&self, user: UserKey) -> String {
        format!("{}{}:l:{user}", self.prefix, Self::shard_of(user))
    }

    pub(super) fn shard_of(user: UserKey) -> Shard {
        Shard::of(user.as_bytes()[0])
    }

    /// Of the sessions that are about to begin.
    pub(super) fn beginning(&self) -> String {
        self.of_shard(Shard::OF_ALL, "beginning")
    }

    /// Of the nodes that share the store.
    pub(super) fn nodes(&self) -> String {
        self.of_shard(Shard::OF_ALL, "nodes")
    }

    /// What is published there wakes the readers of the streams.
    pub(super) fn channel(&self) -> String {
        format!("{}ended", self.prefix)
    }

    fn of_shard(&self, shard: Shard, what: &str) -> String {
        format!("{}{shard}:{what}", self.prefix)
    }

    fn of_short(&self, what: &str, short: Short) -> String {
        let shard = short.shard();
        let text = URL_SAFE_NO_PAD.encode(short.0);
        format!("{}{shard}:{what}:{text}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::id::SessionId;

    #[test]
    fn indexes_are_in_the_order_of_keys() {
        let mut keys: Vec<_> = (0..1000)
            .map(|_| SessionId::generate().unwrap().key())
            .collect();
        keys.sort_unstable();
        let shorts: Vec<_> = keys.iter().map(Short::of).collect();
        assert!(shorts.is_sorted() && shorts.is_sorted_by_key(|short| short.bucket()));
        for (key, short) in keys.iter().zip(shorts) {
            let read = Short::from_member(short.to_member().as_bytes()).unwrap();
            assert_eq!(read.with(tail::of(key)), *key);
        }
        for wrong in ["", "a", "1.5", "99999999999999999999", "\u{661}"] {
            assert_eq!(Short::from_member(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn all_of_a_session_is_in_one_slot() {
        let names = Names::new("vestibule:");
        let key = SessionKey::parse(&"a7".repeat(32)).unwrap();
        let short = Short::of(&key);
        assert_eq!(names.record(short), "vestibule:{a}:s:p6enp6enp6c");
        assert_eq!(names.bucket(short.bucket()), "vestibule:{a}:b:7a");
        assert_eq!(names.ends(short.shard()), "vestibule:{a}:ends");
    }
}
