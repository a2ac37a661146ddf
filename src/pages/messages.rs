//! What visitors read: of an error by its code, a page for people and JSON for programs; `texts` has
//! all other sentences.
//!
//! A code is a promise to programs and never changes; `docs/errors.md` lists them. Sentences are
//! static: nothing that came from the network and nothing of the inside is in them (SEC-70).

pub(crate) mod texts;

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
    /// What the visitor can do; what stands between backticks is code.
    pub(crate) advice: &'static str,
    /// Where they can do it.
    pub(crate) link: Option<Link>,
}

/// A link on the page of an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    Login,
    StartPage,
}

impl Link {
    pub(super) fn is_login(self) -> bool {
        matches!(self, Self::Login)
    }
}

/// `KEY = code, status, what happened, what the visitor can do => where;`
macro_rules! messages {
    ($($key:ident = $code:literal, $status:ident, $title:literal, $advice:expr $(=> $link:ident)?;)*) => {
        $(pub(crate) const $key: Message = Message {
            code: $code,
            status: StatusCode::$status,
            title: $title,
            advice: $advice,
            link: messages!(@ $($link)?),
        };)*

        #[cfg(test)]
        const ALL: &[Message] = &[$($key),*];
    };
    (@) => { None };
    (@ $link:ident) => { Some(Link::$link) };
}

const CHECK_ADDRESS: &str = "Check the address, or go to the start page.";
const DELETE_COOKIES: &str = "Delete the cookies of this site and try again.";
const NOT_EVERYWHERE: &str = "The session has ended on this server. Other servers of this site cannot be told right now, and may go on with it: until they can be, or for up to {time} where they are cut off, too. Tell the people who run this site.";
const NOT_EVERYWHERE_YET: &str = "The session has ended on this server. Other servers of this site cannot be told right now, and go on with it until they can be. Tell the people who run this site.";
const OPEN_AGAIN: &str = "Open the page again, and send the form from there.";
const SEND_AGAIN: &str = "Go back, reload the page and try again.";
const START_PAGE: &str = "Go to the start page.";
const WAIT: &str = "Wait a moment, then reload the page. You stay signed in.";

messages! {
    ADDRESS_TOO_LONG = "address_too_long", URI_TOO_LONG,
        "The address is too long",
        CHECK_ADDRESS
        => StartPage;
    APP_OVERLOADED = "app_overloaded", SERVICE_UNAVAILABLE,
        "The app is overloaded right now",
        WAIT;
    APP_TIMEOUT = "app_timeout", GATEWAY_TIMEOUT,
        "The app does not answer",
        WAIT;
    APP_UNREACHABLE = "app_unreachable", BAD_GATEWAY,
        "The app cannot be reached",
        WAIT;
    BACKSLASH_IN_PATH = "bad_request", BAD_REQUEST,
        "The address has a backslash in it",
        "If the app needs it, the people who run this site can allow it with \"encoded-backslash\" in `allow_in_path`.";
    BAD_CREDENTIALS = "bad_request", BAD_REQUEST,
        "The API token of the request is in a form that is not taken",
        "Send one token, as `Authorization: Bearer`, or as the password of HTTP Basic.";
    BAD_FIELD = "bad_request", BAD_REQUEST,
        "A header field of the request cannot be understood",
        SEND_AGAIN;
    BAD_HOST = "bad_request", BAD_REQUEST,
        "The request does not say clearly which site it is for",
        CHECK_ADDRESS
        => StartPage;
    BAD_REQUEST = "bad_request", BAD_REQUEST,
        "The address cannot be understood",
        CHECK_ADDRESS
        => StartPage;
    BAD_RESPONSE_FROM_APP = "bad_response_from_app", BAD_GATEWAY,
        "The app gave no usable response",
        WAIT;
    BROKEN_ESCAPE = "bad_request", BAD_REQUEST,
        "The address has a percent sign in it that begins no escape",
        CHECK_ADDRESS
        => StartPage;
    BYTES_IN_PATH = "bad_request", BAD_REQUEST,
        "The address has bytes in it that are not UTF-8, or control characters",
        "If the app needs it, the people who run this site can allow it with \"any-bytes\" in `allow_in_path`.";
    BYTES_IN_QUERY = "bad_request", BAD_REQUEST,
        "The query of the address has unescaped characters in it",
        "If the app needs it, the people who run this site can allow it with \"any-bytes\" in `allow_in_path`.";
    CONTROL_CHARACTER_IN_PATH = "bad_request", BAD_REQUEST,
        "The address has a null byte, a line break or a space in it",
        CHECK_ADDRESS
        => StartPage;
    COOKIES_TOO_LARGE = "cookies_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Your browser sends too many cookies",
        DELETE_COOKIES;
    CROSS_SITE_FORM = "cross_site_form", UNAUTHORIZED,
        "A form of another site was not delivered",
        "Browsers send no session along with a form of another site. Go to the start page, and do from there what you wanted to do."
        => StartPage;
    CROSS_SITE_FORM_NOT_KEPT = "cross_site_form_not_kept", SERVICE_UNAVAILABLE,
        "A form of another site was not delivered",
        "It came too slowly, or there is no room for it right now. Go back to the other site, and send it again.";
    CROSS_SITE_FORM_TOO_LARGE = "cross_site_form_too_large", PAYLOAD_TOO_LARGE,
        "The form of another site is too large",
        "What waits here for a click may have 1 MiB, and its address 2 KiB. Go back to the other site, and send less.";
    DESTINATION_ELSEWHERE = "destination_elsewhere", BAD_GATEWAY,
        "The destination is not in this app",
        "Nothing can be copied or moved from one app to another. Download it here, and upload it there.";
    DOT_SEGMENT = "bad_request", BAD_REQUEST,
        "The address has a segment of dots in it",
        CHECK_ADDRESS
        => StartPage;
    ENCODED_SLASH = "bad_request", BAD_REQUEST,
        "The address has an encoded slash in it",
        "If the app needs it, the people who run this site can allow it with \"encoded-slash\" in `allow_in_path`.";
    EXPECTATION_FAILED = "expectation_failed", EXPECTATION_FAILED,
        "The request expects something that this service does not do",
        CHECK_ADDRESS
        => StartPage;
    FORBIDDEN = "forbidden", FORBIDDEN,
        "You may not open this page",
        "Your account has no access to it. Sign in as somebody else, or ask for access."
        => Login;
    FORBIDDEN_TO_ALL = "forbidden", FORBIDDEN,
        "Nobody may open this page",
        "It is closed to everybody, with an account or without. Go to the start page."
        => StartPage;
    FORWARD_AUTH = "forward_auth", FORBIDDEN,
        "The proxy in front of this app is not set up correctly",
        "Tell the people who run this site: the access log says what is wrong.";
    FORM_FROM_ANOTHER_SITE = "form_from_another_site", FORBIDDEN,
        "This form was sent from another site",
        OPEN_AGAIN;
    FORM_HOST_CHANGED = "form_host_changed", FORBIDDEN,
        "This form was sent to a different host name",
        "The host name or port in your browser is not the one that arrived here. The people who run this site can fix it: the proxy in front has to pass on the Host header, with its port.";
    FORM_INCOMPLETE = "form_incomplete", BAD_REQUEST,
        "The form is incomplete",
        SEND_AGAIN;
    FORM_NOT_FROM_OUR_PAGE = "form_not_from_our_page", FORBIDDEN,
        "This form was not sent from our page",
        "Perhaps the page was open for too long. Open it again, and send the form from there.";
    FORM_NOT_KEPT = "form_not_kept", UNAUTHORIZED,
        "What you sent was not delivered",
        "Your session has ended. Go back and copy what you typed before you sign in.";
    FORM_ORIGIN_HIDDEN = "form_origin_hidden", FORBIDDEN,
        "Your browser does not say where this form came from",
        "Use a current browser. The people who run this site can help, too: a proxy in front must not add the header `Referrer-Policy: no-referrer`.";
    FORM_OUTDATED = "form_outdated", FORBIDDEN,
        "This form was open for too long",
        OPEN_AGAIN;
    FORM_TOO_LARGE = "form_too_large", PAYLOAD_TOO_LARGE,
        "The form is too large",
        SEND_AGAIN;
    FORM_TOO_SLOW = "form_too_slow", REQUEST_TIMEOUT,
        "The form took too long to arrive",
        SEND_AGAIN;
    FORM_WITHOUT_COOKIE = "form_without_cookie", FORBIDDEN,
        "Your browser sent no cookie with this form",
        "Allow cookies for this site, then open the page again.";
    HEAD_TOO_LARGE = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The header fields of the request are too large, or too many",
        DELETE_COOKIES;
    HTTP_1_1_REQUIRED = "http_1_1_required", MISDIRECTED_REQUEST,
        "The app signs you in over HTTP/1.1 only",
        "Use a browser that falls back to HTTP/1.1.";
    INTERNAL_ERROR = "internal_error", INTERNAL_SERVER_ERROR,
        "Something went wrong here",
        "Try again. If it happens again, tell the people who run this site.";
    INSUFFICIENT_SCOPE = "insufficient_scope", FORBIDDEN,
        "The API token is not for this request",
        "Its apps, paths, methods and networks are on the account page of its user, who can make another one.";
    INVALID_TOKEN = "invalid_token", UNAUTHORIZED,
        "The API token is not valid",
        "It may have expired or been revoked. Its user can make another one on the account page.";
    LOGIN_BUSY = "login_busy", SERVICE_UNAVAILABLE,
        "Too many people are signing in right now",
        "Try again soon, or use an API token.";
    LOGIN_REQUIRED = "login_required", UNAUTHORIZED,
        "Your session has ended",
        "Sign in again in another tab, then go on here."
        => Login;
    LOGIN_THROTTLED = "login_throttled", TOO_MANY_REQUESTS,
        "There were too many wrong passwords",
        "Wait, as `Retry-After` says, and correct the password in the program.";
    MAINTENANCE = "maintenance", SERVICE_UNAVAILABLE,
        "This app is closed for maintenance",
        "Try again later. If you may use it meanwhile, sign in."
        => Login;
    MALFORMED_REQUEST = "bad_request", BAD_REQUEST,
        "The request is not valid HTTP",
        SEND_AGAIN;
    METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED,
        "This address does not accept this method",
        START_PAGE
        => StartPage;
    MISDIRECTED = "misdirected", MISDIRECTED_REQUEST,
        "There is no app at this address",
        "Check the address for typing errors.";
    NESTED_ESCAPE = "bad_request", BAD_REQUEST,
        "The address has an escape within an escape in it",
        "If the app needs it, the people who run this site can allow it with \"encoded-percent\" in `allow_in_path`.";
    NETWORK_NOT_ALLOWED = "network_not_allowed", FORBIDDEN,
        "This cannot be opened from this network",
        "Try again from another network, such as that of your organisation or its VPN.";
    NOT_A_FORM = "not_a_form", UNSUPPORTED_MEDIA_TYPE,
        "This is not a form",
        SEND_AGAIN;
    NOT_FOUND = "not_found", NOT_FOUND,
        "There is no such page",
        START_PAGE
        => StartPage;
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE,
        "The service is overloaded right now",
        "Wait a moment, then reload the page.";
    PAGE_LOAD_REQUIRED = "page_load_required", FORBIDDEN,
        "This address answers page loads only",
        concat!("Open it in a tab of its own; scripts can ask ", own_path!("session"), ".");
    SERVICE_WORKER_NOT_ALLOWED = "service_worker_not_allowed", FORBIDDEN,
        "Service workers are not allowed on this path",
        "The people who run this site can allow them with `service_worker = true` in its rule.";
    SESSION_END_NOT_EVERYWHERE = "session_end_not_everywhere", SERVICE_UNAVAILABLE,
        "The session has not ended on all servers yet",
        NOT_EVERYWHERE;
    SESSION_END_NOT_TAKEN = "session_end_not_everywhere", SERVICE_UNAVAILABLE,
        "The session has not ended on all servers yet",
        NOT_EVERYWHERE_YET;
    SESSION_END_NOT_SAVED = "session_end_not_saved", SERVICE_UNAVAILABLE,
        "The end of the session could not be saved",
        "It has ended now, but until that is saved a restart of this service could undo it. Tell the people who run this site that sessions cannot be written.";
    SESSION_ENDED = "session_ended", UNAUTHORIZED,
        "Your session has ended",
        "Sign in and send it again."
        => Login;
    SESSIONS_UNAVAILABLE = "sessions_unavailable", SERVICE_UNAVAILABLE,
        "Sessions cannot be looked up right now",
        WAIT;
    SEVERAL_APPS = "bad_request", BAD_REQUEST,
        "The address could be meant for one app of this site, or for another",
        CHECK_ADDRESS
        => StartPage;
    SIGN_IN_NOT_FINISHED = "sign_in_not_finished", BAD_REQUEST,
        "The sign-in could not be finished here",
        "The link was used before, is too old, or is of another browser; or this browser keeps no cookies of this site. Sign in again."
        => Login;
    SIGN_OUT_NOT_EVERYWHERE = "sign_out_not_everywhere", SERVICE_UNAVAILABLE,
        "You are not signed out on all servers yet",
        NOT_EVERYWHERE;
    SIGN_OUT_NOT_TAKEN = "sign_out_not_everywhere", SERVICE_UNAVAILABLE,
        "You are not signed out on all servers yet",
        NOT_EVERYWHERE_YET;
    SIGN_OUT_NOT_SAVED = "sign_out_not_saved", SERVICE_UNAVAILABLE,
        "Your sign-out could not be saved",
        "You are signed out now, but until it is saved a restart of this service could undo that. Tell the people who run this site that sessions cannot be written.";
    TOKEN_END_NOT_EVERYWHERE = "token_end_not_everywhere", SERVICE_UNAVAILABLE,
        "The token is not revoked on all servers yet",
        "It opens nothing on this server. Other servers of this site cannot be told right now, and may go on with it: until they can be, or for up to {time} where they are cut off, too. Tell the people who run this site.";
    TOKEN_END_NOT_SAVED = "token_end_not_saved", INTERNAL_SERVER_ERROR,
        "The token is revoked, but that could not be saved",
        "It opens nothing now, but a restart of the server could bring it back. Tell the people who run this site.";
    TOO_MANY_CONNECTIONS = "too_many_connections", SERVICE_UNAVAILABLE,
        "There are too many open connections to this app",
        "Close other windows of the app, then reload the page.";
    TOO_MANY_FIELDS = "too_many_fields", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Your browser sends too many header fields",
        DELETE_COOKIES;
    TOO_MANY_READINGS = "bad_request", BAD_REQUEST,
        "The address can be read in too many ways",
        CHECK_ADDRESS
        => StartPage;
    UPLOAD_INTERRUPTED = "upload_interrupted", BAD_REQUEST,
        "The upload was interrupted",
        SEND_AGAIN;
    UPLOAD_TOO_LARGE = "upload_too_large", PAYLOAD_TOO_LARGE,
        "What you sent is too large",
        "It may have {limit} at most. Send less at a time.";
    UPLOAD_TOO_SLOW = "upload_too_slow", REQUEST_TIMEOUT,
        "The upload was too slow",
        SEND_AGAIN;
    WEBSOCKET_ORIGIN = "websocket_origin", FORBIDDEN,
        "This connection was not opened by a page of the app",
        "Open the app itself and try again.";
    WRONG_PASSWORD = "wrong_password", UNAUTHORIZED,
        "The user name or the password is wrong",
        "Correct it in the program. An API token works as the password, too, where the app takes tokens.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;

    #[test]
    fn the_documentation_lists_each_message_as_it_is() {
        let page = include_str!("../../docs/errors.md");
        let (page, _) = page.split_once("\n## ").unwrap();
        let documented = page.lines().filter(|row| row.starts_with("| `"));
        let documented: BTreeSet<_> = documented.collect();
        let rows = ALL.iter().map(|message| {
            let (code, status) = (message.code, message.status.as_u16());
            let (title, advice) = (message.title, message.advice);
            format!("| `{code}` | {status} | {title} | {advice} |")
        });
        let rows: Vec<_> = rows.collect();
        assert!(rows.len() > 30, "{rows:?}");
        assert_eq!(documented, rows.iter().map(String::as_str).collect());
    }
}
