//! One connection to an application, as the requests see it that go over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::SizeHint;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::connect::Stream;
use super::http1::{self, Message, ResponseError, Written};
use super::letters;

/// What a request is sent into.
pub(super) struct Sender {
    protocol: Protocol,
    received: BytesReceived,
}

/// What the application speaks. All that differs by it is in this file and in the handshake.
enum Protocol {
    Http1(Box<http1::Connection>),
    /// The same, where header names keep their letters.
    Letters(Box<letters::Client>),
}

/// The application's side of a tunnel.
pub(crate) struct Application(Side);

enum Side {
    /// A stream, and what has come of it already.
    Http1(Box<dyn Stream>, Bytes),
    Letters(OnUpgrade),
}

impl Application {
    /// Its stream, and what has come of it already; `None` if it has gone by now.
    pub(super) async fn open(self) -> Option<(Box<dyn Stream>, Bytes)> {
        match self.0 {
            Side::Http1(stream, first) => Some((stream, first)),
            Side::Letters(upgrade) => {
                let stream = TokioIo::new(upgrade.await.ok()?);
                Some((Box::new(stream), Bytes::new()))
            }
        }
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
    pub(super) fn http1(stream: Box<dyn Stream>, received: BytesReceived) -> Self {
        let connection = http1::Connection::new(stream, received.clone());
        Self {
            protocol: Protocol::Http1(Box::new(connection)),
            received,
        }
    }

    pub(super) fn letters(client: letters::Client, received: BytesReceived) -> Self {
        Self {
            protocol: Protocol::Letters(Box::new(client)),
            received,
        }
    }

    /// Whether it serves no further request, as far as is known by now.
    pub(super) fn is_closed(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http1(connection) => !connection.is_open(),
            Protocol::Letters(client) => client.is_closed(),
        }
    }

    /// Waits until it can serve one more request; `false` says that it closed meanwhile.
    pub(super) async fn settles(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http1(connection) => connection.is_open(),
            Protocol::Letters(client) => client.settles().await,
        }
    }

    /// Whether it can be kept for another request after this one, whose response is over.
    pub(super) fn rest(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http1(connection) => connection.rest(),
            Protocol::Letters(client) => !client.is_closed(),
        }
    }

    /// Sends a request, and gives the head of the response. The request comes back with the error
    /// when it is certain that nothing of it was written.
    pub(super) async fn send(
        &mut self,
        message: Message,
    ) -> Result<Response<()>, (ResponseError, Option<Request<RequestBody>>)> {
        match (&mut self.protocol, message) {
            (Protocol::Http1(connection), message) => {
                let sent = connection.send(message).await;
                sent.map_err(|error| (error, None))
            }
            (Protocol::Letters(client), Message::Request(request)) => {
                Box::pin(client.send(request)).await
            }
            // Each connection of an app is like the other.
            (Protocol::Letters(_), Message::Written(_)) => Err((ResponseError::Closed, None)),
        }
    }

    /// Whether a request that may have to be sent once more is to be copied before.
    pub(super) fn needs_copy(&self) -> bool {
        matches!(self.protocol, Protocol::Letters(_))
    }

    /// The request without a body that got no response, to be sent over another connection; `None`
    /// where it was to be copied.
    pub(super) fn take_written(&mut self) -> Option<Written> {
        match &mut self.protocol {
            Protocol::Http1(connection) => Some(connection.take_written()),
            Protocol::Letters(_) => None,
        }
    }

    /// Whether the response says itself where it ends.
    pub(super) fn is_framed(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(connection) => connection.is_framed(),
            Protocol::Letters(client) => client.is_framed(),
        }
    }

    /// The next piece of the response's content; `None` at its end.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ResponseError>>> {
        match &mut self.protocol {
            Protocol::Http1(connection) => connection.poll_content(cx),
            Protocol::Letters(client) => client.poll_content(cx),
        }
    }

    /// Whether all of the response's content has come.
    pub(super) fn is_at_end(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(connection) => connection.is_at_end(),
            Protocol::Letters(client) => client.is_at_end(),
        }
    }

    /// Of the response's content.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.protocol {
            Protocol::Http1(connection) => connection.size_hint(),
            Protocol::Letters(client) => client.size_hint(),
        }
    }

    /// What the connection has become by a 101.
    pub(super) fn take_application(&mut self) -> Option<Application> {
        let side = match &mut self.protocol {
            Protocol::Http1(connection) => {
                let (stream, first) = connection.take_stream()?;
                Side::Http1(stream, first)
            }
            Protocol::Letters(client) => Side::Letters(client.take_upgrade()?),
        };
        Some(Application(side))
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
