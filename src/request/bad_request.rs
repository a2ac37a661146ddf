//! What is wrong with a request that can be parsed.

use super::{Malformed, PathError};

/// What is wrong with a request before anybody asks who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// More than [`Limits::cookie`](super::Limits::cookie) bytes of cookies.
    CookieTooLarge,
    /// An API token where none is taken, more than one, or one among other things.
    Credentials,
    /// A `Destination`, or a condition of `If`, that is of another app or host.
    Destination,
    /// A header that an app may take for another one, which only we say or which changes the method.
    Disguise,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// A field whose value two parsers might read in two ways.
    Field,
    /// Of HTTP/1.1, what is no request at all.
    Head(Malformed),
    /// No Host, several, or one that is no host.
    Host,
    /// The target names another host than `Host` does.
    HostMismatch,
    /// A method that is not let in.
    Method,
    /// A path that two parsers might read in two ways.
    Path(PathError),
    /// A query with characters that are not visible ASCII.
    Query,
    /// A path that could be meant for one app of the host, or for another.
    SeveralApps,
    /// A target that is no path, and no `*` for OPTIONS.
    Target,
    /// More than [`Limits::target`](super::Limits::target) bytes of target.
    TargetTooLong,
    /// More addresses in `Destination` and `If` than are judged.
    TooManyAddresses,
    /// More than [`Limits::fields`](super::Limits::fields) header fields.
    TooManyFields,
}

impl BadRequest {
    /// The cause, for the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::CookieTooLarge => "the cookies are larger than `cookie` in [server.limits]",
            Self::Credentials => {
                "the request has an API token in a form that is not taken, or several credentials"
            }
            Self::Destination => "`Destination` or `If` names an address that is not of this app",
            Self::Disguise => {
                "a header is spelled so that an app may take it for one of `[app.identity]`, or has \
                 the method read as another one"
            }
            Self::Expectation => "`Expect` is not 100-continue",
            Self::Field => "a header field has a value that servers read differently",
            Self::Head(malformed) => malformed.text(),
            Self::Host => "the request names no host, several, or one that is no host",
            Self::HostMismatch => "an address in the request names another host than `Host`",
            Self::Method => "the method is not let in",
            Self::Path(error) => error.text(),
            Self::Query => {
                "the query has characters beyond visible ASCII: only for apps with \"any-bytes\" \
                 in `allow_in_path`"
            }
            Self::SeveralApps => "several apps of this host could be meant by the path",
            Self::Target => "the target of the request is no path",
            Self::TargetTooLong => "the target is longer than `target` in [server.limits]",
            Self::TooManyAddresses => {
                "`Destination` and `If` name more than 16 addresses, or more than 8 KiB of them"
            }
            Self::TooManyFields => "there are more fields than `fields` in [server.limits]",
        }
    }
}
