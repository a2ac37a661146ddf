//! Bodies on their way through: streamed, bounded, never spooled.

mod kept;

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::{ClientBody, UpstreamError};
use crate::clock::Clock;
use crate::load::{HeldBody, Uploading};
use kept::Kept;

/// A client that sends less than this on average, after the grace, is cut off (SEC-26). A response
/// that brings less is no use of a session (REL-20).
pub(crate) const MIN_BYTES_PER_SECOND: u64 = 240;
const RATE_GRACE: Duration = Duration::from_secs(10);

/// What a request body has come to; shared with whoever waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: AtomicU64,
    finished: AtomicBool,
    too_slow: AtomicBool,
    too_large: AtomicBool,
    ended: Option<CancellationToken>,
}

impl Upload {
    /// Resolves when it has to make room for others; see [`Uploading::ended`].
    pub(crate) async fn ended(&self) {
        match &self.ended {
            Some(ended) => ended.cancelled().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the body was sent to its declared end.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn was_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Relaxed)
    }

    /// Whether more came than the application takes.
    pub(crate) fn was_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed)
    }
}

/// Why a request body did not come to its end.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// As the protocol of the client says it.
    Client(Box<dyn Error + Send + Sync>),
    TooLarge,
    TooSlow,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => write!(f, "reading the request body: {error}"),
            Self::TooLarge => f.write_str("the request body is larger than `max_body`"),
            Self::TooSlow => f.write_str("the client sends its request body too slowly"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Client(error) => Some(&**error),
            Self::TooLarge | Self::TooSlow => None,
        }
    }
}

/// The body of a request: frames as they come, without trailers (SEC-39). `B` is the body as the
/// protocol of the client gives it.
pub(crate) struct RequestBody<B = ClientBody>(Kind<B>);

enum Kind<B> {
    Empty,
    Streaming(Streaming<B>),
    Whole { bytes: Bytes, upload: Arc<Upload> },
}

struct Streaming<B> {
    body: B,
    /// Where some of it is read before any is sent.
    kept: Option<Box<Kept>>,
    upload: Arc<Upload>,
    /// Bytes that the application takes.
    most: u64,
    received: Counter,
    /// Counts what is read and not taken yet.
    uploading: Uploading,
    idle_timeout: Duration,
    /// Time spent waiting for the client; an upstream that stalls does not count against it.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> RequestBody<B> {
    pub(crate) fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body that is there already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let upload = Arc::default();
        Self(Kind::Whole { bytes, upload })
    }

    /// Whether it is read before any of it is sent.
    pub(crate) fn is_read_ahead(&self) -> bool {
        matches!(&self.0, Kind::Streaming(streaming) if streaming.kept.is_some())
    }

    /// `None` for a request without a body.
    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        match &self.0 {
            Kind::Empty => None,
            Kind::Streaming(Streaming { upload, .. }) | Kind::Whole { upload, .. } => {
                Some(Arc::clone(upload))
            }
        }
    }
}

impl<B: Body> RequestBody<B> {
    /// Streams `body`; `idle_timeout` is for one read. `received` counts its bytes, and what
    /// `begin` gives for a request that has a body learns what was taken.
    pub(crate) fn new(
        body: B,
        idle_timeout: Duration,
        received: &Counter,
        begin: impl FnOnce() -> Uploading,
    ) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let uploading = begin();
        let upload = Arc::new(Upload {
            ended: uploading.ended().cloned(),
            ..Upload::default()
        });
        let waited = Duration::ZERO;
        Self(Kind::Streaming(Streaming {
            body,
            kept: None,
            upload,
            most: u64::MAX,
            received: received.clone(),
            uploading,
            idle_timeout,
            waited,
            waiting: None,
        }))
    }

    /// The same, where a body breaks off after so many bytes.
    pub(crate) fn at_most(mut self, most: u64) -> Self {
        if let Kind::Streaming(streaming) = &mut self.0 {
            streaming.most = most;
        }
        self
    }

    /// The same, where a body without a length is read to its end before any of it is sent, as long
    /// as it has no more than `most` bytes. `memory` counts them.
    pub(crate) fn read_whole_up_to(
        mut self,
        most: usize,
        memory: impl FnOnce() -> Option<HeldBody>,
    ) -> Self {
        if let Kind::Streaming(streaming) = &mut self.0
            && streaming.body.size_hint().exact().is_none()
        {
            let memory = memory();
            streaming.kept = memory.map(|memory| Box::new(Kept::new(most, memory)));
        }
        self
    }
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    /// Reads what is to be read before any of it is sent.
    pub(super) async fn read_ahead(&mut self) -> Result<(), UpstreamError> {
        let Kind::Streaming(streaming) = &mut self.0 else {
            return Ok(());
        };
        let Some(mut kept) = streaming.kept.take() else {
            return Ok(());
        };
        while kept.wants_more() {
            match poll_fn(|cx| streaming.poll(cx)).await {
                None => kept.end(),
                Some(Ok(frame)) if !frame.data_ref().is_none_or(|data| kept.push(data)) => {
                    return Err(UpstreamError::Busy);
                }
                Some(Ok(_)) => {}
                Some(Err(BodyError::Client(_))) => return Err(UpstreamError::ClientBody),
                Some(Err(BodyError::TooLarge)) => return Err(UpstreamError::ClientTooLarge),
                Some(Err(BodyError::TooSlow)) => return Err(UpstreamError::ClientTooSlow),
            }
        }
        let sent = kept.is_whole() && kept.left() == 0;
        streaming.upload.finished.store(sent, Ordering::Release);
        streaming.kept = Some(kept);
        Ok(())
    }
}

impl<B> Streaming<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    /// How long the client may take for the next bytes.
    fn timeout(&self) -> Duration {
        let earned = Duration::from_secs(self.upload.bytes() / MIN_BYTES_PER_SECOND);
        self.idle_timeout
            .min((RATE_GRACE + earned).saturating_sub(self.waited))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(kept) = &mut self.kept {
            let piece = kept.take();
            if kept.is_whole() {
                let finished = kept.left() == 0;
                self.upload.finished.store(finished, Ordering::Release);
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.kept = None;
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                let timeout = self.timeout();
                let (_, alarm) = self.waiting.get_or_insert_with(|| {
                    (Clock::stopwatch(), Box::pin(tokio::time::sleep(timeout)))
                });
                ready!(alarm.as_mut().poll(cx));
                self.upload.too_slow.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BodyError::TooSlow)));
            };
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            let frame = match frame {
                None => {
                    self.upload.finished.store(true, Ordering::Release);
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Client(error.into())))),
                Some(Ok(frame)) => frame,
            };
            if let Some(data) = frame.data_ref() {
                self.received.inc_by(data.len() as u64);
                self.uploading.take(data.len());
                let length = data.len() as u64;
                let before = self.upload.bytes.fetch_add(length, Ordering::Relaxed);
                if before + length > self.most {
                    self.upload.too_large.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                }
                if self.body.is_end_stream() {
                    self.upload.finished.store(true, Ordering::Release);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Streaming(streaming) => streaming.poll(cx),
            Kind::Whole { bytes, .. } if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole { bytes, upload } => {
                upload.bytes.store(bytes.len() as u64, Ordering::Relaxed);
                upload.finished.store(true, Ordering::Release);
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Streaming(streaming) => match &streaming.kept {
                Some(kept) => kept.is_whole() && kept.left() == 0,
                None => streaming.body.is_end_stream(),
            },
            Kind::Whole { bytes, .. } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Streaming(streaming) => match &streaming.kept {
                Some(kept) if kept.is_whole() => SizeHint::with_exact(kept.left() as u64),
                Some(_) => SizeHint::new(),
                None => streaming.body.size_hint(),
            },
            Kind::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests;
