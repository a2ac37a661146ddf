//! What a store has to keep to that several processes, or several handles, have open at once.

use std::sync::Arc;
use std::time::Duration;

use super::record;
use crate::clock::Clock;
use crate::session::store::ends::MAX_WAITING;
use crate::session::{
    Backend, ConnectionCache, End, Removed, Session, SessionGuard, SessionId, SessionKey,
    SessionStore, Sessions, Settings, Shown,
};

/// The suite, each test on a new store: of what it lives in, and two handles.
macro_rules! shared_store_tests {
    ($open:expr) => {
        shared_store_tests! { $open =>
            each_end_is_told_to_the_others,
            sec_75_what_one_ends_is_over_for_the_others_within_a_second,
            sec_75_whoever_lags_behind_asks_the_store_again,
            sec_52_two_who_begin_the_last_session_at_once_begin_one,
        }
    };
    ($open:expr => $($test:ident,)+) => {
        mod shared {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    let (_place, here, there) = $open;
                    $crate::session::store::conformance::shared::$test(here, there).await;
                }
            )+
        }
    };
}
pub(in crate::session) use shared_store_tests;

const SOON: Duration = Duration::from_secs(1);

/// `Sessions` over one handle, as a process has them.
struct Process {
    sessions: Arc<Sessions>,
    following: tokio::task::JoinHandle<()>,
}

impl Process {
    fn new(store: Arc<dyn SessionStore>) -> Self {
        let settings = Settings {
            backend: Backend::Memory,
            idle_timeout: Duration::from_mins(30),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: 20,
            max_sessions: 20,
        };
        let sessions = Arc::new(Sessions::new(settings, store, Clock::system()));
        let followed = Arc::clone(&sessions);
        Self {
            sessions,
            following: tokio::spawn(async move { followed.follow_store().await }),
        }
    }

    async fn browser(&self, id: &SessionId) -> Browser {
        let cache = ConnectionCache::default();
        let session = self.find(id, &cache).await.unwrap();
        Browser {
            id: id.clone(),
            stream: self.sessions.watch(&session),
            session,
            cache,
        }
    }

    async fn find(&self, id: &SessionId, cache: &ConnectionCache) -> Option<Arc<Session>> {
        let shown = Shown {
            id,
            by_old_name: false,
            host: "gate.test",
            app: &"wiki".into(),
        };
        self.sessions.find(&shown, cache).await.unwrap()
    }

    /// The streams of the browser end, and a request on its connection finds no session.
    async fn loses(&self, browser: &Browser) {
        let ended = browser.stream.ended().cancelled();
        tokio::time::timeout(SOON, ended).await.unwrap();
        assert!(self.find(&browser.id, &browser.cache).await.is_none());
    }

    async fn keeps(&self, browser: &Browser) {
        assert!(!browser.stream.ended().is_cancelled());
        let found = self.find(&browser.id, &browser.cache).await.unwrap();
        assert!(Arc::ptr_eq(&found, &browser.session), "still the same");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// A connection that has sent a request, and has a stream open.
struct Browser {
    id: SessionId,
    session: Arc<Session>,
    stream: SessionGuard,
    cache: ConnectionCache,
}

async fn sign_in(store: &dyn SessionStore, user: &str) -> SessionId {
    let (id, now) = (SessionId::generate().unwrap(), Clock::system().now());
    let mut signed_in = Arc::unwrap_or_clone(record(user));
    signed_in.key = id.key();
    signed_in.ids[0].key = id.key();
    signed_in.last_accessed = now;
    signed_in.expires = now.plus(Duration::from_hours(1));
    store.insert(Arc::new(signed_in)).await.unwrap();
    id
}

async fn next(ends: &mut tokio::sync::mpsc::Receiver<End>) -> End {
    let told = async {
        loop {
            match ends.recv().await.unwrap() {
                End::MadeAt(_) | End::NoMoreUntil(_) => {}
                end => return end,
            }
        }
    };
    tokio::time::timeout(SOON, told).await.unwrap()
}

pub(in crate::session) async fn each_end_is_told_to_the_others(
    here: Arc<dyn SessionStore>,
    there: Arc<dyn SessionStore>,
) {
    let (mut ends, mut ends_elsewhere) = (here.ends(), there.ends());
    let (ada, bob) = (record("ada"), record("bob"));
    here.insert(Arc::clone(&ada)).await.unwrap();
    here.insert(Arc::clone(&bob)).await.unwrap();
    assert_eq!(there.load(ada.key).await, Ok(Some(Arc::clone(&ada))));
    here.remove(vec![ada.key]).await.unwrap();
    assert_eq!(next(&mut ends_elsewhere).await, End::One(ada.key));
    there.remove(vec![bob.key]).await.unwrap();
    assert_eq!(next(&mut ends).await, End::One(bob.key));
    here.clear().await.unwrap();
    assert_eq!(next(&mut ends_elsewhere).await, End::All);
    there.clear().await.unwrap();
    assert_eq!(next(&mut ends).await, End::All);
}

pub(in crate::session) async fn sec_75_what_one_ends_is_over_for_the_others_within_a_second(
    here: Arc<dyn SessionStore>,
    there: Arc<dyn SessionStore>,
) {
    let mut ids = Vec::new();
    for user in ["ada", "bob", "bob", "eve"] {
        ids.push(sign_in(&*here, user).await);
    }
    let (here, there) = (Process::new(here), Process::new(there));
    let mut browsers = Vec::new();
    for id in &ids {
        browsers.push(there.browser(id).await);
    }
    let [ada, bob, bob_too, eve] = &browsers[..] else {
        unreachable!()
    };

    assert_eq!(here.sessions.end(&ada.id.key()).await, Ok(true));
    there.loses(ada).await;
    for browser in [bob, bob_too, eve] {
        there.keeps(browser).await;
    }
    let ended = here.sessions.end_of_user("bob", |_| false).await;
    assert_eq!(ended.unwrap().len(), 2);
    there.loses(bob).await;
    there.loses(bob_too).await;
    there.keeps(eve).await;
    assert_eq!(here.sessions.end_all().await, Ok(Removed::all(1)));
    there.loses(eve).await;
}

pub(in crate::session) async fn sec_75_whoever_lags_behind_asks_the_store_again(
    here: Arc<dyn SessionStore>,
    there: Arc<dyn SessionStore>,
) {
    let (ada, bob) = (sign_in(&*here, "ada").await, sign_in(&*here, "bob").await);
    let process = Process::new(there);
    let (ada, bob) = (process.browser(&ada).await, process.browser(&bob).await);
    let before = process.sessions.ends();
    // More than it is told of in one turn; hers comes last.
    let mut keys: Vec<SessionKey> = Vec::new();
    for _ in 0..MAX_WAITING * 2 {
        let other = record("eve");
        keys.push(other.key);
        here.insert(other).await.unwrap();
    }
    keys.push(ada.id.key());
    assert_eq!(here.remove(keys).await, Ok(MAX_WAITING * 2 + 1));

    let followed = async {
        while process.find(&ada.id, &ada.cache).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, followed).await.unwrap();
    assert_ne!(process.sessions.ends(), before);
    // As is done twice a second.
    process.sessions.sweep(|_| true).await;
    process.loses(&ada).await;
    process.keeps(&bob).await;
}

pub(in crate::session) async fn sec_52_two_who_begin_the_last_session_at_once_begin_one(
    here: Arc<dyn SessionStore>,
    there: Arc<dyn SessionStore>,
) {
    never_more_than_three(&[here, there]).await;
}

/// Handles of one store, which is empty.
pub(super) async fn never_more_than_three(handles: &[Arc<dyn SessionStore>]) {
    for round in 0..10 {
        let begun = (0..12).map(|number| {
            let store = Arc::clone(&handles[number % handles.len()]);
            tokio::spawn(async move { store.insert_below(record("ada"), 3).await.unwrap() })
        });
        let mut kept = 0;
        for begun in begun.collect::<Vec<_>>() {
            kept += usize::from(begun.await.unwrap());
        }
        let store = &handles[round % handles.len()];
        assert_eq!(store.count().await, Ok(kept), "round {round}");
        assert!(kept <= 3, "{kept} in round {round}");
        // None is refused that has a place, once no other is about to begin.
        while kept < 3 {
            assert_eq!(store.insert_below(record("ada"), 3).await, Ok(true));
            kept += 1;
        }
        assert_eq!(store.insert_below(record("ada"), 3).await, Ok(false));
        assert_eq!(store.clear().await, Ok(Removed::all(3)));
    }
}
