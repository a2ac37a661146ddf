//! What a place to keep sessions has to do.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::Backend;
use super::data::{DataChange, DataError, SessionData};
use super::id::SessionKey;
use super::memory::Memory;
use crate::auth::CredentialStamp;
use crate::clock::Timestamp;

/// One session as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: SessionKey,
    pub(crate) user: String,
    /// Groups and e-mail at the login; what counts now says the users file.
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    /// How they signed in.
    pub(crate) method: String,
    /// The password they signed in with: when it changes, the session ends (SEC-51).
    pub(crate) credential: CredentialStamp,
    /// When they signed in.
    pub(crate) created: Timestamp,
    pub(crate) last_accessed: Timestamp,
    /// The end of the lifetime, whatever the session does.
    pub(crate) expires: Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) user_agent: String,
    pub(crate) data: SessionData,
    /// Goes up with each change of `data`.
    pub(crate) revision: u64,
}

/// A store could not be read or written.
#[derive(Debug)]
pub(crate) enum StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for StoreError {}

/// A store's answer, which may have to wait for a disk or a network.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps records by key. Each call is atomic: of two at once, one sees what the other did.
///
/// A store decides nothing: it hands out what it has, expired or not.
pub(crate) trait SessionStore: Send + Sync {
    fn insert(&self, record: Arc<Record>) -> Answer<'_, ()>;

    fn load<'a>(&'a self, key: &'a SessionKey) -> Answer<'a, Option<Arc<Record>>>;

    /// Gives whether there was one. When this answers, the session never comes back.
    fn remove<'a>(&'a self, key: &'a SessionKey) -> Answer<'a, bool>;

    /// Notes an access; never earlier than one that was noted before. May take effect later.
    fn touch(&self, key: &SessionKey, at: Timestamp);

    /// Applies `change` to the data that is kept now; `None` when there is no such session. A
    /// change that cannot be kept changes nothing.
    fn change_data<'a>(
        &'a self,
        key: &'a SessionKey,
        change: &'a DataChange,
    ) -> Answer<'a, Option<Result<Arc<Record>, DataError>>>;

    fn of_user<'a>(&'a self, user: &'a str) -> Answer<'a, Vec<Arc<Record>>>;

    fn all(&self) -> Answer<'_, Vec<Arc<Record>>>;

    fn count(&self) -> usize;
}

/// The store that the configuration names.
pub(crate) fn open(backend: &Backend) -> Arc<dyn SessionStore> {
    match backend {
        Backend::Memory => Arc::new(Memory::default()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::super::data::{SET, UNSET};
    use super::super::id::SessionId;
    use super::*;

    fn stores() -> Vec<Arc<dyn SessionStore>> {
        [Backend::Memory].iter().map(open).collect()
    }

    fn record(user: &str) -> Arc<Record> {
        let now = Timestamp::from_millis(1_000);
        Arc::new(Record {
            key: SessionId::generate().unwrap().key(),
            user: user.to_owned(),
            groups: vec!["staff".to_owned()],
            email: None,
            method: "password".to_owned(),
            credential: CredentialStamp::of("hash"),
            created: now,
            last_accessed: now,
            expires: now.plus(Duration::from_mins(1)),
            client: IpAddr::from([192, 0, 2, 1]),
            user_agent: "test".to_owned(),
            data: SessionData::default(),
            revision: 0,
        })
    }

    fn change(name: &http::HeaderName, value: &str) -> DataChange {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        DataChange::take(&mut headers).unwrap().unwrap()
    }

    #[tokio::test]
    async fn every_store_keeps_what_it_is_given_until_it_is_removed() {
        for store in stores() {
            let (ada, bob) = (record("ada"), record("bob"));
            store.insert(Arc::clone(&ada)).await.unwrap();
            store.insert(Arc::clone(&bob)).await.unwrap();
            assert_eq!(store.load(&ada.key).await.unwrap(), Some(Arc::clone(&ada)));
            assert_eq!(store.count(), 2);
            assert_eq!(store.of_user("bob").await.unwrap(), [Arc::clone(&bob)]);
            assert!(store.remove(&ada.key).await.unwrap());
            assert!(!store.remove(&ada.key).await.unwrap());
            assert_eq!(store.load(&ada.key).await.unwrap(), None);
            assert_eq!(store.of_user("ada").await.unwrap(), []);
            assert_eq!(store.all().await.unwrap(), [bob]);
        }
    }

    #[tokio::test]
    async fn every_store_applies_parallel_changes_one_by_one() {
        for store in stores() {
            let ada = record("ada");
            store.insert(Arc::clone(&ada)).await.unwrap();
            let changes = (0..20).map(|n| {
                let (store, key) = (Arc::clone(&store), ada.key);
                tokio::spawn(async move {
                    let change = change(&SET, &format!("k{n}={n}"));
                    store
                        .change_data(&key, &change)
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
            let kept = store.load(&ada.key).await.unwrap().unwrap();
            let text = kept.data.header().unwrap().to_str().unwrap().to_owned();
            assert!(
                (0..20).all(|n| text.contains(&format!("k{n}={n}"))),
                "{text}"
            );
            store
                .change_data(&ada.key, &change(&UNSET, "k3"))
                .await
                .unwrap();
            let kept = store.load(&ada.key).await.unwrap().unwrap();
            assert!(
                !kept
                    .data
                    .header()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .contains("k3=")
            );
        }
    }

    #[tokio::test]
    async fn every_store_refuses_a_change_that_does_not_fit_and_keeps_the_rest() {
        for store in stores() {
            let ada = record("ada");
            store.insert(Arc::clone(&ada)).await.unwrap();
            let many: Vec<_> = (0..33).map(|n| format!("k{n}")).collect();
            let refused = store
                .change_data(&ada.key, &change(&SET, &many.join(", ")))
                .await;
            assert_eq!(refused.unwrap(), Some(Err(DataError::TooLarge)));
            assert_eq!(store.load(&ada.key).await.unwrap().unwrap(), ada);
            let gone = store
                .change_data(&record("bob").key, &change(&SET, "a"))
                .await;
            assert_eq!(gone.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn every_store_notes_accesses_and_never_an_earlier_one() {
        for store in stores() {
            let ada = record("ada");
            store.insert(Arc::clone(&ada)).await.unwrap();
            store.touch(&ada.key, Timestamp::from_millis(5_000));
            store.touch(&ada.key, Timestamp::from_millis(4_000));
            let kept = store.load(&ada.key).await.unwrap().unwrap();
            assert_eq!(kept.last_accessed, Timestamp::from_millis(5_000));
        }
    }
}
