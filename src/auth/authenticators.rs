//! What users have to prove themselves by besides passwords: kept beside the sessions, for longer.
//!
//! So far these are API tokens. A store decides nothing: it hands out what it has, expired or not.

mod codec;
mod disk;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::disk::Disk;
use self::memory::Memory;
use super::api_token::{TokenKey, TokenRecord};
use super::incarnation::UserId;
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::regular_file::Distrust;
use crate::storage::Fault;

/// The name of the file, in the folder of the sessions.
pub(crate) const FILE: &str = "authenticators.redb";

/// Why something was not kept, or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "a node that is alone has its store")
)]
pub(crate) enum StoreError {
    /// The store that nodes share cannot be reached.
    Away,
    /// It has ended in this process. Others could not be told yet, and may go on with it for so long.
    NotEverywhere(Duration),
    /// The token is larger than one may be that nodes share.
    TooLarge,
    /// The limit for this user, or the total limit, is reached.
    TooMany,
    /// The store could not be read or written; the details are in the log.
    Unavailable,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("the session store cannot be reached"),
            Self::NotEverywhere(stale_for) => write!(
                f,
                "the session store cannot be written; other nodes may go on with it until this one \
                 can tell them, or for up to {} seconds (`stale_for` in [session.redis]) where they \
                 cannot read the store either",
                stale_for.as_secs()
            ),
            Self::TooLarge => f.write_str("it is limited in too many words for the session store"),
            Self::TooMany => f.write_str("there are too many API tokens"),
            Self::Unavailable => f.write_str("the API tokens cannot be read or written"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why authenticators cannot be kept beside the sessions.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file does not hold what was written into it. What it would say of revoked tokens is lost,
    /// so nothing of it is used.
    Damaged(PathBuf, String),
    /// Another process has the file open.
    InUse(PathBuf),
    Io(PathBuf, io::Error),
    /// Another user owns the file, and so could have written anything into it.
    Owner(PathBuf, u32),
    /// Others than its owner may read or write it (SEC-79).
    TooOpen(PathBuf, u32),
    /// Another user could put another file in its place (SEC-98).
    Untrusted(Distrust),
}

impl OpenError {
    fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Damaged(damage) => Self::Damaged(path, damage),
            Fault::InUse => Self::InUse(path),
            Fault::Io(error) => Self::Io(path, error),
            Fault::Owner(owner) => Self::Owner(path, owner),
            Fault::TooOpen(mode) => Self::TooOpen(path, mode),
            Fault::Untrusted(distrust) => Self::Untrusted(distrust),
        }
    }

    /// Whether somebody has to fix something before another try makes sense.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Damaged(..) | Self::Owner(..) | Self::TooOpen(..) | Self::Untrusted(_) => true,
            Self::InUse(_) | Self::Io(..) => false,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(path, damage) => write!(
                f,
                "the file {path} with the API tokens is damaged ({damage}); put a copy of it back, \
                 or move it away with `mv {path} {path}.damaged` and start again: nobody has a \
                 token then, and each has to be made anew",
                path = path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "another process has the API tokens in {} open; stop it, or give this one a folder \
                 of its own with `path` in [session]",
                path.display()
            ),
            Self::Io(path, error) => write!(
                f,
                "cannot open the file {} with the API tokens: {error}",
                path.display()
            ),
            Self::Owner(path, owner) => write!(
                f,
                "the file {path} with the API tokens belongs to another user ({owner}); do `chown` \
                 to the user that runs vestibule",
                path = path.display()
            ),
            Self::TooOpen(path, mode) => write!(
                f,
                "others may open the file {path} with the API tokens (mode {mode:04o}); do \
                 `chmod 600 {path}`",
                path = path.display()
            ),
            Self::Untrusted(distrust) => write!(f, "the file with the API tokens: {distrust}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Damaged(..)
            | Self::InUse(_)
            | Self::Owner(..)
            | Self::TooOpen(..)
            | Self::Untrusted(_) => None,
        }
    }
}

/// A store's answer, which may have to wait for a disk.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps authenticators by key. Each call is atomic.
pub(crate) trait AuthenticatorStore: Send + Sync {
    /// Every token that can be read, in no order. Rows of a later version are left alone (REL-19).
    /// Waits for the disk: for the start.
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// When this answers, the token outlives the process, as far as tokens here do. A store that
    /// nodes share holds the limits.
    fn insert_token(&self, token: Arc<TokenRecord>) -> Answer<'_, ()>;

    /// Gives how many there were; when this answers, they never come back.
    fn remove_tokens(&self, keys: Vec<TokenKey>) -> Answer<'_, usize>;

    /// Keeps when tokens that are there were last used, unless there was a later use.
    fn touch_tokens(&self, uses: Vec<(TokenKey, Timestamp)>) -> Answer<'_, ()>;

    /// Writes down whose tokens are that are there and do not say so.
    fn set_users(&self, users: Vec<(TokenKey, UserId)>) -> Answer<'_, ()>;

    /// Gives the store back.
    fn close(&self) -> Answer<'_, ()>;

    /// Where other nodes make and remove tokens, too: those are to be followed, and
    /// [`tokens`](Self::tokens) gives none.
    fn shared(&self) -> Option<&dyn Shared> {
        None
    }
}

/// What a store says of the tokens that any node may make or remove.
pub(crate) trait Shared: Send + Sync {
    /// Which tokens there are; `None` if it is still the `known` version.
    fn changes<'a>(&'a self, known: Option<&'a [u8]>) -> Answer<'a, Option<Listed>>;

    /// The tokens of these keys that are there.
    fn read<'a>(&'a self, keys: &'a [TokenKey]) -> Answer<'a, ReadTokens>;

    /// When tokens were last used, as far as nodes have written it down.
    fn uses(&self) -> Answer<'_, HashMap<TokenKey, Timestamp>>;

    /// Whenever there is something new, and perhaps more often or not at all.
    fn wake_ups(&self) -> mpsc::Receiver<()>;

    /// For how long a node goes on with what it knows while it cannot read the store.
    fn stale_for(&self) -> Duration;
}

/// Which tokens there are at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Another one after each change.
    pub(crate) version: Vec<u8>,
    /// Another one when the store was emptied since; empty where nothing was ever kept.
    pub(crate) life: Vec<u8>,
    pub(crate) keys: Vec<TokenKey>,
}

/// What was found of some keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadTokens {
    pub(crate) tokens: Vec<TokenRecord>,
    /// Damaged, sealed by another key, or of a later version; with the cause.
    pub(crate) unreadable: Vec<(TokenKey, String)>,
}

/// In the store that nodes share, if there is one; else in this file, or without one in memory. What a
/// node had in the file before it shared them is taken over.
pub(crate) fn open(
    file: Option<&Path>,
    nodes: &Nodes,
    clock: &Clock,
) -> Result<Arc<dyn AuthenticatorStore>, OpenError> {
    #[cfg(feature = "redis")]
    if let Some(link) = nodes.link() {
        let store = redis::Redis::open(link, file.map(Path::to_owned), clock)?;
        return Ok(Arc::new(store));
    }
    #[cfg(not(feature = "redis"))]
    let (_alone, _) = (nodes, clock);
    Ok(match file {
        Some(file) => Arc::new(Disk::open(file)?),
        None => Arc::new(Memory::default()),
    })
}

#[cfg(test)]
mod conformance;
