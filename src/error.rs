//! Everything that can go wrong with a request, and what its visitor is told of it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::auth::authenticators;
use crate::auth::credential::Refusal;
use crate::load::Cause;
use crate::pages::messages::{self, Message};
use crate::random::NoRandomness;
use crate::request::{BadAuthRequest, BadRequest, ClientKind, Forgery, Malformed, PathError};
use crate::session::{Obstacle, StoreError};
use crate::upstream::UpstreamError;
use crate::upstream::tunnels::Full;

/// Why a request gets an answer of ours instead of the application's.
#[derive(Debug)]
pub(crate) enum RequestError {
    BadRequest(BadRequest),
    /// The body of a form is larger than any of our own forms (SEC-61).
    BodyTooLarge,
    /// The body of a form did not come in time (SEC-26).
    BodyTooSlow,
    /// A program shows something that proves nothing (any more).
    CredentialRefused(Refusal, ClientKind),
    /// A form of another site that the app takes could not be kept for its click.
    CrossSiteNotKept,
    /// A form of another site, by which browsers send no session, for a part of the app that needs
    /// one (SEC-69).
    CrossSitePost,
    /// A form of another site that the app takes is too large to be kept for its click.
    CrossSiteTooLarge,
    /// A session that the user ended is over, but a restart might bring it back: the store could
    /// not be written.
    EndNotKept(StoreError),
    /// The rules do not let this user in.
    Forbidden,
    /// The rules let nobody in, and nobody is signed in.
    ForbiddenToAll,
    /// An auth request of a proxy that cannot be answered (SEC-95).
    ForwardAuth(BadAuthRequest),
    /// One of our own forms with a field missing, twice or unreadable (SEC-55).
    Form,
    /// A form that may have been forged (SEC-54).
    Forged(Forgery),
    /// A form that met an ended session and could not be kept.
    FormNotKept,
    /// Too many logins wait to be verified, and this program would be one more (SEC-60).
    LoginBusy,
    /// There is no session, and this needs one (SEC-69).
    LoginRequired {
        client: ClientKind,
        /// It has an `Authorization`, which signs nobody in here.
        has_authorization: bool,
    },
    /// Too many wrong passwords by HTTP Basic before this one (SEC-59).
    LoginThrottled(Duration),
    /// The session is over, but a restart might bring it back: the store could not be written.
    LogoutNotKept(StoreError),
    /// The app is closed for maintenance, and the user is not exempt.
    Maintenance,
    /// A method that one of our own pages does not support; those that it does.
    MethodNotAllowed(&'static str),
    /// No app has this host name, or TLS was for another one (SEC-09, SEC-78).
    Misdirected,
    NoRandomness(NoRandomness),
    /// An API token that its user revoked is worthless, but a restart might bring it back, or other
    /// nodes go on with it: the store could not be written.
    TokenEndNotKept(authenticators::StoreError),
    /// There is too much to do, and others come first (REL-13).
    Overloaded(Cause),
    /// A script, a frame or the like that asks for one of our own pages (SEC-91).
    NotANavigation,
    /// A form of some page of this host, without the token of ours (SEC-91).
    NotFromOurPage,
    /// Nothing is found at this address under `/.vestibule/`.
    NotFound,
    /// A bug; the request ends and nothing else (REL-11).
    Panicked,
    /// The script of a service worker on a path for everyone (SEC-90).
    ServiceWorker,
    Session(StoreError),
    /// The session ended while its upload was under way (SEC-75), or before a kept form was sent.
    SessionEnded,
    /// It was permitted when it began, and is not any more (SEC-89).
    NotPermitted,
    /// The user may, but not by this API token (SEC-96).
    OutOfScope,
    /// What came back from the login is not of this browser, or of no use any more (SEC-97).
    SignInNotFinished,
    /// One WebSocket more than there may be (SEC-87).
    TooManyTunnels(Full),
    /// A login that is no form (SEC-55).
    UnsupportedMediaType,
    /// A request body is announced that is larger than the app takes.
    UploadTooLarge,
    Upstream(UpstreamError),
    /// A WebSocket handshake that may come from another site (SEC-74).
    WebSocketOrigin(OriginRefusal),
    /// The app, or this part of it, is not for the network of the client.
    WrongNetwork(Outside),
}

/// Why a client is outside the networks of an app or rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It is in another network.
    Elsewhere,
    /// A trusted proxy does not name it, or not by an address (SEC-41).
    Unknown,
}

/// Why a WebSocket handshake is refused as cross-site (SEC-74).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginRefusal {
    /// `Origin` names another page, none, or several.
    Other,
    /// There is no `Origin`, but a session and Fetch Metadata: a browser's.
    AbsentFromBrowser,
    /// No `Origin`, and a session cookie that is not valid.
    AbsentWithCookie,
    /// There is no `Origin`, and the trusted proxy in front may have removed it.
    AbsentBehindProxy,
}

impl RequestError {
    /// What a visitor is told.
    pub(crate) fn message(&self) -> &'static Message {
        match self {
            Self::BadRequest(bad) => Self::bad_request(*bad),
            Self::BodyTooLarge => &messages::FORM_TOO_LARGE,
            Self::BodyTooSlow => &messages::FORM_TOO_SLOW,
            Self::CredentialRefused(Refusal::Password, _) => &messages::WRONG_PASSWORD,
            Self::CredentialRefused(..) => &messages::INVALID_TOKEN,
            Self::CrossSiteNotKept => &messages::CROSS_SITE_FORM_NOT_KEPT,
            Self::CrossSitePost => &messages::CROSS_SITE_FORM,
            Self::CrossSiteTooLarge => &messages::CROSS_SITE_FORM_TOO_LARGE,
            Self::EndNotKept(StoreError::NotEverywhere(Obstacle::Away(_))) => {
                &messages::SESSION_END_NOT_EVERYWHERE
            }
            Self::EndNotKept(StoreError::NotEverywhere(Obstacle::Full | Obstacle::Refusal)) => {
                &messages::SESSION_END_NOT_TAKEN
            }
            Self::EndNotKept(_) => &messages::SESSION_END_NOT_SAVED,
            Self::Forbidden | Self::NotPermitted => &messages::FORBIDDEN,
            Self::ForbiddenToAll => &messages::FORBIDDEN_TO_ALL,
            Self::ForwardAuth(_) => &messages::FORWARD_AUTH,
            Self::Form => &messages::FORM_INCOMPLETE,
            Self::Forged(Forgery::OtherSite) => &messages::FORM_FROM_ANOTHER_SITE,
            Self::Forged(Forgery::HostChanged) => &messages::FORM_HOST_CHANGED,
            Self::Forged(Forgery::OriginHidden) => &messages::FORM_ORIGIN_HIDDEN,
            Self::Forged(Forgery::NoCookie) => &messages::FORM_WITHOUT_COOKIE,
            Self::Forged(Forgery::Outdated) => &messages::FORM_OUTDATED,
            Self::FormNotKept => &messages::FORM_NOT_KEPT,
            Self::LoginBusy => &messages::LOGIN_BUSY,
            Self::LoginRequired { .. } => &messages::LOGIN_REQUIRED,
            Self::LoginThrottled(_) => &messages::LOGIN_THROTTLED,
            Self::LogoutNotKept(StoreError::NotEverywhere(Obstacle::Away(_))) => {
                &messages::SIGN_OUT_NOT_EVERYWHERE
            }
            Self::LogoutNotKept(StoreError::NotEverywhere(Obstacle::Full | Obstacle::Refusal)) => {
                &messages::SIGN_OUT_NOT_TAKEN
            }
            Self::LogoutNotKept(_) => &messages::SIGN_OUT_NOT_SAVED,
            Self::Maintenance => &messages::MAINTENANCE,
            Self::MethodNotAllowed(_) => &messages::METHOD_NOT_ALLOWED,
            Self::Misdirected => &messages::MISDIRECTED,
            Self::NoRandomness(_) | Self::Panicked => &messages::INTERNAL_ERROR,
            Self::NotANavigation => &messages::PAGE_LOAD_REQUIRED,
            Self::NotFromOurPage => &messages::FORM_NOT_FROM_OUR_PAGE,
            Self::NotFound => &messages::NOT_FOUND,
            Self::OutOfScope => &messages::INSUFFICIENT_SCOPE,
            Self::Overloaded(_) => &messages::OVERLOADED,
            Self::ServiceWorker => &messages::SERVICE_WORKER_NOT_ALLOWED,
            Self::Session(_) => &messages::SESSIONS_UNAVAILABLE,
            Self::SessionEnded => &messages::SESSION_ENDED,
            Self::TokenEndNotKept(authenticators::StoreError::NotEverywhere(_)) => {
                &messages::TOKEN_END_NOT_EVERYWHERE
            }
            Self::TokenEndNotKept(_) => &messages::TOKEN_END_NOT_SAVED,
            Self::SignInNotFinished => &messages::SIGN_IN_NOT_FINISHED,
            Self::TooManyTunnels(_) => &messages::TOO_MANY_CONNECTIONS,
            Self::UnsupportedMediaType => &messages::NOT_A_FORM,
            Self::UploadTooLarge => &messages::UPLOAD_TOO_LARGE,
            Self::Upstream(error) => Self::upstream(error),
            Self::WebSocketOrigin(_) => &messages::WEBSOCKET_ORIGIN,
            Self::WrongNetwork(_) => &messages::NETWORK_NOT_ALLOWED,
        }
    }

    /// For how long other nodes may go on with what has ended here, at most.
    pub(crate) fn goes_on_elsewhere_for(&self) -> Option<Duration> {
        match self {
            Self::EndNotKept(StoreError::NotEverywhere(Obstacle::Away(time)))
            | Self::LogoutNotKept(StoreError::NotEverywhere(Obstacle::Away(time)))
            | Self::TokenEndNotKept(authenticators::StoreError::NotEverywhere(time)) => Some(*time),
            _ => None,
        }
    }

    /// Whether only programs meet this error: they get JSON, whatever they would rather have.
    pub(crate) fn is_for_programs(&self) -> bool {
        matches!(
            self,
            Self::CredentialRefused(..)
                | Self::LoginBusy
                | Self::LoginRequired { .. }
                | Self::LoginThrottled(_)
                | Self::NotANavigation
                | Self::OutOfScope
                | Self::ServiceWorker
        )
    }

    /// Whether a connection of HTTP/1.1 has to end: after a request that could be read in two ways,
    /// nobody knows where the next one begins (RFC 9112 §9.2).
    pub(crate) fn closes(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::BodyTooLarge
                | Self::BodyTooSlow
                | Self::CrossSiteNotKept
                | Self::CrossSitePost
                | Self::CrossSiteTooLarge
                | Self::FormNotKept
                | Self::Misdirected
                | Self::NotPermitted
                | Self::SessionEnded
                | Self::SignInNotFinished
                | Self::Upstream(UpstreamError::ClientBody | UpstreamError::ClientTooSlow)
        )
    }

    /// Whether a connection, of whatever version, had better end because others need the place. Whoever
    /// asks again at once has to shake hands again, which takes turns.
    pub(crate) fn closes_under_pressure(&self) -> bool {
        matches!(
            self,
            Self::Overloaded(Cause::Connections | Cause::Delay | Cause::Memory)
        )
    }

    fn bad_request(bad: BadRequest) -> &'static Message {
        match bad {
            BadRequest::CookieTooLarge => &messages::COOKIES_TOO_LARGE,
            BadRequest::Credentials => &messages::BAD_CREDENTIALS,
            BadRequest::Destination => &messages::DESTINATION_ELSEWHERE,
            BadRequest::Expectation => &messages::EXPECTATION_FAILED,
            BadRequest::Disguise | BadRequest::Field | BadRequest::TooManyAddresses => {
                &messages::BAD_FIELD
            }
            BadRequest::Head(malformed) => Self::malformed(malformed),
            BadRequest::Host | BadRequest::HostMismatch => &messages::BAD_HOST,
            BadRequest::Path(error) => Self::bad_path(error),
            BadRequest::Query => &messages::BYTES_IN_QUERY,
            BadRequest::SeveralApps => &messages::SEVERAL_APPS,
            BadRequest::Target => &messages::BAD_REQUEST,
            BadRequest::Method => &messages::METHOD_NOT_ALLOWED,
            BadRequest::TargetTooLong => &messages::ADDRESS_TOO_LONG,
            BadRequest::TooManyFields => &messages::TOO_MANY_FIELDS,
        }
    }

    fn malformed(malformed: Malformed) -> &'static Message {
        match malformed {
            Malformed::Chunk
            | Malformed::Http2
            | Malformed::LineEnd
            | Malformed::RequestLine
            | Malformed::Version => &messages::MALFORMED_REQUEST,
            Malformed::ContentLength
            | Malformed::Field
            | Malformed::Framing
            | Malformed::TransferEncoding => &messages::BAD_FIELD,
            Malformed::Fragment | Malformed::Target => &messages::BAD_REQUEST,
            Malformed::TargetTooLong => &messages::ADDRESS_TOO_LONG,
            Malformed::TooLarge => &messages::HEAD_TOO_LARGE,
        }
    }

    fn bad_path(error: PathError) -> &'static Message {
        match error {
            PathError::Backslash => &messages::BACKSLASH_IN_PATH,
            PathError::Bytes => &messages::BYTES_IN_PATH,
            PathError::Control => &messages::CONTROL_CHARACTER_IN_PATH,
            PathError::DotSegment => &messages::DOT_SEGMENT,
            PathError::Escape => &messages::BROKEN_ESCAPE,
            PathError::DoubleSlash | PathError::NotAbsolute => &messages::BAD_REQUEST,
            PathError::Percent => &messages::NESTED_ESCAPE,
            PathError::Readings => &messages::TOO_MANY_READINGS,
            PathError::Slash => &messages::ENCODED_SLASH,
        }
    }

    fn upstream(error: &UpstreamError) -> &'static Message {
        match error {
            UpstreamError::BadResponse(_) | UpstreamError::Send(_) => {
                &messages::BAD_RESPONSE_FROM_APP
            }
            UpstreamError::Busy => &messages::APP_OVERLOADED,
            UpstreamError::ClientBody => &messages::UPLOAD_INTERRUPTED,
            UpstreamError::ClientTooLarge => &messages::UPLOAD_TOO_LARGE,
            UpstreamError::ClientTooSlow => &messages::UPLOAD_TOO_SLOW,
            UpstreamError::Connect(_) => &messages::APP_UNREACHABLE,
            UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => {
                &messages::APP_TIMEOUT
            }
            UpstreamError::Http1Required => &messages::HTTP_1_1_REQUIRED,
            UpstreamError::Withdrawn => &messages::FORBIDDEN,
        }
    }
}

/// For the log.
impl fmt::Display for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherSite => "other-site",
            Self::HostChanged => "host-changed",
            Self::OriginHidden => "origin-hidden",
            Self::NoCookie => "no-cookie",
            Self::Outdated => "outdated",
        })
    }
}

impl OriginRefusal {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Other => "WebSocket: Origin is not of the app, and not in websocket_origins",
            Self::AbsentFromBrowser => "WebSocket: no Origin, but Sec-Fetch headers of a browser",
            Self::AbsentWithCookie => "WebSocket: no Origin, but a cookie without a session",
            Self::AbsentBehindProxy => {
                "WebSocket: no Origin, from a trusted proxy; see websocket_without_origin"
            }
        }
    }
}

impl Outside {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Elsewhere => "the client is in none of the `networks`",
            Self::Unknown => {
                "a trusted proxy does not say who the client is: it is in none of the `networks`"
            }
        }
    }
}

impl From<Option<IpAddr>> for Outside {
    /// Of what is known of the address of a client.
    fn from(client: Option<IpAddr>) -> Self {
        match client {
            Some(_) => Self::Elsewhere,
            None => Self::Unknown,
        }
    }
}

impl From<BadRequest> for RequestError {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(bad) => write!(f, "bad request: {}", bad.text()),
            Self::CredentialRefused(refusal, _) => f.write_str(refusal.text()),
            Self::ForwardAuth(bad) => f.write_str(bad.text()),
            Self::Upstream(error) => write!(f, "{error}"),
            Self::WebSocketOrigin(refusal) => f.write_str(refusal.text()),
            Self::WrongNetwork(outside) => f.write_str(outside.text()),
            Self::Overloaded(cause) => write!(f, "overloaded: {cause}"),
            Self::Session(error) => write!(f, "session store: {error}"),
            Self::TooManyTunnels(full) => write!(f, "too many WebSockets: {full}"),
            Self::EndNotKept(error) => write!(f, "the end of a session was not saved: {error}"),
            Self::LogoutNotKept(error) => write!(f, "a logout was not saved: {error}"),
            other => f.write_str(other.message().title),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::EndNotKept(error) | Self::LogoutNotKept(error) | Self::Session(error) => {
                Some(error)
            }
            Self::TokenEndNotKept(error) => Some(error),
            Self::Upstream(error) => Some(error),
            Self::BadRequest(_)
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::CredentialRefused(..)
            | Self::CrossSiteNotKept
            | Self::CrossSitePost
            | Self::CrossSiteTooLarge
            | Self::Forbidden
            | Self::ForbiddenToAll
            | Self::Forged(_)
            | Self::Form
            | Self::ForwardAuth(_)
            | Self::FormNotKept
            | Self::LoginBusy
            | Self::LoginRequired { .. }
            | Self::LoginThrottled(_)
            | Self::Maintenance
            | Self::MethodNotAllowed(_)
            | Self::Misdirected
            | Self::NoRandomness(_)
            | Self::NotANavigation
            | Self::NotFound
            | Self::NotFromOurPage
            | Self::NotPermitted
            | Self::OutOfScope
            | Self::Overloaded(_)
            | Self::Panicked
            | Self::ServiceWorker
            | Self::SessionEnded
            | Self::SignInNotFinished
            | Self::TooManyTunnels(_)
            | Self::UnsupportedMediaType
            | Self::UploadTooLarge
            | Self::WebSocketOrigin(_)
            | Self::WrongNetwork(_) => None,
        }
    }
}
