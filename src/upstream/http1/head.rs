//! The head of a request, as it is written, and of a response, as it is read.

use std::mem::{self, MaybeUninit};

use bytes::{Buf, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;
use memchr::memchr_iter;

use super::content::Content;
use super::{MAX_HEAD, ResponseError};
use crate::request::capitalize;

/// An application's response may have more fields than we take from a browser.
const MAX_FIELDS: usize = 256;

/// Writes the head of a request. Names get Title-Case: there are servers that compare letters.
pub(super) fn write(request: &Parts, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.uri.path().as_bytes());
    if let Some(query) = request.uri.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &request.headers {
        let start = out.len();
        out.extend_from_slice(name.as_str().as_bytes());
        capitalize(&mut out[start..]);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The head of a response.
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Of a response that can have any.
    pub(super) content: Content,
    pub(super) keeps_alive: bool,
    /// In bytes.
    pub(super) length: usize,
}

/// How far the beginning of a head has been looked at, so that one that comes byte by byte is not
/// read from its beginning each time.
#[derive(Default)]
pub(super) struct Progress {
    /// There is no end before.
    searched: usize,
    /// What was there when it was parsed last.
    parsed: usize,
}

impl Head {
    /// Takes a head off `input`; `None` while it is not whole. `fields` is an empty map, whose
    /// memory is used.
    pub(super) fn parse(
        input: &mut BytesMut,
        progress: &mut Progress,
        fields: &mut HeaderMap,
    ) -> Result<Option<Self>, ResponseError> {
        // Empty lines before a status line: other clients forgive them.
        while let Some(line) = [&b"\r\n"[..], b"\n"]
            .into_iter()
            .find(|line| input.starts_with(line))
        {
            input.advance(line.len());
        }
        let Some(length) = progress.end_of_head(input) else {
            progress.refuse_what_is_none(input)?;
            return Ok(None);
        };
        *progress = Progress::default();
        if length > MAX_HEAD {
            return Err(ResponseError::LongHead);
        }
        let bytes = input.split_to(length).freeze();
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut head, &bytes, &mut room);
        let (Some(code), Some(version), true) = (
            head.code,
            head.version,
            parsed.map_err(ResponseError::Head)? == httparse::Status::Complete(length),
        ) else {
            return Err(ResponseError::Ambiguous("a head with two ends"));
        };
        let status =
            StatusCode::from_u16(code).map_err(|_| ResponseError::Head(httparse::Error::Status))?;
        let version = match version {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let mut framing = FramingFields::default();
        let mut connection = Connection::default();
        let mut headers = mem::take(fields);
        headers.reserve(head.headers.len());
        for field in &*head.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| ResponseError::Head(httparse::Error::HeaderName))?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
                .map_err(|_| ResponseError::Head(httparse::Error::HeaderValue))?;
            framing.note(&name, &value)?;
            if name == header::CONNECTION {
                connection.note(&value);
            }
            headers.append(name, value);
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        if let Some(reason) = head.reason
            && status.canonical_reason() != Some(reason)
            && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        Ok(Some(Self {
            content: framing.content(version)?,
            keeps_alive: connection.is_kept(version),
            length,
            response,
        }))
    }
}

impl Progress {
    /// The length of a head, up to and with its empty line. A bare LF ends a line, too (RFC 9112
    /// §2.2).
    fn end_of_head(&mut self, input: &[u8]) -> Option<usize> {
        let from = self.searched.saturating_sub(2); // the LF of the line before, and a CR
        self.searched = input.len();
        let mut ends = memchr_iter(b'\n', &input[from..]).map(|at| from + at);
        ends.find_map(|at| match input[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        })
    }

    /// Refuses what cannot become a head, so that nobody waits for its end. It is parsed again when
    /// there is twice as much of it.
    pub(super) fn refuse_what_is_none(&mut self, input: &[u8]) -> Result<(), ResponseError> {
        if input.is_empty() || input.len() < 2 * self.parsed {
            return Ok(());
        }
        self.parsed = input.len();
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut head, input, &mut room)
            .map_err(ResponseError::Head)?;
        Ok(())
    }
}

/// What `Connection` says of the connection (RFC 9112 §9.3).
#[derive(Default)]
struct Connection {
    closes: bool,
    keeps: bool,
}

impl Connection {
    fn note(&mut self, value: &HeaderValue) {
        for token in value.as_bytes().split(|&byte| byte == b',') {
            let token = token.trim_ascii();
            self.closes |= token.eq_ignore_ascii_case(b"close");
            self.keeps |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn is_kept(&self, version: Version) -> bool {
        !self.closes && (self.keeps || version == Version::HTTP_11)
    }
}

/// `Content-Length` (RFC 9110 §8.6): digits, and nothing else.
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(value).ok();
    let number = number.filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|value| value.parse().ok())
}

/// What the head of a response says of its content. Where two parsers might understand two things,
/// the response is refused (SEC-15).
#[derive(Default)]
pub(in super::super) struct FramingFields {
    length: Option<u64>,
    chunked: bool,
}

impl FramingFields {
    pub(in super::super) fn note(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
    ) -> Result<(), ResponseError> {
        let value = value.as_bytes();
        if name == header::CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(ResponseError::Ambiguous("more than one Content-Length"));
            }
            self.length = Some(parse_length(value).ok_or(ResponseError::Ambiguous(
                "a Content-Length that is no number",
            ))?);
        } else if name == header::TRANSFER_ENCODING {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(ResponseError::Ambiguous(
                    "a Transfer-Encoding other than chunked",
                ));
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// RFC 9112 §6.3.
    pub(in super::super) fn content(self, version: Version) -> Result<Content, ResponseError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(ResponseError::Ambiguous(
                "Content-Length and Transfer-Encoding",
            )),
            (None, true) if version == Version::HTTP_10 => {
                Err(ResponseError::Ambiguous("a Transfer-Encoding in HTTP/1.0"))
            }
            (None, true) => Ok(Content::chunked()),
            (Some(0), false) => Ok(Content::None),
            (Some(length), false) => Ok(Content::Length(length)),
            (None, false) => Ok(Content::UntilClose),
        }
    }
}
