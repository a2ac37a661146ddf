//! Signs, publishes, and has keys take turns: one for the process, whatever is configured.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::cache::Cache;
use super::error::KeysError;
use super::key::{self, Key, NoKey};
use super::ring::Ring;
use super::shared::Sharing;
use crate::clock::Clock;
use crate::nodes::Values;
use crate::pem_file;
use crate::regular_file::{self, Owners};

/// Bytes of a signature in Base64.
const SIGNATURE: usize = 86;

/// After a turn that could not be written down.
const TRY_AGAIN: Duration = Duration::from_hours(1);

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The operator's own, in PEM: the first one signs, the others are only published.
    Credential(PathBuf),
    /// In this file, made and replaced by Vestibule.
    File(PathBuf),
    /// In this process; a restart makes others.
    Memory,
}

impl KeySource {
    /// For `check`, whoever the files belong to: whether there are keys, or can be.
    pub(crate) fn examine(&self) -> Result<(), KeysError> {
        match self {
            Self::Credential(path) => read_credential(path).map(drop),
            Self::File(path) => Ring::read(path).map(drop),
            Self::Memory => Ok(()),
        }
    }

    /// Where they are read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Credential(path) | Self::File(path) => Some(path),
            Self::Memory => None,
        }
    }
}

pub(crate) struct Signer {
    source: KeySource,
    clock: Clock,
    /// Whom all nodes have their keys from; `None` where this node has keys of its own.
    values: Option<Values>,
    sharing: Sharing,
    /// Those that are in use; none until an app wants tokens.
    keys: ArcSwapOption<Keys>,
    /// Those that take turns.
    ring: Mutex<Option<Ring>>,
    /// When the next turn is due, in milliseconds since the epoch.
    due: AtomicU64,
    cache: Cache,
}

struct Keys {
    signing: Arc<Key>,
    /// What is published.
    set: Bytes,
}

impl Signer {
    /// With `values`, all nodes sign with the same keys, unless they are the operator's.
    pub(crate) fn new(source: KeySource, clock: Clock, values: Option<Values>) -> Self {
        let values = values.filter(|_| !matches!(source, KeySource::Credential(_)));
        Self {
            source,
            clock,
            values,
            sharing: Sharing::default(),
            keys: ArcSwapOption::empty(),
            ring: Mutex::default(),
            due: AtomicU64::new(u64::MAX),
            cache: Cache::new(),
        }
    }

    /// Has keys ready, read or made, unless they are already. To be done before anything is signed.
    /// Where nodes share them, a node that has never had any gets them by [`follow`](Self::follow),
    /// and signs nothing until then: apps could not verify it.
    pub(crate) fn open(&self) -> Result<(), KeysError> {
        let mut ring = self.ring();
        self.sharing.want();
        if self.keys.load().is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        let opened = match &self.source {
            KeySource::Credential(path) => {
                regular_file::trust(path, &Owners::own()).map_err(KeysError::Untrusted)?;
                let keys = read_credential(path)?;
                self.keys.store(Some(Arc::new(Keys::of_operator(keys))));
                return Ok(());
            }
            KeySource::File(path) => match Ring::read_trusted(path)? {
                Some(ring) => ring,
                None if self.values.is_some() => return Ok(()),
                None => Ring::make(path, now)?,
            },
            KeySource::Memory => Ring::new(now).map_err(|NoKey| KeysError::NoRandomness)?,
        };
        if self.values.is_none() {
            let due = opened.due(now).as_millis();
            self.due.store(due, Ordering::Relaxed);
        }
        self.keys.store(Some(Arc::new(Keys::of(&opened))));
        *ring = Some(opened);
        Ok(())
    }

    /// The public keys (RFC 7517); `None` where nothing is signed.
    pub(crate) fn published(&self) -> Option<Bytes> {
        self.keys.load().as_ref().map(|keys| keys.set.clone())
    }

    /// Whether there will be keys as soon as the store that has them can be reached.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sharing.is_wanted() && self.keys.load().is_none()
    }

    /// Whether [`turn`](Self::turn) has something to do. Asked often.
    pub(crate) fn is_due(&self) -> bool {
        self.clock.now().as_millis() >= self.due.load(Ordering::Relaxed)
    }

    /// Has the next key sign, once that is written down: no restart brings the old one back. Waits
    /// for the disk.
    pub(crate) fn turn(&self) {
        let mut ring = self.ring();
        let Some(before) = ring.as_ref().filter(|_| self.is_due()) else {
            return;
        };
        let now = self.clock.now();
        let turned = before.turned(now).map_err(|NoKey| KeysError::NoRandomness);
        let turned = turned.and_then(|turned| {
            if let KeySource::File(path) = &self.source {
                turned.write(path)?;
            }
            Ok(turned)
        });
        let due = match turned {
            Ok(turned) => {
                let (key, due) = (turned.current.id(), turned.due(now));
                tracing::info!(key, "the next key signs identity tokens");
                self.keys.store(Some(Arc::new(Keys::of(&turned))));
                *ring = Some(turned);
                due
            }
            Err(error) => {
                tracing::error!(%error, "the key of identity tokens stays: the next one was not written");
                now.plus(TRY_AGAIN)
            }
        };
        self.due.store(due.as_millis(), Ordering::Relaxed);
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &[u8]) -> Option<HeaderValue> {
        let keys = self.keys.load();
        let key = &keys.as_ref()?.signing;
        let claims_length = claims.len().div_ceil(3) * 4;
        let mut token = String::with_capacity(key.prefix().len() + claims_length + 1 + SIGNATURE);
        token.push_str(key.prefix());
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let unsigned = token.len();
        token.push('.');
        let place = self.cache.place(&token);
        if let Some(token) = place.get(&token) {
            return Some(token);
        }
        let signature = key.sign(&token[..unsigned])?;
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let mut token = HeaderValue::try_from(token).ok()?;
        token.set_sensitive(true);
        place.put(&token);
        Some(token)
    }

    /// Signs with these from now on.
    pub(super) fn set(&self, ring: Ring) {
        self.keys.store(Some(Arc::new(Keys::of(&ring))));
        *self.ring() = Some(ring);
    }

    pub(super) fn values(&self) -> Option<&Values> {
        self.values.as_ref()
    }

    pub(super) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    pub(super) fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn of(ring: &Ring) -> Self {
        Self {
            signing: Arc::clone(&ring.current),
            set: key::set(ring.keys()).into(),
        }
    }

    fn of_operator((signing, others): (Key, Vec<Key>)) -> Self {
        let set = key::set(std::iter::once(&signing).chain(&others)).into();
        Self {
            signing: Arc::new(signing),
            set,
        }
    }
}

/// The first key and the others. A group that exists for it may read them, too, as other keys.
fn read_credential(path: &Path) -> Result<(Key, Vec<Key>), KeysError> {
    let cannot = |error| KeysError::Io(path.to_owned(), error);
    let file = regular_file::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(KeysError::TooOpen(path.to_owned(), mode));
    }
    let content = Zeroizing::new(regular_file::read(&file).map_err(cannot)?);
    let unfit = |unfit| KeysError::Credential(path.to_owned(), unfit);
    let keys = pem_file::keys(path, &content).map_err(|it| unfit(Some(it)))?;
    let keys = keys.iter().map(|key| Key::from_der(key.secret_der()));
    let mut keys = keys
        .collect::<Result<Vec<_>, _>>()
        .map_err(|NoKey| unfit(None))?;
    let signing = keys.remove(0); // there is one at least
    Ok((signing, keys))
}

#[cfg(test)]
mod tests;
