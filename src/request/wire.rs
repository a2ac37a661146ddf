//! Refuses on the wire what an HTTP/1.1 parser may forgive.
//!
//! hyper takes a bare LF for a line end, lets Transfer-Encoding win over Content-Length, and cuts
//! a fragment off the target. Each is safe with us, because what the upstream gets is written
//! anew; but each is also how two parsers of one chain come to disagree (RFC 9112 §2.2, §6.3,
//! §11.2), so a client that sends it is refused instead of understood.
//!
//! [`Framing`] reads along and decides nothing else: it never says what a request means. Where
//! it refuses, it puts a byte in place of the offending one that hyper does not accept there: hyper
//! then answers 400 in its turn, after the answers to earlier requests, and closes. Whatever hyper
//! makes of that byte, it never sees another one of this client.
//!
//! What follows a WebSocket handshake is no HTTP, and passes unread: hyper keeps it until the
//! handshake is answered. After any answer but a 101 the connection has to end, see
//! [`is_left_unread`].

use http::{HeaderMap, header};

use super::Malformed;

/// Follows the requests of one connection byte by byte, however they are cut into reads.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The beginning of the current line: enough for the framing fields and their values.
    line: [u8; LINE],
    /// Length of the current line so far, which can be more than `line` holds.
    length: usize,
    /// Whether the last byte was a CR, whose LF must come next.
    after_cr: bool,
    body: Declared,
    /// Whether the head asks for a WebSocket.
    websocket: bool,
    /// Where request lines have bytes beyond ASCII, in what was looked at last.
    raw: Vec<usize>,
}

const LINE: usize = 64;

/// A chunk size has at most 16 hex digits (SEC-04).
const CHUNK_SIZE_DIGITS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte of a request line; empty lines here are skipped (RFC 9112 §2.2).
    Idle,
    RequestLine,
    Fields,
    Content(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end after the data of a chunk.
    ChunkEnd,
    Trailers,
    /// After a WebSocket handshake.
    Unread,
    /// Refused, and why: nothing after it counts.
    Done(Malformed),
}

/// What the head says of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Declared {
    #[default]
    None,
    Chunked,
    Length(u64),
}

const UPGRADE: &[u8] = b"upgrade";

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// Whether bytes after this head may have passed unread, so that there is no telling where the next
/// request begins. True of every head of which [`Framing`] thinks so.
pub(crate) fn is_left_unread(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    protocols.any(|protocol| is_websocket(protocol.as_bytes()))
}

impl Framing {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Idle,
            line: [0; LINE],
            length: 0,
            after_cr: false,
            body: Declared::None,
            websocket: false,
            raw: Vec::new(),
        }
    }

    /// Whether a request line or header section has begun and has not ended.
    pub(crate) fn is_inside_head(&self) -> bool {
        matches!(self.state, State::RequestLine | State::Fields)
    }

    /// Whether the last request has come to its end, and no other has begun.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether a head has ended and its body has not.
    pub(crate) fn is_inside_body(&self) -> bool {
        !self.is_between_requests() && !self.is_inside_head() && !self.has_refused()
    }

    /// Whether the client was refused: then nothing more of it is to be read.
    pub(crate) fn has_refused(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// Why the client was refused, if it was.
    pub(crate) fn refused(&self) -> Option<Malformed> {
        match self.state {
            State::Done(malformed) => Some(malformed),
            _ => None,
        }
    }

    /// Reads along; spoils the byte at which the client is refused. Gives how many bytes are to
    /// be passed on: what follows a refusal is not.
    pub(crate) fn inspect(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let taken = match self.state {
                State::Done(_) => return at,
                State::Unread => return bytes.len(),
                State::Content(left) => {
                    self.skip(left, bytes.len() - at, State::Content, State::Idle)
                }
                State::ChunkData(left) => {
                    self.skip(left, bytes.len() - at, State::ChunkData, State::ChunkEnd)
                }
                _ => {
                    if let Some(length) = self.take_plain_head(&bytes[at..]) {
                        at += length;
                        continue;
                    }
                    let split = self.after_cr;
                    match self.read_line(bytes, at) {
                        Ok(taken) => taken,
                        Err((offset, malformed)) => {
                            let rest = &bytes[at..];
                            let after_cr = match offset {
                                0 => split,
                                _ => rest[offset - 1] == b'\r',
                            };
                            // hyper skips a NUL in a chunk extension; there it refuses a bare LF.
                            let extension = self.state == State::ChunkSize && !after_cr;
                            bytes[at + offset] = if extension { b'\n' } else { 0 };
                            self.state = State::Done(malformed);
                            return at + offset + 1;
                        }
                    }
                }
            };
            at += taken;
        }
        at
    }

    /// Takes a head that is there as a whole and in which nothing needs a second look, as in most:
    /// each line ends by CRLF, there is no other CR and no NUL, and no field is about a body or another
    /// protocol. Gives its length. All other heads are read line by line, with the same result.
    fn take_plain_head(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.state != State::Idle || self.length > 0 || self.after_cr {
            return None;
        }
        let (mut start, mut lines) = (0, 0);
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes[start..end].strip_suffix(b"\r")?;
            lines += 1;
            if lines == 1 {
                if line.is_empty() || !line.is_ascii() || line.contains(&b'#') {
                    return None;
                }
            } else if line.is_empty() {
                let head = &bytes[..=end];
                let returns = memchr::memchr_iter(b'\r', head).count();
                if returns != lines || memchr::memchr(0, head).is_some() {
                    return None;
                }
                self.websocket = false;
                return Some(head.len());
            } else if !is_other_field(line) && is_framing_field(line) {
                return None;
            }
            start = end + 1;
        }
        None
    }

    fn skip(&mut self, left: u64, have: usize, more: fn(u64) -> State, then: State) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(have);
        let left = left - taken as u64;
        self.state = if left == 0 { then } else { more(left) };
        taken
    }

    /// The bytes that were looked at last, if hyper would not take them as they are: it refuses a
    /// target that is not UTF-8. Each byte of a target beyond ASCII becomes the character with its
    /// number here; what it was, `Target` knows.
    pub(crate) fn widened(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.raw.is_empty() {
            return None;
        }
        let mut wide = Vec::with_capacity(bytes.len() + self.raw.len());
        let mut done = 0;
        for at in std::mem::take(&mut self.raw) {
            let Some(&byte) = bytes.get(at) else { break };
            wide.extend_from_slice(&bytes[done..at]);
            wide.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes());
            done = at + 1;
        }
        wide.extend_from_slice(&bytes[done..]);
        Some(wide)
    }

    /// Takes the rest of a line from `at` on, or what there is of it. Gives how many bytes that is;
    /// the error is the offset to refuse at, and why.
    fn read_line(&mut self, bytes: &[u8], at: usize) -> Result<usize, (usize, Malformed)> {
        let line_end = |offset| (offset, Malformed::LineEnd);
        let (content, taken, ends) = self.find_end(&bytes[at..]).map_err(line_end)?;
        if self.state == State::Idle && !content.is_empty() {
            self.state = State::RequestLine;
        }
        if self.state == State::RequestLine {
            if let Some(fragment) = memchr::memchr(b'#', content) {
                return Err((fragment, Malformed::Fragment)); // SEC-10: no fragment in a target
            }
            if !content.is_ascii() {
                let places = content.iter().enumerate();
                let raw = places.filter(|(_, byte)| !byte.is_ascii());
                self.raw.extend(raw.map(|(place, _)| at + place));
            }
        }
        if self.state == State::ChunkEnd && !content.is_empty() {
            return Err((0, Malformed::Chunk));
        }
        if self.state == State::Fields && self.length == 0 && ends && is_other_field(content) {
            return Ok(taken); // as most lines are
        }
        if !ends {
            self.keep(content);
            let cut = self.length > LINE;
            let hopeless = cut && self.state == State::ChunkSize && chunk_size(&self.line).is_err();
            return if hopeless {
                Err((0, Malformed::Chunk))
            } else {
                Ok(taken)
            };
        }
        let ended = if self.length == 0 {
            self.end_line(&content[..content.len().min(LINE)], content.len() > LINE)
        } else {
            self.keep(content);
            let (line, length) = (self.line, self.length.min(LINE));
            self.end_line(&line[..length], self.length > LINE)
        };
        self.length = 0;
        ended.map_err(|malformed| (taken - 1, malformed))?;
        Ok(taken)
    }

    /// What there is of a line but its end, how many bytes that is with its end, and whether it ends.
    /// A CR belongs before the LF and nowhere else (SEC-06), and a NUL nowhere at all.
    fn find_end<'r>(&mut self, rest: &'r [u8]) -> Result<(&'r [u8], usize, bool), usize> {
        if std::mem::take(&mut self.after_cr) {
            return match rest {
                [b'\n', ..] => Ok((&[], 1, true)),
                _ => Err(0),
            };
        }
        let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
            return Ok((rest, rest.len(), false));
        };
        match &rest[at..] {
            [b'\r', b'\n', ..] => Ok((&rest[..at], at + 2, true)),
            [b'\r'] => {
                self.after_cr = true;
                Ok((&rest[..at], rest.len(), false))
            }
            _ => Err(at),
        }
    }

    /// Keeps the part of a line that the next read goes on with.
    fn keep(&mut self, content: &[u8]) {
        let start = self.length.min(LINE);
        let kept = content.len().min(LINE - start);
        self.line[start..start + kept].copy_from_slice(&content[..kept]);
        self.length += content.len();
    }

    /// `line` is `cut` off after [`LINE`] bytes.
    fn end_line(&mut self, line: &[u8], cut: bool) -> Result<(), Malformed> {
        let empty = line.is_empty();
        self.state = match self.state {
            State::RequestLine => {
                self.websocket = false;
                State::Fields
            }
            State::Fields if empty => match std::mem::take(&mut self.body) {
                Declared::None | Declared::Length(0) if self.websocket => State::Unread,
                Declared::None | Declared::Length(0) => State::Idle,
                Declared::Chunked => State::ChunkSize,
                Declared::Length(length) => State::Content(length),
            },
            State::Fields => {
                self.read_field(line, cut)?;
                State::Fields
            }
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailers,
                size => State::ChunkData(size),
            },
            State::ChunkEnd => State::ChunkSize,
            State::Trailers if empty => State::Idle,
            other => other,
        };
        Ok(())
    }

    /// SEC-01 to SEC-03: one framing field in all, and that one without any doubt.
    fn read_field(&mut self, line: &[u8], cut: bool) -> Result<(), Malformed> {
        if is_other_field(line) {
            return Ok(());
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Ok(()); // not a framing field; whether it is a field at all, hyper says
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let declared = if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).map_err(|_| Malformed::ContentLength)?;
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Malformed::ContentLength);
            }
            Declared::Length(digits.parse().map_err(|_| Malformed::ContentLength)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferEncoding);
            }
            Declared::Chunked
        } else {
            // What is cut off could make it another protocol, see `is_left_unread`.
            self.websocket |= !cut && name.eq_ignore_ascii_case(UPGRADE) && is_websocket(value);
            return Ok(());
        };
        if self.body != Declared::None || cut {
            return Err(Malformed::Framing);
        }
        self.body = declared;
        Ok(())
    }
}

/// Whether a line is one of the fields that matter here.
fn is_framing_field(line: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", UPGRADE]
        .into_iter()
        .any(|name| {
            line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
        })
}

/// Whether a line is a field by whose first letter it is none of those that matter here.
fn is_other_field(line: &[u8]) -> bool {
    !matches!(line, [] | [b'C' | b'c' | b'T' | b't' | b'U' | b'u', ..])
}

/// SEC-04: hex digits only; an extension may follow and is ignored (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    if digits.is_empty()
        || digits.len() > CHUNK_SIZE_DIGITS
        || !digits.iter().all(u8::is_ascii_hexdigit)
    {
        return Err(Malformed::Chunk);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)
}

#[cfg(test)]
mod tests;
