use std::future::ready;

use super::*;
use crate::auth::authenticators;
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

fn memory() -> Arc<dyn AuthenticatorStore> {
    authenticators::open(None, &Nodes::alone(), &Clock::system()).unwrap()
}

#[tokio::test]
async fn a_token_is_found_by_its_text_until_it_is_revoked() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (text, made) = all.make(ada(), new("ci")).await.unwrap();
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
    let (text, token) = all.make(ada(), new("ci")).await.unwrap();
    clock.advance(23 * HOUR);
    all.tick(0, |_| true, ready(true)).await;
    assert_eq!(all.check(&token), Ok(()));
    clock.advance(HOUR);
    assert_eq!(all.check(&token), Err(Ended::Expired));
    all.tick(0, |_| true, ready(true)).await;
    all.have_ended().await;
    assert!(all.find(&text).is_some(), "people see that it has expired");
    clock.advance(SHOWN_EXPIRED);
    all.tick(0, |_| true, ready(true)).await;
    assert!(all.find(&text).is_none());
    assert!(store.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn tokens_end_with_their_user_and_with_nobody_else() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (of_ada, _) = all.make(ada(), new("ci")).await.unwrap();
    let bob = AccountRef::of_users_file("bob");
    let (of_bob, _) = all.make(bob.clone(), new("ci")).await.unwrap();
    all.tick(1, |_| true, ready(true)).await;
    assert!(all.find(&of_ada).is_some());
    all.tick(2, |account| *account == bob, ready(true)).await;
    assert!(all.find(&of_ada).is_none());
    assert!(all.find(&of_bob).is_some());
    // Who was removed while the service was down.
    let all = tokens(&store, &clock);
    all.tick(0, |_| false, ready(true)).await;
    assert!(all.find(&of_bob).is_none());
    assert!(store.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn a_use_is_written_down_within_a_minute_and_at_the_end() {
    let (store, clock) = (memory(), Clock::system());
    let all = tokens(&store, &clock);
    let (_, token) = all.make(ada(), new("ci")).await.unwrap();
    let kept = || store.tokens().unwrap()[0].last_used;
    all.note_use(&token, IpAddr::from([127, 0, 0, 1]));
    all.tick(0, |_| true, ready(true)).await;
    assert_eq!(kept(), None);
    assert_eq!(token.last_used(), Some(clock.now()).min(token.last_used()));
    clock.advance(FLUSH_EVERY);
    all.tick(0, |_| true, ready(true)).await;
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
        all.make(ada(), new(&n.to_string())).await.unwrap();
    }
    let refused = all.make(ada(), new("more")).await;
    assert!(matches!(refused, Err(MakeError::TooMany)));
    let bob = AccountRef::of_users_file("bob");
    assert!(all.make(bob, new("more")).await.is_ok());
    clock.advance(24 * HOUR);
    assert!(all.make(ada(), new("more")).await.is_ok());
    assert_eq!(all.of_user("ada").len(), 1);
}
