//! Names by which a proxy in front says from whom and for what a request is, and by which clients try to.
//! The tests of the proxies in front go by the same list.

/// What is said by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Client,
    Host,
    Method,
    Path,
    Port,
    Scheme,
    /// Nothing that a request is judged by.
    Other,
}

/// None of these reaches an app from a client (SEC-33, SEC-41).
pub(crate) const OF_PROXIES: [(&str, Says); 39] = [
    ("Forwarded", Says::Other),
    ("Proxy", Says::Other),
    ("True-Client-IP", Says::Client),
    ("X-Client-IP", Says::Client),
    ("X-Cluster-Client-IP", Says::Client),
    ("X-Envoy-External-Address", Says::Client),
    ("X-Envoy-Original-Path", Says::Path),
    ("X-Forwarded-Access-Token", Says::Other),
    ("X-Forwarded-For", Says::Client),
    ("X-Forwarded-Host", Says::Host),
    ("X-Forwarded-Method", Says::Method),
    ("X-Forwarded-Path", Says::Path),
    ("X-Forwarded-Port", Says::Port),
    ("X-Forwarded-Preferred-Username", Says::Other),
    ("X-Forwarded-Prefix", Says::Path),
    ("X-Forwarded-Proto", Says::Scheme),
    ("X-Forwarded-Protocol", Says::Scheme),
    ("X-Forwarded-Scheme", Says::Scheme),
    ("X-Forwarded-Server", Says::Host),
    ("X-Forwarded-Ssl", Says::Scheme),
    ("X-Forwarded-Uri", Says::Path),
    ("X-HTTP-Host-Override", Says::Host),
    ("X-Host", Says::Host),
    ("X-Original-Forwarded-For", Says::Client),
    ("X-Original-Host", Says::Host),
    ("X-Original-Method", Says::Method),
    ("X-Original-Proto", Says::Scheme),
    ("X-Original-URI", Says::Path),
    ("X-Original-URL", Says::Path),
    ("X-Real-IP", Says::Client),
    ("X-Replaced-Path", Says::Path),
    ("X-Request-Id", Says::Other),
    ("X-Rewrite-URL", Says::Path),
    ("X-Session-Data", Says::Other),
    ("X-Session-Set", Says::Other),
    ("X-Session-Unset", Says::Other),
    ("X-Vestibule-Authorization", Says::Other),
    ("X-Vestibule-Cookie", Says::Other),
    ("X-Vestibule-Token", Says::Other),
];

/// These go on to apps, because some are written for them: an app lets its clients override the method, and
/// a content delivery network sets its own name in each request. No request is judged by one.
pub(crate) const OF_APPS: [(&str, Says); 6] = [
    ("CF-Connecting-IP", Says::Client),
    ("Fastly-Client-IP", Says::Client),
    ("X-Auth-Request-Redirect", Says::Path),
    ("X-HTTP-Method", Says::Method),
    ("X-HTTP-Method-Override", Says::Method),
    ("X-Method-Override", Says::Method),
];
