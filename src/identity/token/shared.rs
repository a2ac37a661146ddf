//! Keys that all nodes sign with.
//!
//! They are in the store that nodes share, sealed. Every thirty days the node that gets the lease has
//! the next key sign, which all have published for as long. Each node has a copy in its own
//! file: while the store is away, it goes on with the keys that it has, after a restart, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::error::KeysError;
use super::key::NoKey;
use super::ring::{Ring, TURN};
use super::signer::{KeySource, Signer};
use crate::clock::Clock;
use crate::nodes::turns::{self, Turns};
use crate::nodes::{Kind, ValueError};
use crate::random::NoRandomness;

/// How often the keys in the store are read again.
const AGAIN: Duration = Duration::from_secs(30);

/// The same until they were read for the first time.
const AT_FIRST: Duration = Duration::from_millis(100);

/// So many times, and it is said that the store is not there.
const SAID_AFTER: usize = 50;

/// What is known of the keys of all nodes.
#[derive(Default)]
pub(super) struct Sharing {
    /// An app wants tokens. A reload may bring one.
    is_wanted: AtomicBool,
    notify: Notify,
    /// Those that this node has are those of the store.
    has_read: AtomicBool,
}

impl Sharing {
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    async fn wait(&self) {
        while !self.is_wanted() {
            self.notify.notified().await;
        }
    }

    fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }
}

/// How the keys take turns.
struct Signing<'a> {
    clock: &'a Clock,
    /// From this node's file: as good as new ones where the store has none, and apps know them.
    own: Option<&'a Ring>,
}

impl Turns for Signing<'_> {
    type Keys = Ring;

    const KIND: Kind = Kind::new("signing", 1, 4096);
    const TURN: Duration = TURN;
    const KEPT_FOR: Duration = Duration::from_hours(400 * 24);

    fn name(&self) -> &'static [u8] {
        b"identity"
    }

    fn first(&self) -> Result<Ring, NoRandomness> {
        match self.own {
            Some(own) => Ok(own.clone()),
            None => Ring::new(self.clock.now()).map_err(no_key),
        }
    }

    fn are_due(&self, ring: &Ring) -> bool {
        let now = self.clock.now();
        ring.due(now) <= now
    }

    fn turned(&self, ring: &Ring) -> Result<Ring, NoRandomness> {
        ring.turned(self.clock.now()).map_err(no_key)
    }

    fn encode(ring: &Ring) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
        ring.encode().map_err(|_| NoRandomness)
    }

    fn decode(bytes: &[u8]) -> Option<Ring> {
        Ring::decode(bytes)
    }
}

fn no_key(NoKey: NoKey) -> NoRandomness {
    NoRandomness
}

impl Signer {
    /// Keeps up with the keys of the other nodes, if an app wants tokens; does not end.
    pub(crate) async fn follow(&self) {
        if self.values().is_none() {
            return std::future::pending().await;
        }
        self.sharing().wait().await;
        let mut failures = 0_usize;
        loop {
            match self.read().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == SAID_AFTER && !self.sharing().has_read() {
                        tracing::warn!(
                            %error,
                            "the keys of identity tokens cannot be read from the session store"
                        );
                    }
                }
            }
            sleep(match failures {
                _ if self.sharing().has_read() => AGAIN,
                ..SAID_AFTER => AT_FIRST,
                _ => AGAIN / 10,
            })
            .await;
        }
    }

    /// Takes the keys of the store, or gives it those that this node has.
    pub(super) async fn read(&self) -> Result<(), ValueError> {
        let Some(values) = self.values() else {
            return Ok(());
        };
        let own = self.ring().clone();
        let signing = Signing {
            clock: self.clock(),
            own: own.as_ref(),
        };
        let of_all = own.as_ref().filter(|_| self.sharing().has_read());
        let ring = turns::read(&signing, values, of_all).await?;
        self.sharing().has_read.store(true, Ordering::Relaxed);
        if own.as_ref().is_some_and(|own| own.is(&ring)) {
            return Ok(());
        }
        self.keep(&ring).await;
        let signed = own.map(|own| own.current.id().to_owned());
        let key = ring.current.id();
        if signed.as_deref() != Some(key) {
            tracing::info!(key, "this key of all nodes signs identity tokens");
        }
        self.set(ring);
        Ok(())
    }

    /// Writes them into this node's file. The store has them: without the copy, only a restart
    /// while it is away has none.
    async fn keep(&self, ring: &Ring) {
        let KeySource::File(path) = self.source() else {
            return;
        };
        let (ring, path) = (ring.clone(), Arc::<std::path::Path>::from(path.as_path()));
        let kept = tokio::task::spawn_blocking(move || ring.keep(&path)).await;
        let kept: Result<(), KeysError> = kept.unwrap_or(Ok(()));
        if let Err(error) = kept {
            tracing::error!(%error, "this node has no copy of the keys of identity tokens");
        }
    }
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
