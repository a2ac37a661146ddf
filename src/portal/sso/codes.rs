//! The codes that carry a login to another host (SEC-97).
//!
//! Only codes are kept, as hashes, and only after a login: nobody without one fills the room. With
//! several nodes they are in the store, where a code is taken out in one step, whichever node it
//! comes back to; each node bounds those that it has made. The id that a code gives is no more known
//! there than any other: it is covered with bytes that only the code leads to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::{Clock, Timestamp};
use crate::error::RequestError;
use crate::nodes::{Kind, ValueError, Values};
use crate::random::{NoRandomness, random};
use crate::request::Host;
use crate::session::{SessionId, SessionKey, StoreError};

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

/// In the store: browser, session key, covered id, and the name of the host.
const CODE: Kind = Kind::new("code", 1, 16 + 32 + 32 + 255);

pub(in crate::portal) struct Codes {
    clock: Clock,
    /// Those that this process has made.
    kept: Mutex<Kept>,
    values: Option<Values>,
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
    /// With `values`, they are good on all nodes.
    pub(in crate::portal) fn new(clock: Clock, values: Option<Values>) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
            values,
        }
    }

    /// A new code for this.
    pub(super) async fn issue(&self, grant: Grant) -> Result<String, RequestError> {
        let code = random::<32>().map_err(RequestError::NoRandomness)?;
        let code = URL_SAFE_NO_PAD.encode(code);
        let (hash, now) = (hash(&code), self.clock.now());
        let text = grant.encode(&code);
        let dropped = self.kept().insert(hash, now, grant);
        let Some(values) = &self.values else {
            return Ok(code);
        };
        if let Some(dropped) = dropped {
            values.remove(&CODE, &dropped).await.map_err(unavailable)?;
        }
        let put = values.put(&CODE, &hash, &text, GOOD_FOR).await;
        put.map_err(unavailable)?;
        Ok(code)
    }

    /// What a code gives. It is worth nothing from now on, whoever has shown it. An error says that
    /// nobody can tell, or that a server that takes over might give it once more.
    pub(super) async fn take(&self, code: &str) -> Result<Option<Grant>, RequestError> {
        let hash = hash(code);
        let kept = self.kept().remove(&hash);
        let Some(values) = &self.values else {
            let fresh = kept.filter(|(_, since, _)| self.clock.now().since(*since) < GOOD_FOR);
            return Ok(fresh.map(|(_, _, grant)| grant));
        };
        if code.len() != CODE_LENGTH {
            return Ok(None); // the store need not be asked
        }
        match values.take(&CODE, &hash).await {
            Ok(text) => Ok(text.and_then(|text| Grant::decode(&text, code))),
            // Written by another version, or not by us: the login starts over.
            Err(ValueError::Damaged | ValueError::Newer | ValueError::TooLarge) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
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
    /// Gives the one that has made room for it.
    fn insert(&mut self, hash: Hash, now: Timestamp, grant: Grant) -> Option<Hash> {
        let of_session = self.of_session.get(&grant.session);
        let too_many = of_session.filter(|numbers| numbers.len() >= OF_ONE_SESSION);
        let oldest = match too_many {
            Some(numbers) => self.by_age.get(&numbers[0]),
            None if self.by_age.len() >= MAX => self.by_age.values().next(),
            None => None,
        };
        let oldest = oldest.copied();
        if let Some(oldest) = oldest {
            self.remove(&oldest);
        }
        self.last += 1;
        self.by_age.insert(self.last, hash);
        let of_session = self.of_session.entry(grant.session).or_default();
        of_session.push(self.last);
        self.grants.insert(hash, (self.last, now, grant));
        oldest
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

/// Characters of a code: 32 bytes in Base64.
const CODE_LENGTH: usize = 43;

impl Grant {
    fn encode(&self, code: &str) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        text.extend(self.browser.0);
        text.extend(self.session.as_bytes());
        text.extend(*self.id.covered(&cover(code)));
        text.extend(self.host.as_str().as_bytes());
        text
    }

    fn decode(text: &[u8], code: &str) -> Option<Self> {
        let (browser, rest) = text.split_first_chunk::<16>()?;
        let (session, rest) = rest.split_first_chunk::<32>()?;
        let (id, host) = rest.split_first_chunk::<32>()?;
        Some(Self {
            host: Host::parse(std::str::from_utf8(host).ok()?)?,
            browser: Browser(*browser),
            session: SessionKey::from_bytes(*session),
            id: SessionId::uncovered(id, &cover(code)),
        })
    }
}

/// A one-time pad: each code is random and covers one id.
fn cover(code: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(code.as_bytes()).expect("any length will do");
    mac.update(b"vestibule session id of a code");
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// 503: whoever comes again later gets on.
fn unavailable(error: ValueError) -> RequestError {
    match error {
        ValueError::NoRandomness => RequestError::NoRandomness(NoRandomness),
        ValueError::Full => RequestError::Session(StoreError::Full),
        _ => RequestError::Session(StoreError::Unavailable),
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

    async fn issue(codes: &Codes, session: SessionKey) -> String {
        codes.issue(grant(session)).await.unwrap()
    }

    async fn opens(codes: &Codes, code: &str) -> bool {
        codes.take(code).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn sec_97_a_code_is_good_once_and_for_a_minute() {
        let clock = Clock::system();
        let codes = Codes::new(clock.clone(), None);
        let once = issue(&codes, key()).await;
        let (late, swept) = (issue(&codes, key()).await, issue(&codes, key()).await);
        assert!(opens(&codes, &once).await && !opens(&codes, &once).await);
        assert!(!opens(&codes, "").await && !opens(&codes, &late[1..]).await);
        clock.advance(GOOD_FOR);
        assert!(!opens(&codes, &late).await);
        codes.sweep();
        assert!(!opens(&codes, &swept).await);
        let kept = codes.kept();
        assert!(kept.grants.is_empty() && kept.by_age.is_empty() && kept.of_session.is_empty());
    }

    #[tokio::test]
    async fn sec_97_no_session_and_no_number_of_them_fills_the_room() {
        let codes = Codes::new(Clock::system(), None);
        assert_no_session_fills_the_room(&codes).await;
        for _ in 0..MAX + 10 {
            issue(&codes, key()).await;
        }
        assert_eq!(codes.kept().grants.len(), MAX);
    }

    async fn assert_no_session_fills_the_room(codes: &Codes) {
        let (ada, bob) = (key(), key());
        let of_bob = issue(codes, bob).await;
        let mut of_ada = Vec::new();
        for _ in 0..=OF_ONE_SESSION {
            of_ada.push(issue(codes, ada).await);
        }
        assert!(!opens(codes, &of_ada[0]).await && opens(codes, &of_bob).await);
        for code in &of_ada[1..] {
            assert!(opens(codes, code).await);
        }
    }

    #[cfg(feature = "redis")]
    mod on_several_nodes {
        use super::*;
        use crate::nodes::Nodes;
        use crate::redis::Settings;
        use crate::redis::test_server::TestServer;

        fn node(server: &TestServer) -> Codes {
            node_of(server.settings())
        }

        fn node_of(settings: Settings) -> Codes {
            let settings = std::sync::Arc::new(settings);
            let nodes = Nodes::open(Some(&settings), &Clock::system()).unwrap();
            Codes::new(Clock::system(), nodes.values().cloned())
        }

        /// Two nodes that reach the server.
        async fn two(server: &TestServer) -> [Codes; 2] {
            let nodes = [node(server), node(server)];
            for node in &nodes {
                until_reached(node).await;
            }
            nodes
        }

        async fn until_reached(node: &Codes) {
            let reached = async {
                while node.take(&"A".repeat(CODE_LENGTH)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(GOOD_FOR, reached).await.unwrap();
        }

        /// Else a server that takes over would have it still, and would give it once more.
        #[tokio::test]
        async fn sec_97_a_code_that_no_replica_knows_to_be_used_opens_nothing() {
            let Some(server) = TestServer::start() else {
                return;
            };
            let replica = server.replica();
            let node = node_of(Settings {
                wait_replicas: Some(1),
                ..server.settings()
            });
            until_reached(&node).await;
            let code = issue(&node, key()).await;
            assert!(opens(&node, &code).await, "a replica knows of it");
            let code = issue(&node, key()).await;
            replica.stop();
            let taken = node.take(&code).await;
            assert!(matches!(taken, Err(RequestError::Session(_))), "{taken:?}");
            replica.go_on();
            assert!(!opens(&node, &code).await, "nor later");
        }

        #[tokio::test]
        async fn sec_97_a_code_of_one_node_is_good_once_on_all() {
            let Some(server) = TestServer::start() else {
                return;
            };
            let [a, b] = two(&server).await;
            let given = grant(key());
            let code = a.issue(given.clone()).await.unwrap();
            let kept = server.ask(&["KEYS", "vestibule:v:code:*"]);
            let left: u64 = server.ask(&["PTTL", kept.trim()]).trim().parse().unwrap();
            assert!(left <= 60_000, "{left}");
            let taken = b.take(&code).await.unwrap().unwrap();
            assert_eq!((taken.host, taken.browser), (given.host, given.browser));
            assert!(taken.session == given.session && taken.id == given.id);
            assert!(!opens(&a, &code).await && !opens(&b, &code).await);
            let code = issue(&a, key()).await;
            let (here, there) = tokio::join!(a.take(&code), b.take(&code));
            let taken = [here.unwrap().is_some(), there.unwrap().is_some()];
            assert!(taken[0] != taken[1], "{taken:?}");
            assert_no_session_fills_the_room(&a).await;
        }

        #[tokio::test]
        async fn rel_10_without_the_store_nobody_can_tell_what_a_code_is_worth() {
            let Some(mut server) = TestServer::start() else {
                return;
            };
            let [a, b] = two(&server).await;
            let code = issue(&a, key()).await;
            server.kill();
            for node in [&a, &b] {
                let taken = node.take(&code).await;
                assert!(matches!(taken, Err(RequestError::Session(_))));
                let issued = node.issue(grant(key())).await;
                assert!(matches!(issued, Err(RequestError::Session(_))));
                assert!(!opens(node, "no code").await, "nobody asks for that");
            }
        }
    }

    #[test]
    fn a_grant_comes_back_by_its_code_alone() {
        let (given, code) = (grant(key()), "A".repeat(CODE_LENGTH));
        let text = given.encode(&code);
        let read = Grant::decode(&text, &code).unwrap();
        assert!(read.id == given.id && read.session == given.session);
        assert!(Grant::decode(&text, &"B".repeat(CODE_LENGTH)).unwrap().id != given.id);
        for none in [&text[..79], &text[..80], &[]] {
            assert!(Grant::decode(none, &code).is_none());
        }
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
