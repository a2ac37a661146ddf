//! The body of a request as its client sends it, and its rest that nobody has read (SEC-99).
//!
//! A stream of HTTP/2 that is reset takes away what its client has not read yet, and many clients
//! read nothing before they have sent all. So after an early response the rest is read for a
//! while, and thrown away; then the stream ends by itself, or is reset without an error, as
//! RFC 9113 §8.1 has it. HTTP/1.1 needs none of it: there, the connection lingers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::load::{Load, Place};

/// In all.
const DRAIN: Duration = Duration::from_secs(30);

/// Without a byte.
const SILENCE: Duration = Duration::from_secs(5);

const MOST: usize = 64 * 1024 * 1024;

pub(crate) struct ClientBody {
    /// There until it is dropped.
    body: Option<Incoming>,
    rest: Rest,
}

/// What becomes of what nobody reads.
enum Rest {
    /// Nothing comes.
    Empty,
    /// HTTP/1.1: the connection has to end. Says whether everything was read.
    Noted(Arc<AtomicBool>),
    /// HTTP/2: it is read after the body was dropped.
    Drained(Box<Drain>),
}

/// What there is to know for reading the rest.
struct Drain {
    whole: Arc<AtomicBool>,
    load: Arc<Load>,
    place: Arc<Place>,
    stop: CancellationToken,
}

impl ClientBody {
    /// A body of HTTP/1.1, or an empty one.
    pub(crate) fn new(body: Incoming) -> Self {
        let rest = if body.is_end_stream() {
            Rest::Empty
        } else {
            Rest::Noted(Arc::default())
        };
        Self {
            body: Some(body),
            rest,
        }
    }

    /// Whether the body was read to its end, at any time from now on. `None` of an empty one.
    pub(crate) fn whole(&self) -> Option<Arc<AtomicBool>> {
        self.rest.whole().cloned()
    }

    /// One whose rest is read after it was dropped, as long as there is not too much to do, and
    /// until `stop`.
    pub(crate) fn drained(
        body: Incoming,
        load: Arc<Load>,
        place: Arc<Place>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            body: Some(body),
            rest: Rest::Drained(Box::new(Drain {
                whole: Arc::default(),
                load,
                place,
                stop,
            })),
        }
    }
}

impl Rest {
    fn whole(&self) -> Option<&Arc<AtomicBool>> {
        match self {
            Self::Empty => None,
            Self::Noted(whole) => Some(whole),
            Self::Drained(drain) => Some(&drain.whole),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if let Some(whole) = this.rest.whole()
            && match &frame {
                Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
                Poll::Ready(None) => true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            }
        {
            whole.store(true, Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Rest::Drained(drain) = std::mem::replace(&mut self.rest, Rest::Empty)
            && let Some(body) = self.body.take()
            && !body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(drain.read(body));
        }
    }
}

impl Drain {
    /// Reads to the end, or long enough. What ends the connection ends the body, too.
    async fn read(self: Box<Self>, mut body: Incoming) {
        let uploading = self.place.begin_upload(None); // takes what counts as buffered
        let discarding = async {
            let end = Instant::now() + DRAIN;
            let mut discarded = 0;
            while discarded < MOST && self.load.sheds().is_none() {
                let until = end.min(Instant::now() + SILENCE);
                let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else {
                    return;
                };
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                uploading.take(bytes);
                discarded += bytes;
                tokio::task::yield_now().await; // a fast sender is not to keep the thread
            }
        };
        self.stop.run_until_cancelled(discarding).await;
    }
}
