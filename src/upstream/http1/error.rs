//! Why there is no response, or no more of one.

use std::error::Error;
use std::{fmt, io};

use super::super::body::BodyError;
use super::super::tolerant;

/// Why there is no response, or no more of one.
#[derive(Debug)]
pub(crate) enum ResponseError {
    /// Two parsers might read it in two ways (SEC-15).
    Ambiguous(&'static str),
    /// The frame of a chunk is not one (RFC 9112 §7.1).
    Chunk(&'static str),
    /// The connection ended before a response began, or before its head did.
    Closed,
    /// The connection ended before the response did.
    Cut,
    /// What came is no head of HTTP/1.
    Head(httparse::Error),
    Hyper(hyper::Error),
    Io(io::Error),
    /// More than we read of a head.
    LongHead,
    /// The body of the request did not come.
    Request(BodyError),
    /// Something came before a request was sent, if only an end.
    Unasked,
    /// The body of the request is not as long as its head says.
    RequestLength,
}

impl ResponseError {
    /// Whether it is the request that failed, and not the application.
    pub(in super::super) fn is_of_request(&self) -> bool {
        match self {
            Self::Request(_) | Self::RequestLength => true,
            Self::Hyper(error) => error.is_user(),
            _ => false,
        }
    }

    /// Why the response is refused, though it may be one.
    pub(in super::super) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous(what) => Some(what),
            Self::Io(error) => tolerant::refusal(error),
            Self::Hyper(error) => tolerant::refusal(cause(error)?),
            _ => None,
        }
    }

    /// Whether the head has a line that is no header field. The parser has no other way to tell that
    /// from the rest that it refuses.
    pub(in super::super) fn is_of_line(&self) -> bool {
        match self {
            Self::Head(error) => matches!(
                error,
                httparse::Error::HeaderName
                    | httparse::Error::HeaderValue
                    | httparse::Error::NewLine
                    | httparse::Error::Token
            ),
            Self::Hyper(error) => {
                error.is_parse() && error.to_string() == "invalid HTTP header parsed"
            }
            _ => false,
        }
    }

    /// Whether TLS ended without `close_notify`.
    pub(in super::super) fn is_end_without_notice(&self) -> bool {
        let error = match self {
            Self::Io(error) => Some(error),
            Self::Hyper(error) => cause(error),
            _ => None,
        };
        error.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    }
}

fn cause(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous(what) => f.write_str(what),
            Self::Chunk(what) => write!(f, "its content is in chunks that are none: {what}"),
            Self::Closed => f.write_str("it closed the connection"),
            Self::Cut => f.write_str("it closed the connection before the end"),
            Self::Head(error) => write!(f, "what it sent is no HTTP: {error}"),
            Self::Hyper(error) => match error.source() {
                Some(source) => write!(f, "{error}: {source}"),
                None => error.fmt(f),
            },
            Self::Io(error) => error.fmt(f),
            Self::Unasked => f.write_str("it answered before it was asked"),
            Self::LongHead => f.write_str("its head is too long"),
            Self::Request(error) => error.fmt(f),
            Self::RequestLength => f.write_str("the request body has another length than it says"),
        }
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(error) => Some(error),
            Self::Hyper(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Request(error) => Some(error),
            _ => None,
        }
    }
}
