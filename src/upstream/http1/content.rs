//! The content of a response: where it ends (RFC 9112 §6).

use bytes::{Buf, Bytes, BytesMut};
use http_body::SizeHint;

use super::ResponseError;

/// What chunks may have of extensions, in one response: they mean nothing to anybody.
const MOST_OF_EXTENSIONS: usize = 16 * 1024;

/// Of digits and blanks: some servers pad the size of a chunk.
const MOST_OF_SIZE: usize = 64;

/// Chunks that are shorter, and are all there, go on together: each alone would take more memory on
/// its way than it has bytes (SEC-27).
const SHORT_CHUNK: u64 = 1024;

/// Trailers end here (SEC-39), so nobody has use for more.
const MOST_OF_TRAILERS: usize = 128 * 1024;

/// What there is yet to come of a response.
pub(in super::super) enum Content {
    None,
    /// So many bytes, and not none.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Content {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked {
            state: State::Size,
            left: 0,
            size: 0,
            extensions: 0,
            trailers: 0,
        })
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it says itself where it ends.
    pub(in super::super) fn is_framed(&self) -> bool {
        !matches!(self, Self::UntilClose)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::UntilClose => SizeHint::new(),
        }
    }

    /// Takes some content off `input`; `None` at the end, or where more has to be read.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, ResponseError> {
        let bytes = match self {
            Self::None => None,
            Self::Length(left) => take(left, input),
            Self::Chunked(chunked) => chunked.decode(input)?,
            Self::UntilClose if input.is_empty() => None,
            Self::UntilClose => Some(input.split().freeze()),
        };
        if self.has_ended() {
            *self = Self::None;
        }
        Ok(bytes)
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) -> Result<(), ResponseError> {
        match self {
            Self::None | Self::UntilClose => {
                *self = Self::None;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(ResponseError::Cut),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.state == State::End,
            Self::None | Self::UntilClose => false,
        }
    }
}

/// As much as there is of so many bytes.
fn take(left: &mut u64, input: &mut BytesMut) -> Option<Bytes> {
    if input.is_empty() {
        return None;
    }
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let bytes = input.split_to(most.min(input.len()));
    *left -= bytes.len() as u64;
    Some(bytes.freeze())
}

/// The chunked transfer coding (RFC 9112 §7.1).
pub(in super::super) struct Chunked {
    state: State,
    /// Of the chunk.
    left: u64,
    /// The length of its line so far, without extensions.
    size: usize,
    extensions: usize,
    trailers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// White space that some servers pad the size with.
    AfterSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
    Broken(&'static str),
}

impl Chunked {
    /// Goes as far as the next piece of a chunk, and then as far as there is no further one: the end
    /// is known together with the last piece.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, ResponseError> {
        let first = self.decode_piece(input)?;
        let (State::Data, Some(piece)) = (self.state, &first) else {
            return Ok(first);
        };
        if !self.is_short(piece.len(), input) {
            return Ok(first);
        }
        let mut joined = BytesMut::with_capacity(piece.len() + input.len());
        joined.extend_from_slice(piece);
        while self.state == State::Data && self.is_short(0, input) {
            match self.decode_piece(input)? {
                Some(piece) => joined.extend_from_slice(&piece),
                None => break,
            }
        }
        Ok(Some(joined.freeze()))
    }

    /// Whether both a piece and the next chunk, which is all there, are short.
    fn is_short(&self, piece: usize, input: &BytesMut) -> bool {
        piece as u64 <= SHORT_CHUNK && self.left <= SHORT_CHUNK && self.left <= input.len() as u64
    }

    fn decode_piece(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, ResponseError> {
        let mut data = None;
        loop {
            match self.state {
                State::Broken(what) if data.is_none() => return Err(ResponseError::Chunk(what)),
                State::End | State::Broken(_) => return Ok(data),
                State::Data if data.is_some() => return Ok(data),
                State::Data => {
                    data = take(&mut self.left, input);
                    if data.is_none() {
                        return Ok(None);
                    }
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                }
                _ => {
                    let Some(&byte) = input.first() else {
                        return Ok(data);
                    };
                    input.advance(1);
                    self.state = self.after(byte).unwrap_or_else(State::Broken);
                }
            }
        }
    }

    /// The state after a byte that frames chunks.
    fn after(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.count_size()?;
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let left = self.left.checked_mul(16);
                let left = left.and_then(|left| left.checked_add(u64::from(digit)));
                self.left = left.ok_or("a size beyond all bounds")?;
                State::Size
            }
            (State::Size, _) if self.size == 0 => return Err("a size without a digit"),
            (State::Size | State::AfterSize, b' ' | b'\t') => {
                self.count_size()?;
                State::AfterSize
            }
            (State::Size | State::AfterSize, b';') => State::Extension,
            (State::Size | State::AfterSize | State::Extension, b'\r') => State::SizeLf,
            (State::Size | State::AfterSize, _) => return Err("a size that is no number"),
            (State::Extension, b'\n') => return Err("a line feed in an extension"),
            (State::Extension, _) => {
                self.count_extension()?;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.size = 0;
                match self.left {
                    0 => State::TrailerStart,
                    _ => State::Data,
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => return Err("data beyond its size"),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, b'\n') => return Err("a line feed in trailers"),
            (State::TrailerStart | State::Trailer, _) => {
                self.trailers += 1;
                if self.trailers > MOST_OF_TRAILERS {
                    return Err("trailers that are too long");
                }
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            _ => return Err("a carriage return without a line feed"),
        })
    }

    fn count_size(&mut self) -> Result<(), &'static str> {
        self.size += 1;
        if self.size > MOST_OF_SIZE {
            return Err("a size that is too long");
        }
        Ok(())
    }

    fn count_extension(&mut self) -> Result<(), &'static str> {
        self.extensions += 1;
        if self.extensions > MOST_OF_EXTENSIONS {
            return Err("extensions that are too long");
        }
        Ok(())
    }
}
