//! Sessions that are in use on one node, and idle as far as another one can see.

use super::*;
use crate::clock::Timestamp;
use crate::session::{ConnectionCache, Session, SessionId, Sessions, Shown, test_settings};

/// A quarter of it, in which a use is flushed, is soon over.
const IDLE: Duration = Duration::from_secs(8);

/// Nothing that waits for the usual time to flush, 15 seconds, is written within it.
const SOON: Duration = Duration::from_secs(10);

/// How long a use may be on its way; every node waits for it.
const IN_TRANSIT: Duration = Duration::from_secs(2);

/// Sessions as a process has them that flushes what it knows.
struct Process {
    sessions: Arc<Sessions>,
    _flushing: AbortOnDropHandle<()>,
}

impl Process {
    /// All of them have one clock, which stands still but where a test moves it.
    fn start(server: &TestServer, clock: &Clock, idle_timeout: Duration) -> Self {
        let store = Redis::open(link(patient(server.settings())), clock).unwrap();
        let sessions = Sessions::new(test_settings(idle_timeout), Arc::new(store), clock.clone());
        let sessions = Arc::new(sessions);
        let flushed = Arc::clone(&sessions);
        Self {
            sessions,
            _flushing: AbortOnDropHandle::new(tokio::spawn(async move {
                flushed.keep_flushed().await;
            })),
        }
    }

    /// A request with its cookie.
    async fn uses(&self, id: &SessionId) -> Option<Arc<Session>> {
        let shown = Shown {
            id,
            by_old_name: false,
            host: "gate.test",
            app: &"wiki".into(),
        };
        let connection = ConnectionCache::default();
        self.sessions.find(&shown, &connection).await.unwrap()
    }

    /// As far as this node can see, which does not use it.
    async fn has(&self, id: &SessionId) -> bool {
        self.sessions.is_good(&id.key()).await.unwrap()
    }
}

/// A store that knows of no access but what it is told, and two processes.
fn nodes(server: &TestServer, clock: &Clock, idle_timeout: Duration) -> (Redis, [Process; 2]) {
    let witness = Redis::open(link(server.settings()), clock).unwrap();
    let processes = [(); 2].map(|()| Process::start(server, clock, idle_timeout));
    (witness, processes)
}

async fn sign_in(store: &Redis, clock: &Clock) -> SessionId {
    let (id, now) = (SessionId::generate().unwrap(), clock.now());
    let mut ada = Arc::unwrap_or_clone(record("ada"));
    (ada.key, ada.ids[0].key) = (id.key(), id.key());
    (ada.created, ada.last_accessed) = (now, now);
    ada.expires = now.plus(Duration::from_hours(12));
    store.insert(Arc::new(ada)).await.unwrap();
    id
}

/// Until the store has this access, which is soon.
async fn is_written(witness: &Redis, id: &SessionId, at: Timestamp) {
    let written = async {
        while witness.load(id.key()).await.unwrap().unwrap().last_accessed < at {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let written = tokio::time::timeout(SOON, written).await;
    written.expect("the store is told of it soon");
}

#[tokio::test]
async fn sec_50_a_use_is_known_to_all_nodes_before_the_session_can_idle_out_on_any() {
    let (server, clock) = (server!(), Clock::still());
    let (witness, [here, there]) = nodes(&server, &clock, IDLE);
    let ada = sign_in(&witness, &clock).await;
    assert!(here.uses(&ada).await.is_some() && there.has(&ada).await);
    // Soon after a use that the store knows of, and then no more.
    clock.advance(IDLE / 8);
    let last = here.uses(&ada).await.unwrap().last_accessed();
    is_written(&witness, &ada, last).await;
    clock.advance(IDLE * 7 / 8 + IN_TRANSIT);
    assert!(
        there.has(&ada).await,
        "idle for so long by what this node had seen"
    );
    clock.advance(IDLE);
    assert!(!there.has(&ada).await && !here.has(&ada).await);
}

#[tokio::test]
async fn sec_50_a_use_at_the_last_moment_counts_on_all_nodes_though_it_is_still_on_its_way() {
    let (server, clock) = (server!(), Clock::still());
    let (witness, [here, there]) = nodes(&server, &clock, IDLE);
    let ada = sign_in(&witness, &clock).await;
    assert!(there.has(&ada).await);
    clock.advance(IDLE.saturating_sub(Duration::from_secs(1)));
    let last = here.uses(&ada).await.unwrap().last_accessed();
    clock.advance(Duration::from_secs(1));
    assert!(there.has(&ada).await);
    is_written(&witness, &ada, last).await;
    assert!(there.has(&ada).await);
}

/// Nodes read the configuration again one after another.
#[tokio::test]
async fn sec_50_a_shorter_idle_timeout_ends_no_session_that_is_in_use_on_a_node_with_the_longer_one()
 {
    let (server, clock) = (server!(), Clock::still());
    let (witness, [here, there]) = nodes(&server, &clock, Duration::from_mins(30));
    let ada = sign_in(&witness, &clock).await;
    assert!(there.has(&ada).await);
    clock.advance(Duration::from_secs(10));
    let last = here.uses(&ada).await.unwrap().last_accessed();
    there.sessions.set(&test_settings(Duration::from_secs(5)));
    clock.advance(Duration::from_secs(1));
    assert!(there.has(&ada).await, "used a second ago");
    here.sessions.set(&test_settings(Duration::from_secs(5)));
    is_written(&witness, &ada, last).await;
    clock.advance(Duration::from_secs(40));
    assert!(!there.has(&ada).await && !here.has(&ada).await);
}
