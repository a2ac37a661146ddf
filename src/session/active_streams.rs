//! Streams that go on after their request was judged: WebSockets, event streams, downloads. They
//! end with their session (SEC-75).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Session, SessionKey};
use crate::nodes::SessionName;

/// One token for each session that has a stream open, and none for the others.
#[derive(Default)]
pub(super) struct ActiveStreams(Mutex<HashMap<SessionKey, Streams>>);

struct Streams {
    session: Arc<Session>,
    ended: Arc<CancellationToken>,
    open: usize,
}

/// Tells a stream that its session has ended.
pub(crate) struct SessionGuard {
    streams: Arc<ActiveStreams>,
    session: Arc<Session>,
    /// Also tells these streams from later ones of a session that has ended before.
    ended: Arc<CancellationToken>,
}

impl ActiveStreams {
    pub(super) fn watch(self: &Arc<Self>, session: &Arc<Session>) -> SessionGuard {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = live.entry(session.key()).or_insert_with(|| Streams {
            session: Arc::clone(session),
            ended: Arc::default(),
            open: 0,
        });
        streams.open += 1;
        SessionGuard {
            streams: Arc::clone(self),
            session: Arc::clone(session),
            ended: Arc::clone(&streams.ended),
        }
    }

    pub(super) fn end(&self, key: &SessionKey) {
        let streams = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        if let Some(streams) = streams {
            streams.ended.cancel();
        }
    }

    pub(super) fn end_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for streams in all.values() {
            streams.ended.cancel();
        }
    }

    /// The session of a key, if a stream of it is open.
    pub(super) fn session(&self, key: &SessionKey) -> Option<Arc<Session>> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&live.get(key)?.session))
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.values()
            .map(|streams| Arc::clone(&streams.session))
            .collect()
    }

    /// How many streams each session has open that has any.
    pub(super) fn counts(&self) -> Vec<(SessionName, u32)> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = live.iter().map(|(key, streams)| {
            let open = u32::try_from(streams.open).unwrap_or(u32::MAX);
            (key.shared_name(), open)
        });
        counts.collect()
    }
}

impl SessionGuard {
    /// Fires when the session has ended.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut live = self
            .streams
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = self.session.key();
        let streams = live.get_mut(&key);
        // A stream that takes its time to end finds those that came after it, and leaves them be.
        if let Some(streams) = streams.filter(|streams| Arc::ptr_eq(&streams.ended, &self.ended)) {
            streams.open -= 1;
            if streams.open == 0 {
                live.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn sec_75_a_stream_that_is_late_to_end_takes_no_later_one_out_of_sight() {
        let live = Arc::new(ActiveStreams::default());
        let session = Arc::new(Session::new(&record("ada")));
        let late = live.watch(&session);
        live.end(&session.key());
        assert!(late.ended().is_cancelled());
        // A request that was judged before the end, and became a stream after it.
        let next = live.watch(&session);
        drop(late);
        assert_eq!(live.sessions().len(), 1, "the sweep sees it");
        live.end(&session.key());
        assert!(next.ended().is_cancelled());
        let last = live.watch(&session);
        let counted = [(session.key().shared_name(), 1)];
        assert_eq!(live.counts(), counted, "of an ended session, none");
        drop((next, last));
        assert_eq!(live.counts(), []);
        assert_eq!(live.sessions().len(), 0);
    }
}
