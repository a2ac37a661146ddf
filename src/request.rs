//! Parses a request once: host, normal path, limits. What is matched is what is sent.

mod allow;
mod bad_request;
mod client_kind;
mod forgery;
pub(crate) mod frames;
mod hosts;
mod malformed;
pub(crate) mod methods;
mod networks;
mod original;
mod own_path;
mod path;
mod path_index;
mod plain_head;
mod readings;
mod target;
mod title_case;
pub(crate) mod webdav;
pub(crate) mod wire;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version, header};

pub(crate) use allow::{AllowInPath, PathForm};
pub(crate) use bad_request::BadRequest;
pub(crate) use client_kind::ClientKind;
pub(crate) use forgery::Forgery;
pub(crate) use hosts::{HostMap, HostPattern, Hosts};
pub(crate) use malformed::Malformed;
pub(crate) use networks::Networks;
pub(crate) use original::{AuthRequest, BadAuthRequest, ProxyKind};
pub(crate) use own_path::own_path;
pub(crate) use path::{PathError, normal_path};
pub(crate) use path_index::PathIndex;
pub(crate) use plain_head::PlainHeads;
pub(crate) use readings::{PathCase, Readings, compared, fold_case};
pub(crate) use target::{Target, escape_raw};
pub(crate) use title_case::{capitalize, title_case};
pub(crate) use webdav::further_paths;

/// Limits on the head of a request (SEC-10, SEC-13), `[server.limits]`.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of the whole head.
    pub(crate) head: usize,
    /// Header fields.
    pub(crate) fields: usize,
    /// Bytes of the request target.
    pub(crate) target: usize,
    /// Bytes of all Cookie fields together.
    pub(crate) cookie: usize,
    /// Methods that are let in where an app names none of its own.
    pub(crate) methods: Vec<Method>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            fields: 100,
            target: 8 * 1024,
            cookie: 8 * 1024,
            methods: methods::registered(),
        }
    }
}

/// A host name or IP address without port, lower case, without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host(String);

impl Host {
    /// Parses a host as configuration has it; no port, no userinfo.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        Self::is_valid(name).then(|| Self(name.to_ascii_lowercase()))
    }

    fn is_valid(text: &str) -> bool {
        if let Some(literal) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return literal.parse::<std::net::Ipv6Addr>().is_ok();
        }
        is_valid_name(text.strip_suffix('.').unwrap_or(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a client that sends this, without port, means this host.
    pub(crate) fn is(&self, sent: &str) -> bool {
        let sent = sent.strip_suffix('.').unwrap_or(sent);
        self.0 == sent || self.0.eq_ignore_ascii_case(sent)
    }
}

/// RFC 1123 §2.1, with underscores, which names inside of networks have. One pass: each request has
/// a host.
fn is_valid_name(name: &str) -> bool {
    let mut label = 0;
    for byte in name.bytes() {
        match byte {
            b'.' if (1..=63).contains(&label) => label = 0,
            b'-' | b'_' => label += 1,
            _ if byte.is_ascii_alphanumeric() => label += 1,
            _ => return false,
        }
    }
    name.len() <= 253 && (1..=63).contains(&label)
}

/// Host and port a request is for, as parsed from the one `Host` field or `:authority`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// As the client sent it: what an app that keeps its own host name sees.
    value: HeaderValue,
    host_length: usize,
    port: Option<u16>,
}

impl Authority {
    /// Takes `host` or `host:port`; no userinfo, no list, nothing but a host (SEC-09).
    pub(crate) fn parse(value: &HeaderValue) -> Result<Self, BadRequest> {
        let text = value.to_str().map_err(|_| BadRequest::Host)?;
        let after_literal = if text.starts_with('[') {
            text.find(']').map_or(0, |at| at + 1)
        } else {
            0
        };
        let host_length = memchr::memchr(b':', &text.as_bytes()[after_literal..])
            .map_or(text.len(), |at| after_literal + at);
        let port = match &text[host_length..] {
            "" => None,
            port if port.len() > 1 && port[1..].bytes().all(|b| b.is_ascii_digit()) => {
                Some(port[1..].parse().map_err(|_| BadRequest::Host)?)
            }
            _ => return Err(BadRequest::Host),
        };
        if !Host::is_valid(&text[..host_length]) {
            return Err(BadRequest::Host);
        }
        Ok(Self {
            value: value.clone(),
            host_length,
            port,
        })
    }

    /// Host without port, as sent: compare it without regard to case.
    pub(crate) fn host(&self) -> &str {
        &self.as_str()[..self.host_length]
    }

    /// As the client sent it; `None` for that of the scheme.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host without port, in the form that can be compared byte by byte.
    pub(crate) fn to_host(&self) -> Host {
        let host = self.host();
        Host(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
    }

    /// Host and port, as sent.
    pub(crate) fn as_str(&self) -> &str {
        self.value.to_str().unwrap_or_default() // `parse` has seen that it is text
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        self.value.clone()
    }

    /// Whether `origin` (RFC 6454) is the one of this site over TLS.
    pub(crate) fn is_origin(&self, origin: &[u8]) -> bool {
        let Some(theirs) = origin.strip_prefix(b"https://") else {
            return false;
        };
        let Some(port) = theirs
            .get(..self.host_length)
            .filter(|host| host.eq_ignore_ascii_case(self.host().as_bytes()))
            .map(|host| &theirs[host.len()..])
        else {
            return false;
        };
        match (port, self.port.unwrap_or(443)) {
            (b"", 443) => true,
            ([b':', digits @ ..], ours) => {
                std::str::from_utf8(digits).is_ok_and(|port| port == ours.to_string())
            }
            _ => false,
        }
    }
}

/// Checks everything about the head that does not depend on the app, and gives the host.
pub(crate) fn parse(head: &Parts, limits: &Limits) -> Result<Authority, BadRequest> {
    check(head, limits)?;
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(BadRequest::Host),
        (Some(host), None) => Some(Authority::parse(host)?),
        (None, None) => None,
    };
    // Absolute-form and HTTP/2 name the host in the target as well (RFC 9112 §3.2.2).
    let target = match head.uri.authority() {
        Some(authority) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| BadRequest::Host)?;
            Some(Authority::parse(&value)?)
        }
        None => None,
    };
    match (host, target) {
        (Some(host), Some(target)) if !host.as_str().eq_ignore_ascii_case(target.as_str()) => {
            Err(BadRequest::HostMismatch)
        }
        // HTTP/1.1 with absolute-form still has to carry Host (RFC 9112 §3.2).
        (None, Some(_)) if head.version != Version::HTTP_2 => Err(BadRequest::Host),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(BadRequest::Host),
    }
}

/// Checks everything about the head that does not depend on the app, but its host.
///
/// hyper and [`wire::Framing`] have refused what cannot be parsed; what is left is what can be
/// parsed and is still not acceptable.
pub(crate) fn check(head: &Parts, limits: &Limits) -> Result<(), BadRequest> {
    if methods::is_never_let_in(&head.method) {
        return Err(BadRequest::Method);
    }
    check_sizes(head, limits)?;
    check_expectation(head)?;
    check_values(head)
}

/// Whether a browser says where a request comes from (Fetch Metadata). No script can leave it out.
pub(crate) fn has_fetch_metadata(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Whether a browser wants the script of a service worker (Service Workers §"Service-Worker").
pub(crate) fn is_service_worker(headers: &HeaderMap) -> bool {
    let says = |name, value: &[u8]| {
        let mut said = headers.get_all(name).iter();
        said.any(|said| said.as_bytes().eq_ignore_ascii_case(value))
    };
    says("service-worker", b"script") || says("sec-fetch-dest", b"serviceworker")
}

fn check_sizes(head: &Parts, limits: &Limits) -> Result<(), BadRequest> {
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > limits.target {
        return Err(BadRequest::TargetTooLong);
    }
    if head.headers.len() > limits.fields {
        return Err(BadRequest::TooManyFields);
    }
    Ok(())
}

/// Checks what an application is to get of cookies. Our own pages need none but ours: cookies that
/// a neighbour of the domain has set keep nobody from the login and the logout.
pub(crate) fn check_cookies(headers: &HeaderMap, limits: &Limits) -> Result<(), BadRequest> {
    let cookies = headers.get_all(header::COOKIE).iter();
    if cookies.map(HeaderValue::len).sum::<usize>() > limits.cookie {
        return Err(BadRequest::CookieTooLarge);
    }
    Ok(())
}

/// What HTTP/1.1 would have trimmed or refused has to be refused in HTTP/2 (RFC 9113 §8.2.1,
/// SEC-18); and one length is enough (SEC-14).
fn check_values(head: &Parts) -> Result<(), BadRequest> {
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    let padded = |value: &HeaderValue| value.as_bytes().trim_ascii().len() != value.len();
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || head.headers.values().any(padded) {
        return Err(BadRequest::Field);
    }
    Ok(())
}

/// RFC 9110 §10.1.1: the only expectation there is.
fn check_expectation(head: &Parts) -> Result<(), BadRequest> {
    let mut expectations = head.headers.get_all(header::EXPECT).iter();
    if expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        Ok(())
    } else {
        Err(BadRequest::Expectation)
    }
}

#[cfg(test)]
mod tests;
