//! What every store has to keep to, as tests: whoever writes one has them run on it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::AuthenticatorStore;
use crate::auth::api_token::{ApiToken, TokenRecord};
use crate::auth::incarnation::UserId;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, Scope};
use crate::request::Networks;

/// The suite, each test on a new store: of what it lives in, and the store.
macro_rules! conformance_tests {
    ($open:expr) => {
        conformance_tests! { $open =>
            what_is_kept_stays_until_it_is_removed,
            of_two_uses_the_later_one_is_kept,
            a_use_brings_nothing_back,
            many_at_once_are_all_kept,
            whose_a_token_is_is_written_down_once,
        }
    };
    ($open:expr => $($test:ident,)+) => {
        mod conformance {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    let (_place, store) = $open;
                    $crate::auth::authenticators::conformance::$test(store).await;
                }
            )+
        }
    };
}
pub(super) use conformance_tests;

/// A token of a user, of the 1970s.
pub(super) fn record(user: &str) -> Arc<TokenRecord> {
    let scope = Scope::new(
        vec!["wiki".to_owned()],
        vec!["/api".to_owned()],
        vec![Method::GET, "REPORT".parse().unwrap()],
        Networks::new(vec!["10.0.0.0/8".parse().unwrap()]),
    );
    let created = Timestamp::from_millis(1000);
    Arc::new(TokenRecord {
        key: ApiToken::generate().unwrap().key(),
        account: AccountRef::of_users_file(user),
        user_id: UserId::Is("e-42".into()),
        name: "calendar \u{1f980}".into(),
        scope: scope.into(),
        created,
        expires: created.plus(Duration::from_hours(24)),
        last_used: None,
    })
}

pub(super) async fn all(store: &dyn AuthenticatorStore) -> Vec<TokenRecord> {
    let mut tokens = store.tokens().unwrap();
    if let Some(shared) = store.shared() {
        let listed = shared.changes(None).await.unwrap().unwrap();
        tokens = shared.read(&listed.keys).await.unwrap().tokens;
    }
    tokens.sort_by_key(|token| token.key);
    tokens
}

pub(super) async fn what_is_kept_stays_until_it_is_removed(store: Arc<dyn AuthenticatorStore>) {
    assert_eq!(all(&*store).await, []);
    let (ada, bob) = (record("ada"), record("bob"));
    store.insert_token(Arc::clone(&ada)).await.unwrap();
    store.insert_token(Arc::clone(&bob)).await.unwrap();
    let mut both = vec![(*ada).clone(), (*bob).clone()];
    both.sort_by_key(|token| token.key);
    assert_eq!(all(&*store).await, both);
    let keys = vec![ada.key, record("eve").key, ada.key];
    assert_eq!(store.remove_tokens(keys).await, Ok(1));
    assert_eq!(store.remove_tokens(vec![ada.key]).await, Ok(0));
    assert_eq!(all(&*store).await, [(*bob).clone()]);
}

pub(super) async fn of_two_uses_the_later_one_is_kept(store: Arc<dyn AuthenticatorStore>) {
    let ada = record("ada");
    store.insert_token(Arc::clone(&ada)).await.unwrap();
    for at in [7_000, 9_000, 8_000] {
        let used = vec![(ada.key, Timestamp::from_millis(at))];
        store.touch_tokens(used).await.unwrap();
    }
    let kept = all(&*store).await;
    assert_eq!(kept[0].last_used, Some(Timestamp::from_millis(9_000)));
}

pub(super) async fn a_use_brings_nothing_back(store: Arc<dyn AuthenticatorStore>) {
    let ada = record("ada");
    store.insert_token(Arc::clone(&ada)).await.unwrap();
    store.remove_tokens(vec![ada.key]).await.unwrap();
    let used = vec![(ada.key, Timestamp::from_millis(7_000))];
    store.touch_tokens(used).await.unwrap();
    assert_eq!(all(&*store).await, []);
    store.insert_token(Arc::clone(&ada)).await.unwrap();
    assert_eq!(all(&*store).await, [(*ada).clone()], "never used");
}

pub(super) async fn many_at_once_are_all_kept(store: Arc<dyn AuthenticatorStore>) {
    let tasks = (0..20).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.insert_token(record("ada")).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!(all(&*store).await.len(), 20);
}

pub(super) async fn whose_a_token_is_is_written_down_once(store: Arc<dyn AuthenticatorStore>) {
    let old = TokenRecord {
        user_id: UserId::Unknown,
        ..(*record("ada")).clone()
    };
    let bob = record("bob");
    store.insert_token(Arc::new(old.clone())).await.unwrap();
    store.insert_token(Arc::clone(&bob)).await.unwrap();
    let gone = record("eve").key;
    for id in [UserId::Is("e-7".into()), UserId::Unset] {
        let users = [old.key, bob.key, gone].map(|key| (key, id.clone()));
        store.set_users(users.into()).await.unwrap();
    }
    let kept = all(&*store).await;
    let id_of = |key| {
        kept.iter()
            .find(|token| token.key == key)
            .unwrap()
            .user_id
            .clone()
    };
    assert_eq!(kept.len(), 2, "nothing comes back");
    assert_eq!(id_of(old.key), UserId::Is("e-7".into()));
    assert_eq!(id_of(bob.key), bob.user_id);
}
