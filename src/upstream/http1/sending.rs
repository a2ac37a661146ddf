//! A request on its way out.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header;
use http::request::Parts;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::super::RequestBody;
use super::{ResponseError, head};

/// What is read of a body and not written yet (SEC-27); enough to keep a fast reader busy.
const BUFFER: usize = 64 * 1024;

/// Of one write.
const MOST_SLICES: usize = 16;

/// The same for pieces, each of which takes more memory than the byte that it may have.
const MOST_PIECES: usize = 2 * MOST_SLICES;

/// More memory than this is not kept for the next head.
const USUAL_HEAD: usize = 4 * 1024;

/// What there is yet to send of a request.
#[derive(Default)]
pub(super) struct Sending {
    head: Vec<u8>,
    /// How much of the head is written.
    written: usize,
    /// Pieces of the body with their frames, to be written.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// There until it has come to its end.
    body: Option<RequestBody>,
    framing: Framing,
    state: State,
}

/// How the application learns where the body ends.
#[derive(Clone, Copy, Default)]
enum Framing {
    /// After so many more bytes.
    Length(u64),
    #[default]
    Chunked,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Done,
    Sending,
    /// All is written, but not flushed.
    Flushing,
    /// It will never be done, at least not here.
    Failed,
}

impl Sending {
    /// For a request that somebody else sends.
    pub(super) fn elsewhere() -> Self {
        Self {
            state: State::Failed,
            ..Self::default()
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether there is more to send, here.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.state, State::Sending | State::Flushing)
    }

    pub(super) fn rest(&mut self) {
        self.head.clear();
        if self.head.capacity() > USUAL_HEAD {
            self.head = Vec::new();
        }
        self.queue = VecDeque::new();
    }

    /// Writes the head, which has to say how the body is framed: one that says something else than
    /// what follows would let a client smuggle a request (SEC-14).
    pub(super) fn begin(&mut self, head: &Parts, body: RequestBody) -> Result<(), ResponseError> {
        self.head.clear();
        let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
        let (length, another) = (lengths.next(), lengths.next());
        let length = length.map(|length| head::parse_length(length.as_bytes()));
        let coding = head.headers.get(header::TRANSFER_ENCODING);
        let is_empty = body.is_end_stream();
        self.framing = match (length, another, coding) {
            (Some(Some(length)), None, None) => Framing::Length(length),
            (None, None, Some(coding)) if coding == "chunked" => Framing::Chunked,
            (None, None, None) if is_empty => Framing::Length(0),
            _ => return Err(ResponseError::RequestLength),
        };
        self.body = match self.framing {
            Framing::Length(0) if is_empty => None,
            _ => Some(body),
        };
        head::write(head, &mut self.head);
        self.written = 0;
        self.state = State::Sending;
        Ok(())
    }

    /// The same with a head that has no body after it.
    pub(super) fn begin_again(&mut self, head: Vec<u8>) {
        *self = Self {
            head,
            framing: Framing::Length(0),
            state: State::Sending,
            ..Self::default()
        };
    }

    pub(super) fn take_head(&mut self) -> Vec<u8> {
        mem::take(&mut self.head)
    }

    /// Writes as much as the body has and the application takes; ready when that is all. After an
    /// error it stays pending: what the application has to say of it may still come.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<Result<(), ResponseError>> {
        match self.state {
            State::Done => return Poll::Ready(Ok(())),
            State::Failed => return Poll::Pending,
            State::Sending | State::Flushing => {}
        }
        let sent = ready!(self.poll_sending(cx, stream));
        if sent.is_err() {
            self.state = State::Failed;
            self.body = None;
            self.queue.clear();
            self.queued = 0;
        }
        Poll::Ready(sent)
    }

    fn poll_sending<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<Result<(), ResponseError>> {
        loop {
            if self.body.is_some() {
                self.read_body(cx)?;
            }
            if self.written < self.head.len() || !self.queue.is_empty() {
                let written = ready!(self.poll_write(cx, stream)).map_err(ResponseError::Io)?;
                if written == 0 {
                    return Poll::Ready(Err(ResponseError::Io(io::ErrorKind::WriteZero.into())));
                }
                self.advance(written);
                self.state = State::Flushing;
                continue;
            }
            if self.state == State::Flushing {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(ResponseError::Io)?;
                self.state = State::Sending;
            }
            if self.body.is_some() {
                return Poll::Pending; // for its client
            }
            self.state = State::Done;
            return Poll::Ready(Ok(()));
        }
    }

    /// Takes what there is of the body, as long as there is room.
    fn read_body(&mut self, cx: &mut Context<'_>) -> Result<(), ResponseError> {
        while let Some(body) = &mut self.body
            && self.queued < BUFFER
            && self.queue.len() < MOST_PIECES
            && let Poll::Ready(frame) = Pin::new(body).poll_frame(cx)
        {
            match frame {
                None => self.end()?,
                Some(Err(error)) => return Err(ResponseError::Request(error)),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default(); // no trailers (SEC-39)
                    if !data.is_empty() {
                        self.push(data)?;
                    }
                    if self.body.as_ref().is_some_and(RequestBody::is_end_stream) {
                        self.end()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, data: Bytes) -> Result<(), ResponseError> {
        match &mut self.framing {
            Framing::Length(left) => {
                let length = data.len() as u64;
                *left = left
                    .checked_sub(length)
                    .ok_or(ResponseError::RequestLength)?;
                self.enqueue(data);
            }
            Framing::Chunked => {
                self.enqueue(format!("{:x}\r\n", data.len()).into());
                self.enqueue(data);
                self.enqueue(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ResponseError> {
        self.body = None;
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(ResponseError::RequestLength),
            Framing::Chunked => self.enqueue(Bytes::from_static(b"0\r\n\r\n")),
        }
        Ok(())
    }

    fn enqueue(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.queue.push_back(piece);
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<usize>> {
        let head = &self.head[self.written..];
        if self.queue.is_empty() {
            return Pin::new(stream).poll_write(cx, head);
        }
        let mut slices = [IoSlice::new(&[]); MOST_SLICES];
        let pieces = self.queue.iter().map(|piece| &**piece);
        let pieces = Some(head)
            .filter(|head| !head.is_empty())
            .into_iter()
            .chain(pieces);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        Pin::new(stream).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        let head = written.min(self.head.len() - self.written);
        self.written += head;
        written -= head;
        while let Some(piece) = self.queue.front_mut()
            && written > 0
        {
            let taken = written.min(piece.len());
            piece.advance(taken);
            self.queued -= taken;
            written -= taken;
            if piece.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}
