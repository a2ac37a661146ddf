//! A client's socket: what is read is checked on the way, and what happens is noted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::connection::CLOSE_TIMEOUT;
use super::heads::Heads;
use super::linger::{MOST_OF_BODY, MOST_OF_HEAD};
use super::slices::Slices;
use super::transport::Transport;
use crate::proxy::{ClientConn, Service};
use crate::request::Malformed;
use crate::request::frames::DataFrames;
use crate::request::wire::Framing;

pub(super) struct Socket<S> {
    /// Boxed: it is large, and a socket moves from one state of its connection to the next, each of
    /// which would have room for it.
    stream: Box<S>,
    connection: Arc<ClientConn>,
    protocol: Protocol,
    /// What was read and did not fit, see [`Framing::widened`].
    surplus: Vec<u8>,
    withheld: Withheld,
    heads: Heads,
}

/// The answer that hyper gives by itself to a head that is no request: another goes out instead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withheld {
    /// There was none.
    Nothing,
    /// It, and the end of the connection after it, were not sent.
    Answer,
    /// That other goes out.
    Replaced,
}

/// What is read is looked at on its way.
enum Protocol {
    /// `None` in a tunnel.
    Http1(Option<Box<Framing>>),
    Http2(DataFrames),
}

impl<S: Transport> Socket<S> {
    pub(super) fn new(stream: S, connection: Arc<ClientConn>, http1: bool) -> Self {
        let protocol = if http1 {
            Protocol::Http1(Some(Box::new(Framing::new())))
        } else {
            Protocol::Http2(DataFrames::new())
        };
        Self {
            stream: Box::new(stream),
            connection,
            protocol,
            surplus: Vec::new(),
            withheld: Withheld::Nothing,
            heads: Heads::default(),
        }
    }

    /// Closes the connection after its last answer, which the client gets to read even if it was
    /// not done asking (SEC-99).
    pub(super) async fn close(mut self, service: &Service) {
        let most = match &self.protocol {
            Protocol::Http1(Some(framing)) if framing.is_inside_body() => MOST_OF_BODY,
            Protocol::Http1(Some(framing)) if !framing.is_between_requests() => MOST_OF_HEAD,
            _ if self.withheld == Withheld::Replaced => MOST_OF_HEAD,
            _ => return,
        };
        let shut_down = tokio::time::timeout(CLOSE_TIMEOUT, self.shutdown()).await;
        if let Ok(Ok(())) = shut_down {
            let place = self.connection.state.place();
            let stop = service.shutdown().token();
            self.stream.linger(most, place, stop).await;
        }
    }

    /// Why the client was refused on the wire, if it was.
    pub(super) fn refused(&self) -> Option<Malformed> {
        match &self.protocol {
            Protocol::Http1(Some(framing)) => framing.refused(),
            Protocol::Http1(None) | Protocol::Http2(_) => None,
        }
    }

    /// Whether an answer of hyper's own was withheld. What is written from now on goes out.
    pub(super) fn stop_withholding(&mut self) -> bool {
        std::mem::replace(&mut self.withheld, Withheld::Replaced) == Withheld::Answer
    }

    /// Whether these `bytes` are such an answer: they begin one, and no request has begun that they
    /// could be of.
    fn withholds(&mut self, bytes: &[u8]) -> bool {
        if self.withheld == Withheld::Nothing
            && !self.connection.state.has_begun()
            && matches!(self.protocol, Protocol::Http1(Some(_)))
            && bytes.starts_with(b"HTTP/1.")
            && bytes.get(8..10) == Some(b" 4")
        {
            self.withheld = Withheld::Answer;
        }
        self.withheld == Withheld::Answer
    }

    /// Resets the connection: an orderly end would make a response look whole that was cut, because
    /// many clients do not ask for the `close_notify` of TLS (RFC 8446 §6.1).
    pub(super) fn reset(self) {
        self.stream.reset();
    }

    /// Waits for the next request; whether one comes before the connection has been idle for too
    /// long, has to make room for others, or the service stops (SEC-28). Otherwise it is shut down.
    pub(super) async fn wait(&mut self, service: &Service) -> bool {
        let keep_alive = service.settings().timeouts.keep_alive;
        let until = Instant::from_std(self.connection.state.idle_since() + keep_alive);
        let comes = tokio::select! {
            readable = self.stream.readable() => readable.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = self.connection.state.evicted() => false,
            () = service.shutdown().token().cancelled() => false,
        };
        if !comes {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.shutdown()).await;
        }
        comes
    }

    /// Takes back what was read of it: it is read again.
    pub(super) fn unread(&mut self, read: &[u8]) {
        self.surplus.splice(..0, read.iter().copied());
    }

    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.connection.state.note_write(written.is_pending());
        written
    }
}

impl<S: Transport> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.surplus.is_empty() {
            let fits = this.surplus.len().min(buffer.remaining());
            buffer.put_slice(&this.surplus[..fits]);
            this.surplus.drain(..fits);
            return Poll::Ready(Ok(()));
        }
        if let Protocol::Http1(Some(framing)) = &this.protocol
            && framing.has_refused()
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let state = &this.connection.state;
        match &mut this.protocol {
            Protocol::Http1(framing) if state.is_upgraded() => *framing = None,
            Protocol::Http1(Some(framing)) => {
                let passed = framing.inspect(&mut buffer.filled_mut()[before..]);
                buffer.set_filled(before + passed);
                if let Some(wide) = framing.widened(&buffer.filled()[before..]) {
                    buffer.set_filled(before);
                    let (fits, surplus) = wide.split_at(wide.len().min(buffer.remaining()));
                    buffer.put_slice(fits);
                    this.surplus = surplus.to_vec();
                }
                state.note_head(framing.is_inside_head());
            }
            Protocol::Http1(None) => {}
            Protocol::Http2(frames) => {
                let data = frames.count(&buffer.filled()[before..]);
                if data > 0 {
                    this.connection.receive(data);
                }
            }
        }
        read
    }
}

impl<S: Transport> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.withholds(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let stream = Pin::new(&mut self.stream);
        let written = match Slices::of_one(bytes) {
            Some(small) => stream.poll_write_vectored(cx, small.as_slice()),
            None => stream.poll_write(cx, bytes),
        };
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.withholds(slices.first().map_or(&[], |slice| &**slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let this = &mut *self;
        let mut write = |slices: &[io::IoSlice<'_>]| {
            let small = Slices::of(slices);
            let slices = small.as_ref().map_or(slices, Slices::as_slice);
            Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
        };
        let state = &this.connection.state;
        let written = if !this.heads.are_whole() {
            this.heads.write_rest(slices, write)
        } else if let Some(letters) = state.take_letters() {
            let written = this.heads.write(&letters, slices, write);
            if written.is_pending() {
                state.note_letters(letters);
            }
            written
        } else {
            write(slices)
        };
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.connection.state.note_flushed();
        }
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.withheld == Withheld::Answer {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
