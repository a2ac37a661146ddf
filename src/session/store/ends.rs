//! What others end in a store: another node, or another handle of the same store.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::user_key::UserKey;

/// Ends that wait for one who follows them; above that, they are [`End::Lagged`].
pub(in crate::session) const MAX_WAITING: usize = 2048;

/// What somebody else has ended in the store.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "nobody else ends what is in a file")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    One(SessionKey),
    /// None: a session has another record.
    Changed(SessionKey),
    /// Of a user, every session that there was.
    User(UserKey),
    /// Every session that there was.
    All,
    /// It cannot be said which: there were too many, or the store was out of reach.
    Lagged,
    /// None: the end that was told before this was made at that moment.
    MadeAt(Instant),
    /// None: whatever had ended by then has been told.
    NoMoreUntil(Timestamp),
}

/// The store's side of [`SessionStore::ends`](super::SessionStore::ends).
pub(in crate::session) struct EndSender(mpsc::Sender<End>);

impl EndSender {
    pub(in crate::session) fn new() -> (Self, mpsc::Receiver<End>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Waits for nobody. To be called by one at a time, after the session is gone from the store.
    pub(in crate::session) fn send(&self, end: End) {
        // The last slot takes nothing but `Lagged`. Where that is taken, too, its `Lagged` is still
        // to be received, and whoever receives it asks the store, which knows of this end by now.
        let end = if self.0.capacity() > 1 {
            end
        } else {
            End::Lagged
        };
        let _full_or_closed = self.0.try_send(end);
    }

    /// Tells when the end that was sent last was made, unless many wait: half of the room is for ends
    /// alone.
    #[cfg(feature = "redis")]
    pub(in crate::session) fn made_at(&self, at: Instant) {
        if self.0.capacity() > MAX_WAITING / 2 {
            self.send(End::MadeAt(at));
        }
    }

    /// Tells that every end before `at` has been told. Where there is no room for it, whoever follows
    /// has too much to do to be told that it is up to date.
    #[cfg(any(test, feature = "redis"))]
    pub(in crate::session) fn no_more_until(&self, at: Timestamp) {
        if self.0.capacity() > 1 {
            self.send(End::NoMoreUntil(at));
        }
    }

    pub(in crate::session) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// For a store whose sessions nobody else can end.
pub(in crate::session) fn none() -> mpsc::Receiver<End> {
    mpsc::channel(1).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::id::SessionId;

    #[test]
    fn sec_75_no_end_is_lost_without_a_word() {
        let one = || End::One(SessionId::generate().unwrap().key());
        let (sender, mut receiver) = EndSender::new();
        let ends: Vec<_> = (0..MAX_WAITING * 2).map(|_| one()).collect();
        for end in &ends {
            sender.send(*end);
        }
        for end in &ends[..MAX_WAITING - 1] {
            assert_eq!(receiver.try_recv(), Ok(*end));
        }
        // One more while `Lagged` is waiting: there is room again.
        let last = one();
        sender.send(last);
        assert_eq!(receiver.try_recv(), Ok(End::Lagged));
        assert_eq!(receiver.try_recv(), Ok(last));
        assert!(receiver.try_recv().is_err(), "and no more");
    }
}
