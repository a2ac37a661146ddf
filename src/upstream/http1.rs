//! A connection to an application over HTTP/1.1 (RFC 9112).
//!
//! It has no task of its own: whoever waits for the response drives it. A request wakes no other
//! task up, and an unused connection is nothing but a socket and a small buffer. Only where a
//! response begins before its request has ended, the rest of the request goes out by a task, so
//! that a client may send it all before it reads.

mod content;
#[cfg(fuzzing)]
mod decoded;
mod error;
mod head;
mod sending;

use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::SizeHint;
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use super::RequestBody;
use super::connect::{MAX_HEAD, Stream};
use super::sender::BytesReceived;
use content::Content;
#[cfg(fuzzing)]
pub(crate) use decoded::DecodedResponse;
pub(crate) use error::ResponseError;
pub(super) use head::FramingFields;
use head::{Head, Progress};
use sending::Sending;

/// Of one read, to begin with: many responses are smaller.
const READ: usize = 8 * 1024;

/// Of one read of a long response: it bounds what a client that does not read makes us hold
/// (SEC-27).
const MOST_OF_READ: usize = 128 * 1024;

/// Of the heads of all interim responses (RFC 9110 §15.2) to a request.
const MOST_INTERIM: usize = 128 * 1024;

/// How long an application that takes no more of a request may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    transport: Transport,
    received: BytesReceived,
    /// What was read and not taken yet.
    input: BytesMut,
    read_size: usize,
    sending: Sending,
    /// An empty map with the memory of the last request's.
    fields: HeaderMap,
    /// What there is yet to come of the last response.
    content: Content,
    /// Whether the application keeps the connection after that.
    keeps_alive: bool,
    /// Whether the request is a HEAD, whose response has no content.
    is_head: bool,
    /// Bytes of interim responses to this request.
    interim: usize,
    /// Of the head of a response.
    progress: Progress,
    /// Why the application takes no more of the request, and how long it may explain itself.
    refused: Option<(ResponseError, Pin<Box<Sleep>>)>,
    /// Why the client could not go on with its request, though a response has begun.
    failed: Option<ResponseError>,
}

/// What is sent.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are requests, and a box would be an allocation for each"
)]
pub(super) enum Message {
    Request(Request<RequestBody>),
    Written(Written),
}

/// A request without a body, as another connection has written it.
pub(super) struct Written {
    head: Vec<u8>,
    is_head: bool,
}

enum Transport {
    Whole(Box<dyn Stream>),
    /// The rest of a request goes out elsewhere.
    Reading {
        half: ReadHalf<Box<dyn Stream>>,
        /// Why the client could not go on.
        failed: oneshot::Receiver<ResponseError>,
        _rest: Aborted,
    },
    /// It has become a tunnel.
    Gone,
}

/// Ends a task with what it belongs to: a client could go on with its request for ever otherwise
/// (SEC-05).
struct Aborted(AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// `received` learns of every byte that comes.
    pub(super) fn new(stream: Box<dyn Stream>, received: BytesReceived) -> Self {
        Self {
            transport: Transport::Whole(stream),
            received,
            input: BytesMut::new(),
            read_size: READ,
            sending: Sending::default(),
            fields: HeaderMap::new(),
            content: Content::None,
            keeps_alive: true,
            is_head: false,
            interim: 0,
            progress: Progress::default(),
            refused: None,
            failed: None,
        }
    }

    /// Whether it can serve a request, as far as anybody knows here. It makes no system call unless
    /// something has come, and that would be an end, or bytes that nobody has asked for.
    pub(super) fn is_open(&mut self) -> bool {
        if !self.is_idle() {
            return false;
        }
        let Transport::Whole(stream) = &mut self.transport else {
            return false;
        };
        let mut byte = [0];
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        // Whatever the task has done before: it is not to be told "later" instead of "closed".
        let read = pin!(unconstrained(read));
        let mut cx = Context::from_waker(Waker::noop());
        read.poll(&mut cx).is_pending()
    }

    /// Whether request and response are over, and it may serve the next.
    pub(super) fn is_idle(&self) -> bool {
        self.keeps_alive
            && self.sending.is_done()
            && self.content.is_at_end()
            && self.input.is_empty()
    }

    /// Gives memory back that the next request may not need; whether it can serve one.
    pub(super) fn rest(&mut self) -> bool {
        if self.input.capacity() > READ {
            self.input = BytesMut::new();
        }
        self.read_size = READ;
        self.sending.rest();
        self.is_idle()
    }

    /// Sends a request, and gives the head of the response. What comes of its content gives
    /// [`Self::poll_content`].
    pub(super) async fn send(&mut self, message: Message) -> Result<Response<()>, ResponseError> {
        self.begin(message)?;
        let head = poll_fn(|cx| self.poll_head(cx)).await?;
        let status = head.response.status();
        let has_content = !(self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED));
        self.content = if has_content {
            head.content
        } else {
            Content::None
        };
        self.keeps_alive = head.keeps_alive && !status.is_informational();
        if self.sending.goes_on() && !self.content.is_at_end() {
            self.send_by_task();
        }
        Ok(head.response)
    }

    fn begin(&mut self, message: Message) -> Result<(), ResponseError> {
        self.keeps_alive = false; // until there is a response that says so
        self.interim = 0;
        self.progress = Progress::default();
        self.refused = None;
        self.failed = None;
        match message {
            Message::Request(request) => {
                let (head, body) = request.into_parts();
                self.is_head = head.method == Method::HEAD;
                self.sending.begin(&head, body)?;
                self.fields = head.headers;
                self.fields.clear();
            }
            Message::Written(written) => {
                self.is_head = written.is_head;
                self.sending.begin_again(written.head);
            }
        }
        Ok(())
    }

    /// The request that got no response. It had no body.
    pub(super) fn take_written(&mut self) -> Written {
        Written {
            head: self.sending.take_head(),
            is_head: self.is_head,
        }
    }

    /// Whether the response says itself where it ends.
    pub(super) fn is_framed(&self) -> bool {
        self.content.is_framed()
    }

    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ResponseError>>> {
        if let Some(error) = self.poll_failed(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match self.content.decode(&mut self.input) {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(None) if self.content.is_at_end() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let read = match ready!(self.poll_read(cx)) {
                Ok(0) => {
                    self.keeps_alive = false;
                    self.content.end()
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.content.is_at_end()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }

    /// What there is instead of it after a 101: the stream, and what has come of it already.
    pub(super) fn take_stream(&mut self) -> Option<(Box<dyn Stream>, Bytes)> {
        match mem::replace(&mut self.transport, Transport::Gone) {
            // Else the client would write the rest of its own handshake.
            Transport::Whole(stream) if self.sending.is_done() => {
                Some((stream, mem::take(&mut self.input).freeze()))
            }
            Transport::Whole(_) | Transport::Reading { .. } | Transport::Gone => None,
        }
    }

    /// Sends, and waits for the head of the response, which may come before all is sent.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, ResponseError>> {
        let sent = match &mut self.transport {
            Transport::Whole(stream) => self.sending.poll(cx, stream),
            Transport::Reading { .. } | Transport::Gone => Poll::Pending,
        };
        let head = self.poll_head_of_response(cx);
        match sent {
            Poll::Ready(Err(error)) if !error.is_of_request() => {
                self.refused = Some((error, Box::pin(sleep(LAST_WORDS))));
            }
            Poll::Ready(Err(error)) if head.is_pending() => return Poll::Ready(Err(error)),
            Poll::Ready(Err(error)) => self.failed = Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        // Where it is the application that takes no more, it may still say why.
        if head.is_pending()
            && let Some((_, silence)) = &mut self.refused
        {
            ready!(silence.as_mut().poll(cx));
            let refused = self.refused.take().map(|(error, _)| error);
            return Poll::Ready(Err(refused.unwrap_or(ResponseError::Closed)));
        }
        head
    }

    /// Why the request could not go on, once there is a response: that ends, too, because what the
    /// application makes of half a request is not for the client to believe.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Option<ResponseError> {
        if self.content.is_at_end() {
            return None;
        }
        if let Transport::Reading { failed, .. } = &mut self.transport
            && !failed.is_terminated()
            && let Poll::Ready(Ok(error)) = Pin::new(failed).poll(cx)
        {
            return Some(error);
        }
        self.failed.take()
    }

    fn poll_head_of_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, ResponseError>> {
        loop {
            match Head::parse(&mut self.input, &mut self.progress, &mut self.fields)? {
                Some(head) if is_interim(head.response.status()) => {
                    self.interim += head.length;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(ResponseError::Ambiguous(
                            "too many interim responses",
                        )));
                    }
                }
                Some(head) => return Poll::Ready(Ok(head)),
                None if self.input.len() >= MAX_HEAD => {
                    return Poll::Ready(Err(ResponseError::LongHead));
                }
                None => {
                    if ready!(self.poll_read(cx))? == 0 {
                        return Poll::Ready(Err(ResponseError::Closed));
                    }
                }
            }
        }
    }

    /// Reads some more; nothing at the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ResponseError>> {
        let spare = self.input.capacity() - self.input.len();
        if spare < self.read_size / 4 {
            self.input.reserve(self.read_size);
        }
        let spare = self.input.capacity() - self.input.len();
        let read = match &mut self.transport {
            Transport::Whole(stream) => poll_read_buf(Pin::new(stream), cx, &mut self.input),
            Transport::Reading { half, .. } => poll_read_buf(Pin::new(half), cx, &mut self.input),
            Transport::Gone => Poll::Ready(Ok(0)),
        };
        let read = ready!(read).map_err(ResponseError::Io)?;
        if read > 0 {
            self.received.note();
        }
        if read == spare {
            self.read_size = MOST_OF_READ.min(self.read_size * 2);
        } else if read < self.read_size / 4 {
            self.read_size = READ.max(self.read_size / 2);
        }
        Poll::Ready(Ok(read))
    }

    /// Lets the rest of the request go out by itself.
    fn send_by_task(&mut self) {
        let Transport::Whole(stream) = mem::replace(&mut self.transport, Transport::Gone) else {
            return;
        };
        let (read, mut write) = tokio::io::split(stream);
        let mut sending = mem::replace(&mut self.sending, Sending::elsewhere());
        let (fail, failed) = oneshot::channel();
        let task = tokio::spawn(async move {
            let sent = poll_fn(|cx| sending.poll(cx, &mut write)).await;
            if let Err(error) = sent
                && error.is_of_request()
            {
                let _ = fail.send(error);
            }
        });
        self.transport = Transport::Reading {
            half: read,
            failed,
            _rest: Aborted(task.abort_handle()),
        };
    }
}

/// Whether there is another response to come (RFC 9110 §15.2).
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests;
