//! Forward auth: the request that a proxy asks about (SEC-95).
//!
//! A proxy says in fields of its own what it was asked for, and passes on whatever else its client
//! has sent. Of each kind of proxy, only the names are read that it sets itself, over anything of
//! the client's; all other names of forwarding are nobody's word (CVE-2026-40575). From there on, the
//! request is the client's, and goes the way of any other.

use http::header::Entry;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::{Authority, BadRequest};

/// Of a proxy that asks: each has a path of its own on the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Caddy,
    Envoy,
    Haproxy,
    Nginx,
    Traefik,
}

/// What a proxy says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuthRequest {
    pub(crate) kind: ProxyKind,
    /// What the request is for; its head has the same as `Host`.
    pub(crate) host: Authority,
    /// Whom the proxy has it from: an address, or several, the nearest one last.
    pub(crate) client: HeaderValue,
}

/// Why an auth request gets no answer but 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadAuthRequest {
    /// The path on the listener is that of no proxy.
    UnknownProxy,
    Doubled(&'static Name),
    Missing(&'static Name),
    /// The visitor's connection has no TLS.
    NoTls,
    /// Who asks is in none of the networks that may.
    NotNamed,
    /// An address below `/.vestibule/`, which is not for the app.
    OwnPage,
    /// It is noted, for `vestibule check --through`.
    Probe,
    /// What a name says is no address, method, and so on.
    Unreadable(&'static Name),
}

/// One name that a proxy sets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    field: HeaderName,
    doubled: &'static str,
    missing: &'static str,
    unreadable: &'static str,
}

macro_rules! name {
    ($field:literal, $shown:literal) => {
        Name {
            field: HeaderName::from_static($field),
            doubled: concat!("forward auth: the proxy sends ", $shown, " twice"),
            missing: concat!("forward auth: the proxy does not send ", $shown),
            unreadable: concat!("forward auth: ", $shown, " of the proxy cannot be read"),
        }
    };
}

/// The names that one kind of proxy sets.
#[derive(Debug)]
struct Names {
    client: &'static Name,
    host: &'static Name,
    /// `None` where the auth request has the method and the target of the request itself.
    line: Option<(&'static Name, &'static Name)>,
    proto: &'static Name,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static HOST: Name = name!("host", "Host");
static FORWARDED_FOR: Name = name!("x-forwarded-for", "X-Forwarded-For");
static FORWARDED_HOST: Name = name!("x-forwarded-host", "X-Forwarded-Host");
static FORWARDED_METHOD: Name = name!("x-forwarded-method", "X-Forwarded-Method");
static FORWARDED_PROTO: Name = name!("x-forwarded-proto", "X-Forwarded-Proto");
static FORWARDED_URI: Name = name!("x-forwarded-uri", "X-Forwarded-Uri");
static ORIGINAL_HOST: Name = name!("x-original-host", "X-Original-Host");
static ORIGINAL_METHOD: Name = name!("x-original-method", "X-Original-Method");
static ORIGINAL_PROTO: Name = name!("x-original-proto", "X-Original-Proto");
static ORIGINAL_URI: Name = name!("x-original-uri", "X-Original-URI");
static REAL_IP: Name = name!("x-real-ip", "X-Real-IP");

/// They set these by themselves.
static OF_CADDY_AND_TRAEFIK: Names = Names {
    client: &FORWARDED_FOR,
    host: &FORWARDED_HOST,
    line: Some((&FORWARDED_METHOD, &FORWARDED_URI)),
    proto: &FORWARDED_PROTO,
};

/// Its auth request is the request, with the path behind ours; its configuration adds the rest.
static OF_ENVOY: Names = Names {
    client: &REAL_IP,
    host: &HOST,
    line: None,
    proto: &ORIGINAL_PROTO,
};

/// These send what their configuration says.
static OF_HAPROXY_AND_NGINX: Names = Names {
    client: &REAL_IP,
    host: &ORIGINAL_HOST,
    line: Some((&ORIGINAL_METHOD, &ORIGINAL_URI)),
    proto: &ORIGINAL_PROTO,
};

impl ProxyKind {
    const ALL: [Self; 5] = [
        Self::Caddy,
        Self::Envoy,
        Self::Haproxy,
        Self::Nginx,
        Self::Traefik,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
        }
    }

    /// Whether the proxy passes an answer on as it is; otherwise its configuration makes one of the
    /// status and of single fields.
    pub(crate) fn passes_answers_on(self) -> bool {
        match self {
            Self::Caddy | Self::Envoy | Self::Haproxy | Self::Traefik => true,
            Self::Nginx => false,
        }
    }

    /// By the path of an auth request. Its query may be the client's: Caddy leaves it there.
    fn of(target: &Uri) -> Result<(Self, &str), BadAuthRequest> {
        let sent = target.path_and_query().map_or("", PathAndQuery::as_str);
        let path = sent.strip_prefix('/').ok_or(BadAuthRequest::UnknownProxy)?;
        if target.authority().is_some() {
            return Err(BadAuthRequest::UnknownProxy);
        }
        let behind = |kind: Self| {
            let rest = path.strip_prefix(kind.name())?;
            let has_end = match kind {
                Self::Envoy => rest.starts_with(['/', '*']),
                _ => rest.is_empty() || rest.starts_with('?'),
            };
            has_end.then_some((kind, rest))
        };
        let mut found = Self::ALL.into_iter().filter_map(behind);
        found.next().ok_or(BadAuthRequest::UnknownProxy)
    }

    fn names(self) -> &'static Names {
        match self {
            Self::Caddy | Self::Traefik => &OF_CADDY_AND_TRAEFIK,
            Self::Envoy => &OF_ENVOY,
            Self::Haproxy | Self::Nginx => &OF_HAPROXY_AND_NGINX,
        }
    }
}

impl AuthRequest {
    /// Reads an auth request, and makes `head` that of the request as the client of the proxy has sent it.
    /// `public_port` is the one that browsers use, where the configuration says so.
    pub(crate) fn read(head: &mut Parts, public_port: Option<u16>) -> Result<Self, BadAuthRequest> {
        head.headers.remove(REQUEST_ID); // nobody says that it is the proxy's
        let (kind, rest) = ProxyKind::of(&head.uri)?;
        let names = kind.names();
        let (method, target) = if let Some((method, target)) = names.line {
            method_and_target(&mut head.headers, method, target)?
        } else {
            let target = target_of(rest.as_bytes()).ok_or(BadAuthRequest::UnknownProxy)?;
            (head.method.clone(), target)
        };
        let proto = only(&mut head.headers, names.proto)?;
        if !is_tls(&proto) {
            return Err(BadAuthRequest::NoTls);
        }
        let host = only(&mut head.headers, names.host)?;
        let client = only(&mut head.headers, names.client)?;
        let of_auth_request = head.headers.get(header::HOST);
        let unreadable = |_: BadRequest| BadAuthRequest::Unreadable(names.host);
        let host = as_in_browsers(&host, of_auth_request, public_port).map_err(unreadable)?;
        head.headers.insert(header::HOST, host.to_header());
        (head.method, head.uri) = (method, target);
        Ok(Self { kind, host, client })
    }

    pub(crate) fn unreadable_client(&self) -> BadAuthRequest {
        BadAuthRequest::Unreadable(self.kind.names().client)
    }
}

fn method_and_target(
    headers: &mut HeaderMap,
    method: &'static Name,
    target: &'static Name,
) -> Result<(Method, Uri), BadAuthRequest> {
    let sent = only(headers, method)?;
    let sent = Method::from_bytes(sent.as_bytes());
    let sent = sent.map_err(|_| BadAuthRequest::Unreadable(method))?;
    let to = only(headers, target)?;
    let to = target_of(to.as_bytes()).ok_or(BadAuthRequest::Unreadable(target))?;
    Ok((sent, to))
}

/// The one value of a name, which nobody reads again.
fn only(headers: &mut HeaderMap, name: &'static Name) -> Result<HeaderValue, BadAuthRequest> {
    let Entry::Occupied(values) = headers.entry(&name.field) else {
        return Err(BadAuthRequest::Missing(name));
    };
    if values.iter().nth(1).is_some() {
        return Err(BadAuthRequest::Doubled(name));
    }
    Ok(values.remove())
}

/// A target in origin form, as the client sent it: `None` for any other, and for a fragment, which
/// would be cut off. A byte beyond ASCII is a character here, as in the other requests.
fn target_of(sent: &[u8]) -> Option<Uri> {
    let is_target = sent.first() == Some(&b'/') || sent == b"*";
    if !is_target || sent.contains(&b'#') {
        return None;
    }
    let target = if sent.is_ascii() {
        PathAndQuery::try_from(sent)
    } else {
        let wide: String = sent.iter().copied().map(char::from).collect();
        PathAndQuery::try_from(wide)
    };
    target.ok().map(Uri::from)
}

fn is_tls(proto: &HeaderValue) -> bool {
    let proto = proto.as_bytes();
    proto.eq_ignore_ascii_case(b"https") || proto.eq_ignore_ascii_case(b"wss")
}

/// The host as browsers have it in `Origin`: with the port that they use, unless it is that of https.
/// nginx knows the host without its port; the client's own `Host` has it, if the two are one.
fn as_in_browsers(
    sent: &HeaderValue,
    of_auth_request: Option<&HeaderValue>,
    public_port: Option<u16>,
) -> Result<Authority, BadRequest> {
    let authority = Authority::parse(sent)?;
    let host = authority.host();
    let of_auth_request = || {
        let is_of_host = |value: &&HeaderValue| {
            if *value == sent {
                return false; // it has nothing more to say
            }
            let begin = value.as_bytes().get(..host.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(host.as_bytes()))
        };
        let other = Authority::parse(of_auth_request.filter(is_of_host)?).ok()?;
        let is_same = other.host().eq_ignore_ascii_case(host);
        is_same.then(|| other.port())?
    };
    let port = public_port.or(authority.port()).or_else(of_auth_request);
    let shown = match port.filter(|&port| port != 443) {
        port if port == authority.port() => return Ok(authority),
        None => HeaderValue::from_str(host),
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
    };
    Authority::parse(&shown.map_err(|_| BadRequest::Host)?)
}

impl BadAuthRequest {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::UnknownProxy => {
                "forward auth: the path is none of /caddy, /envoy/, /haproxy, /nginx, /traefik"
            }
            Self::Doubled(name) => name.doubled,
            Self::Missing(name) => name.missing,
            Self::NoTls => "forward auth: the visitor's connection to the proxy has no TLS",
            Self::NotNamed => "forward auth: who asks is not in `auth_from`",
            Self::OwnPage => {
                "forward auth: what is below /.vestibule/ has to go to an address of `listen`"
            }
            Self::Probe => "forward auth: a probe of `vestibule check --through`",
            Self::Unreadable(name) => name.unreadable,
        }
    }
}

#[cfg(test)]
mod tests;
