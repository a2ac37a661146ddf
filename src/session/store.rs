//! What a place to keep sessions has to do.

use std::fmt;
use std::ops::Bound;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use super::Backend;
use super::data::{DataChange, DataError};
use super::disk::Disk;
use super::id::SessionKey;
use super::memory::Memory;
use super::record::Record;
use crate::clock::Timestamp;
use crate::regular_file::Distrust;
use crate::request::Host;

/// A store could not be read or written; the details are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// There is no room for more.
    Full,
    /// It cannot be reached, or what it holds cannot be read.
    Unavailable,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there is no room on the disk for more sessions",
            Self::Unavailable => "the sessions cannot be read or written",
        })
    }
}

impl std::error::Error for StoreError {}

/// Why sessions cannot be kept where the configuration says.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another process has the file open.
    InUse(PathBuf),
    Io(PathBuf, std::io::Error),
    /// Another user owns the file, and so could have written anything into it.
    Owner(PathBuf, u32),
    /// Others than its owner may read or write it (SEC-79).
    TooOpen(PathBuf, u32),
    /// Another user could put another file in its place (SEC-98).
    Untrusted(Distrust),
}

impl OpenError {
    /// Whether somebody has to mend something before another try makes sense.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(
            self,
            Self::Owner(..) | Self::TooOpen(..) | Self::Untrusted(_)
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another process has the sessions in {} open; stop it, or give this one a \
                 `path` of its own in [session]",
                path.display()
            ),
            Self::Io(path, error) if error.kind() == std::io::ErrorKind::NotFound => write!(
                f,
                "the folder for the sessions file {} is missing; make it, or set `path` in \
                 [session]",
                path.display()
            ),
            Self::Io(path, error) => {
                write!(
                    f,
                    "cannot open the sessions file {}: {error}",
                    path.display()
                )
            }
            Self::Owner(path, owner) => write!(
                f,
                "the sessions file {path} belongs to another user ({owner}); remove it, or do \
                 `chown` to the user that runs vestibule",
                path = path.display()
            ),
            Self::Untrusted(distrust) => write!(f, "the sessions file: {distrust}"),
            Self::TooOpen(path, mode) => write!(
                f,
                "others may open the sessions file {path} (mode {mode:04o}); do `chmod 600 {path}`",
                path = path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::InUse(_) | Self::Owner(..) | Self::TooOpen(..) | Self::Untrusted(_) => None,
        }
    }
}

/// A store's answer, which may have to wait for a disk or a network.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps records by key. Each call is atomic: of two at once, one sees what the other did.
///
/// A store decides nothing: it hands out what it has, expired or not.
pub(crate) trait SessionStore: Send + Sync {
    /// When this answers, the session outlives the process, as far as sessions here do.
    fn insert(&self, record: Arc<Record>) -> Answer<'_, ()>;

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>>;

    /// Gives how many there were. They are gone for this process at once, even if that cannot be
    /// written down; when this answers, they never come back.
    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'_, usize>;

    /// Removes every record, as [`remove`](Self::remove) does.
    fn clear(&self) -> Answer<'_, usize>;

    /// Notes an access; never earlier than one that was noted before. May be lost in a crash for
    /// some seconds.
    fn touch(&self, key: SessionKey, at: Timestamp);

    /// Binds the id of a record that [is old](Record::is_old) to a host, and what it kept for all
    /// apps to the app there. Gives the record as it is then: whoever comes first has bound it.
    /// `None` when there is no such session.
    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>>;

    /// Applies the `change` of an app to its data that is kept now; `None` when there is no such
    /// session. A change that cannot be kept changes nothing.
    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>>;

    /// Names of users have no case.
    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>>;

    /// At most `count` records from one key on, `last` included, in the order of their keys.
    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>>;

    /// How many records there are.
    fn count(&self) -> Answer<'_, usize>;

    /// The latest time that the store has heard of; zero when it has heard of none.
    fn latest(&self) -> Timestamp;

    /// Writes down what is noted, and gives the store back.
    fn close(&self) -> Answer<'_, ()>;
}

/// The store that the configuration names.
pub(crate) fn open(backend: &Backend) -> Result<Arc<dyn SessionStore>, OpenError> {
    Ok(match backend {
        Backend::Memory => Arc::new(Memory::default()),
        Backend::Disk(path) => Arc::new(Disk::open(path)?),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::super::data::{SET, UNSET};
    use super::super::record::tests::record;
    use super::*;

    fn wiki() -> Arc<str> {
        "wiki".into()
    }

    /// Each with the folder that it lives in.
    fn stores() -> Vec<(tempfile::TempDir, Arc<dyn SessionStore>)> {
        let open = |backend: fn(PathBuf) -> Backend| {
            let folder = tempfile::tempdir().unwrap();
            let store = open(&backend(folder.path().join("sessions.redb"))).unwrap();
            (folder, store)
        };
        vec![open(|_| Backend::Memory), open(Backend::Disk)]
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

    #[tokio::test]
    async fn every_store_keeps_what_it_is_given_until_it_is_removed() {
        for (_folder, store) in stores() {
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
    }

    #[tokio::test]
    async fn every_store_applies_parallel_changes_one_by_one() {
        for (_folder, store) in stores() {
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
    }

    #[tokio::test]
    async fn sec_88_every_store_binds_an_old_session_to_the_host_of_its_first_use() {
        let host = |name| Host::parse(name).unwrap();
        for (_folder, store) in stores() {
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
    }

    #[tokio::test]
    async fn every_store_refuses_a_change_that_does_not_fit_and_keeps_the_rest() {
        for (_folder, store) in stores() {
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
    }

    #[tokio::test]
    async fn every_store_notes_accesses_and_never_an_earlier_one() {
        for (_folder, store) in stores() {
            let ada = record("ada");
            store.insert(Arc::clone(&ada)).await.unwrap();
            store.touch(ada.key, Timestamp::from_millis(5_000));
            store.touch(ada.key, Timestamp::from_millis(4_000));
            let kept = store.load(ada.key).await.unwrap().unwrap();
            assert_eq!(kept.last_accessed, Timestamp::from_millis(5_000));
        }
    }

    #[tokio::test]
    async fn every_store_hands_its_records_out_in_the_order_of_their_keys() {
        for (_folder, store) in stores() {
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
    }

    #[tokio::test]
    async fn every_store_can_be_emptied_at_once_and_used_again() {
        for (_folder, store) in stores() {
            let (ada, bob, eve) = (record("ada"), record("bob"), record("eve"));
            store.insert(Arc::clone(&ada)).await.unwrap();
            store.insert(Arc::clone(&bob)).await.unwrap();
            assert_eq!(store.clear().await.unwrap(), 2);
            assert_eq!(store.clear().await.unwrap(), 0);
            assert_eq!(store.count().await, Ok(0));
            assert_eq!(all(&*store, 9).await, []);
            assert_eq!(store.of_user("ada".into()).await.unwrap(), []);
            store.touch(ada.key, Timestamp::from_millis(9_000));
            store.insert(Arc::clone(&eve)).await.unwrap();
            assert_eq!(store.load(ada.key).await.unwrap(), None);
            assert_eq!(store.load(eve.key).await.unwrap(), Some(eve));
        }
    }
}
