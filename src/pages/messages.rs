//! What visitors read of an error, by its code: a page for people, JSON for programs.
//!
//! A code is a promise to programs and never changes; `docs/errors.md` lists them. Sentences are
//! static: nothing that came from the network and nothing of the inside is in them (SEC-70).

use http::StatusCode;

use crate::request::own_path;

/// What happened, and what a visitor can do.
#[derive(Debug)]
pub(crate) struct Message {
    /// For programs, in `snake_case`.
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    /// What happened, a short sentence without a full stop.
    pub(crate) title: &'static str,
    /// What the visitor can do.
    pub(crate) advice: &'static str,
}

impl Message {
    const fn new(
        code: &'static str,
        status: StatusCode,
        title: &'static str,
        advice: &'static str,
    ) -> Self {
        Self {
            code,
            status,
            title,
            advice,
        }
    }
}

const CHECK_ADDRESS: &str = "Check the address, or go to the start page.";
const DELETE_COOKIES: &str = "Delete the cookies of this site and try again.";
const OPEN_AGAIN: &str = "Open the page again, and send the form from there.";
const SEND_AGAIN: &str = "Go back, reload the page and try again.";
const START_PAGE: &str = "Go to the start page.";
const WAIT: &str = "Wait a moment, then reload the page. You stay signed in.";

/// For programs that show people a line of text.
pub(crate) const SIGN_IN_WITH_A_BROWSER: &str = "This address needs a login. Sign in with a web browser: programs have to send its session cookie.";

pub(crate) const ADDRESS_TOO_LONG: Message = Message::new(
    "address_too_long",
    StatusCode::URI_TOO_LONG,
    "The address is too long",
    CHECK_ADDRESS,
);
pub(crate) const APP_OVERLOADED: Message = Message::new(
    "app_overloaded",
    StatusCode::SERVICE_UNAVAILABLE,
    "The app is overloaded right now",
    WAIT,
);
pub(crate) const APP_TIMEOUT: Message = Message::new(
    "app_timeout",
    StatusCode::GATEWAY_TIMEOUT,
    "The app does not answer",
    WAIT,
);
pub(crate) const APP_UNREACHABLE: Message = Message::new(
    "app_unreachable",
    StatusCode::BAD_GATEWAY,
    "The app cannot be reached",
    WAIT,
);
pub(crate) const BACKSLASH_IN_PATH: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has a backslash in it",
    "If the app needs it, the people who run this site can allow it with \"encoded-backslash\" in \
     `allow_in_path`.",
);
pub(crate) const BAD_FIELD: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "A header field of the request cannot be understood",
    SEND_AGAIN,
);
pub(crate) const BAD_HOST: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The request does not say clearly which site it is for",
    CHECK_ADDRESS,
);
pub(crate) const BAD_REQUEST: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address cannot be understood",
    CHECK_ADDRESS,
);
pub(crate) const BAD_RESPONSE_FROM_APP: Message = Message::new(
    "bad_response_from_app",
    StatusCode::BAD_GATEWAY,
    "The app gave no usable response",
    WAIT,
);
pub(crate) const BROKEN_ESCAPE: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has a percent sign in it that begins no escape",
    CHECK_ADDRESS,
);
pub(crate) const BYTES_IN_PATH: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has bytes in it that are not UTF-8, or control characters",
    "If the app needs it, the people who run this site can allow it with \"any-bytes\" in \
     `allow_in_path`.",
);
pub(crate) const BYTES_IN_QUERY: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The query of the address has unescaped characters in it",
    "If the app needs it, the people who run this site can allow it with \"any-bytes\" in \
     `allow_in_path`.",
);
pub(crate) const CONTROL_CHARACTER_IN_PATH: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has a null byte, a line break or a space in it",
    CHECK_ADDRESS,
);
pub(crate) const COOKIES_TOO_LARGE: Message = Message::new(
    "cookies_too_large",
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "Your browser sends too many cookies",
    DELETE_COOKIES,
);
pub(crate) const CROSS_SITE_FORM: Message = Message::new(
    "cross_site_form",
    StatusCode::UNAUTHORIZED,
    "A form of another site was not delivered",
    "Browsers send no session along with a form of another site. Go to the start page, and do from \
     there what you wanted to do.",
);
pub(crate) const DESTINATION_ELSEWHERE: Message = Message::new(
    "destination_elsewhere",
    StatusCode::BAD_GATEWAY,
    "The destination is not in this app",
    "Nothing can be copied or moved from one app to another. Download it here, and upload it there.",
);
pub(crate) const DOT_SEGMENT: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has a segment of dots in it",
    CHECK_ADDRESS,
);
pub(crate) const ENCODED_SLASH: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has an encoded slash in it",
    "If the app needs it, the people who run this site can allow it with \"encoded-slash\" in \
     `allow_in_path`.",
);
pub(crate) const EXPECTATION_FAILED: Message = Message::new(
    "expectation_failed",
    StatusCode::EXPECTATION_FAILED,
    "The request expects what this service does not do",
    CHECK_ADDRESS,
);
pub(crate) const FORBIDDEN: Message = Message::new(
    "forbidden",
    StatusCode::FORBIDDEN,
    "You may not open this page",
    "Your account has no access to it. Sign in as somebody else, or ask for access.",
);
pub(crate) const FORM_FROM_ANOTHER_SITE: Message = Message::new(
    "form_from_another_site",
    StatusCode::FORBIDDEN,
    "This form was sent from another site",
    OPEN_AGAIN,
);
pub(crate) const FORM_HOST_CHANGED: Message = Message::new(
    "form_host_changed",
    StatusCode::FORBIDDEN,
    "This form was sent to a different host name",
    "The host name or port in your browser is not the one that arrived here. The people who run \
     this site can mend it: the proxy in front has to pass on the Host header, with its port.",
);
pub(crate) const FORM_INCOMPLETE: Message = Message::new(
    "form_incomplete",
    StatusCode::BAD_REQUEST,
    "The form is incomplete",
    SEND_AGAIN,
);
pub(crate) const FORM_NOT_FROM_OUR_PAGE: Message = Message::new(
    "form_not_from_our_page",
    StatusCode::FORBIDDEN,
    "This form was not sent from our page",
    "Perhaps the page was open for too long. Open it again, and send the form from there.",
);
pub(crate) const FORM_NOT_KEPT: Message = Message::new(
    "form_not_kept",
    StatusCode::UNAUTHORIZED,
    "What you sent was not delivered",
    "Your session has ended. Go back and copy what you typed before you sign in.",
);
pub(crate) const FORM_ORIGIN_HIDDEN: Message = Message::new(
    "form_origin_hidden",
    StatusCode::FORBIDDEN,
    "Your browser does not say where this form came from",
    "Use a current browser. The people who run this site can help, too: a proxy in front may not \
     add the header `Referrer-Policy: no-referrer`.",
);
pub(crate) const FORM_OUTDATED: Message = Message::new(
    "form_outdated",
    StatusCode::FORBIDDEN,
    "This form was open for too long",
    OPEN_AGAIN,
);
pub(crate) const FORM_TOO_LARGE: Message = Message::new(
    "form_too_large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "The form is too large",
    SEND_AGAIN,
);
pub(crate) const FORM_TOO_SLOW: Message = Message::new(
    "form_too_slow",
    StatusCode::REQUEST_TIMEOUT,
    "The form took too long to arrive",
    SEND_AGAIN,
);
pub(crate) const FORM_WITHOUT_COOKIE: Message = Message::new(
    "form_without_cookie",
    StatusCode::FORBIDDEN,
    "Your browser sent no cookie with this form",
    "Allow cookies for this site, then open the page again.",
);
pub(crate) const HTTP_1_1_REQUIRED: Message = Message::new(
    "http_1_1_required",
    StatusCode::MISDIRECTED_REQUEST,
    "The app signs you in over HTTP/1.1 only",
    "Use a browser that falls back to HTTP/1.1.",
);
pub(crate) const INTERNAL_ERROR: Message = Message::new(
    "internal_error",
    StatusCode::INTERNAL_SERVER_ERROR,
    "Something went wrong here",
    "Try again. If it happens again, tell the people who run this site.",
);
pub(crate) const LOGIN_REQUIRED: Message = Message::new(
    "login_required",
    StatusCode::UNAUTHORIZED,
    "Your session has ended",
    "Sign in again in another tab, then go on here.",
);
pub(crate) const METHOD_NOT_ALLOWED: Message = Message::new(
    "method_not_allowed",
    StatusCode::METHOD_NOT_ALLOWED,
    "This address does not accept this method",
    START_PAGE,
);
pub(crate) const MISDIRECTED: Message = Message::new(
    "misdirected",
    StatusCode::MISDIRECTED_REQUEST,
    "There is no app at this address",
    "Check the address for typing errors.",
);
pub(crate) const NESTED_ESCAPE: Message = Message::new(
    "bad_request",
    StatusCode::BAD_REQUEST,
    "The address has an escape within an escape in it",
    "If the app needs it, the people who run this site can allow it with \"encoded-percent\" in \
     `allow_in_path`.",
);
pub(crate) const NOT_A_FORM: Message = Message::new(
    "not_a_form",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "This is not a form",
    SEND_AGAIN,
);
pub(crate) const NOT_FOUND: Message = Message::new(
    "not_found",
    StatusCode::NOT_FOUND,
    "There is no such page",
    START_PAGE,
);
pub(crate) const OVERLOADED: Message = Message::new(
    "overloaded",
    StatusCode::SERVICE_UNAVAILABLE,
    "The service is overloaded right now",
    "Wait a moment, then reload the page.",
);
pub(crate) const PAGE_LOAD_REQUIRED: Message = Message::new(
    "page_load_required",
    StatusCode::FORBIDDEN,
    "This address answers page loads only",
    concat!(
        "Open it in a tab of its own; scripts can ask ",
        own_path!("session"),
        "."
    ),
);
pub(crate) const SERVICE_WORKER_NOT_ALLOWED: Message = Message::new(
    "service_worker_not_allowed",
    StatusCode::FORBIDDEN,
    "Service workers are not allowed on this path",
    "The people who run this site can allow them with `service_worker = true` in its rule.",
);
pub(crate) const SESSION_END_NOT_SAVED: Message = Message::new(
    "session_end_not_saved",
    StatusCode::SERVICE_UNAVAILABLE,
    "The end of the session could not be saved",
    "It has ended now, but until that is saved a restart of this service could undo it. \
     Tell the people who run this site that sessions cannot be written.",
);
pub(crate) const SESSION_ENDED: Message = Message::new(
    "session_ended",
    StatusCode::UNAUTHORIZED,
    "Your session has ended",
    "Sign in and send it again.",
);
pub(crate) const SESSIONS_UNAVAILABLE: Message = Message::new(
    "sessions_unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Sessions cannot be looked up right now",
    WAIT,
);
pub(crate) const SIGN_OUT_NOT_SAVED: Message = Message::new(
    "sign_out_not_saved",
    StatusCode::SERVICE_UNAVAILABLE,
    "Your sign-out could not be saved",
    "You are signed out now, but until it is saved a restart of this service could undo that. \
     Tell the people who run this site that sessions cannot be written.",
);
pub(crate) const TOO_MANY_CONNECTIONS: Message = Message::new(
    "too_many_connections",
    StatusCode::SERVICE_UNAVAILABLE,
    "There are too many open connections to this app",
    "Close other windows of the app, then reload the page.",
);
pub(crate) const TOO_MANY_FIELDS: Message = Message::new(
    "too_many_fields",
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "Your browser sends too many header fields",
    DELETE_COOKIES,
);
pub(crate) const UPLOAD_INTERRUPTED: Message = Message::new(
    "upload_interrupted",
    StatusCode::BAD_REQUEST,
    "The upload was interrupted",
    SEND_AGAIN,
);
pub(crate) const UPLOAD_TOO_SLOW: Message = Message::new(
    "upload_too_slow",
    StatusCode::REQUEST_TIMEOUT,
    "The upload was too slow",
    SEND_AGAIN,
);
pub(crate) const WEBSOCKET_ORIGIN: Message = Message::new(
    "websocket_origin",
    StatusCode::FORBIDDEN,
    "This connection was not opened by a page of the app",
    "Open the app itself and try again.",
);
