//! Methods that are let in.

use http::{HeaderValue, Method};

/// The methods of the IANA registry, the common ones first, but for `CONNECT` and `TRACE`, which
/// are no app's (SEC-10), and `PRI` and `*`, which no request has.
const REGISTERED: [&str; 37] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// What an app without `methods` lets in.
pub(crate) fn registered() -> Vec<Method> {
    let methods = REGISTERED.iter();
    methods.filter_map(|name| name.parse().ok()).collect()
}

/// Whether no app gets requests with it: the one opens a tunnel, the other sends back what it gets,
/// cookies included.
pub(crate) fn is_never_let_in(method: &Method) -> bool {
    matches!(*method, Method::CONNECT | Method::TRACE)
}

/// Whether a request with it may change something: all but those that are registered as safe.
pub(crate) fn writes(method: &Method) -> bool {
    !method.is_safe() && !matches!(method.as_str(), "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// For an `Allow` field (RFC 9110 §10.2.1).
pub(crate) fn allow(methods: &[Method]) -> HeaderValue {
    let mut methods: Vec<_> = methods.iter().map(Method::as_str).collect();
    methods.sort_unstable();
    HeaderValue::try_from(methods.join(", ")).unwrap_or(HeaderValue::from_static("GET, HEAD"))
}
