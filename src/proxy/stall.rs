//! Responses that wait for their client.
//!
//! A body that hyper does not ask for more cannot say that it waits, nor that it has to end
//! (SEC-75, SEC-89): it leaves that with whoever polls hyper.

use std::cell::Cell;
use std::pin::Pin;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

thread_local! {
    /// What a response's body said when it was polled last on this thread.
    static SAID: Cell<Said> = const { Cell::new(Said::Nothing) };
}

/// What a body said while hyper was polled.
pub(crate) enum Said {
    /// It was not asked.
    Nothing,
    /// The application is to send more.
    Waiting,
    /// It gave its bytes, or has some to give; where it is known, the end of its session.
    Ready(Option<CancellationToken>),
    /// The same of a response of ours.
    ReadyOurs,
}

pub(crate) type SessionEnd = Pin<Box<WaitForCancellationFutureOwned>>;

/// Notes what a body says.
pub(super) fn note(said: Said) {
    SAID.set(said);
}

/// What was noted since the last call.
pub(crate) fn take() -> Said {
    SAID.replace(Said::Nothing)
}

impl Said {
    /// What ends a response that nobody takes further.
    pub(crate) fn session_end(self) -> Option<SessionEnd> {
        match self {
            Self::Ready(Some(token)) => Some(Box::pin(token.cancelled_owned())),
            _ => None,
        }
    }
}
