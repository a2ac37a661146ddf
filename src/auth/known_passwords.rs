//! Passwords that programs send with each request, by HTTP Basic, and that were verified a moment
//! ago: hashing each time would take a core for each of them.
//!
//! Kept is an HMAC under a key of this process, tied to the stored hash that the password was
//! verified by. A wrong one is remembered, too: a program that repeats it costs one try in five
//! minutes, and does not lock its user out.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;

use super::Accounts;
use crate::clock::{Clock, Timestamp};
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, Identity, IdentityCache};
use crate::random::{NoRandomness, random};
use crate::secret::Secret;

/// For how long a verdict counts.
const KNOWN_FOR: Duration = Duration::from_mins(5);

/// Of right ones, and of wrong ones; each takes about 200 bytes.
const MAX: usize = 10_000;

/// From here on, turns that nobody holds any more are looked for.
const MAX_TURNS: usize = 256;

/// Names a password of an account, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag([u8; 32]);

/// By its first bytes: without the key of this process nobody can choose them, so that a table needs no
/// hash of its own.
impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_ne_bytes(std::array::from_fn(|at| self.0[at])));
    }
}

#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByTag<T> = HashMap<Tag, T, BuildHasherDefault<FirstBytes>>;

/// A password that was right.
#[derive(Debug)]
pub(crate) struct ProvenPassword {
    pub(crate) account: AccountRef,
    fingerprint: CredentialFingerprint,
    pub(crate) context: Arc<AuthContext>,
    identity: IdentityCache,
}

impl ProvenPassword {
    pub(crate) fn new(
        account: AccountRef,
        fingerprint: CredentialFingerprint,
        context: AuthContext,
    ) -> Self {
        Self {
            account,
            fingerprint,
            context: Arc::new(context),
            identity: IdentityCache::default(),
        }
    }

    /// Whose it is; `None` if the account is gone or disabled by now, or has another password.
    pub(crate) fn identity(&self, accounts: &Accounts) -> Option<Arc<Identity>> {
        let generation = accounts.generation();
        if let Some(identity) = self.identity.get(generation) {
            return Some(identity);
        }
        let account = accounts.active(&self.account)?;
        if account.fingerprint() != self.fingerprint {
            return None;
        }
        let identity = Arc::clone(account.identity());
        self.identity.set(generation, Arc::clone(&identity));
        Some(identity)
    }
}

pub(crate) struct KnownPasswords {
    /// Of this process. Each request has a tag made with it: AWS-LC takes a sixth less for one than
    /// code without assembly, where the CPU has no instructions for SHA-256.
    key: hmac::Key,
    clock: Clock,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    right: ByTag<(Timestamp, Arc<ProvenPassword>)>,
    wrong: ByTag<Wrong>,
    /// Those that are being verified: whoever comes meanwhile waits for the verdict.
    turns: ByTag<Arc<tokio::sync::Mutex<()>>>,
}

struct Wrong {
    at: Timestamp,
    /// Of the account at that time; `None` if nobody has that name, or may not sign in.
    fingerprint: Option<CredentialFingerprint>,
}

/// What a password was found to be, as long as the account has the password that it had then.
#[derive(Debug)]
pub(crate) enum Known {
    Right(Arc<ProvenPassword>),
    /// When the account had this fingerprint; `None` if nobody had that name, or might sign in.
    Wrong(Option<CredentialFingerprint>),
}

/// The turn to verify a password; the next one comes when it is dropped.
pub(crate) struct Turn<'a> {
    passwords: &'a KnownPasswords,
    tag: Tag,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl KnownPasswords {
    pub(crate) fn new(clock: Clock) -> Result<Self, NoRandomness> {
        let key = Secret::new(random::<32>()?);
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
            clock,
            tables: Mutex::default(),
        })
    }

    /// `account` is a canonical name.
    pub(crate) fn tag(&self, account: &str, password: &[u8]) -> Tag {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&(account.len() as u64).to_be_bytes());
        mac.update(account.as_bytes());
        mac.update(password);
        let mut tag = [0; 32];
        tag.copy_from_slice(mac.sign().as_ref());
        Tag(tag)
    }

    /// What is known of a password. It is in one of the tables at most.
    pub(crate) fn look(&self, tag: &Tag) -> Option<Known> {
        let now = self.clock.now();
        let is_fresh = |at: Timestamp| now.since(at) < KNOWN_FOR;
        let tables = self.lock();
        if let Some((at, proven)) = tables.right.get(tag) {
            return is_fresh(*at).then(|| Known::Right(Arc::clone(proven)));
        }
        let wrong = tables.wrong.get(tag)?;
        is_fresh(wrong.at).then_some(Known::Wrong(wrong.fingerprint))
    }

    /// Waits until nobody else verifies this password.
    pub(crate) async fn turn(&self, tag: Tag) -> Turn<'_> {
        let turn = {
            let turns = &mut self.lock().turns;
            if turns.len() >= MAX_TURNS {
                // Of clients that have gone while they waited.
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(tag).or_default())
        };
        let guard = turn.lock_owned().await;
        Turn {
            passwords: self,
            tag,
            guard: Some(guard),
        }
    }

    pub(crate) fn note_right(&self, tag: Tag, proven: Arc<ProvenPassword>) {
        let now = self.clock.now();
        let mut tables = self.lock();
        tables.wrong.remove(&tag);
        if tables.right.len() >= MAX {
            tables.right.retain(|_, (at, _)| now.since(*at) < KNOWN_FOR);
        }
        if tables.right.len() < MAX {
            tables.right.insert(tag, (now, proven));
        }
    }

    pub(crate) fn note_wrong(&self, tag: Tag, fingerprint: Option<CredentialFingerprint>) {
        let now = self.clock.now();
        let mut tables = self.lock();
        tables.right.remove(&tag);
        if tables.wrong.len() >= MAX {
            tables
                .wrong
                .retain(|_, wrong| now.since(wrong.at) < KNOWN_FOR);
        }
        if tables.wrong.len() < MAX {
            let wrong = Wrong {
                at: now,
                fingerprint,
            };
            tables.wrong.insert(tag, wrong);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut tables = self.passwords.lock();
        // Those who wait hold the turn as well.
        if (tables.turns.get(&self.tag)).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            tables.turns.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Method;

    fn fingerprint(hash: &str) -> CredentialFingerprint {
        CredentialFingerprint::of(hash)
    }

    fn proven(hash: &str) -> Arc<ProvenPassword> {
        let context = AuthContext::new(Method::Password.into(), Timestamp::default());
        let account = AccountRef::of_users_file("ada");
        Arc::new(ProvenPassword::new(account, fingerprint(hash), context))
    }

    #[test]
    fn a_password_is_known_for_five_minutes() {
        let clock = Clock::system();
        let known = KnownPasswords::new(clock.clone()).unwrap();
        let (tag, other) = (known.tag("ada", b"right"), known.tag("ada", b"wrong"));
        assert!(tag != other);
        assert!(
            known.tag("adar", b"ight") != tag,
            "one length ends the name"
        );
        let stored = Some(fingerprint("hash"));
        assert!(known.look(&tag).is_none());
        known.note_right(tag, proven("hash"));
        known.note_wrong(other, stored);
        assert!(matches!(known.look(&tag), Some(Known::Right(_))));
        assert!(matches!(known.look(&other), Some(Known::Wrong(of)) if of == stored));
        // The last verdict is the one that counts.
        known.note_wrong(tag, None);
        known.note_right(other, proven("hash"));
        assert!(matches!(known.look(&tag), Some(Known::Wrong(None))));
        assert!(matches!(known.look(&other), Some(Known::Right(_))));
        clock.advance(KNOWN_FOR);
        assert!(known.look(&tag).is_none() && known.look(&other).is_none());
    }

    #[test]
    fn what_is_known_is_bounded_and_wrong_ones_push_out_no_right_one() {
        let known = KnownPasswords::new(Clock::system()).unwrap();
        let tag = |n: usize| known.tag("ada", &n.to_be_bytes());
        known.note_right(tag(0), proven("hash"));
        for n in 1..MAX + 100 {
            known.note_wrong(tag(n), None);
        }
        assert_eq!(known.lock().wrong.len(), MAX);
        assert!(matches!(known.look(&tag(0)), Some(Known::Right(_))));
    }

    #[tokio::test]
    async fn of_many_at_once_one_verifies() {
        let known = KnownPasswords::new(Clock::system()).unwrap();
        let tag = known.tag("ada", b"right");
        let first = known.turn(tag).await;
        let mut second = Box::pin(known.turn(tag));
        assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
        drop(known.turn(known.tag("bob", b"right")).await);
        drop(first);
        drop(second.await);
        assert!(known.lock().turns.is_empty());
    }
}
