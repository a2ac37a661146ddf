//! What every store has to keep to, as tests: whoever writes one has them run on it.

pub(in crate::session) mod shared;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::{End, Removed, SessionStore, carry_through};
use crate::clock::Timestamp;
use crate::request::Host;
use crate::session::data::{DataChange, DataError, SET, UNSET};
use crate::session::id::SessionKey;
use crate::session::record::tests::record;
use crate::session::record::{HostId, Record};

/// The suite, each test on a new store: of what it lives in, and the store.
macro_rules! conformance_tests {
    ($open:expr) => {
        conformance_tests! { $open =>
            what_is_kept_stays_until_it_is_removed,
            parallel_changes_are_applied_one_by_one,
            sec_88_an_old_session_is_bound_to_the_host_of_its_first_use,
            a_change_that_does_not_fit_changes_nothing,
            accesses_are_kept_and_never_an_earlier_one,
            records_are_given_out_in_the_order_of_their_keys,
            a_store_can_be_emptied_and_used_again,
            sec_46_what_is_being_removed_is_given_out_no_more,
            sec_46_a_removal_that_is_carried_through_is_done_though_nobody_waits,
            names_of_users_have_no_case,
            what_is_ended_here_is_not_told,
            sec_88_each_id_of_a_session_finds_it_and_ends_with_it,
            sec_52_there_are_never_more_sessions_than_there_may_be,
        }
    };
    ($open:expr => $($test:ident,)+) => {
        mod conformance {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    let (_place, store) = $open;
                    $crate::session::store::conformance::$test(store).await;
                }
            )+
        }
    };
}
pub(in crate::session) use conformance_tests;

fn wiki() -> Arc<str> {
    "wiki".into()
}

async fn all(store: &dyn SessionStore, count: usize) -> Vec<Arc<Record>> {
    let range = store.range(Bound::Unbounded, SessionKey::LAST, count);
    range.await.unwrap()
}

pub(in crate::session) fn change(name: &http::HeaderName, value: &str) -> DataChange {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(value).unwrap());
    DataChange::take(&mut headers).unwrap().unwrap()
}

pub(in crate::session) async fn what_is_kept_stays_until_it_is_removed(
    store: Arc<dyn SessionStore>,
) {
    let (ada, bob) = (record("ada"), record("bob"));
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.insert(Arc::clone(&bob)).await.unwrap();
    assert_eq!(store.load(ada.key).await.unwrap(), Some(Arc::clone(&ada)));
    assert_eq!(store.count().await, Ok(2));
    assert_eq!(
        store.of_user("bob".into()).await.unwrap(),
        [Arc::clone(&bob)]
    );
    assert_eq!(store.remove(vec![ada.key]).await.unwrap(), 1);
    assert_eq!(store.remove(vec![ada.key]).await.unwrap(), 0);
    assert_eq!(store.load(ada.key).await.unwrap(), None);
    assert_eq!(store.of_user("ada".into()).await.unwrap(), []);
    assert_eq!(all(&*store, 9).await, [bob]);
}

pub(in crate::session) async fn parallel_changes_are_applied_one_by_one(
    store: Arc<dyn SessionStore>,
) {
    let ada = record("ada");
    store.insert(Arc::clone(&ada)).await.unwrap();
    let changes = (0..20).map(|n| {
        let (store, key) = (Arc::clone(&store), ada.key);
        tokio::spawn(async move {
            let change = change(&SET, &format!("k{n}={n}"));
            store
                .change_data(key, wiki(), change)
                .await
                .unwrap()
                .unwrap()
                .unwrap()
                .revision
        })
    });
    let mut revisions = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        revisions.push(change.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
    let kept = store.load(ada.key).await.unwrap().unwrap();
    let text = kept
        .data
        .header("wiki")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        (0..20).all(|n| text.contains(&format!("k{n}={n}"))),
        "{text}"
    );
    store
        .change_data(ada.key, wiki(), change(&UNSET, "k3"))
        .await
        .unwrap();
    let kept = store.load(ada.key).await.unwrap().unwrap();
    assert!(
        !kept
            .data
            .header("wiki")
            .unwrap()
            .to_str()
            .unwrap()
            .contains("k3=")
    );
}

pub(in crate::session) async fn sec_88_an_old_session_is_bound_to_the_host_of_its_first_use(
    store: Arc<dyn SessionStore>,
) {
    let host = |name| Host::parse(name).unwrap();
    let old = Arc::new(Record {
        is_old: true,
        ids: vec![],
        ..Arc::unwrap_or_clone(record("ada"))
    });
    let bob = record("bob");
    store.insert(Arc::clone(&old)).await.unwrap();
    store.insert(Arc::clone(&bob)).await.unwrap();
    let bind = |key, name| store.bind(key, host(name), wiki());
    for name in ["wiki.test", "other.test"] {
        let bound = bind(old.key, name).await.unwrap().unwrap();
        assert_eq!(bound.host_of(&old.key), Some(&host("wiki.test")), "{name}");
        assert_eq!(store.load(old.key).await.unwrap(), Some(bound));
    }
    assert_eq!(bind(bob.key, "other.test").await, Ok(Some(bob)));
    assert_eq!(bind(record("eve").key, "other.test").await, Ok(None));
}

pub(in crate::session) async fn a_change_that_does_not_fit_changes_nothing(
    store: Arc<dyn SessionStore>,
) {
    let ada = record("ada");
    store.insert(Arc::clone(&ada)).await.unwrap();
    let many: Vec<_> = (0..33).map(|n| format!("k{n}")).collect();
    let refused = store
        .change_data(ada.key, wiki(), change(&SET, &many.join(", ")))
        .await;
    assert_eq!(refused.unwrap(), Some(Err(DataError::TooLarge)));
    assert_eq!(store.load(ada.key).await.unwrap().unwrap(), ada);
    let gone = store
        .change_data(record("bob").key, wiki(), change(&SET, "a"))
        .await;
    assert_eq!(gone.unwrap(), None);
}

pub(in crate::session) async fn accesses_are_kept_and_never_an_earlier_one(
    store: Arc<dyn SessionStore>,
) {
    let ada = record("ada");
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.touch(ada.key, Timestamp::from_millis(5_000));
    store.touch(ada.key, Timestamp::from_millis(4_000));
    let kept = store.load(ada.key).await.unwrap().unwrap();
    assert_eq!(kept.last_accessed, Timestamp::from_millis(5_000));
    let nobody = record("eve").key;
    store.touch(nobody, Timestamp::from_millis(6_000));
    assert_eq!(store.load(nobody).await.unwrap(), None);
}

pub(in crate::session) async fn records_are_given_out_in_the_order_of_their_keys(
    store: Arc<dyn SessionStore>,
) {
    let mut records: Vec<_> = (0..10).map(|_| record("ada")).collect();
    for record in &records {
        store.insert(Arc::clone(record)).await.unwrap();
    }
    records.sort_by_key(|record| record.key);
    assert_eq!(all(&*store, 99).await, records);
    assert_eq!(all(&*store, 4).await, records[..4]);
    let range = |first, last| store.range(first, last, 99);
    let (third, last) = (records[2].key, records[9].key);
    let from = range(Bound::Included(third), last).await.unwrap();
    assert_eq!(from, records[2..]);
    let after = range(Bound::Excluded(third), records[5].key).await.unwrap();
    assert_eq!(after, records[3..=5]);
    for first in [Bound::Included(last), Bound::Excluded(last)] {
        assert_eq!(range(first, third).await.unwrap(), []);
    }
    assert_eq!(range(Bound::Excluded(last), last).await.unwrap(), []);
}

pub(in crate::session) async fn a_store_can_be_emptied_and_used_again(
    store: Arc<dyn SessionStore>,
) {
    let (ada, bob, eve) = (record("ada"), record("bob"), record("eve"));
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.insert(Arc::clone(&bob)).await.unwrap();
    assert_eq!(store.clear().await, Ok(Removed::all(2)));
    assert_eq!(store.clear().await, Ok(Removed::all(0)));
    assert_eq!(store.count().await, Ok(0));
    assert_eq!(all(&*store, 9).await, []);
    assert_eq!(store.of_user("ada".into()).await.unwrap(), []);
    store.touch(ada.key, Timestamp::from_millis(9_000));
    store.insert(Arc::clone(&eve)).await.unwrap();
    assert_eq!(store.load(ada.key).await.unwrap(), None);
    assert_eq!(store.load(eve.key).await.unwrap(), Some(eve));
}

pub(in crate::session) async fn sec_46_what_is_being_removed_is_given_out_no_more(
    store: Arc<dyn SessionStore>,
) {
    let (ada, bob) = (record("ada"), record("bob"));
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.insert(Arc::clone(&bob)).await.unwrap();
    // Before the answers, and whether anybody waits for them or not.
    let removal = store.remove(vec![ada.key]);
    assert_eq!(store.load(ada.key).await.unwrap(), None);
    assert_eq!(store.of_user("ada".into()).await.unwrap(), []);
    assert_eq!(all(&*store, 1).await, [bob]);
    assert_eq!(removal.await.unwrap(), 1);
    let clearing = store.clear();
    assert_eq!(all(&*store, 9).await, []);
    assert_eq!(clearing.await, Ok(Removed::all(1)));
}

pub(in crate::session) async fn sec_46_a_removal_that_is_carried_through_is_done_though_nobody_waits(
    store: Arc<dyn SessionStore>,
) {
    let records = ["ada"; 4].map(record);
    for record in &records {
        store.insert(Arc::clone(record)).await.unwrap();
    }
    let all_but = async |left| {
        let until = async {
            while store.count().await != Ok(left) {
                tokio::task::yield_now().await;
            }
        };
        let until = tokio::time::timeout(Duration::from_secs(5), until).await;
        until.expect("they are removed");
    };
    drop(carry_through(store.remove(vec![records[0].key])));
    assert_eq!(store.load(records[0].key).await, Ok(None));
    all_but(3).await;
    drop(carry_through(store.collect(vec![records[1].key])));
    all_but(2).await;
    drop(carry_through(store.clear()));
    all_but(0).await;
}

pub(in crate::session) async fn names_of_users_have_no_case(store: Arc<dyn SessionStore>) {
    let (ada, namesake) = (record("Ada"), record("ada"));
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.insert(Arc::clone(&namesake)).await.unwrap();
    store.insert(record("adam")).await.unwrap();
    for name in ["ada", "ADA"] {
        let mut users: Vec<_> = (store.of_user(name.into()).await.unwrap().iter())
            .map(|record| record.user().to_owned())
            .collect();
        users.sort_unstable();
        assert_eq!(users, ["Ada", "ada"]);
    }
}

pub(in crate::session) async fn what_is_ended_here_is_not_told(store: Arc<dyn SessionStore>) {
    let mut ends = store.ends();
    let ada = record("ada");
    store.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(store.remove(vec![ada.key]).await.unwrap(), 1);
    store.insert(ada).await.unwrap();
    assert_eq!(store.clear().await, Ok(Removed::all(1)));
    while let Ok(end) = ends.try_recv() {
        assert!(matches!(end, End::NoMoreUntil(_)), "{end:?}");
    }
}

pub(in crate::session) async fn sec_88_each_id_of_a_session_finds_it_and_ends_with_it(
    store: Arc<dyn SessionStore>,
) {
    let id = |name: &str| HostId {
        key: record("ada").key,
        host: Host::parse(name).unwrap(),
    };
    let (ada, bob) = (record("ada"), record("bob"));
    let kept_with_two = Record {
        ids: vec![bob.ids[0].clone(), id("wiki.test")],
        ..Record::clone(&bob)
    };
    store.insert(Arc::clone(&ada)).await.unwrap();
    store.insert(Arc::new(kept_with_two.clone())).await.unwrap();
    let ids = ["wiki.test", "metrics.test", "wiki.test"].map(id);
    for (n, id) in ids.iter().enumerate() {
        for _ in 0..2 {
            let added = store.add_id(ada.key, id.clone()).await.unwrap().unwrap();
            assert_eq!((added.key, added.ids.len()), (ada.key, n + 2));
            assert_eq!(added.host_of(&id.key), Some(&id.host));
            assert_eq!(store.load(id.key).await.unwrap(), Some(Arc::clone(&added)));
            assert_eq!(store.load(ada.key).await.unwrap(), Some(added));
        }
    }
    assert_eq!(store.add_id(id("a.test").key, id("b.test")).await, Ok(None));
    assert_eq!(
        store.add_id(ids[0].key, id("b.test")).await,
        Ok(None),
        "an id names no session"
    );
    // Whatever is done to the record leaves its ids alone, and an id is none of its own.
    store.touch(ada.key, Timestamp::from_millis(5_000));
    let changed = store
        .change_data(ada.key, wiki(), change(&SET, "a=1"))
        .await;
    assert_eq!(changed.unwrap().unwrap().unwrap().ids.len(), 4);
    let found = store.load(ids[1].key).await.unwrap().unwrap();
    assert_eq!(found.last_accessed, Timestamp::from_millis(5_000));
    assert_eq!(store.count().await, Ok(2));
    assert_eq!(all(&*store, 9).await.len(), 2);
    assert_eq!(store.of_user("ada".into()).await.unwrap().len(), 1);
    assert_eq!(
        store.remove(vec![ids[0].key]).await.unwrap(),
        0,
        "an id names no session"
    );
    assert_eq!(store.remove(vec![ada.key]).await.unwrap(), 1);
    for id in &ids {
        assert_eq!(store.load(id.key).await.unwrap(), None);
    }
    let other = kept_with_two.ids[1].key;
    assert_eq!(store.load(other).await.unwrap().unwrap().key, bob.key);
    assert_eq!(store.clear().await, Ok(Removed::all(1)));
    assert_eq!(store.load(other).await.unwrap(), None);
}

pub(in crate::session) async fn sec_52_there_are_never_more_sessions_than_there_may_be(
    store: Arc<dyn SessionStore>,
) {
    shared::never_more_than_three(&[store]).await;
}
