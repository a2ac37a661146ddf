//! The body of a response on its way to the client.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::app::App;
use super::in_flight::InFlight;
use super::live::{LiveStreams, Permitted, StreamGuard};
use super::stall::{self, Said};
use crate::telemetry::AccessLine;
use crate::upstream::{self, MIN_BYTES_PER_SECOND, ResponseError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// A response of ours or of an application. Its request is over when it is dropped: then the
/// access line is written.
pub(crate) struct ResponseBody {
    kind: Kind,
    line: Option<Box<AccessLine>>,
    in_flight: Option<InFlight>,
    /// Whose response it is, to count its bytes.
    app: Option<Arc<App>>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "most responses are forwarded, and a box would be an allocation for each"
)]
enum Kind {
    Forwarded(Forwarded),
    Ours(Bytes),
}

struct Forwarded {
    body: upstream::ResponseBody,
    live: Arc<LiveStreams>,
    permitted: Permitted,
    has_begun: bool,
    /// There as soon as the body makes the client wait or goes on: short responses never need it.
    watch: Option<Box<Watched>>,
}

/// Fires when a stream has to end.
struct Watched {
    ended: stall::SessionEnd,
    watch: StreamGuard,
}

/// Why a response is broken off.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The rules say no by now.
    NotPermitted,
    SessionEnded,
    Upstream(ResponseError),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotPermitted => f.write_str("it is not permitted any more"),
            Self::SessionEnded => f.write_str("the session has ended"),
            Self::Upstream(error) => {
                write!(f, "the application broke its answer off: {error}")
            }
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotPermitted | Self::SessionEnded => None,
            Self::Upstream(error) => Some(error),
        }
    }
}

impl ResponseBody {
    pub(crate) fn ours(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Ours(bytes),
            line: None,
            in_flight: None,
            app: None,
        }
    }

    /// An application's response; it ends with its session, and when it is not permitted any more.
    pub(super) fn forwarded(
        body: upstream::ResponseBody,
        live: &Arc<LiveStreams>,
        permitted: Permitted,
    ) -> Self {
        Self {
            kind: Kind::Forwarded(Forwarded {
                body,
                live: Arc::clone(live),
                permitted,
                has_begun: false,
                watch: None,
            }),
            line: None,
            in_flight: None,
            app: None,
        }
    }

    /// Whether no application has given this response.
    pub(super) fn is_made_here(&self) -> bool {
        matches!(&self.kind, Kind::Ours(_))
    }

    /// Whether it is a response of our own, with content.
    pub(super) fn is_ours(&self) -> bool {
        matches!(&self.kind, Kind::Ours(content) if !content.is_empty())
    }

    /// Takes the content of a response of ours away, and gives its length. HTTP/1.1 would leave
    /// it out after HEAD by itself; HTTP/2 would send it, which is an error (RFC 9113 §8.1.1).
    pub(super) fn leave_out(&mut self) -> Option<usize> {
        match &mut self.kind {
            Kind::Forwarded(_) => None,
            Kind::Ours(content) => Some(std::mem::take(content).len()),
        }
    }

    /// What ends together with this response.
    pub(super) fn carry(
        &mut self,
        line: Option<Box<AccessLine>>,
        in_flight: InFlight,
        app: Option<Arc<App>>,
    ) {
        self.line = line;
        self.in_flight = Some(in_flight);
        self.app = app;
    }
}

impl Forwarded {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        app: Option<&Arc<App>>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let goes_on = match &frame {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(_))) => std::mem::replace(&mut self.has_begun, true),
            Poll::Ready(_) => false,
        };
        if goes_on && let Some(error) = self.has_ended(cx, app) {
            return Poll::Ready(Some(Err(error)));
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(watched)) = (&frame, &mut self.watch) {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            watched.watch.receive(bytes);
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(BodyError::Upstream)))
    }

    fn has_ended(&mut self, cx: &mut Context<'_>, app: Option<&Arc<App>>) -> Option<BodyError> {
        let watched = match &mut self.watch {
            Some(watched) => watched,
            unwatched => {
                let (app, address) = (app?, self.body.address().cloned());
                let mut watch = self.live.watch(app, address, self.permitted.clone());
                if app.push_is_use {
                    watch.count_received(0);
                } else if self.body.size_hint().exact().is_some() {
                    watch.count_received(MIN_BYTES_PER_SECOND);
                }
                let ended = Box::pin(watch.ended().clone().cancelled_owned());
                unwatched.insert(Box::new(Watched { ended, watch }))
            }
        };
        let ended = watched.ended.as_mut().poll(cx).is_ready();
        ended.then(|| {
            if watched.watch.session_has_ended() {
                BodyError::SessionEnded
            } else {
                BodyError::NotPermitted
            }
        })
    }

    fn end(&self) -> Option<CancellationToken> {
        let watched = self.watch.as_ref()?;
        Some(watched.watch.ended().clone())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Ours(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Ours(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Forwarded(forwarded) => forwarded.poll(cx, this.app.as_ref()),
        };
        stall::note(match (&frame, &this.kind) {
            (Poll::Pending, _) => Said::Waiting,
            (Poll::Ready(_), Kind::Ours(_)) => Said::ReadyOurs,
            (Poll::Ready(_), Kind::Forwarded(forwarded)) => Said::Ready(forwarded.end()),
        });
        if let (Some(app), Poll::Ready(Some(Ok(frame)))) = (&this.app, &frame) {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            app.counts.sent.inc_by(bytes as u64);
        }
        if let Some(line) = &mut this.line {
            match &frame {
                Poll::Ready(Some(Ok(frame))) => {
                    line.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(request = %line.request, %error, "an answer was broken off");
                }
                Poll::Ready(None) => line.complete = true,
                Poll::Pending => {}
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ours(bytes) => bytes.is_empty(),
            Kind::Forwarded(forwarded) => forwarded.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ours(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Forwarded(forwarded) => forwarded.body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            line.complete |= self.is_end_stream();
            line.write();
        }
    }
}
