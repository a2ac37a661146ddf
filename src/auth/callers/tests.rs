//! A node whose users are in the store, and that has not heard of the last changes.

use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::opened::Opened;
use super::*;
use crate::auth::UsersHome;
use crate::auth::api_token::{NewToken, TokenLimits};
use crate::auth::incarnation::{Incarnation, UserId};
use crate::auth::password::StoredHash;
use crate::auth::users_file::User;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::redis::test_server::TestServer;
use crate::session::{Backend, SessionId, SessionStore, test_record};

const SOON: Duration = Duration::from_mins(1);

struct Node {
    clock: Clock,
    accounts: Arc<Accounts>,
    tokens: Arc<ApiTokens>,
    store: Arc<dyn SessionStore>,
    callers: Callers,
    /// Without it, nothing of other nodes arrives.
    following: Option<AbortOnDropHandle<()>>,
}

impl Node {
    async fn start(server: &TestServer) -> Self {
        let mut settings = server.settings();
        settings.timeout = Duration::from_secs(10); // nothing here is to depend on speed
        let clock = Clock::system();
        let nodes = Nodes::open(Some(&Arc::new(settings)), &clock).unwrap();
        let home = UsersHome::Store { first: None };
        let accounts = Arc::new(Accounts::open(&home, &nodes, &clock).unwrap());
        let Opened {
            store,
            tokens,
            callers,
        } = Opened::by(&Backend::Memory, &accounts, &clock);
        let mut node = Self {
            clock,
            accounts,
            tokens,
            store,
            callers,
            following: None,
        };
        node.following = Some(node.following());
        let known = async {
            while !node.accounts.are_known() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, known).await.unwrap();
        node
    }

    /// Until that is dropped, this node keeps up with the other one.
    fn following(&self) -> AbortOnDropHandle<()> {
        let accounts = Arc::clone(&self.accounts);
        AbortOnDropHandle::new(tokio::spawn(async move { accounts.follow().await }))
    }

    async fn add(&self, name: &str) {
        let user = User::new(name.to_owned(), StoredHash::dummy().unwrap());
        let added = self.accounts.shared().unwrap().add(user).await;
        added.unwrap();
    }

    async fn catch_up(&self) {
        self.accounts.catch_up().await.unwrap();
    }

    fn fingerprint(&self, user: &str) -> CredentialFingerprint {
        let account = self.accounts.active(&AccountRef::of_users_file(user));
        account.unwrap().fingerprint()
    }

    /// A session of this user, begun with the password of this fingerprint.
    async fn begin(&self, user: &str, fingerprint: CredentialFingerprint) -> SessionId {
        let id = SessionId::generate().unwrap();
        let mut record = Arc::unwrap_or_clone(test_record(user));
        (record.key, record.ids[0].key) = (id.key(), id.key());
        record.fingerprint = fingerprint;
        record.last_accessed = self.clock.now();
        record.expires = record.last_accessed.plus(Duration::from_hours(6));
        self.store.insert(Arc::new(record)).await.unwrap();
        id
    }

    async fn identify(&self, id: &SessionId) -> Result<Caller, StoreError> {
        let (cache, app) = (ConnectionCache::default(), Arc::from("wiki"));
        let shown = Shown {
            id,
            by_old_name: false,
            host: "gate.test",
            app: &app,
        };
        self.callers.identify(Some(shown), &cache).await
    }

    async fn has(&self, id: &SessionId) -> bool {
        self.store.load(id.key()).await.unwrap().is_some()
    }
}

/// A server, or the end of the test where none is installed.
macro_rules! server {
    () => {
        match TestServer::start() {
            Some(server) => server,
            None => return,
        }
    };
}

/// This node knows ada's old password, and not the one that another node has given her; with a session
/// of each.
async fn behind(server: &TestServer) -> (Node, SessionId, SessionId) {
    let (mut here, there) = (Node::start(server).await, Node::start(server).await);
    there.add("ada").await;
    here.catch_up().await;
    here.following = None;
    let old = here.begin("ada", here.fingerprint("ada")).await;
    let new = StoredHash::dummy().unwrap();
    let store = there.accounts.shared().unwrap();
    store.set_password("ada", &new).await.unwrap();
    let new = new.fingerprint(&UserId::Unset);
    assert_ne!(here.fingerprint("ada"), new, "not heard of");
    let new = here.begin("ada", new).await;
    (here, old, new)
}

/// As another node knows them that has made a token.
fn unseen_user() -> Incarnation {
    Incarnation {
        since: u64::MAX,
        ..Incarnation::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_session_of_a_password_that_this_node_has_not_heard_of_is_judged_after_it_has() {
    let server = server!();
    let (mut here, old, new) = behind(&server).await;
    {
        let mut judged = pin!(here.identify(&new));
        assert!(poll!(&mut judged).is_pending(), "it asks the store");
        let _following = here.following();
        let caller = timeout(SOON, judged).await.unwrap().unwrap();
        let Caller::Session(session, _) = caller else {
            panic!("{caller:?}");
        };
        assert_eq!(session.user(), "ada");
    }
    here.following = Some(here.following());
    let ended = here.identify(&old).await.unwrap();
    assert!(matches!(ended, Caller::Anonymous), "{ended:?}");
    assert!(!here.has(&old).await && here.has(&new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_tick_ends_no_session_of_a_password_that_this_node_has_not_heard_of() {
    let server = server!();
    let (mut here, old, new) = behind(&server).await;
    {
        let mut tick = pin!(here.callers.tick());
        assert!(poll!(&mut tick).is_pending(), "it asks the store");
        let _following = here.following();
        timeout(SOON, tick).await.unwrap();
    }
    assert!(here.has(&new).await);
    here.following = Some(here.following());
    here.callers.tick().await;
    assert!(!here.has(&old).await && here.has(&new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_51_who_never_was_in_the_store_is_out_as_soon_as_that_is_sure() {
    let server = server!();
    let here = Node::start(&server).await;
    here.add("ada").await;
    let stale_for = server.settings().stale_for;
    let fingerprint = here.fingerprint("ada");
    let seen = here.begin("eve", fingerprint).await;
    let unseen = here.begin("eve", fingerprint).await;
    let ada = here.begin("ada", fingerprint).await;
    let eve = AccountRef::of_users_file("eve");
    let new = NewToken::parse("cron", TokenLimits::default(), Duration::from_hours(24)).unwrap();
    let (token, _) = here.tokens.make(eve, &unseen_user(), new).await.unwrap();
    let by_token = || {
        let client = [192, 0, 2, 1].into();
        here.callers.identify_by_token(&token, None, client)
    };
    // Somebody may be bringing her there, or another node may know her.
    for id in [&seen, &unseen] {
        let unsure = here.identify(id).await;
        assert!(matches!(unsure, Err(StoreError::Unavailable)), "{unsure:?}");
    }
    here.callers.tick().await;
    here.callers.tick_tokens().await;
    assert!(matches!(by_token(), Err(Refusal::Unavailable)));
    assert_eq!(here.tokens.count(), 1);
    here.clock.advance(stale_for);
    here.catch_up().await;
    let ended = here.identify(&seen).await.unwrap();
    assert!(matches!(ended, Caller::Anonymous), "{ended:?}");
    assert!(matches!(by_token(), Err(Refusal::User)));
    here.callers.tick().await;
    here.callers.tick_tokens().await;
    for (id, stays) in [(&seen, false), (&unseen, false), (&ada, true)] {
        assert_eq!(here.has(id).await, stays);
    }
    assert_eq!(here.tokens.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_user_whom_this_node_has_not_heard_of_is_judged_after_it_has() {
    let server = server!();
    let (mut here, there) = (Node::start(&server).await, Node::start(&server).await);
    there.add("ada").await;
    here.catch_up().await;
    here.clock.advance(server.settings().stale_for);
    here.catch_up().await;
    here.following = None;
    there.add("zoe").await;
    for (user, stays) in [("eve", false), ("zoe", true)] {
        let limits = TokenLimits::default();
        let new = NewToken::parse("cron", limits, Duration::from_hours(24)).unwrap();
        let account = AccountRef::of_users_file(user);
        here.tokens
            .make(account, &unseen_user(), new)
            .await
            .unwrap();
        assert_eq!(here.accounts.active(&AccountRef::of_users_file(user)), None);
        if !stays {
            continue;
        }
        let mut tick = pin!(here.callers.tick_tokens());
        assert!(poll!(&mut tick).is_pending(), "it asks the store");
        let _following = here.following();
        timeout(SOON, tick).await.unwrap();
    }
    let left: Vec<_> = here.tokens.all();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].user(), "zoe");
}
