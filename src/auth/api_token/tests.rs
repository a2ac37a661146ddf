use std::time::Duration;

use super::upkeep::{FLUSH_EVERY, SHOWN_EXPIRED};
use super::*;
use crate::auth::authenticators;
use crate::auth::incarnation::UserId;
use crate::nodes::Nodes;

const HOUR: Duration = Duration::from_hours(1);

fn new(name: &str) -> NewToken {
    NewToken::parse(name, TokenLimits::default(), 24 * HOUR).unwrap()
}

fn ada() -> AccountRef {
    AccountRef::of_users_file("Ada")
}

fn tokens(store: &Arc<dyn AuthenticatorStore>, clock: &Clock) -> ApiTokens {
    ApiTokens::open(Arc::clone(store), clock.clone()).unwrap()
}

/// Without an id, and there from the start.
fn any() -> Incarnation {
    Incarnation::default()
}

async fn tick(all: &ApiTokens, generation: u64, is_active: impl Fn(&AccountRef) -> bool) {
    let over = all.over(generation, |token| !is_active(token.account()));
    all.tick(over).await;
}

fn memory() -> Arc<dyn AuthenticatorStore> {
    authenticators::open(None, &Nodes::alone(), &Clock::system()).unwrap()
}

#[tokio::test]
async fn a_token_is_found_by_its_text_until_it_is_revoked() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (text, made) = all.make(ada(), &any(), new("ci")).await.unwrap();
    let found = all.find(&text).unwrap();
    assert_eq!(found.key(), made.key());
    assert_eq!(all.check(&found), Ok(()));
    assert_eq!(all.of_user("ADA").len(), 1);
    assert!(all.find(&ApiToken::generate().unwrap()).is_none());

    assert_eq!(all.revoke(vec![made.key()]).await, Ok(1));
    assert!(all.find(&text).is_none());
    assert_eq!(
        all.check(&found),
        Err(Ended::Revoked),
        "who holds it sees that"
    );
    assert_eq!(all.revoke(vec![made.key()]).await, Ok(0));
    assert!(store.tokens().unwrap().is_empty());
    all.have_ended().await;
}

#[tokio::test]
async fn sec_96_a_token_expires_and_its_streams_are_judged_again() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (text, token) = all.make(ada(), &any(), new("ci")).await.unwrap();
    clock.advance(23 * HOUR);
    tick(&all, 0, |_| true).await;
    assert_eq!(all.check(&token), Ok(()));
    clock.advance(HOUR);
    assert_eq!(all.check(&token), Err(Ended::Expired));
    tick(&all, 0, |_| true).await;
    all.have_ended().await;
    assert!(all.find(&text).is_some(), "people see that it has expired");
    clock.advance(SHOWN_EXPIRED);
    tick(&all, 0, |_| true).await;
    assert!(all.find(&text).is_none());
    assert!(store.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn tokens_end_with_their_user_and_with_nobody_else() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (of_ada, _) = all.make(ada(), &any(), new("ci")).await.unwrap();
    let bob = AccountRef::of_users_file("bob");
    let (of_bob, _) = all.make(bob.clone(), &any(), new("ci")).await.unwrap();
    tick(&all, 1, |_| true).await;
    assert!(all.find(&of_ada).is_some());
    tick(&all, 2, |account| *account == bob).await;
    assert!(all.find(&of_ada).is_none());
    assert!(all.find(&of_bob).is_some());
    // Who was removed while the service was down.
    let all = tokens(&store, &clock);
    tick(&all, 0, |_| false).await;
    assert!(all.find(&of_bob).is_none());
    assert!(store.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn a_use_is_written_down_within_a_minute_and_at_the_end() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (_, token) = all.make(ada(), &any(), new("ci")).await.unwrap();
    let kept = || store.tokens().unwrap()[0].last_used;
    all.note_use(&token, IpAddr::from([127, 0, 0, 1]));
    tick(&all, 0, |_| true).await;
    assert_eq!(kept(), None);
    assert_eq!(token.last_used(), Some(clock.now()).min(token.last_used()));
    clock.advance(FLUSH_EVERY);
    tick(&all, 0, |_| true).await;
    let first = kept();
    assert_eq!(first, token.last_used());
    clock.advance(HOUR);
    all.note_use(&token, IpAddr::from([127, 0, 0, 1]));
    all.close().await;
    assert!(kept() > first);
}

#[tokio::test]
async fn a_user_has_only_so_many_tokens_and_expired_ones_make_room() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    for n in 0..MAX_PER_USER {
        all.make(ada(), &any(), new(&n.to_string())).await.unwrap();
    }
    let refused = all.make(ada(), &any(), new("more")).await;
    assert!(matches!(refused, Err(MakeError::TooMany)));
    let bob = AccountRef::of_users_file("bob");
    assert!(all.make(bob, &any(), new("more")).await.is_ok());
    clock.advance(24 * HOUR);
    assert!(all.make(ada(), &any(), new("more")).await.is_ok());
    assert_eq!(all.of_user("ada").len(), 1);
}

/// As accounts judge at this generation.
async fn tick_with(all: &ApiTokens, generation: u64, user: &Incarnation) {
    all.tick(all.over(generation, |token| !token.is_of(user)))
        .await;
}

fn incarnation(id: &str, since: u64) -> Incarnation {
    let id = UserId::of_field(Some(id)).unwrap();
    Incarnation { id, since }
}

#[tokio::test]
async fn sec_96_a_token_is_of_one_user_and_not_of_the_next_with_the_name() {
    let clock = Clock::system();
    for (of, next, is_the_same) in [
        (incarnation("a", 0), incarnation("a", 0), true),
        (incarnation("a", 0), incarnation("b", 0), false),
        (incarnation("a", 0), incarnation("", 0), false),
        (incarnation("", 0), incarnation("a", 0), false),
        (incarnation("", 0), incarnation("", 0), true),
        (incarnation("", 0), incarnation("", 1), false),
        (incarnation("a", 3), incarnation("a", 7), false),
    ] {
        let store = memory();
        let all = tokens(&store, &clock);
        let (text, token) = all.make(ada(), &of, new("ci")).await.unwrap();
        tick_with(&all, 7, &next).await;
        assert_eq!(all.find(&text).is_some(), is_the_same, "{of:?} {next:?}");
        assert_eq!(token.is_revoked(), !is_the_same);
        // After a start, what is not written down is not known: when they came.
        let all = tokens(&store, &clock);
        tick_with(&all, 0, &next).await;
        assert_eq!(all.find(&text).is_some(), is_the_same, "{of:?} {next:?}");
    }
}

#[tokio::test]
async fn a_user_who_went_and_came_between_two_looks_has_no_token() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (text, _) = all.make(ada(), &any(), new("ci")).await.unwrap();
    // Read from the store by a process that has just started, or by another node.
    let all = tokens(&store, &clock);
    tick_with(&all, 0, &any()).await;
    tick_with(&all, 9, &incarnation("", 8)).await;
    assert!(all.find(&text).is_none());
    assert!(store.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn rel_19_tokens_of_an_earlier_version_stay_good_and_are_tied_to_who_has_the_name() {
    let (store, clock) = (memory(), Clock::system());
    let earlier = Incarnation {
        id: UserId::Unknown,
        since: 0,
    };
    let (text, _) = tokens(&store, &clock)
        .make(ada(), &earlier, new("ci"))
        .await
        .unwrap();
    let kept = || store.tokens().unwrap()[0].user_id.clone();
    assert_eq!(kept(), UserId::Unknown);
    let all = tokens(&store, &clock);
    tick_with(&all, 0, &incarnation("a", 0)).await;
    assert!(all.find(&text).is_some());
    assert_eq!(kept(), UserId::Unknown, "not yet");
    clock.advance(FLUSH_EVERY);
    tick_with(&all, 0, &incarnation("a", 0)).await;
    assert_eq!(kept(), UserId::Is("a".into()));
    // A record of the user that an earlier version has written says nothing.
    tick_with(&all, 1, &earlier).await;
    assert!(all.find(&text).is_some());
    let all = tokens(&store, &clock);
    tick_with(&all, 0, &incarnation("b", 0)).await;
    assert!(all.find(&text).is_none());
}

#[tokio::test]
async fn sec_96_a_token_that_is_made_for_somebody_who_has_just_gone_ends_with_the_next_look() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (proved, next) = (incarnation("a", 0), incarnation("b", 7));
    // The accounts have changed while the password was verified, and were looked at.
    tick_with(&all, 7, &next).await;
    let (text, _) = all.make(ada(), &proved, new("ci")).await.unwrap();
    tick_with(&all, 7, &next).await;
    assert!(all.find(&text).is_none());
    assert!(store.tokens().unwrap().is_empty());
}
