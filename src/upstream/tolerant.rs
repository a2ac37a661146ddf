//! What is forgiven in the answers of an app, where its `tolerate` says so.
//!
//! An answer with a line in its head that is no header field is refused, and an end of TLS
//! without `close_notify` taken for a cut. This filter stands in front of that, on the connections of
//! such an app only, and reads the heads of its answers. It takes lines that are no fields out, and
//! refuses those that another parser may take for what frames the answer, opens a connection or
//! sets a cookie: what is dropped must have meant nothing to anybody (SEC-15). It knows nothing of
//! bodies: a head begins with the first byte after a request was sent, and what follows it passes
//! unread, so that the filter and the parser cannot disagree on where an answer ends.

mod reserved;

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::{MAX_HEAD, Stream};
use super::sender::BytesReceived;
use reserved::may_be_reserved;

/// Of one read of a head.
const READ: usize = 8 * 1024;

/// What of an app's answers is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerated {
    /// Lines in a head that are no header fields are dropped.
    InvalidHeaderLines,
    /// TLS may end without `close_notify` where the end of the connection is the end of the answer.
    MissingCloseNotify,
}

/// A connection whose answers are forgiven some things.
pub(super) struct Tolerant {
    stream: Box<dyn Stream>,
    tolerated: Vec<Tolerated>,
    received: BytesReceived,
    head: Head,
    /// What is read and not taken yet.
    ready: Vec<u8>,
    taken: usize,
    refused: Option<&'static str>,
}

impl Tolerant {
    /// `received` tells when a request is sent, and learns what comes.
    pub(super) fn new(
        stream: Box<dyn Stream>,
        tolerated: &[Tolerated],
        received: BytesReceived,
    ) -> Self {
        Self {
            stream,
            tolerated: tolerated.to_vec(),
            received,
            head: Head::default(),
            ready: Vec::new(),
            taken: 0,
            refused: None,
        }
    }

    fn has(&self, tolerated: Tolerated) -> bool {
        self.tolerated.contains(&tolerated)
    }

    /// Gives what comes after a head as it is.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.received.note();
        }
        Poll::Ready(match read {
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof
                    && self.head.end == Some(End::Close)
                    && self.has(Tolerated::MissingCloseNotify) =>
            {
                Ok(())
            }
            read => read,
        })
    }
}

impl AsyncRead for Tolerant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(what) = this.refused {
                return Poll::Ready(Err(io::Error::other(Refused(what))));
            }
            let ready = &this.ready[this.taken..];
            if !ready.is_empty() {
                let taken = ready.len().min(buffer.remaining());
                buffer.put_slice(&ready[..taken]);
                this.taken += taken;
                return Poll::Ready(Ok(()));
            }
            this.ready = Vec::new();
            this.taken = 0;
            if !this.received.has_heard() {
                this.head = Head::default();
            }
            if this.head.end.is_some() {
                return this.poll_rest(cx, buffer);
            }
            let mut bytes = [0; READ];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(())); // an end within a head, of which the parser makes an error
            }
            this.received.note();
            let drops = this.has(Tolerated::InvalidHeaderLines);
            let passed = this.head.read(read.filled(), drops, &mut this.ready);
            if this.head.has_dropped {
                this.received.note_dropped_line();
            }
            this.refused = passed.err();
        }
    }
}

impl AsyncWrite for Tolerant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer that is not passed on, and why.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Refused {}

/// Why the filter has refused an answer, if it was the filter.
pub(super) fn refusal(error: &io::Error) -> Option<&'static str> {
    let refused = error.get_ref()?.downcast_ref::<Refused>()?;
    Some(refused.0)
}

/// The head of an answer, and of interim ones before it, however it is cut into reads.
#[derive(Debug, Default)]
struct Head {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Of all that has come, lines that were dropped included.
    length: usize,
    /// The status, between its line and the end of the head.
    status: Option<u16>,
    is_framed: bool,
    has_dropped: bool,
    /// Once the head is over, where the answer ends.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Where it says itself, or never, as after a change of protocol.
    OfItsOwn,
    /// Where the connection ends (RFC 9112 §6.3).
    Close,
}

impl Head {
    /// Passes what is good on to `out`. The error says why the answer is refused.
    fn read(&mut self, bytes: &[u8], drops: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.end.is_some() {
                out.extend_from_slice(rest);
                return Ok(());
            }
            let end = memchr(b'\n', rest).map(|at| at + 1);
            let (part, further) = rest.split_at(end.unwrap_or(rest.len()));
            rest = further;
            self.length += part.len();
            if self.length > MAX_HEAD {
                return Err("a head that is too long");
            }
            self.line.extend_from_slice(part);
            if end.is_none() {
                return Ok(());
            }
            let line = std::mem::take(&mut self.line);
            if self.passes(&line, drops)? {
                out.extend_from_slice(&line);
            }
        }
        Ok(())
    }

    /// Whether a line goes on to the parser.
    fn passes(&mut self, line: &[u8], drops: bool) -> Result<bool, &'static str> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(status) = self.status else {
            if !line.is_empty() {
                self.status = Some(status(line).ok_or("no status line")?);
                self.is_framed = false;
            }
            return Ok(true);
        };
        if line.is_empty() {
            self.status = None;
            self.end = match status {
                200.. if !self.is_framed => Some(End::Close),
                101 | 200.. => Some(End::OfItsOwn),
                _ => None, // an interim answer is not the last
            };
            return Ok(true);
        }
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err("a control byte in its head");
        }
        if let Some(name) = field_name(line) {
            self.is_framed |= name.eq_ignore_ascii_case(b"content-length")
                || name.eq_ignore_ascii_case(b"transfer-encoding");
            return Ok(true);
        }
        if !drops {
            return Ok(true); // for the parser to refuse
        }
        // A line that goes on with the one before (RFC 9112 §5.2) would be of a dropped one, or of
        // one that means something else without it. nginx refuses it, too.
        if line[0] == b' ' || line[0] == b'\t' {
            return Err("a folded header line");
        }
        if line.starts_with(b"HTTP/") {
            return Err("a second status line");
        }
        if may_be_reserved(line) {
            return Err("an invalid header line that looks like one that must not be dropped");
        }
        self.has_dropped = true;
        Ok(false)
    }
}

/// `HTTP/1.1 200 OK`
fn status(line: &[u8]) -> Option<u16> {
    let code = line.strip_prefix(b"HTTP/1.")?.get(1..)?;
    let code = code.strip_prefix(b" ")?;
    let (code, rest) = code.split_at_checked(3)?;
    if !rest.is_empty() && rest[0] != b' ' {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?;
    code.parse().ok().filter(|code| *code >= 100)
}

/// The name in a line that is a field (RFC 9112 §5).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = &line[..memchr(b':', line)?];
    (!name.is_empty() && name.iter().all(|byte| is_token(*byte))).then_some(name)
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What of an answer in these reads passes, and whether a line was dropped; or why it is refused.
#[cfg(fuzzing)]
pub(crate) fn filter_answer<'a>(
    mut reads: impl Iterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, bool), &'static str> {
    let (mut head, mut out) = (Head::default(), Vec::new());
    reads.try_for_each(|read| head.read(read, true, &mut out))?;
    Ok((out, head.has_dropped))
}

#[cfg(test)]
mod tests;
