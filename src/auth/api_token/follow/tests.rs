//! Two nodes on a real server.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::api_token::{
    ApiToken, Ended, MakeError, NewToken, Token, TokenLimits, upkeep::FLUSH_EVERY,
};
use crate::auth::authenticators;
use crate::auth::incarnation::Incarnation;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::principal::AccountRef;
use crate::redis::Settings;
use crate::redis::test_server::TestServer;

const SOON: Duration = Duration::from_secs(20);

struct Node {
    tokens: Arc<ApiTokens>,
    clock: Clock,
    _following: AbortOnDropHandle<()>,
}

impl Node {
    async fn start(settings: Settings) -> Self {
        let clock = Clock::system();
        let nodes = Nodes::open(Some(&Arc::new(settings)), &clock).unwrap();
        let store = authenticators::open(None, &nodes, &clock).unwrap();
        let tokens = Arc::new(ApiTokens::open(store, clock.clone()).unwrap());
        assert_eq!(tokens.check_known(), Err(StoreError::Away), "not yet");
        let followed = Arc::clone(&tokens);
        let following = tokio::spawn(async move { followed.follow().await });
        let node = Self {
            tokens,
            clock,
            _following: AbortOnDropHandle::new(following),
        };
        node.comes("to know the tokens", || node.tokens.is_current())
            .await;
        node
    }

    async fn two(server: &TestServer, stale_for: Duration) -> [Self; 2] {
        let mut settings = server.settings();
        settings.stale_for = stale_for;
        let nodes = [Self::start(settings.clone()), Self::start(settings)];
        let [first, second] = nodes;
        let (first, second) = tokio::join!(first, second);
        [first, second]
    }

    async fn make(&self, user: &str) -> (ApiToken, Arc<Token>) {
        let new = NewToken::parse("ci", TokenLimits::default(), Duration::from_hours(24));
        let account = AccountRef::of_users_file(user);
        let user = Incarnation::default();
        self.tokens
            .make(account, &user, new.unwrap())
            .await
            .unwrap()
    }

    async fn tick(&self, generation: u64, is_active: impl Fn(&AccountRef) -> bool) {
        let over = (self.tokens).over(generation, |token| !is_active(token.account()));
        self.tokens.tick(over).await;
    }

    async fn comes(&self, what: &str, condition: impl Fn() -> bool) {
        let comes = async {
            while !condition() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let came = timeout(SOON, comes).await;
        assert!(came.is_ok(), "it does not come {what}");
    }

    async fn comes_to_know(&self, text: &ApiToken) -> Arc<Token> {
        self.comes("to know the token", || self.tokens.find(text).is_some())
            .await;
        self.tokens.find(text).unwrap()
    }

    async fn comes_to_forget(&self, text: &ApiToken) {
        self.comes("to forget the token", || self.tokens.find(text).is_none())
            .await;
    }
}

#[tokio::test]
async fn rel_18_a_token_that_is_made_and_revoked_on_one_node_is_so_on_the_other() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (text, made) = here.make("ada").await;
    let found = there.comes_to_know(&text).await;
    assert_eq!(found.key(), made.key());
    assert_eq!(found.user(), "ada");
    assert_eq!(there.tokens.check(&found), Ok(()));
    assert_eq!(there.tokens.of_user("ADA").len(), 1);
    sleep(2 * EVERY).await;
    assert!(Arc::ptr_eq(&here.tokens.find(&text).unwrap(), &made));

    assert_eq!(there.tokens.revoke(vec![made.key()]).await, Ok(1));
    here.comes_to_forget(&text).await;
    assert_eq!(here.tokens.check(&made), Err(Ended::Revoked));
    timeout(SOON, here.tokens.have_ended()).await.unwrap();
    // A node that starts later.
    let (text, _) = here.make("bob").await;
    let late = Node::start(server.settings()).await;
    assert!(late.tokens.find(&text).is_some());
    assert_eq!(late.tokens.count(), 1);
}

#[tokio::test]
async fn rel_10_without_the_store_known_tokens_go_on_for_a_while_and_unknown_ones_are_not_refused()
{
    let Some(server) = TestServer::start() else {
        return;
    };
    let stale_for = Duration::from_secs(3);
    let [here, there] = Node::two(&server, stale_for).await;
    let (of_ada, token) = here.make("ada").await;
    let (of_bob, _) = here.make("bob").await;
    there.comes_to_know(&of_ada).await;
    there.comes_to_know(&of_bob).await;
    server.stop();
    here.comes("to doubt", || !here.tokens.is_current()).await;
    assert_eq!(here.tokens.check(&token), Ok(()));
    let new = NewToken::parse("ci", TokenLimits::default(), Duration::from_hours(24)).unwrap();
    let refused = here
        .tokens
        .make(token.account().clone(), &Incarnation::default(), new)
        .await;
    assert!(matches!(refused, Err(MakeError::Store(StoreError::Away))));
    let bobs = here.tokens.find(&of_bob).unwrap().key();
    let revoked = here.tokens.revoke(vec![bobs]).await;
    assert_eq!(revoked, Err(StoreError::NotEverywhere(stale_for)));
    assert!(here.tokens.find(&of_bob).is_none());
    timeout(SOON, here.tokens.have_ended()).await.unwrap();

    let is_over = || here.tokens.check(&token) == Err(Ended::Unsure);
    here.comes("to know nothing", is_over).await;
    assert_eq!(here.tokens.check_known(), Err(StoreError::Away));
    timeout(SOON, here.tokens.have_ended()).await.unwrap();

    server.go_on();
    here.comes("to know", || here.tokens.is_current()).await;
    assert_eq!(here.tokens.check(&token), Ok(()));
    // What was done meanwhile reaches the others, and what may have been made is nobody's.
    here.tick(0, |_| true).await;
    there.comes_to_forget(&of_bob).await;
    there.comes("to one", || there.tokens.count() == 1).await;
    assert!(here.tokens.find(&of_bob).is_none());
    assert_eq!(here.tokens.count(), 1);
}

const SEALED: &str = "vestibule:{tokens}:sealed";
const USERS: &str = "vestibule:{tokens}:users";
const VERSION: &str = "vestibule:{tokens}:version";

/// What a replica, or a copy on a disk, has of it now.
fn keep(server: &TestServer) {
    for key in [SEALED, USERS, VERSION] {
        let copied = server.ask(&["COPY", key, &format!("{key}:kept"), "REPLACE"]);
        assert_eq!(copied.trim(), "1", "{key}");
    }
}

/// That server takes over.
fn restore(server: &TestServer) {
    for key in [SEALED, USERS, VERSION] {
        server.ask(&["RENAME", &format!("{key}:kept"), key]);
    }
}

#[tokio::test]
async fn rel_18_a_revocation_that_a_new_master_has_not_heard_of_is_written_again() {
    let Some(server) = TestServer::start() else {
        return;
    };
    // Whether the node that has revoked it is there to say so again, or only one that has heard of it.
    for survives in [true, false] {
        let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
        let (text, token) = here.make("ada").await;
        there.comes_to_know(&text).await;
        let (kept, _) = here.make("bob").await;
        there.comes_to_know(&kept).await;
        keep(&server);
        here.tokens.revoke(vec![token.key()]).await.unwrap();
        there.comes_to_forget(&text).await;
        let others = if survives {
            vec![here, there]
        } else {
            drop(here);
            vec![there]
        };
        restore(&server);
        let is_gone = || server.ask(&["HLEN", SEALED]).trim() == "1";
        others[0].comes("to remove it again", is_gone).await;
        for node in &others {
            node.comes_to_know(&kept).await;
            assert!(node.tokens.find(&text).is_none());
        }
        server.ask(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn rel_18_what_is_put_back_into_an_emptied_store_is_good_again() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (text, _) = here.make("ada").await;
    there.comes_to_know(&text).await;
    keep(&server);
    server.ask(&["DEL", SEALED, USERS, VERSION]);
    here.comes_to_forget(&text).await;
    there.comes_to_forget(&text).await;
    let (between, _) = there.make("bob").await;
    here.comes_to_know(&between).await;
    restore(&server);
    for node in [&here, &there] {
        node.comes_to_know(&text).await;
        node.comes_to_forget(&between).await;
    }
}

#[tokio::test]
async fn an_idle_node_asks_for_nothing_but_the_version() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (text, _) = here.make("ada").await;
    there.comes_to_know(&text).await;
    let looks = || {
        let stats = server.ask(&["INFO", "commandstats"]);
        let (_, hkeys) = stats.split_once("cmdstat_hkeys:calls=").unwrap();
        hkeys.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    sleep(3 * EVERY).await; // both have looked at what was made
    let before = looks();
    for _ in 0..4 {
        here.tick(0, |_| true).await;
        there.tick(0, |_| true).await;
        sleep(EVERY).await;
    }
    assert_eq!(looks(), before);
}

#[tokio::test]
async fn rel_18_an_emptied_store_has_no_tokens() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (text, _) = here.make("ada").await;
    there.comes_to_know(&text).await;
    server.ask(&["FLUSHALL"]);
    for node in [&here, &there] {
        node.comes_to_forget(&text).await;
    }
    let (text, _) = there.make("ada").await;
    here.comes_to_know(&text).await;
    // Before the node that made it has looked: the store is as that one has seen it last.
    server.ask(&["FLUSHALL"]);
    here.comes_to_forget(&text).await;
    there.comes_to_forget(&text).await;
    let (text, _) = here.make("bob").await;
    server.ask(&["FLUSHALL"]);
    here.comes_to_forget(&text).await;
}

#[tokio::test]
async fn users_who_are_gone_lose_their_tokens_on_every_node_also_when_one_starts() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (of_ada, _) = here.make("ada").await;
    let (of_bob, _) = here.make("bob").await;
    there.comes_to_know(&of_bob).await;
    there.tick(7, |_| true).await;
    there.tick(8, |account| account.subject() == "bob").await;
    here.comes_to_forget(&of_ada).await;
    assert!(here.tokens.find(&of_bob).is_some());
    // Who was removed while no node was running.
    let late = Node::start(server.settings()).await;
    late.tick(0, |_| false).await;
    here.comes_to_forget(&of_bob).await;
}

#[tokio::test]
async fn every_node_comes_to_know_when_a_token_was_last_used() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [here, there] = Node::two(&server, Duration::from_secs(30)).await;
    let (text, token) = here.make("ada").await;
    let elsewhere = there.comes_to_know(&text).await;
    here.tokens.note_use(&token, IpAddr::from([127, 0, 0, 1]));
    here.tick(0, |_| true).await;
    there.tick(0, |_| true).await;
    assert_eq!(elsewhere.last_used(), None, "it is written within a minute");
    for node in [&here, &there] {
        node.clock.advance(FLUSH_EVERY);
        node.tick(0, |_| true).await;
    }
    assert_eq!(elsewhere.last_used(), token.last_used());
    assert_eq!(elsewhere.take_unflushed(), None, "it is there already");
    // What could not be written is written later.
    server.stop();
    here.clock.advance(FLUSH_EVERY);
    here.tokens.note_use(&token, IpAddr::from([127, 0, 0, 1]));
    here.tick(0, |_| true).await;
    server.go_on();
    here.comes("to know", || here.tokens.is_current()).await;
    for node in [&here, &there] {
        node.clock.advance(FLUSH_EVERY);
        node.tick(0, |_| true).await;
    }
    assert_eq!(elsewhere.last_used(), token.last_used());
    let late = Node::start(server.settings()).await;
    let found = late.tokens.find(&text).unwrap();
    assert_eq!(found.last_used(), token.last_used());
}
