//! Authenticators in Redis or Valkey, which several nodes share.
//!
//! Tokens are one hash, sealed, and their last uses another. Each change sets a version that never was
//! before, in the same step: a node that finds another one than it knows looks which tokens there are,
//! and so does one that finds none, after the server was emptied or another one took its place.

mod import;
mod renew;
mod scripts;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Script, Value};
use tokio::sync::{Mutex, mpsc};

use self::import::Import;
use super::{Answer, AuthenticatorStore, Listed, OpenError, ReadTokens, Shared, StoreError};
use crate::auth::api_token::{MAX_PER_USER, MAX_TOKENS, TokenKey, TokenRecord};
use crate::auth::incarnation::UserId;
use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, random};
use crate::redis::{Link, LinkError, Mark};
use crate::telemetry::Seldom;

/// Bytes at the beginning of a value that all tokens of a user have in common.
const TAG: usize = 16;

/// Of a version; the beginning is that of the one before, if there is one.
const VERSION: usize = 24;
const LIFE: usize = 8;

/// Of a value: 32 paths of 1 KiB, and what else limits a token.
const MOST_BYTES: usize = 64 * 1024;

/// Bounds what a node reads. Above the limit on tokens, so that a later version can raise that limit.
const MOST_READ: usize = 2 * MAX_TOKENS;

/// Tokens that are read or written in one step.
const AT_ONCE: usize = 100;

/// What stands in the store for a key: the last use, and what [`scripts::READ`] gives of the token.
struct Stored {
    sealed: Value,
    used: Value,
}

pub(super) struct Redis {
    link: Link,
    names: Names,
    /// What this node had in a file before, until it is in the store.
    import: Mutex<Option<Import>>,
    said_not_durable: Seldom,
    said_too_many: Seldom,
}

/// Of keys: all in one slot.
struct Names {
    tokens: String,
    users: String,
    used: String,
    version: String,
    taken_over: String,
    channel: String,
}

impl Names {
    fn new(prefix: &str) -> Self {
        let name = |what| format!("{prefix}{{tokens}}:{what}");
        Self {
            tokens: name("sealed"),
            users: name("users"),
            used: name("used"),
            version: name("version"),
            taken_over: name("taken-over"),
            channel: name("changed"),
        }
    }
}

impl Redis {
    /// With the tokens of the file that this node kept them in before, if there is one: they are taken
    /// over as soon as the store can be reached.
    pub(super) fn open(
        link: &Link,
        file: Option<PathBuf>,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let import = file.map(Import::read).transpose()?.flatten();
        Ok(Self {
            link: link.clone(),
            names: Names::new(link.prefix()),
            import: Mutex::new(import),
            said_not_durable: Seldom::new(clock.clone()),
            said_too_many: Seldom::new(clock.clone()),
        })
    }

    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let value = self.seal(token)?;
        let (version, names) = (version()?, &self.names);
        let (of_user, in_all) = (MAX_PER_USER.to_string(), MAX_TOKENS.to_string());
        let keys = [&names.tokens, &names.users, &names.version];
        let args = [
            &version[..],
            names.channel.as_bytes(),
            token.key.as_bytes(),
            &value,
            of_user.as_bytes(),
            in_all.as_bytes(),
        ];
        let mark = self.link.mark();
        if self.number(&scripts::INSERT, &keys, &args).await? == 0 {
            return Err(StoreError::TooMany);
        }
        self.wait_for_replicas(mark).await;
        Ok(())
    }

    async fn remove(&self, keys: &[TokenKey]) -> Result<usize, StoreError> {
        let mark = self.link.mark();
        let mut removed = 0;
        for some in keys.chunks(AT_ONCE) {
            let (version, names) = (version()?, &self.names);
            let mut args = vec![&version[..], names.channel.as_bytes()];
            args.extend(some.iter().map(|key| &key.as_bytes()[..]));
            let keys = [&names.tokens, &names.users, &names.used, &names.version];
            removed += self.number(&scripts::REMOVE, &keys, &args).await?;
        }
        self.wait_for_replicas(mark).await;
        Ok(removed)
    }

    /// What stands in the store for each of these keys, [`AT_ONCE`] at most.
    async fn values(&self, keys: &[TokenKey]) -> Result<Vec<Stored>, StoreError> {
        let most = MOST_BYTES.to_string();
        let mut args = vec![most.as_bytes()];
        args.extend(keys.iter().map(|key| &key.as_bytes()[..]));
        let of = [&self.names.tokens, &self.names.used];
        let mut found = values(self.script(&scripts::READ, &of, &args).await?)?.into_iter();
        let stored = keys.iter().map(|_| {
            let (sealed, used) = (found.next()?, found.next()?);
            Some(Stored { sealed, used })
        });
        stored.collect::<Option<_>>().ok_or_else(foreign)
    }

    async fn touch(&self, uses: &[(TokenKey, Timestamp)]) -> Result<(), StoreError> {
        for some in uses.chunks(AT_ONCE) {
            let millis = |(_, at): &(_, Timestamp)| self.time_there(*at).as_millis().to_string();
            let times: Vec<_> = some.iter().map(millis).collect();
            let pairs = some.iter().zip(&times);
            let args = pairs.flat_map(|((key, _), at)| [&key.as_bytes()[..], at.as_bytes()]);
            let keys = [&self.names.tokens, &self.names.used];
            let args: Vec<_> = args.collect();
            self.script(&scripts::TOUCH, &keys, &args).await?;
        }
        Ok(())
    }

    async fn changes(&self, known: Option<&[u8]>) -> Result<Option<Listed>, StoreError> {
        self.take_over().await?;
        let most = MOST_READ.to_string();
        // No version is as short as that.
        let args = [known.unwrap_or(b"?"), most.as_bytes()];
        let keys = [&self.names.tokens, &self.names.version];
        let answer = match self.script(&scripts::CHANGES, &keys, &args).await? {
            Value::Int(0) => return Ok(None),
            Value::Int(_) => {
                if self.said_too_many.is_due() {
                    tracing::error!(
                        "there are too many API tokens in the session store: none can be used"
                    );
                }
                return Err(StoreError::Unavailable);
            }
            answer => values(answer)?,
        };
        let [version, keys] = <[Value; 2]>::try_from(answer).map_err(|_| foreign())?;
        let keys = values(keys)?.into_iter().filter_map(|field| {
            let bytes = <[u8; 32]>::try_from(bytes(field)?).ok()?; // else nobody here has written it
            Some(TokenKey::from_bytes(bytes))
        });
        let (keys, version) = (keys.collect(), bytes(version).ok_or_else(foreign)?);
        Ok(Some(Listed {
            life: version.get(..LIFE).unwrap_or_default().to_vec(),
            version,
            keys,
        }))
    }

    async fn read(&self, keys: &[TokenKey]) -> Result<ReadTokens, StoreError> {
        let mut read = ReadTokens::default();
        for some in keys.chunks(AT_ONCE) {
            for (key, Stored { sealed, used }) in some.iter().zip(self.values(some).await?) {
                match sealed {
                    Value::Int(0) => {} // it was removed a moment ago
                    Value::BulkString(value) => match self.unseal(*key, &value).await {
                        Ok(mut token) => {
                            let used = bytes(used).and_then(|at| millis(&at));
                            token.last_used = used.map(|at| self.time_here(at));
                            read.tokens.push(token);
                        }
                        Err(error) => read.unreadable.push((*key, error)),
                    },
                    _ => read.unreadable.push((*key, "it is too large".to_owned())),
                }
            }
        }
        if let Some((key, error)) = read.unreadable.first() {
            tracing::warn!(
                tokens = read.unreadable.len(), token = %key.short(), error,
                "API tokens in the session store cannot be read: they open nothing, and are left alone"
            );
        }
        Ok(read)
    }

    async fn uses(&self) -> Result<Vec<(TokenKey, Timestamp)>, StoreError> {
        let (keys, most) = ([&self.names.used], MOST_READ.to_string());
        let args = [most.as_bytes()];
        let fields = values(self.script(&scripts::USES, &keys, &args).await?)?;
        let mut fields = fields.into_iter();
        let mut uses = Vec::with_capacity(fields.len() / 2);
        while let (Some(key), Some(at)) = (fields.next(), fields.next()) {
            let key = bytes(key).and_then(|key| key.try_into().ok());
            let at = bytes(at).and_then(|at| millis(&at));
            let at = at.map(|at| self.time_here(at));
            uses.extend(key.map(TokenKey::from_bytes).zip(at));
        }
        Ok(uses)
    }

    async fn number(
        &self,
        script: &Script,
        keys: &[&String],
        args: &[&[u8]],
    ) -> Result<usize, StoreError> {
        match self.script(script, keys, args).await? {
            Value::Int(number) => usize::try_from(number).map_err(|_| foreign()),
            _ => Err(foreign()),
        }
    }

    async fn script(
        &self,
        script: &Script,
        keys: &[&String],
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let answer = self.link.script(script, &keys, args).await;
        answer.map_err(|error| failed(&error))
    }

    /// Where they take too long, a server that takes over may lack what was written.
    async fn wait_for_replicas(&self, since: Mark) {
        let durable = self.link.durable(since, self.names.tokens.as_bytes()).await;
        if !matches!(durable, Ok(true)) && self.said_not_durable.is_due() {
            tracing::warn!(
                "replicas of the session store do not say in time that they have what became of an \
                 API token; see wait_replicas in [session.redis]"
            );
        }
    }
}

impl AuthenticatorStore for Redis {
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(Vec::new()) // a start does not wait for a connection
    }

    fn insert_token(&self, token: Arc<TokenRecord>) -> Answer<'_, ()> {
        Box::pin(async move { self.insert(&token).await })
    }

    fn remove_tokens(&self, keys: Vec<TokenKey>) -> Answer<'_, usize> {
        Box::pin(async move {
            let removed = self.remove(&keys).await;
            removed.map_err(|_| StoreError::NotEverywhere(self.stale_for()))
        })
    }

    fn touch_tokens(&self, uses: Vec<(TokenKey, Timestamp)>) -> Answer<'_, ()> {
        Box::pin(async move { self.touch(&uses).await })
    }

    fn set_users(&self, users: Vec<(TokenKey, UserId)>) -> Answer<'_, ()> {
        Box::pin(async move { self.set_users(&users).await })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

impl Shared for Redis {
    fn changes<'a>(&'a self, known: Option<&'a [u8]>) -> Answer<'a, Option<Listed>> {
        Box::pin(self.changes(known))
    }

    fn read<'a>(&'a self, keys: &'a [TokenKey]) -> Answer<'a, ReadTokens> {
        Box::pin(self.read(keys))
    }

    fn uses(&self) -> Answer<'_, HashMap<TokenKey, Timestamp>> {
        Box::pin(async move { Ok(self.uses().await?.into_iter().collect()) })
    }

    fn wake_ups(&self) -> mpsc::Receiver<()> {
        self.link.wake_ups(&self.names.channel)
    }

    fn stale_for(&self) -> Duration {
        self.link.settings().stale_for
    }
}

fn version() -> Result<[u8; VERSION], StoreError> {
    random().map_err(|NoRandomness| StoreError::Unavailable)
}

/// The link tells the log.
fn failed(error: &LinkError) -> StoreError {
    match error {
        LinkError::Unavailable => StoreError::Away,
        LinkError::Full | LinkError::Refused(_) => StoreError::Unavailable,
    }
}

/// An answer that no Redis or Valkey server gives to our commands.
fn foreign() -> StoreError {
    StoreError::Unavailable
}

fn values(answer: Value) -> Result<Vec<Value>, StoreError> {
    match answer {
        Value::Array(values) => Ok(values),
        _ => Err(foreign()),
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn millis(digits: &[u8]) -> Option<Timestamp> {
    let millis = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Timestamp::from_millis(millis))
}
