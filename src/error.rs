//! Everything that can go wrong with a request, and what its visitor is told of it.

use std::fmt;

use http::StatusCode;

use crate::load::Cause;
use crate::request::{BadRequest, own_path};
use crate::session::{NoRandomness, StoreError};
use crate::upstream::UpstreamError;
use crate::upstream::tunnels::Full;

/// Why a request gets an answer of ours instead of the application's.
#[derive(Debug)]
pub(crate) enum RequestError {
    BadRequest(BadRequest),
    /// The body of a form is larger than any form of ours (SEC-61).
    BodyTooLarge,
    /// The body of a form did not come in time (SEC-26).
    BodyTooSlow,
    /// A session that the user ended is over, but a restart might bring it back: the store could
    /// not be written.
    EndNotKept(StoreError),
    /// The rules do not let this user in.
    Forbidden,
    /// A form of ours with a field missing, twice or unreadable (SEC-55).
    Form,
    /// A form that was not sent from a page of ours (SEC-54).
    Forged,
    /// A form that met an ended session and could not be kept.
    FormNotKept,
    /// The session is over, but a restart might bring it back: the store could not be written.
    LogoutNotKept(StoreError),
    /// A method that an address of ours does not have; those that it has.
    MethodNotAllowed(&'static str),
    /// No app has this host name, or TLS was for another one (SEC-09, SEC-78).
    Misdirected,
    NoRandomness(NoRandomness),
    /// There is too much to do, and others come first (REL-13).
    Overloaded(Cause),
    /// A script, a frame or the like that wants a page of ours (SEC-91).
    NotANavigation,
    /// An address of ours that is none.
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
    /// One WebSocket more than there may be (SEC-87).
    TooManyTunnels(Full),
    /// A login that is no form (SEC-55).
    UnsupportedMediaType,
    Upstream(UpstreamError),
    /// A WebSocket that a page of another site wants (SEC-74).
    WebSocketOrigin,
}

/// What a visitor is told: status, what happened, and what they can do.
pub(crate) struct Public {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) advice: &'static str,
}

const SEND_AGAIN: &str = "Go back, reload the page and try again.";
const PAGE_LOADS_ONLY: (StatusCode, &str, &str) = (
    StatusCode::FORBIDDEN,
    "This address answers page loads only",
    concat!(
        "Open it in a tab of its own; scripts can ask ",
        own_path!("session"),
        "."
    ),
);
const FORBIDDEN: (StatusCode, &str, &str) = (
    StatusCode::FORBIDDEN,
    "You may not open this page",
    "Your account has no access to it. Sign in as somebody else, or ask for access.",
);
const NO_SERVICE_WORKERS: (StatusCode, &str, &str) = (
    StatusCode::FORBIDDEN,
    "Service workers are not allowed on this path",
    "The people who run this site can allow them with `service_worker = true` in its rule.",
);
const WAIT: &str = "Wait a moment, then reload the page. You stay signed in.";

const TOO_MANY_TUNNELS: (StatusCode, &str, &str) = (
    StatusCode::SERVICE_UNAVAILABLE,
    "There are too many open connections to this app",
    "Close other windows of the app, then reload the page.",
);

impl RequestError {
    /// Static text only: nothing that came from the network and nothing of the inside (SEC-70).
    pub(crate) fn public(&self) -> Public {
        let (status, title, advice) = match self {
            Self::BadRequest(bad) => Self::bad_request(*bad),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "The form is too large",
                SEND_AGAIN,
            ),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "The form took too long to arrive",
                SEND_AGAIN,
            ),
            Self::EndNotKept(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The end of the session could not be saved",
                "It has ended now, but until that is saved a restart of this service could undo it. \
                 Tell the people who run this site that sessions cannot be written.",
            ),
            Self::Forbidden | Self::NotPermitted => FORBIDDEN,
            Self::Form => (
                StatusCode::BAD_REQUEST,
                "The form is not complete",
                SEND_AGAIN,
            ),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "This form did not come from our page",
                "Open the page anew and send the form from there.",
            ),
            Self::FormNotKept => (
                StatusCode::UNAUTHORIZED,
                "What you sent was not delivered",
                "Your session has ended. Go back and copy what you typed before you sign in.",
            ),
            Self::LogoutNotKept(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Your sign-out could not be saved",
                "You are signed out now, but until it is saved a restart of this service could undo \
                 that. Tell the people who run this site that sessions cannot be written.",
            ),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This address does not work like that",
                "Go to the start page.",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "There is no app at this address",
                "Check the address for a typing error.",
            ),
            Self::Overloaded(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "There is too much to do right now",
                "Wait a moment, then reload the page.",
            ),
            Self::NotANavigation => PAGE_LOADS_ONLY,
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "There is no such page",
                "Go to the start page.",
            ),
            Self::NoRandomness(_) | Self::Panicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong here",
                "Try again. If it happens again, tell the people who run this site.",
            ),
            Self::ServiceWorker => NO_SERVICE_WORKERS,
            Self::Session(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Sessions cannot be looked up right now",
                WAIT,
            ),
            Self::SessionEnded => (
                StatusCode::UNAUTHORIZED,
                "Your session has ended",
                "Sign in and send it again.",
            ),
            Self::TooManyTunnels(_) => TOO_MANY_TUNNELS,
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "This is not a form",
                SEND_AGAIN,
            ),
            Self::Upstream(error) => Self::upstream(error),
            Self::WebSocketOrigin => (
                StatusCode::FORBIDDEN,
                "This connection did not come from our page",
                "Open the app itself and try again.",
            ),
        };
        Public {
            status,
            title,
            advice,
        }
    }

    /// What a program is told of an error that only programs meet; they get JSON for it, whatever
    /// they would rather have.
    pub(crate) fn code(&self) -> Option<&'static str> {
        if let Self::NotANavigation = self {
            Some("page_load_required")
        } else if let Self::ServiceWorker = self {
            Some("service_worker_not_allowed")
        } else {
            None
        }
    }

    /// Whether a connection of HTTP/1.1 has to end: after a request that could be read in two ways,
    /// nobody knows where the next one begins (RFC 9112 §9.2).
    pub(crate) fn closes(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::BodyTooLarge
                | Self::BodyTooSlow
                | Self::FormNotKept
                | Self::Misdirected
                | Self::NotPermitted
                | Self::SessionEnded
                | Self::Upstream(UpstreamError::ClientBody | UpstreamError::ClientTooSlow)
        )
    }

    /// Whether a connection, of whatever version, had better end because others need the place. Whoever
    /// asks again at once has to shake hands again, which takes turns.
    pub(crate) fn makes_room(&self) -> bool {
        matches!(
            self,
            Self::Overloaded(Cause::Connections | Cause::Delay | Cause::Memory)
        )
    }

    fn bad_request(bad: BadRequest) -> (StatusCode, &'static str, &'static str) {
        const ADVICE: &str = "Check the address, or go to the start page.";
        const COOKIES: &str = "Delete the cookies of this site and try again.";
        match bad {
            BadRequest::CookieTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Your browser sends too many cookies",
                COOKIES,
            ),
            BadRequest::Expectation => (
                StatusCode::EXPECTATION_FAILED,
                "The request expects too much",
                ADVICE,
            ),
            BadRequest::Field
            | BadRequest::Host
            | BadRequest::HostMismatch
            | BadRequest::Target => (
                StatusCode::BAD_REQUEST,
                "The address cannot be understood",
                ADVICE,
            ),
            BadRequest::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This method is not allowed",
                ADVICE,
            ),
            BadRequest::TargetTooLong => {
                (StatusCode::URI_TOO_LONG, "The address is too long", ADVICE)
            }
            BadRequest::TooManyFields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Your browser sends too many header fields",
                COOKIES,
            ),
        }
    }

    fn upstream(error: &UpstreamError) -> (StatusCode, &'static str, &'static str) {
        match error {
            UpstreamError::BadResponse(_) | UpstreamError::Send(_) => (
                StatusCode::BAD_GATEWAY,
                "The app gave no usable answer",
                WAIT,
            ),
            UpstreamError::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The app has too much to do",
                WAIT,
            ),
            UpstreamError::ClientBody => (
                StatusCode::BAD_REQUEST,
                "The upload was broken off",
                SEND_AGAIN,
            ),
            UpstreamError::ClientTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "The upload was too slow",
                SEND_AGAIN,
            ),
            UpstreamError::Http1Required => (
                StatusCode::MISDIRECTED_REQUEST,
                "The app signs you in over HTTP/1.1 only",
                "Use a browser that falls back to HTTP/1.1.",
            ),
            UpstreamError::Connect(_) => {
                (StatusCode::BAD_GATEWAY, "The app cannot be reached", WAIT)
            }
            UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "The app does not answer", WAIT)
            }
            UpstreamError::Withdrawn => FORBIDDEN,
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
            Self::BadRequest(bad) => write!(f, "bad request: {bad:?}"),
            Self::Upstream(error) => write!(f, "{error}"),
            Self::Overloaded(cause) => write!(f, "too much to do: {cause}"),
            Self::Session(error) => write!(f, "session store: {error}"),
            Self::TooManyTunnels(full) => write!(f, "too many WebSockets: {full}"),
            Self::EndNotKept(error) => write!(f, "the end of a session was not saved: {error}"),
            Self::LogoutNotKept(error) => write!(f, "a logout was not saved: {error}"),
            other => f.write_str(other.public().title),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::EndNotKept(error) | Self::LogoutNotKept(error) | Self::Session(error) => {
                Some(error)
            }
            Self::Upstream(error) => Some(error),
            Self::BadRequest(_)
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::Forbidden
            | Self::Forged
            | Self::Form
            | Self::FormNotKept
            | Self::MethodNotAllowed(_)
            | Self::Misdirected
            | Self::NoRandomness(_)
            | Self::NotANavigation
            | Self::NotFound
            | Self::NotPermitted
            | Self::Overloaded(_)
            | Self::Panicked
            | Self::ServiceWorker
            | Self::SessionEnded
            | Self::TooManyTunnels(_)
            | Self::UnsupportedMediaType
            | Self::WebSocketOrigin => None,
        }
    }
}
