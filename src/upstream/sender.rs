//! One connection to an application, as the requests see it that go over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::body::RequestBody;
use super::letters::NextIsHead;

/// How long a connection that came back may take until it can serve again.
const SETTLE: Duration = Duration::from_millis(500);

/// What a request is sent into.
pub(super) struct Sender {
    protocol: Protocol,
    received: BytesReceived,
    /// Where the letters of header names are kept.
    next_is_head: Option<NextIsHead>,
    /// `None` where the connection is to outlive its sender as a tunnel.
    _driver: Option<Driver>,
}

/// What the application speaks. All that differs by it is in this file and in the handshake.
enum Protocol {
    Http1(http1::SendRequest<RequestBody>),
}

/// Closes the connection together with its sender. hyper by itself goes on with a request body
/// whose answer is there already, for as long as the client keeps it coming (SEC-05).
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether the application has sent a byte since this was last asked to listen; after one a
/// request is not sent again (REL-03).
#[derive(Clone, Debug, Default)]
pub(super) struct BytesReceived(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    any: AtomicBool,
    dropped_line: AtomicBool,
}

impl BytesReceived {
    pub(super) fn note(&self) {
        self.0.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn forget(&self) {
        self.0.any.store(false, Ordering::Relaxed);
    }

    pub(super) fn has_heard(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Notes that a line was dropped from an answer that this connection has brought.
    pub(super) fn note_dropped_line(&self) {
        self.0.dropped_line.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_dropped_line(&self) -> bool {
        self.0.dropped_line.load(Ordering::Relaxed)
    }
}

impl Sender {
    pub(super) fn http1(
        requests: http1::SendRequest<RequestBody>,
        received: BytesReceived,
        next_is_head: Option<NextIsHead>,
        driver: Option<AbortHandle>,
    ) -> Self {
        Self {
            protocol: Protocol::Http1(requests),
            received,
            next_is_head,
            _driver: driver.map(Driver),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(requests) => requests.is_closed(),
        }
    }

    /// Waits until it can serve one more request. It came back when its answer had ended; the task
    /// that drives it may still have to notice. `false` says that it closed meanwhile.
    pub(super) async fn settles(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http1(requests) => {
                requests.is_ready() || matches!(timeout(SETTLE, requests.ready()).await, Ok(Ok(())))
            }
        }
    }

    /// The error has the request when nothing of it was written.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        if let Some(next_is_head) = &self.next_is_head {
            next_is_head.note();
        }
        match &mut self.protocol {
            Protocol::Http1(requests) => requests.try_send_request(request),
        }
    }

    /// Forgets what the application has sent so far.
    pub(super) fn listen(&self) {
        self.received.forget();
    }

    /// Whether it has sent a byte since.
    pub(super) fn has_heard(&self) -> bool {
        self.received.has_heard()
    }

    /// Whether a line was dropped from one of its answers, ever.
    pub(super) fn has_dropped_line(&self) -> bool {
        self.received.has_dropped_line()
    }
}
