//! Users in Redis or Valkey: one hash of sealed records, and a stream that says which have changed.

mod begin;
mod scripts;

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ::redis::{Script, Value};
use tokio::sync::mpsc;

use super::record::{Field, Record};
use super::{Answer, Changes, Found, Memory, Put, Records, Stamp, StoreFault, ToPut};
use crate::clock::Clock;
use crate::random::NoRandomness;
use crate::redis::{Link, LinkError, Mark, Unreadable};
use crate::telemetry::Seldom;

/// What a sealed user is.
pub(super) const KIND: &str = "local-user";

/// Bytes at the beginning of a value that no other value has: its version and its salt.
const STAMP: usize = 17;

/// Bytes of a value: a hash, and what groups there are.
const MOST_BYTES: usize = 16 * 1024;

/// Users, and those who were removed.
const MOST: usize = 50_000;

/// Bounds what a node reads. Above the limit on users, so that a later version can raise that limit.
const MOST_READ: usize = 2 * MOST;

/// Changes that a node may have missed and still finds one by one.
const SOME: usize = 256;

/// Changes that the stream keeps.
const KEPT: usize = 1024;

pub(super) struct Redis {
    link: Link,
    names: Names,
    /// Where this process brings the first users; made when it is needed.
    coming: OnceLock<String>,
    /// The number of the last attempt to bring them.
    attempt: AtomicU64,
    said: Seldom,
    said_not_durable: Seldom,
    said_too_many: Seldom,
}

/// Of keys: all in one slot.
struct Names {
    sealed: String,
    /// The beginning of names of users that are about to come, which goes on with a number of the process.
    coming: String,
    changes: String,
    channel: String,
}

impl Names {
    fn new(prefix: &str) -> Self {
        let name = |what| format!("{prefix}{{users}}:{what}");
        Self {
            sealed: name("sealed"),
            coming: name("coming:"),
            changes: name("changes"),
            channel: name("changed"),
        }
    }
}

impl Redis {
    pub(super) fn new(link: &Link, clock: &Clock) -> Self {
        Self {
            link: link.clone(),
            names: Names::new(link.prefix()),
            coming: OnceLock::new(),
            attempt: AtomicU64::new(0),
            said: Seldom::new(clock.clone()),
            said_not_durable: Seldom::new(clock.clone()),
            said_too_many: Seldom::new(clock.clone()),
        }
    }

    /// After another server has taken the place of the one that was asked, all of them.
    async fn changes(&self, seen: Option<&[u8]>) -> Result<Option<Changes>, StoreFault> {
        let server = self.link.run_id() + "\n";
        // How many there were, and the last change.
        let since = seen.and_then(|seen| seen.strip_prefix(server.as_bytes()));
        let of_other_server = since.is_none();
        let mut since = since.unwrap_or_default().splitn(2, |&byte| byte == b' ');
        let (known, since) = (since.next().unwrap_or_default(), since.next());
        let most = MOST_READ.to_string();
        let args = [since.unwrap_or_default(), known, most.as_bytes()];
        let answer = match self.script(&scripts::CHANGES, &args).await? {
            Value::Int(0) => return Ok(None),
            answer => values(answer).ok_or_else(|| self.foreign())?,
        };
        if matches!(&answer[..], [Value::BulkString(word)] if word == scripts::TOO_MANY.as_bytes())
        {
            if self.said_too_many.is_due() {
                tracing::error!(
                    "there are too many users in the session store: nobody can sign in"
                );
            }
            return Err(StoreFault::Unavailable);
        }
        let answer = <[Value; 4]>::try_from(answer).map_err(|_| self.foreign())?;
        let [newest, Value::Int(there), are_all, found] = answer else {
            return Err(self.foreign());
        };
        let mut found = values(found).ok_or_else(|| self.foreign())?.into_iter();
        let mut fields = Vec::with_capacity(found.len() / 2);
        while let (Some(field), Some(stamp)) = (found.next(), found.next()) {
            let field = bytes(field).and_then(|field| <[u8; 32]>::try_from(field).ok()); // else nobody here has written it
            let stamp = bytes(stamp).ok_or_else(|| self.foreign())?;
            fields.extend(field.map(|field| (Field::from_bytes(field), stamp)));
        }
        let newest = bytes(newest).ok_or_else(|| self.foreign())?;
        Ok(Some(Changes {
            seen: [format!("{server}{there} ").as_bytes(), &newest].concat(),
            of_other_server,
            are_all: are_all == Value::Int(1),
            fields,
            count: usize::try_from(there).unwrap_or_default(),
        }))
    }

    async fn read(&self, fields: &[Field]) -> Result<Vec<(Field, Option<Found>)>, StoreFault> {
        let most = MOST_BYTES.to_string();
        let mut args = vec![most.as_bytes()];
        args.extend(fields.iter().map(|field| &field.as_bytes()[..]));
        let answers = values(self.script(&scripts::READ, &args).await?);
        let answers = answers.ok_or_else(|| self.foreign())?;
        if answers.len() != fields.len() {
            return Err(self.foreign());
        }
        let found = |(field, value): (&Field, Value)| {
            let found = match value {
                Value::Int(_) => None,
                value => {
                    let value = bytes(value).ok_or_else(|| self.foreign())?;
                    Some(self.found(field, &value))
                }
            };
            Ok((*field, found))
        };
        fields.iter().zip(answers).map(found).collect()
    }

    /// Of a value that is too large, only its beginning is there.
    fn found(&self, field: &Field, value: &[u8]) -> Found {
        let (record, is_of_old_key) = match self.unseal(field, value) {
            Ok((record, is_of_first)) => (Ok(record), !is_of_first),
            Err(error) => (Err(error), false),
        };
        Found {
            stamp: stamp(value),
            record,
            is_of_old_key,
        }
    }

    fn unseal(&self, field: &Field, value: &[u8]) -> Result<(Record, bool), String> {
        let keys = self.link.keys();
        let opened = keys.open_noting_age(KIND, &self.place(field), value);
        let (row, is_of_first) = opened.map_err(|error| match error {
            Unreadable::Damaged => "it is damaged, or another key has sealed it".to_owned(),
            Unreadable::Version(version) => {
                format!("a later version of vestibule sealed it (format {version})")
            }
        })?;
        let record = Record::decode(field, &row).map_err(|error| error.to_string())?;
        Ok((record, is_of_first))
    }

    fn seal(&self, field: &Field, record: &Record) -> Result<Vec<u8>, StoreFault> {
        let sealed = self
            .link
            .keys()
            .seal(KIND, &self.place(field), &record.encode());
        let sealed = sealed.map_err(|NoRandomness| StoreFault::Unavailable)?;
        if sealed.len() > MOST_BYTES {
            return Err(StoreFault::TooLarge);
        }
        Ok(sealed)
    }

    /// What a seal is bound to: no user can be put in the place of another.
    fn place(&self, field: &Field) -> Vec<u8> {
        [self.names.sealed.as_bytes(), b"\0", field.as_bytes()].concat()
    }

    async fn put(&self, records: &[ToPut], memory: Memory) -> Result<Vec<Put>, StoreFault> {
        let (script, most) = match memory {
            Memory::WhatIsFree => (&scripts::PUT, MOST),
            // They were there before.
            Memory::AllOfIt => (&scripts::PUT_IN_ANY_CASE, MOST_READ),
        };
        let mut values = Vec::with_capacity(records.len());
        for (field, _, record) in records {
            values.push(match self.seal(field, record) {
                Ok(value) => Some(value),
                Err(StoreFault::TooLarge) => None,
                Err(fault) => return Err(fault),
            });
        }
        let most = most.to_string();
        let mut args = vec![self.names.channel.as_bytes(), most.as_bytes()];
        for ((field, there, _), value) in records.iter().zip(&values) {
            if let Some(value) = value {
                args.extend([&field.as_bytes()[..], there, value]);
            }
        }
        let mark = self.link.mark();
        let put = self::values(self.script(script, &args).await?);
        let mut put = put.ok_or_else(|| self.foreign())?.into_iter();
        self.wait_for_replicas(mark).await;
        let put = values.into_iter().map(|value| match value {
            None => Ok(Put::TooLarge),
            Some(value) => match put.next() {
                Some(Value::Int(0)) => Ok(Put::Overtaken),
                Some(Value::Int(1)) => Ok(Put::Done(stamp(&value))),
                Some(Value::Int(2)) => Ok(Put::TooMany),
                _ => Err(self.foreign()),
            },
        });
        put.collect()
    }

    async fn script(&self, script: &Script, args: &[&[u8]]) -> Result<Value, StoreFault> {
        let keys = [self.names.sealed.as_bytes(), self.names.changes.as_bytes()];
        let answer = self.link.script(script, &keys, args).await;
        answer.map_err(|error| self.failed(&error))
    }

    /// Where they take too long, a server that takes over may lack what was written. This node puts it
    /// there again.
    async fn wait_for_replicas(&self, since: Mark) {
        let durable = self.link.durable(since, self.names.sealed.as_bytes()).await;
        if !matches!(durable, Ok(true)) && self.said_not_durable.is_due() {
            tracing::warn!(
                "replicas of the session store do not say in time that they have what became of a \
                 user; see wait_replicas in [session.redis]"
            );
        }
    }

    /// For an answer that no Redis or Valkey server gives to our commands.
    fn foreign(&self) -> StoreFault {
        if self.said.is_due() {
            tracing::error!(
                "the session store gives an answer for the users that no Redis or Valkey server gives; \
                 see what answers at the address in [session.redis]"
            );
        }
        StoreFault::Unavailable
    }

    fn failed(&self, error: &LinkError) -> StoreFault {
        match error {
            LinkError::Unavailable => return StoreFault::Away, // which the link tells the log
            LinkError::Full => return StoreFault::Full,
            LinkError::Refused(_) => {}
        }
        if self.said.is_due() {
            tracing::error!(
                %error,
                "users in the session store cannot be read or written; vestibule check says what is \
                 missing"
            );
        }
        StoreFault::Unavailable
    }
}

impl Records for Redis {
    fn changes<'a>(&'a self, seen: Option<&'a [u8]>) -> Answer<'a, Option<Changes>> {
        Box::pin(self.changes(seen))
    }

    fn read<'a>(&'a self, fields: &'a [Field]) -> Answer<'a, Vec<(Field, Option<Found>)>> {
        Box::pin(self.read(fields))
    }

    fn put<'a>(&'a self, records: &'a [ToPut], memory: Memory) -> Answer<'a, Vec<Put>> {
        Box::pin(self.put(records, memory))
    }

    fn begin_with<'a>(&'a self, records: &'a [(Field, Record)]) -> Answer<'a, bool> {
        Box::pin(self.begin_with(records))
    }

    fn removal(&self, fields: &[Field]) -> String {
        let fields = fields.iter().map(|field| &field.as_bytes()[..]);
        let names = [self.names.sealed.as_bytes()].into_iter().chain(fields);
        let names: Vec<_> = names.map(quoted).collect();
        format!("redis-cli --quoted-input HDEL {}", names.join(" "))
    }

    fn wake_ups(&self) -> mpsc::Receiver<()> {
        self.link.wake_ups(&self.names.channel)
    }

    fn timeout(&self) -> Duration {
        self.link.settings().timeout
    }

    fn stale_for(&self) -> Duration {
        self.link.settings().stale_for
    }
}

/// For a shell, and then for `redis-cli --quoted-input`.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'{' | b'}' | b'-' | b'_' | b'.' => {
                text.push(char::from(*byte));
            }
            byte => {
                // Writing to a String never fails.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    format!("'\"{text}\"'")
}

fn stamp(value: &[u8]) -> Stamp {
    value[..value.len().min(STAMP)].to_vec()
}

fn values(answer: Value) -> Option<Vec<Value>> {
    match answer {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
