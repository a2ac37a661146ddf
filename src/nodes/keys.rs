//! Keys that all nodes have, so that what one has signed or sealed is good on the others: forms,
//! states of a login, TLS tickets.
//!
//! The ring in the store holds the key that is next, the one that signs, and those that have signed.
//! Each turn, every twelve hours, is made by the node that gets the lease; the others read it within
//! half a minute. A key is known to all for a whole turn before it signs anything, and accepted for
//! some turns after that. While the store is away, a node goes on with the keys that it has; one that
//! has not reached it yet has a key of its own, which it accepts until the next turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::turns::{self, Turns};
use super::{Clock, Kind, Nodes, ValueError, Values};
use crate::clock::Timestamp;
use crate::random::{NoRandomness, random};
use crate::secret::Secret;

/// How long a key signs.
const TURN: Duration = Duration::from_hours(12);

/// How often the ring in the store is read again.
const AGAIN: Duration = Duration::from_secs(30);

/// The same until it was read for the first time.
const AT_FIRST: Duration = Duration::from_millis(100);

/// So many times, and it is said that the store is not there.
const SAID_AFTER: usize = 50;

/// A ring that no node has turned for so long is gone.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

const SECRET: usize = 32;

/// Milliseconds since the epoch.
const TIME: usize = 8;

/// Keys in a ring besides the next one and the one that signs.
const MOST_OLD: usize = 8;

const RING: Kind = Kind::new("keys", 1, TIME + (2 + MOST_OLD) * SECRET);

/// What a ring is for: each has its own in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingOf {
    /// Tokens of forms, and what goes by way of a browser from one host to another. A page may stay
    /// open over a weekend.
    Forms,
    /// TLS tickets. With the key, whoever has recorded a connection that was resumed without a key
    /// exchange can read it; so a key is gone three turns after it was made, one of them before it
    /// signs. While the store is away, no turn is made.
    Tickets,
}

impl RingOf {
    /// Keys that have signed and are still accepted.
    fn old(self) -> usize {
        match self {
            Self::Forms => 6,
            Self::Tickets => 1,
        }
    }
}

impl Turns for RingOf {
    type Keys = Keys;

    const KIND: Kind = RING;
    const TURN: Duration = TURN;
    const KEPT_FOR: Duration = KEPT_FOR;

    fn name(&self) -> &'static [u8] {
        match self {
            Self::Forms => b"forms",
            Self::Tickets => b"tickets",
        }
    }

    fn first(&self) -> Result<Keys, NoRandomness> {
        Keys::new_ring(now())
    }

    fn are_due(&self, keys: &Keys) -> bool {
        keys.are_due(now())
    }

    fn turned(&self, keys: &Keys) -> Result<Keys, NoRandomness> {
        keys.turned(self.old(), now())
    }

    fn encode(keys: &Keys) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
        Ok(keys.encode())
    }

    fn decode(bytes: &[u8]) -> Option<Keys> {
        Keys::decode(bytes)
    }
}

/// One secret. What it is used for has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingKey(Secret<[u8; SECRET]>);

impl RingKey {
    fn new() -> Result<Self, NoRandomness> {
        random().map(|bytes| Self(Secret::new(bytes)))
    }

    /// `N` bytes for one purpose, which others do not lead to (RFC 5869). `context` may be known.
    pub(crate) fn derive<const N: usize>(
        &self,
        purpose: &str,
        context: &[u8],
    ) -> Zeroizing<[u8; N]> {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut bytes = Zeroizing::new([0; N]);
        let key: Prk = Salt::new(HKDF_SHA256, b"vestibule nodes").extract(self.0.expose());
        key.expand(&[purpose.as_bytes(), b"\0", context], Length(N))
            .and_then(|derived| derived.fill(bytes.as_mut_slice()))
            .expect("HKDF gives up to 8160 bytes");
        bytes
    }
}

/// The keys of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// As the store has them: the next one, the one that signs, and older ones. One alone signs.
    shared: Vec<RingKey>,
    /// When the one that signs has begun to, by the clock of the node that made the turn.
    since: Timestamp,
    /// What this node has signed with when the store had other keys, or was not reached yet; until
    /// the next turn.
    own: Option<RingKey>,
}

impl Keys {
    /// Of a node that is alone, or has not reached the store.
    fn alone() -> Result<Self, NoRandomness> {
        Ok(Self {
            shared: vec![RingKey::new()?],
            since: Timestamp::default(),
            own: None,
        })
    }

    fn new_ring(now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self {
            shared: vec![RingKey::new()?, RingKey::new()?],
            since: now,
            own: None,
        })
    }

    /// What signs.
    pub(crate) fn current(&self) -> &RingKey {
        self.shared.get(1).unwrap_or(&self.shared[0])
    }

    /// Whatever opens; the one that signs first.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &RingKey> {
        let current = self.current();
        let others = self.shared.iter().chain(&self.own);
        std::iter::once(current).chain(others.filter(move |key| *key != current))
    }

    /// Whether the next key is to sign. A time that lies far ahead is that of a wrong clock, and
    /// would have one sign for ever.
    fn are_due(&self, now: Timestamp) -> bool {
        now.since(self.since) >= TURN || self.since.since(now) > TURN
    }

    fn turned(&self, old: usize, now: Timestamp) -> Result<Self, NoRandomness> {
        let mut shared = vec![RingKey::new()?];
        shared.extend(self.shared.iter().take(2 + old - 1).cloned());
        Ok(Self {
            shared,
            since: now,
            own: None,
        })
    }

    /// These from now on, after `before`.
    fn after(mut self, before: &Self) -> Self {
        let signed = before.current();
        let is_there = self.shared.contains(signed);
        self.own = (!is_there).then(|| signed.clone());
        self
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TIME + self.shared.len() * SECRET));
        bytes.extend(self.since.as_millis().to_be_bytes());
        for RingKey(key) in &self.shared {
            bytes.extend_from_slice(key.expose());
        }
        bytes
    }

    /// `None` for what is no ring.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (since, keys) = bytes.split_first_chunk::<TIME>()?;
        let (keys, []) = keys.as_chunks::<SECRET>() else {
            return None;
        };
        let shared: Vec<_> = keys.iter().map(|key| RingKey(Secret::new(*key))).collect();
        (2..=2 + MOST_OLD).contains(&shared.len()).then_some(Self {
            shared,
            since: Timestamp::from_millis(u64::from_be_bytes(*since)),
            own: None,
        })
    }
}

/// Keys that take turns, as this node knows them.
pub(crate) struct KeyRing {
    of: RingOf,
    values: Option<Values>,
    keys: ArcSwap<Keys>,
    is_shared: AtomicBool,
}

impl KeyRing {
    /// With a key of its own; [`follow`](Self::follow) takes those of the store.
    pub(crate) fn new(nodes: &Nodes, of: RingOf) -> Result<Self, NoRandomness> {
        Ok(Self {
            of,
            values: nodes.values().cloned(),
            keys: ArcSwap::from_pointee(Keys::alone()?),
            is_shared: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(crate) fn alone(of: RingOf) -> Arc<Self> {
        Arc::new(Self::new(&Nodes::alone(), of).unwrap())
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Whether these are the keys of all nodes.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Keeps up with the store; does not end.
    pub(crate) async fn follow(&self) {
        let Some(values) = &self.values else {
            return std::future::pending().await;
        };
        let mut failures: usize = 0;
        loop {
            match self.read(values).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == SAID_AFTER && !self.is_shared() && self.of == RingOf::Forms {
                        tracing::warn!(
                            %error,
                            "the keys of forms and TLS tickets are this node's own until it can \
                             read those of the other nodes"
                        );
                    }
                }
            }
            sleep(match failures {
                _ if self.is_shared() => AGAIN,
                ..SAID_AFTER => AT_FIRST,
                _ => AGAIN / 10,
            })
            .await;
        }
    }

    async fn read(&self, values: &Values) -> Result<(), ValueError> {
        let own = self.keys();
        let own = (own.shared.len() > 1).then_some(&*own);
        let keys = turns::read(&self.of, values, own).await?;
        self.set(keys);
        Ok(())
    }

    fn set(&self, keys: Keys) {
        let before = self.keys.load();
        if before.shared != keys.shared {
            self.keys.store(Arc::new(keys.after(&before)));
        }
        self.is_shared.store(true, Ordering::Relaxed);
    }
}

/// As the other nodes have it, whose clocks may have been set since they were started.
fn now() -> Timestamp {
    Timestamp::default().plus(Clock::wall())
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
