//! Small values that one node keeps and any other reads: sealed, each with an end, found by a name.
//!
//! A value stands at `PREFIXv:KIND:NAME`, where the name is a hash: who reads the keys of the store
//! learns none of the codes and ids that values are kept under. It is sealed for its kind and its
//! place, and begins with the version of its kind: what a later Vestibule has written is told apart
//! from what is damaged, and both from what is not there.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Script, Value, cmd};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Clock, FileError, Kind, Link, Settings, ValueError};
use crate::random::NoRandomness;
use crate::redis::{LinkError, Unreadable};
use crate::telemetry::Seldom;

/// Key: of a value. Arguments: what was there, the new value, milliseconds to keep it. Gives 0 where
/// something else is there.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local there = redis.pcall('GET', KEYS[1])
        if type(there) ~= 'string' then there = '' end
        if there ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1",
    )
});

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Values {
    link: Link,
    said_not_durable: Arc<Seldom>,
}

type Read = Option<Zeroizing<Vec<u8>>>;

impl Values {
    pub(super) fn open(settings: &Arc<Settings>, clock: &Clock) -> Result<Option<Self>, FileError> {
        Link::open(settings, clock).map(|link| Some(Self::new(link, clock)))
    }

    fn new(link: Link, clock: &Clock) -> Self {
        Self {
            link,
            said_not_durable: Arc::new(Seldom::new(clock.clone())),
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Keeps `value` for as long as `kept_for`, in place of what there is.
    pub(crate) async fn put(
        &self,
        kind: &Kind,
        name: &[u8],
        value: &[u8],
        kept_for: Duration,
    ) -> Result<(), ValueError> {
        self.set(kind, name, value, kept_for, false).await.map(drop)
    }

    /// The same unless there is something: of two at once, one puts its value, and is told `true`.
    pub(crate) async fn put_if_absent(
        &self,
        kind: &Kind,
        name: &[u8],
        value: &[u8],
        kept_for: Duration,
    ) -> Result<bool, ValueError> {
        self.set(kind, name, value, kept_for, true).await
    }

    pub(super) async fn get(&self, kind: &Kind, name: &[u8]) -> Result<Read, ValueError> {
        self.read(cmd("GET"), kind, name).await
    }

    /// What is there, as it stands in the store, for [`opened`](Self::opened) and [`replace`](Self::replace).
    pub(crate) async fn sealed(
        &self,
        kind: &Kind,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, ValueError> {
        match self.query(cmd("GET").arg(self.key(kind, name))).await? {
            Value::Nil => Ok(None),
            Value::BulkString(sealed) => Ok(Some(sealed)),
            _ => Err(ValueError::Damaged),
        }
    }

    pub(crate) fn opened(
        &self,
        kind: &Kind,
        name: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ValueError> {
        self.open_sealed(kind, &self.key(kind, name), sealed)
    }

    /// Keeps `value` in place of what was there, which is empty for something that was no value; gives
    /// whether that was still there.
    pub(crate) async fn replace(
        &self,
        kind: &Kind,
        name: &[u8],
        there: &[u8],
        value: &[u8],
        kept_for: Duration,
    ) -> Result<bool, ValueError> {
        let key = self.key(kind, name);
        let sealed = self.seal(kind, &key, value)?;
        let millis = u64::try_from(kept_for.as_millis()).unwrap_or(u64::MAX);
        let millis = millis.max(1).to_string();
        let args: [&[u8]; 3] = [there, &sealed, millis.as_bytes()];
        let answer = self.link.script(&REPLACE, &[key.as_bytes()], &args).await;
        Ok(answer.map_err(failed)? == Value::Int(1))
    }

    /// Takes a value out: of two at once, one gets it, and nobody does before as many replicas as
    /// `wait_replicas` asks for know that it is gone, so that a server that takes over does not give it
    /// once more. Where they do not, it is gone all the same. One that is damaged is gone, too; one of a
    /// later version stays.
    pub(crate) async fn take(&self, kind: &Kind, name: &[u8]) -> Result<Read, ValueError> {
        match self.get(kind, name).await {
            Err(error @ (ValueError::Newer | ValueError::Unavailable)) => return Err(error),
            Ok(None) => return Ok(None),
            Ok(Some(_)) | Err(_) => {}
        }
        let mark = self.link.mark();
        let taken = self.read(cmd("GETDEL"), kind, name).await;
        if !matches!(taken, Ok(Some(_))) {
            return taken;
        }
        let key = self.key(kind, name);
        let durable = self.link.durable(mark, key.as_bytes()).await;
        if !matches!(durable, Ok(true)) {
            if self.said_not_durable.is_due() {
                tracing::warn!(
                    "replicas of the session store do not say in time that a value was taken out, so \
                     nobody gets it; see wait_replicas in [session.redis]"
                );
            }
            return Err(ValueError::Unavailable);
        }
        taken
    }

    /// Gives whether there was one.
    pub(crate) async fn remove(&self, kind: &Kind, name: &[u8]) -> Result<bool, ValueError> {
        let key = self.key(kind, name);
        let removed = self.query(cmd("DEL").arg(key)).await?;
        Ok(removed == Value::Int(1))
    }

    async fn set(
        &self,
        kind: &Kind,
        name: &[u8],
        value: &[u8],
        kept_for: Duration,
        if_absent: bool,
    ) -> Result<bool, ValueError> {
        let key = self.key(kind, name);
        let sealed = self.seal(kind, &key, value)?;
        let millis = u64::try_from(kept_for.as_millis()).unwrap_or(u64::MAX);
        let mut set = cmd("SET");
        set.arg(key).arg(sealed).arg("PX").arg(millis.max(1));
        if if_absent {
            set.arg("NX");
        }
        Ok(self.query(&set).await? != Value::Nil)
    }

    async fn read(&self, mut how: Cmd, kind: &Kind, name: &[u8]) -> Result<Read, ValueError> {
        let key = self.key(kind, name);
        match self.query(how.arg(&key)).await? {
            Value::Nil => Ok(None),
            Value::BulkString(sealed) => self.open_sealed(kind, &key, &sealed).map(Some),
            _ => Err(ValueError::Damaged),
        }
    }

    /// A value to be kept at this key of the store.
    pub(super) fn seal(&self, kind: &Kind, key: &str, value: &[u8]) -> Result<Vec<u8>, ValueError> {
        if value.len() > kind.most {
            return Err(ValueError::TooLarge);
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(1 + value.len()));
        plain.push(kind.version);
        plain.extend_from_slice(value);
        let sealed = self.link.keys().seal(kind.name, key.as_bytes(), &plain);
        sealed.map_err(|NoRandomness| ValueError::NoRandomness)
    }

    pub(super) fn open_sealed(
        &self,
        kind: &Kind,
        key: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ValueError> {
        let plain = self.link.keys().open(kind.name, key.as_bytes(), sealed);
        let plain = plain.map_err(|error| match error {
            Unreadable::Version(_) => ValueError::Newer,
            Unreadable::Damaged => ValueError::Damaged,
        })?;
        let (&version, value) = plain.split_first().ok_or(ValueError::Damaged)?;
        if version > kind.version {
            Err(ValueError::Newer)
        } else if version < kind.version {
            Err(ValueError::Damaged) // no version so far has another one before it
        } else if value.len() > kind.most {
            Err(ValueError::TooLarge)
        } else {
            Ok(Zeroizing::new(value.to_vec()))
        }
    }

    /// Where a value stands. The name is hashed: it may be a secret.
    fn key(&self, kind: &Kind, name: &[u8]) -> String {
        let name = URL_SAFE_NO_PAD.encode(Sha256::digest(name));
        format!("{}v:{}:{name}", self.link.prefix(), kind.name)
    }

    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, ValueError> {
        let answer = self.link.query(command).await;
        answer.map_err(failed)
    }

    pub(super) async fn pipeline(&self, commands: &Pipeline) -> Result<Vec<Value>, ValueError> {
        let answers = self.link.pipeline(commands).await;
        answers.map_err(failed)
    }
}

/// The link tells the log.
fn failed(error: LinkError) -> ValueError {
    match error {
        LinkError::Full => ValueError::Full,
        LinkError::Refused(error) if error.starts_with("WRONGTYPE") => ValueError::Damaged,
        LinkError::Refused(_) | LinkError::Unavailable => ValueError::Unavailable,
    }
}

#[cfg(test)]
mod tests;
