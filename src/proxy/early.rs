//! Answers before the end of an upload, over HTTP/2 (SEC-99).
//!
//! Some clients stop an upload at the head of an error, and say that it has ended there: curl does.
//! That contradicts the `Content-Length` of their request, so h2 resets the stream (RFC 9113
//! §8.1.1), with all of the answer that is not yet written. So the content of such an answer is read
//! first, and its head is written together with it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Response;
use tokio::time::timeout;

use super::ConnectionState;
use crate::upstream::ResponseBody;

/// Bytes of content that a head waits for: as many as are written at once.
const MOST: usize = 15 * 1024;

/// How long it waits: an application that has said no has its page at hand.
const PATIENCE: Duration = Duration::from_millis(250);

thread_local! {
    /// What hyper was handed while it was polled last on this thread.
    static HANDED: Cell<Option<Early>> = const { Cell::new(None) };
}

/// The early answers of one connection.
#[derive(Debug, Default)]
pub(super) struct EarlyAnswers {
    begun: AtomicU32,
    whole: AtomicU32,
}

/// One whose head hyper has, and whose content it is about to ask for.
#[derive(Debug)]
pub(super) struct Early(Arc<ConnectionState>);

impl EarlyAnswers {
    /// How many there were; `None` while a head may be without its content.
    pub(super) fn settled(&self) -> Option<u32> {
        let whole = self.whole.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == whole).then_some(whole)
    }
}

impl Early {
    /// Notes that hyper is handed one. When [it has been polled](Polling), what there is of the
    /// content is there, too.
    pub(super) fn begin(connection: &Arc<ConnectionState>) {
        connection.early().begun.fetch_add(1, Ordering::SeqCst);
        HANDED.set(Some(Self(Arc::clone(connection))));
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.0.early().whole.fetch_add(1, Ordering::SeqCst);
    }
}

/// Held while hyper is polled for a stream. When it is dropped, by a panic as well, the answer that
/// hyper was handed is whole.
pub(crate) struct Polling;

impl Drop for Polling {
    fn drop(&mut self) {
        drop(HANDED.take());
    }
}

/// Waits for the content of an answer, not for long.
pub(super) async fn read_ahead(response: &mut Response<ResponseBody>) {
    let reading = response.body_mut().read_ahead(MOST);
    let _enough_or_late = timeout(PATIENCE, reading).await;
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::load::Place;
    use crate::load::tests::load;

    #[test]
    fn sec_99_a_stream_that_panics_keeps_no_other_back() {
        let connection = ConnectionState::new(Arc::new(load(1)), Place::uncounted());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let _polling = Polling;
            Early::begin(&connection);
            assert_eq!(connection.settled_early_answers(), None);
            panic!("a bug in a stream");
        }));
        assert!(polled.is_err());
        assert_eq!(connection.settled_early_answers(), Some(1));
    }
}
