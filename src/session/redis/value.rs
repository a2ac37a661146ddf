//! What Redis keeps of a session: the last access and the rest of the key in the open, where scripts
//! compare them, and the record sealed.
//!
//! Nothing in the open is believed further than an idle timeout goes: which session a record is of
//! is bound into its seal, and the end of its lifetime is within.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::compact::{self, PHRASES};
use super::epochs::MOST_EPOCH;
use super::keys::{Names, Short, tail};
use crate::clock::Timestamp;
use crate::principal::AuthContext;
use crate::random::NoRandomness;
use crate::redis::{self, SealKeys};
use crate::session::codec;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::storage::row;

/// Digits of the last access, in milliseconds.
pub(super) const ACCESS: usize = 15;

/// Where the sealed record begins.
pub(super) const SEALED: usize = ACCESS + tail::BYTES;

/// Of a sealed record, what no other one begins with: a byte for the version and the salt.
pub(super) const STAMP: usize = 17;

const SESSION: &str = "session";
const OTHER_ID: &str = "session id";

/// The epochs that a session began in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    pub(super) user: u64,
    pub(super) all: u64,
}

/// What is kept of one session.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) epochs: Epochs,
    /// Tells this state of it from every other.
    pub(super) stamp: [u8; STAMP],
}

/// Why a value is no session of this store.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is of another session whose key begins alike, or of no session.
    Foreign,
    /// It was not sealed here, for this session.
    Damaged,
    /// A later version of this program wrote it: it is a session, but not for this node.
    Newer,
    Row(row::Unreadable),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it is no session, or another one"),
            Self::Damaged => f.write_str(
                "it is damaged, sealed with a key that is not in `session.redis.key`, or copied \
                 from another one",
            ),
            Self::Newer => f.write_str("a later version of vestibule wrote it"),
            Self::Row(error) => error.fmt(f),
        }
    }
}

impl Unreadable {
    pub(super) fn is_newer(&self) -> bool {
        matches!(self, Self::Newer | Self::Row(row::Unreadable::Version(_)))
    }
}

/// Seals and opens records, and has their times go by the clock of the store.
pub(super) struct Values<'a> {
    pub(super) keys: &'a SealKeys,
    pub(super) names: &'a Names,
    /// Milliseconds that the store's clock is ahead of this node's.
    pub(super) ahead: i64,
}

impl Values<'_> {
    /// The whole value of a record.
    pub(super) fn encode(&self, record: &Record, epochs: Epochs) -> Result<Vec<u8>, NoRandomness> {
        let mut value = self.access(record.last_accessed).into_bytes();
        value.extend_from_slice(&tail::of(&record.key));
        value.extend_from_slice(&self.seal(record, epochs)?);
        Ok(value)
    }

    /// What follows the last access and the rest of the key.
    pub(super) fn seal(&self, record: &Record, epochs: Epochs) -> Result<Vec<u8>, NoRandomness> {
        let mut plain = vec![PHRASES];
        for epoch in [epochs.user, epochs.all] {
            let bytes = epoch.to_be_bytes();
            let zeros = (epoch.leading_zeros() / 8) as usize;
            plain.push(u8::try_from(bytes[zeros..].len()).expect("eight at most"));
            plain.extend_from_slice(&bytes[zeros..]);
        }
        let row = codec::encode(&Self::shifted(record, self.ahead));
        plain.extend_from_slice(&compact::pack(&row));
        self.keys.seal(SESSION, &self.name(&record.key), &plain)
    }

    pub(super) fn access(&self, at: Timestamp) -> String {
        format!("{:0ACCESS$}", shift(at, self.ahead).as_millis())
    }

    /// The session that is kept under this name, whatever its key.
    pub(super) fn decode_short(&self, short: Short, value: &[u8]) -> Result<Entry, Unreadable> {
        let tail = value
            .get(ACCESS..SEALED)
            .and_then(|tail| tail.try_into().ok());
        let key = short.with(tail.ok_or(Unreadable::Foreign)?);
        self.decode(&key, value)
    }

    pub(super) fn decode(&self, key: &SessionKey, value: &[u8]) -> Result<Entry, Unreadable> {
        let (Some(open), Some(sealed)) = (value.get(..SEALED), value.get(SEALED..)) else {
            return Err(Unreadable::Foreign);
        };
        let (access, rest) = open.split_at(ACCESS);
        if rest != tail::of(key) {
            return Err(Unreadable::Foreign);
        }
        let access = std::str::from_utf8(access).ok();
        let access = access.and_then(|access| access.parse().ok());
        let access = Timestamp::from_millis(access.ok_or(Unreadable::Foreign)?);
        let opened = self.keys.open(SESSION, &self.name(key), sealed);
        let plain = opened.map_err(|error| match error {
            redis::Unreadable::Version(_) => Unreadable::Newer,
            redis::Unreadable::Damaged => Unreadable::Damaged,
        })?;
        let (&phrases, mut rest) = plain.split_first().ok_or(Unreadable::Damaged)?;
        if phrases != PHRASES {
            return Err(Unreadable::Newer);
        }
        let mut epoch = || take_epoch(&mut rest).ok_or(Unreadable::Damaged);
        let epochs = Epochs {
            user: epoch()?,
            all: epoch()?,
        };
        let record = codec::decode(*key, &compact::unpack(rest)).map_err(Unreadable::Row)?;
        let mut record = Self::shifted(&record, -self.ahead);
        record.last_accessed = record.last_accessed.max(shift(access, -self.ahead));
        let stamp = sealed.get(..STAMP).and_then(|stamp| stamp.try_into().ok());
        Ok(Entry {
            record,
            epochs,
            stamp: stamp.ok_or(Unreadable::Damaged)?,
        })
    }

    /// The value of another id: the key of its session.
    pub(super) fn encode_id(
        &self,
        id: &SessionKey,
        session: &SessionKey,
    ) -> Result<Vec<u8>, NoRandomness> {
        self.keys.seal(OTHER_ID, &self.name(id), session.as_bytes())
    }

    pub(super) fn decode_id(
        &self,
        id: &SessionKey,
        value: &[u8],
    ) -> Result<SessionKey, Unreadable> {
        let opened = self.keys.open(OTHER_ID, &self.name(id), value);
        let plain = opened.map_err(|error| match error {
            redis::Unreadable::Version(_) => Unreadable::Newer,
            redis::Unreadable::Damaged => Unreadable::Damaged,
        })?;
        let key = plain.as_slice().try_into();
        key.map(SessionKey::from_bytes)
            .map_err(|_| Unreadable::Damaged)
    }

    /// What the seal binds: no value opens under the name of another one.
    fn name(&self, key: &SessionKey) -> Vec<u8> {
        let mut name = self.names.record(Short::of(key)).into_bytes();
        name.extend_from_slice(key.as_bytes());
        name
    }

    fn shifted(record: &Record, by: i64) -> Record {
        let mut record = record.clone();
        if by != 0 {
            record.created = shift(record.created, by);
            record.last_accessed = shift(record.last_accessed, by);
            record.expires = shift(record.expires, by);
            let (methods, at) = (record.context.methods().clone(), record.context.at());
            record.context = Arc::new(AuthContext::new(methods, shift(at, by)));
        }
        record
    }
}

fn take_epoch(rest: &mut &[u8]) -> Option<u64> {
    let (&length, others) = rest.split_first()?;
    let (bytes, others) = others.split_at_checked(length.into())?;
    let mut epoch = [0; 8];
    epoch
        .get_mut(8_usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    *rest = others;
    Some(u64::from_be_bytes(epoch)).filter(|epoch| *epoch <= MOST_EPOCH)
}

/// A time by another clock.
pub(super) fn shift(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add_signed(by))
}

/// How long Redis keeps a record: until it is garbage in any case. Whether it is over says the record.
pub(super) fn kept_for(record: &Record, now: Timestamp) -> Duration {
    const MARGIN: Duration = Duration::from_hours(1);
    record.expires.since(now).saturating_add(MARGIN)
}
