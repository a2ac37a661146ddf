//! What a connection remembers of the session that its last request showed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Session, SessionId, SessionKey};
use crate::clock::Timestamp;

/// The cache is asked again after this, so that it knows which sessions are in use.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Holds as long as no session whatever has ended since it was noted: so a session that has ended
/// is never found here, and nobody has to look for connections that remember it (SEC-46).
#[derive(Debug, Default)]
pub(crate) struct ConnectionCache(Mutex<Option<Remembered>>);

#[derive(Debug)]
struct Remembered {
    id: SessionId,
    /// Of the id, which is not that of the session at each host.
    key: SessionKey,
    session: Arc<Session>,
    /// The count of ends before it was looked up.
    ended: u64,
    noted: Timestamp,
}

impl ConnectionCache {
    pub(super) fn recall(
        &self,
        id: &SessionId,
        ended: u64,
        now: Timestamp,
    ) -> Option<(Arc<Session>, SessionKey)> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = cache.as_ref()?;
        let holds = remembered.ended == ended
            && now.since(remembered.noted) < KEPT_FOR
            && remembered.id == *id;
        holds.then(|| (Arc::clone(&remembered.session), remembered.key))
    }

    /// `ended` is from before the look-up: an end in between makes the note worthless at once.
    pub(super) fn note(
        &self,
        (id, key): (&SessionId, SessionKey),
        session: &Arc<Session>,
        ended: u64,
        now: Timestamp,
    ) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, session) = (id.clone(), Arc::clone(session));
        *cache = Some(Remembered {
            id,
            key,
            session,
            ended,
            noted: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_record;
    use super::*;

    fn session() -> Arc<Session> {
        Arc::new(Session::new(&test_record("ada")))
    }

    #[test]
    fn sec_46_what_is_remembered_holds_until_any_session_has_ended() {
        let (ada, eve) = (
            SessionId::generate().unwrap(),
            SessionId::generate().unwrap(),
        );
        let (cache, now) = (
            ConnectionCache::default(),
            Timestamp::from_millis(1_000_000),
        );
        assert!(cache.recall(&ada, 7, now).is_none());
        cache.note((&ada, ada.key()), &session(), 7, now);
        assert!(cache.recall(&ada, 7, now).is_some());
        assert!(
            cache.recall(&ada, 8, now).is_none(),
            "some session has ended"
        );
        assert!(cache.recall(&eve, 7, now).is_none(), "another id");
        assert!(
            cache.recall(&ada, 7, now.plus(KEPT_FOR)).is_none(),
            "too long ago"
        );
    }
}
