//! Heads of HTTP/1.1 that are no requests.

/// Why a head of HTTP/1.1 is refused before it is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A chunk of the body without a valid size or end (SEC-04).
    Chunk,
    /// SEC-02.
    ContentLength,
    /// SEC-07, SEC-08, SEC-13.
    Field,
    /// SEC-10.
    Fragment,
    /// SEC-01.
    Framing,
    /// The preface of HTTP/2 on a connection that TLS has opened for HTTP/1.1.
    Http2,
    /// SEC-06.
    LineEnd,
    RequestLine,
    Target,
    /// More than the parser takes, whatever `target` in `[server.limits]` says.
    TargetTooLong,
    /// More bytes or fields than [`Limits`](super::Limits) let in.
    TooLarge,
    /// SEC-03.
    TransferEncoding,
    Version,
}

impl Malformed {
    /// The cause, for the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Chunk => "the body is not in valid chunks",
            Self::ContentLength => "`Content-Length` is no number",
            Self::Field => "a header field is malformed: its name, its value, or a folded line",
            Self::Fragment => "the target has a fragment: `#`",
            Self::Framing => {
                "the body has two lengths: `Content-Length` or `Transfer-Encoding` twice, or both"
            }
            Self::Http2 => "HTTP/2 on a connection for HTTP/1.1",
            Self::LineEnd => "a line of the head has a CR or LF without the other, or a NUL",
            Self::RequestLine => "the request line is not of the form: method, target, version",
            Self::Target => "the target is no address",
            Self::TargetTooLong => "the target is longer than 64 KiB",
            Self::TooLarge => {
                "the head is larger than `head`, or has more fields than `fields`, in \
                 [server.limits]"
            }
            Self::TransferEncoding => "`Transfer-Encoding` is not just chunked",
            Self::Version => "the version is neither HTTP/1.1 nor HTTP/1.0",
        }
    }
}
