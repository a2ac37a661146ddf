//! The one exit of every answer of ours: nobody can forget the safety headers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::messages::texts;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! policy {
    ($form_action:literal $(, $more:literal)?) => {
        concat!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action ",
            $form_action,
            "; base-uri 'none'; frame-ancestors 'none'",
            $("; ", $more)?
        )
    };
}

const FRAMED: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors *";

/// SEC-64, SEC-67. Absent on purpose: CORS headers (SEC-68) and `Server` (SEC-70). The proxy adds
/// `Strict-Transport-Security`, by host, and none goes out over plain HTTP (RFC 6797 §7.2).
///
/// `Referrer-Policy` is not `no-referrer`, because that turns the `Origin` of our own form posts
/// into `null` (Fetch, "append a request `Origin` header"), which says nothing of where they are from.
const SAFETY: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, policy!("'self'")),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// An HTML page on its way out.
#[must_use]
pub(crate) struct Page {
    status: StatusCode,
    html: String,
    headers: HeaderMap,
    policy: Policy,
}

/// Where a page departs from the policy of all others.
#[derive(Clone, Copy)]
enum Policy {
    Usual,
    /// What answers its forms may lead anywhere.
    FollowsForms,
    /// The same, and its script may ask whether somebody has signed in.
    Login,
    /// It may be shown in a frame of any page.
    Framed,
}

impl Page {
    pub(super) fn new(status: StatusCode, html: String) -> Self {
        Self {
            status,
            html,
            headers: HeaderMap::new(),
            policy: Policy::Usual,
        }
    }

    /// The same page as the answer to something else.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a field; the safety headers win over one of the same name.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Says when another try makes sense, in whole seconds, rounded up.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.insert(header::RETRY_AFTER, seconds.into());
        self
    }

    /// For a page whose form leads on to an app (SEC-64): lets the app redirect to plain HTTP, to
    /// another port or to another host. Chromium holds the whole chain of redirects against the
    /// page that the form was on (CSP3 §6.4.1), and would stop there without a word.
    pub(crate) fn follow_forms(mut self) -> Self {
        self.policy = Policy::FollowsForms;
        self
    }

    /// The same for the page of the login, which goes on by itself once another tab has signed in.
    pub(super) fn ask_for_session(mut self) -> Self {
        self.policy = Policy::Login;
        self
    }

    /// Lets any page show this one in a frame: it has no form and no script (SEC-64).
    pub(super) fn let_frame(mut self) -> Self {
        self.policy = Policy::Framed;
        self
    }

    pub(crate) fn set_cookie(self, cookie: HeaderValue) -> Self {
        self.header(header::SET_COOKIE, cookie)
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        let page = safe(self.status, HTML, self.html.into());
        let (mut parts, body) = page.into_parts();
        let mut headers = self.headers;
        headers.extend(parts.headers);
        let policy = match self.policy {
            Policy::Usual => None,
            Policy::FollowsForms => Some(policy!("*")),
            Policy::Login => Some(policy!("*", "connect-src 'self'")),
            Policy::Framed => {
                headers.remove(header::X_FRAME_OPTIONS);
                Some(FRAMED)
            }
        };
        if let Some(policy) = policy {
            let policy = HeaderValue::from_static(policy);
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        parts.headers = headers;
        Response::from_parts(parts, body)
    }
}

/// `value` as JSON; for callers that are no page load.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => safe(status, JSON, body.into()),
        Err(error) => {
            tracing::error!(%error, "cannot write JSON");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                texts::ERROR_PAGE_NOT_SHOWN,
            )
        }
    }
}

/// Keys of identity tokens (RFC 7517 §8.5.2). Whoever keeps them for so long misses none: each is
/// published for much longer before it signs.
pub(crate) fn jwks(keys: Bytes) -> Response<Bytes> {
    let mut response = safe(StatusCode::OK, "application/jwk-set+json", keys);
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}

/// A file that no browser shows.
pub(crate) fn octets(content: Bytes) -> Response<Bytes> {
    safe(StatusCode::OK, "application/octet-stream", content)
}

/// One sentence, for those who show no HTML.
pub(crate) fn plain(status: StatusCode, sentence: &'static str) -> Response<Bytes> {
    safe(status, TEXT, format!("{sentence}\n").into())
}

/// The same for a person, where a page can load nothing: phones show plain text too small to read.
pub(crate) fn bare(status: StatusCode, sentence: &'static str) -> Response<Bytes> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{sentence}</title>\n<p>{sentence}</p>\n"
    );
    safe(status, HTML, html.into())
}

/// `location` is a path on this host, or an address built from configuration, never from what a
/// client sent as its host (SEC-62).
pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Response<Bytes> {
    let mut response = safe(status, TEXT, Bytes::new());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// Says that it was done, and nothing more.
pub(crate) fn no_content() -> Response<Bytes> {
    let mut response = safe(StatusCode::NO_CONTENT, TEXT, Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

pub(super) fn safe(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in SAFETY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
