//! The codes that carry a login to another host (SEC-97).
//!
//! Only codes are kept, as hashes, and only after a login: nobody without one fills the room.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, random};
use crate::request::Host;
use crate::session::{SessionId, SessionKey};

/// How long a code is good for.
const GOOD_FOR: Duration = Duration::from_mins(1);

/// Codes of one session, as many as it has tabs that are on their way. One more drops the oldest.
const OF_ONE_SESSION: usize = 64;

/// Codes in all, in about 5 MiB. One more drops the oldest.
const MAX: usize = 16 * 1024;

/// The hash of a pre-login cookie: the browser that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Browser([u8; 16]);

impl Browser {
    pub(super) fn of(login_cookie: &[u8]) -> Self {
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(login_cookie)[..16]);
        Self(hash)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut hash).ok()?;
        (length == hash.len()).then_some(Self(hash))
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What a code gives to the host and the browser that asked.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) host: Host,
    pub(super) browser: Browser,
    pub(super) session: SessionKey,
    /// What opens the session there.
    pub(super) id: SessionId,
}

type Hash = [u8; 32];

pub(in crate::portal) struct Codes {
    clock: Clock,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    grants: HashMap<Hash, (u64, Timestamp, Grant)>,
    /// By the number of each, the oldest first.
    by_age: BTreeMap<u64, Hash>,
    of_session: HashMap<SessionKey, Vec<u64>>,
    last: u64,
}

impl Codes {
    pub(in crate::portal) fn new(clock: Clock) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
        }
    }

    /// A new code for this.
    pub(super) fn issue(&self, grant: Grant) -> Result<String, NoRandomness> {
        let code = URL_SAFE_NO_PAD.encode(random::<32>()?);
        self.kept().insert(hash(&code), self.clock.now(), grant);
        Ok(code)
    }

    /// What a code gives. It is worth nothing from now on, whoever has shown it.
    pub(super) fn take(&self, code: &str) -> Option<Grant> {
        let (_, since, grant) = self.kept().remove(&hash(code))?;
        (self.clock.now().since(since) < GOOD_FOR).then_some(grant)
    }

    /// Drops what nobody has fetched.
    pub(in crate::portal) fn sweep(&self) {
        let now = self.clock.now();
        let mut kept = self.kept();
        while let Some((_, oldest)) = kept.by_age.first_key_value() {
            let oldest = *oldest;
            let since = kept.grants.get(&oldest).map(|(_, since, _)| *since);
            if since.is_some_and(|since| now.since(since) < GOOD_FOR) {
                return;
            }
            kept.remove(&oldest);
        }
    }

    /// No code that holds the lock can leave the tables half changed (REL-11).
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, hash: Hash, now: Timestamp, grant: Grant) {
        let of_session = self.of_session.get(&grant.session);
        let too_many = of_session.filter(|numbers| numbers.len() >= OF_ONE_SESSION);
        let oldest = match too_many {
            Some(numbers) => self.by_age.get(&numbers[0]),
            None if self.by_age.len() >= MAX => self.by_age.values().next(),
            None => None,
        };
        if let Some(oldest) = oldest.copied() {
            self.remove(&oldest);
        }
        self.last += 1;
        self.by_age.insert(self.last, hash);
        let of_session = self.of_session.entry(grant.session).or_default();
        of_session.push(self.last);
        self.grants.insert(hash, (self.last, now, grant));
    }

    fn remove(&mut self, hash: &Hash) -> Option<(u64, Timestamp, Grant)> {
        let removed = self.grants.remove(hash)?;
        let (number, _, grant) = &removed;
        self.by_age.remove(number);
        if let Some(numbers) = self.of_session.get_mut(&grant.session) {
            numbers.retain(|other| other != number);
            if numbers.is_empty() {
                self.of_session.remove(&grant.session);
            }
        }
        Some(removed)
    }
}

fn hash(code: &str) -> Hash {
    Sha256::digest(code).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(session: SessionKey) -> Grant {
        Grant {
            host: Host::parse("wiki.test").unwrap(),
            browser: Browser::of(b"mine"),
            session,
            id: SessionId::generate().unwrap(),
        }
    }

    fn key() -> SessionKey {
        SessionId::generate().unwrap().key()
    }

    #[test]
    fn sec_97_a_code_is_good_once_and_for_a_minute() {
        let clock = Clock::system();
        let codes = Codes::new(clock.clone());
        let [once, late, swept] = [(); 3].map(|()| codes.issue(grant(key())).unwrap());
        assert!(codes.take(&once).is_some() && codes.take(&once).is_none());
        assert!(codes.take("").is_none() && codes.take(&late[1..]).is_none());
        clock.advance(GOOD_FOR);
        assert!(codes.take(&late).is_none());
        codes.sweep();
        assert!(codes.take(&swept).is_none());
        let kept = codes.kept();
        assert!(kept.grants.is_empty() && kept.by_age.is_empty() && kept.of_session.is_empty());
    }

    #[test]
    fn sec_97_no_session_and_no_number_of_them_fills_the_room() {
        let codes = Codes::new(Clock::system());
        let (ada, bob) = (key(), key());
        let of_bob = codes.issue(grant(bob)).unwrap();
        let of_ada: Vec<_> = (0..=OF_ONE_SESSION)
            .map(|_| codes.issue(grant(ada)).unwrap())
            .collect();
        assert!(codes.take(&of_ada[0]).is_none() && codes.take(&of_bob).is_some());
        assert!(of_ada[1..].iter().all(|code| codes.take(code).is_some()));
        for _ in 0..MAX + 10 {
            codes.issue(grant(key())).unwrap();
        }
        assert_eq!(codes.kept().grants.len(), MAX);
    }

    #[test]
    fn a_browser_is_read_back() {
        let browser = Browser::of(b"mine");
        assert_eq!(Browser::parse(&browser.to_string()), Some(browser));
        for none in ["", "AAAA", "!"] {
            assert_eq!(Browser::parse(none), None, "{none}");
        }
    }
}
