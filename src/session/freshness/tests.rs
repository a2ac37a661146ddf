use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::super::data::{DataChange, DataError};
use super::super::memory::Memory;
use super::super::record::tests::record;
use super::super::store::ends::EndSender;
use super::super::store::{Answer, End, Removed};
use super::super::{
    ConnectionCache, HostId, Record, Session, SessionId, SessionKey, SessionStore, Sessions, Shown,
    StoreError, test_settings,
};
use crate::clock::{Clock, Timestamp};
use crate::request::Host;

const STALE_FOR: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_mins(30);

/// Sessions that others can end; it can be away, and says so little as the test lets it.
#[derive(Default)]
struct Shared {
    memory: Memory,
    is_away: AtomicBool,
    loads: AtomicUsize,
    /// What it has found is given out after this.
    held: Mutex<Option<Arc<Notify>>>,
    followers: Mutex<Vec<EndSender>>,
}

impl Shared {
    fn tell(&self, end: impl Fn(&EndSender)) {
        self.followers.lock().unwrap().iter().for_each(end);
    }

    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::Relaxed)
    }

    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn unless_away<'a, T: 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.is_away.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Unavailable) });
        }
        answer
    }
}

impl SessionStore for Shared {
    fn insert_below(&self, record: Arc<Record>, most: usize) -> Answer<'_, bool> {
        self.unless_away(self.memory.insert_below(record, most))
    }

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let held = self.held.lock().unwrap().clone();
        let answer = self.unless_away(self.memory.load(key));
        Box::pin(async move {
            let answer = answer.await;
            if let Some(held) = held {
                held.notified().await;
            }
            answer
        })
    }

    /// The answer does the work, and not at once.
    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        let memory = self.memory.clone();
        self.unless_away(Box::pin(async move {
            tokio::task::yield_now().await;
            memory.remove(keys).await
        }))
    }

    fn remove_of_user(
        &self,
        user: String,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>> {
        self.unless_away(self.memory.remove_of_user(user, keep))
    }

    fn clear(&self) -> Answer<'static, Removed> {
        self.unless_away(self.memory.clear())
    }

    fn touch(&self, key: SessionKey, at: Timestamp) {
        self.memory.touch(key, at);
    }

    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>> {
        self.memory.bind(key, host, app)
    }

    fn add_id(&self, key: SessionKey, id: HostId) -> Answer<'_, Option<Arc<Record>>> {
        self.memory.add_id(key, id)
    }

    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>> {
        self.memory.change_data(key, app, change)
    }

    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>> {
        self.memory.of_user(user)
    }

    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>> {
        self.unless_away(self.memory.range(first, last, count))
    }

    fn ends(&self) -> mpsc::Receiver<End> {
        let (sender, receiver) = EndSender::new();
        self.followers.lock().unwrap().push(sender);
        receiver
    }

    fn stale_for(&self) -> Option<Duration> {
        Some(STALE_FOR)
    }

    fn count(&self) -> Answer<'_, usize> {
        self.unless_away(self.memory.count())
    }

    fn latest(&self) -> Timestamp {
        self.memory.latest()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.memory.close()
    }
}

/// A node that follows such a store, and the browser of a session.
struct Node {
    store: Arc<Shared>,
    sessions: Arc<Sessions>,
    clock: Clock,
    id: SessionId,
    connection: ConnectionCache,
    following: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn new() -> Self {
        let (store, clock) = (Arc::new(Shared::default()), Clock::system());
        let settings = test_settings(IDLE);
        let sessions = Sessions::new(settings, Arc::clone(&store) as _, clock.clone());
        let sessions = Arc::new(sessions);
        let id = SessionId::generate().unwrap();
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        ada.key = id.key();
        ada.ids[0].key = id.key();
        ada.last_accessed = clock.now();
        ada.expires = clock.now().plus(Duration::from_hours(12));
        store.insert(Arc::new(ada)).await.unwrap();
        let followed = Arc::clone(&sessions);
        Self {
            store,
            sessions,
            clock,
            id,
            connection: ConnectionCache::default(),
            following: tokio::spawn(async move { followed.follow_store().await }),
        }
    }

    /// Lets the node know that it knows of every end up to now.
    async fn is_up_to_date(&self) {
        let now = self.clock.now();
        self.store.tell(|follower| follower.no_more_until(now));
        while !self.sessions.freshness.is_fresh(now) {
            tokio::task::yield_now().await;
        }
    }

    async fn find(&self) -> Result<Option<Arc<Session>>, StoreError> {
        let shown = Shown {
            id: &self.id,
            by_old_name: false,
            host: "gate.test",
            app: &"wiki".into(),
        };
        self.sessions.find(&shown, &self.connection).await
    }

    /// As another node would, which nobody hears of.
    async fn end_elsewhere(&self) {
        let removed = self.store.memory.remove(vec![self.id.key()]);
        assert_eq!(removed.await, Ok(1));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.following.abort();
    }
}

#[tokio::test]
async fn rel_18_what_is_known_is_believed_for_a_second() {
    let node = Node::new().await;
    assert!(node.find().await.unwrap().is_some());
    assert_eq!(node.store.loads(), 1);
    assert!(node.find().await.unwrap().is_some());
    assert_eq!(node.store.loads(), 1, "nothing was read yet");

    node.is_up_to_date().await;
    for _ in 0..3 {
        let first = node.find().await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &node.find().await.unwrap().unwrap()));
    }
    assert_eq!(node.store.loads(), 0, "a local hit asks nobody");
    node.clock.advance(Duration::from_millis(1001));
    node.end_elsewhere().await;
    assert!(node.find().await.unwrap().is_none());
    assert_eq!(node.store.loads(), 1);
}

#[tokio::test]
async fn rel_18_an_end_that_nobody_has_told_of_ends_streams() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    let stream = node.sessions.watch(&session);
    node.is_up_to_date().await;
    node.end_elsewhere().await;
    node.sessions.sweep(|_| true).await;
    assert!(!stream.ended().is_cancelled(), "it is up to date, it says");
    node.clock.advance(Duration::from_secs(1));
    node.sessions.sweep(|_| true).await;
    assert!(stream.ended().is_cancelled());
}

#[tokio::test]
async fn rel_10_sessions_that_are_known_go_on_for_so_long_and_no_others() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    let stream = node.sessions.watch(&session);
    node.is_up_to_date().await;
    node.store.set_away(true);
    node.clock
        .advance(STALE_FOR.saturating_sub(Duration::from_secs(1)));
    assert!(node.find().await.unwrap().is_some());
    node.sessions.sweep(|_| true).await;
    assert!(!stream.ended().is_cancelled());
    let unknown = SessionId::generate().unwrap();
    let is_good = node.sessions.is_good(&unknown.key()).await;
    assert_eq!(is_good, Err(StoreError::Unavailable));

    node.clock.advance(Duration::from_secs(1));
    assert_eq!(node.find().await.err(), Some(StoreError::Unavailable));
    node.sessions.sweep(|_| true).await;
    assert!(stream.ended().is_cancelled());
    // Nothing of it is over: it goes on when the store is back.
    node.store.set_away(false);
    assert!(node.find().await.unwrap().is_some());
    node.is_up_to_date().await;
    assert!(!node.sessions.watch(&session).ended().is_cancelled());
}

#[tokio::test]
async fn rel_10_a_gap_has_the_store_asked_again_and_nothing_that_is_known_forgotten() {
    let node = Node::new().await;
    // Before anything was read, as at the start: the store was asked just now.
    let session = node.find().await.unwrap().unwrap();
    for _ in 0..2 {
        node.is_up_to_date().await;
        node.clock.advance(Duration::from_millis(2));
        node.store.loads();
        let before = node.sessions.ends();
        node.store.tell(|follower| follower.send(End::Lagged));
        while node.sessions.ends() == before {
            tokio::task::yield_now().await;
        }
        node.store.set_away(true);
        assert!(node.find().await.unwrap().is_some());
        node.store.set_away(false);
        node.clock.advance(Duration::from_millis(2));
        let again = node.find().await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&again, &session));
        assert!(node.find().await.unwrap().is_some());
        assert_eq!(node.store.loads(), 2, "once while it is away, and once");
    }
    // No gap lets a session go on for longer than without: until `stale_for` after it was heard of.
    node.clock
        .advance(STALE_FOR.saturating_sub(Duration::from_millis(500)));
    node.store.tell(|follower| follower.send(End::Lagged));
    node.is_up_to_date().await;
    node.store.set_away(true);
    assert!(node.find().await.unwrap().is_some());
    node.clock.advance(Duration::from_millis(500));
    assert_eq!(node.find().await.err(), Some(StoreError::Unavailable));
}

#[tokio::test]
async fn rel_10_a_gap_in_the_middle_of_a_look_up_forgets_nothing() {
    let node = Node::new().await;
    let held = Arc::new(Notify::new());
    *node.store.held.lock().unwrap() = Some(Arc::clone(&held));
    let meanwhile = async {
        while node.store.loads() == 0 {
            tokio::task::yield_now().await;
        }
        let before = node.sessions.ends();
        node.store.tell(|follower| follower.send(End::Lagged));
        while node.sessions.ends() == before {
            tokio::task::yield_now().await;
        }
        node.store.set_away(true);
        *node.store.held.lock().unwrap() = None;
        held.notify_one();
    };
    let (found, ()) = tokio::join!(node.find(), meanwhile);
    assert!(found.unwrap().is_some());
    assert!(node.find().await.unwrap().is_some(), "and so from then on");
}

#[tokio::test]
async fn rel_18_a_change_of_another_node_is_read_and_what_is_known_is_kept() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    node.is_up_to_date().await;
    node.store.loads();
    node.store
        .tell(|follower| follower.send(End::Changed(node.id.key())));
    while !session.has_changed() {
        tokio::task::yield_now().await;
    }
    node.store.set_away(true);
    assert!(node.find().await.unwrap().is_some());
    node.store.set_away(false);
    assert!(node.find().await.unwrap().is_some());
    assert!(node.find().await.unwrap().is_some());
    assert_eq!(node.store.loads(), 2);
}

#[tokio::test]
async fn rel_18_a_session_that_the_store_has_lost_may_come_back() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    let stream = node.sessions.watch(&session);
    let record = node.store.memory.load(node.id.key()).await.unwrap();
    node.end_elsewhere().await;
    assert!(node.find().await.unwrap().is_none());
    assert!(stream.ended().is_cancelled());
    // Another node remembers it, and has told the store again.
    node.store.insert(record.unwrap()).await.unwrap();
    assert!(node.find().await.unwrap().is_some());
}

#[tokio::test]
async fn rel_10_a_logout_while_the_store_is_away_ends_the_session_here() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    let stream = node.sessions.watch(&session);
    node.is_up_to_date().await;
    node.store.set_away(true);
    let ended = node.sessions.end(&node.id.key()).await;
    assert_eq!(ended, Err(StoreError::Unavailable));
    assert!(stream.ended().is_cancelled());
    assert!(node.find().await.unwrap().is_none());
}

#[tokio::test]
async fn rel_18_before_a_session_idles_out_the_store_is_asked() {
    let node = Node::new().await;
    let session = node.find().await.unwrap().unwrap();
    let stream = node.sessions.watch(&session);
    node.clock.advance(IDLE);
    let in_use_elsewhere = node.clock.now();
    node.store.touch(node.id.key(), in_use_elsewhere);
    node.is_up_to_date().await;
    node.sessions.sweep(|_| true).await;
    assert!(!stream.ended().is_cancelled());
    assert!(node.sessions.is_good(&node.id.key()).await.unwrap());
    assert_eq!(session.last_accessed(), in_use_elsewhere);

    node.clock.advance(IDLE);
    node.is_up_to_date().await;
    assert!(
        node.sessions.is_good(&node.id.key()).await.unwrap(),
        "a use may be on its way"
    );
    node.clock.advance(Duration::from_secs(2));
    node.is_up_to_date().await;
    node.store.set_away(true);
    assert_eq!(node.find().await.err(), Some(StoreError::Unavailable));
    node.sessions.sweep(|_| true).await;
    assert!(!stream.ended().is_cancelled(), "nobody knows");
    node.store.set_away(false);
    assert!(node.find().await.unwrap().is_none());
    assert!(stream.ended().is_cancelled());
}

#[tokio::test]
async fn sec_46_an_end_is_carried_through_though_nobody_waits_for_it() {
    let node = Node::new().await;
    let key = node.id.key();
    // As when the browser closes the connection.
    assert_eq!(node.sessions.end(&key).now_or_never(), None);
    let gone = async {
        while node.store.memory.load(key).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone)
        .await
        .unwrap();
}
