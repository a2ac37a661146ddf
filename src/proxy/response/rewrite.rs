//! Addresses of the inside in a response, put as the browser knows them (SEC-94).
//!
//! An application behind TLS that ends here redirects to `http://`, to the address that it listens
//! on, or to its own port. Each of these becomes our origin, like `proxy_redirect` of nginx and
//! `ProxyPassReverse` of Apache have it. What `strip_path` takes off the paths of requests is put
//! before those of our origin. Whatever else a field names stays as it came, and bodies are never
//! touched.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::portal::Endpoint;
use crate::request::Authority;
use crate::upstream::{self, Address, Rewriting};

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What one application may call itself.
pub(crate) struct Rewriter {
    what: Rewriting,
    inside: Vec<Inside>,
    /// The folder below which visitors see the application, and that it is not told of.
    prefix: Option<Box<str>>,
}

/// A host of the application, in lower case and without brackets, and where it listens there.
struct Inside {
    host: String,
    port: u16,
    /// Whether it may call itself by `https://` without a port: with TLS of its own, or because it
    /// is told this name without one, and `https` by `X-Forwarded-Proto`. For any other, that is
    /// another server, its identity provider perhaps.
    at_https: bool,
}

/// Whose the origin of an address is.
enum Origin {
    Inside,
    Ours,
}

impl Rewriter {
    /// `prefix` is what `strip_path` takes off, as in `/wiki`.
    pub(crate) fn new(settings: &upstream::Settings, prefix: Option<&str>) -> Self {
        Self {
            what: settings.rewriting,
            prefix: prefix.map(Into::into),
            inside: Inside::all(
                &settings.addresses,
                settings.preserve_host,
                settings.host.as_ref(),
            ),
        }
    }

    /// Rewrites a response to a request for `ours`. Most have nothing to rewrite, and are only
    /// looked through.
    pub(crate) fn rewrite(&self, headers: &mut HeaderMap, ours: &Authority) {
        for (name, value) in headers.iter_mut() {
            let Some(field) = Field::of(name) else {
                continue;
            };
            let bytes = value.as_bytes();
            let rewritten = match field {
                Field::Address => self.reference(bytes, ours),
                Field::Cookie => self.cookie(bytes, ours),
                Field::Link => self.link(bytes, ours),
                Field::Refresh => self.refresh(bytes, ours),
            };
            if let Some(rewritten) = rewritten
                && let Ok(rewritten) = HeaderValue::from_bytes(&rewritten)
            {
                *value = rewritten;
            }
        }
    }

    /// An address, as in `Location` and `Content-Location` (RFC 9110 §10.2.2, §8.7); `None` where
    /// it stays. What has no slash at its start is relative to what the browser asked for.
    fn reference(&self, reference: &[u8], ours: &Authority) -> Option<Vec<u8>> {
        let (becomes_ours, path) = match self.origin(reference, ours) {
            Some((Origin::Inside, end)) if self.what.redirects => (true, end),
            Some((Origin::Ours, end)) => (false, end),
            None if is_path(reference) => (false, 0),
            _ => return None,
        };
        let (origin, path) = reference.split_at(path);
        let prefix = self.missing_prefix_of_address(path);
        if !becomes_ours && prefix.is_none() {
            return None;
        }
        let mut rewritten = Vec::with_capacity(reference.len() + 64);
        if becomes_ours {
            rewritten.extend(b"https://");
            rewritten.extend(ours.as_str().as_bytes());
        } else {
            rewritten.extend(origin);
        }
        if let Some(prefix) = prefix {
            rewritten.extend(prefix);
            if !path.starts_with(b"/") {
                rewritten.push(b'/');
            }
        }
        rewritten.extend(path);
        Some(rewritten)
    }

    /// What has to be put before the path of an address. Our own pages are at the root of each host:
    /// an application may lead to the logout.
    fn missing_prefix_of_address(&self, path: &[u8]) -> Option<&[u8]> {
        let end = path.iter().position(|byte| b"?#".contains(byte));
        let own = std::str::from_utf8(&path[..end.unwrap_or(path.len())]);
        let is_own = own.is_ok_and(|path| Endpoint::of(path).is_some());
        self.missing_prefix(path).filter(|_| !is_own)
    }

    /// What has to be put before a path of the application. Nothing, if it has that already: an
    /// application that is told of it by `X-Forwarded-Prefix` may put it there itself.
    fn missing_prefix(&self, path: &[u8]) -> Option<&[u8]> {
        let prefix = self.prefix.as_deref()?.as_bytes();
        let end = path.iter().position(|byte| b"?#".contains(byte));
        let path = &path[..end.unwrap_or(path.len())];
        let rest = path.strip_prefix(prefix);
        let has_it = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        (!has_it).then_some(prefix)
    }

    /// `Link` (RFC 8288 §3): each address within angle brackets.
    fn link(&self, links: &[u8], ours: &Authority) -> Option<Vec<u8>> {
        let mut rewritten = Vec::new();
        let (mut kept, mut at, mut quoted) = (0, 0, false);
        while at < links.len() {
            match links[at] {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b'<' if !quoted => {
                    let begin = at + 1;
                    let length = links[begin..].iter().position(|&byte| byte == b'>')?;
                    at = begin + length;
                    if let Some(reference) = self.reference(&links[begin..at], ours) {
                        rewritten.extend(&links[kept..begin]);
                        rewritten.extend(reference);
                        kept = at;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        (kept > 0).then(|| [&rewritten, &links[kept..]].concat())
    }

    /// `Refresh`, as browsers read it (HTML §4.2.5.3): `0; url=http://…`, also without `url=`, and
    /// within quotes.
    fn refresh(&self, refresh: &[u8], ours: &Authority) -> Option<Vec<u8>> {
        let blank = |bytes: &[u8]| bytes.len() - bytes.trim_ascii_start().len();
        let mut at = blank(refresh);
        let time = refresh[at..].iter();
        at += time
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
            .count();
        at += blank(&refresh[at..]);
        if matches!(refresh.get(at), Some(b';' | b',')) {
            at += 1;
        }
        at += blank(&refresh[at..]);
        if refresh[at..]
            .get(..3)
            .is_some_and(|url| url.eq_ignore_ascii_case(b"url"))
        {
            let equals = at + 3 + blank(&refresh[at + 3..]);
            if refresh.get(equals) == Some(&b'=') {
                at = equals + 1 + blank(&refresh[equals + 1..]);
            }
        }
        let mut end = refresh.len();
        if let Some(quote @ (b'"' | b'\'')) = refresh.get(at) {
            at += 1;
            let closing = refresh[at..].iter().position(|byte| byte == quote);
            end = closing.map_or(end, |length| at + length);
        }
        let reference = self.reference(&refresh[at..end], ours)?;
        Some([&refresh[..at], &reference, &refresh[end..]].concat())
    }

    /// `Set-Cookie`: browsers come by TLS, and refuse a cookie whose `Domain` is another host's
    /// (RFC 6265 §5.3). Without a `Path`, they take the folder of what they asked for.
    fn cookie(&self, cookie: &[u8], ours: &Authority) -> Option<Vec<u8>> {
        let mut parts = cookie.split(|&byte| byte == b';');
        let pair = parts.next().unwrap_or_default();
        let attributes: Vec<_> = parts.collect();
        let named = |part: &[u8], name: &[u8]| split(part).0.eq_ignore_ascii_case(name);
        let adds_secure =
            self.what.cookies && !attributes.iter().any(|part| named(part, b"secure"));
        // Of several, browsers take the last.
        let domain = attributes.iter().rev().find(|part| named(part, b"domain"));
        let drops_domain = self.what.cookies
            && domain.is_some_and(|part| self.is_inside_domain(split(part).1, ours));
        let is_host_only = is_host_only(pair);
        let below = |part| self.cookie_path(part).filter(|_| !is_host_only);
        let moves = self.prefix.is_some() && attributes.iter().any(|part| below(part).is_some());
        if !adds_secure && !drops_domain && !moves {
            return None;
        }
        let mut rewritten = pair.to_vec();
        for part in attributes {
            if drops_domain && named(part, b"domain") {
                continue;
            }
            rewritten.push(b';');
            match below(part) {
                Some(below) => rewritten.extend(below),
                None => rewritten.extend(part),
            }
        }
        if adds_secure {
            rewritten.extend(b"; Secure");
        }
        Some(rewritten)
    }

    /// `Path=/x` of a cookie, below the folder; `None` where it stays.
    fn cookie_path(&self, part: &[u8]) -> Option<Vec<u8>> {
        let (name, path) = split(part);
        if !name.eq_ignore_ascii_case(b"path") || !path.starts_with(b"/") {
            return None;
        }
        let prefix = self.missing_prefix(path)?;
        let before = &part[..part.iter().position(|&byte| byte == b'/')?];
        Some([before, prefix, path].concat())
    }

    /// Whether a host of the application is in this domain, and ours is not.
    fn is_inside_domain(&self, domain: &[u8], ours: &Authority) -> bool {
        let domain = domain.strip_prefix(b".").unwrap_or(domain);
        let is_in = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            let rest = host.len().checked_sub(domain.len());
            rest.is_some_and(|rest| {
                let (before, tail) = host.as_bytes().split_at(rest);
                tail.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
            })
        };
        !domain.is_empty()
            && !is_in(ours.host())
            && self.inside.iter().any(|inside| is_in(&inside.host))
    }

    /// Whose the origin is with which an address begins, if we know it, and how long it is.
    fn origin(&self, reference: &[u8], ours: &Authority) -> Option<(Origin, usize)> {
        let begins = |scheme: &[u8]| {
            let begin = reference.get(..scheme.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        };
        // Without a scheme, it is that of the page.
        let (scheme, default_port) = match () {
            () if begins(b"http://") => (7, 80),
            () if begins(b"https://") => (8, 443),
            () if begins(b"//") => (2, 443),
            () => return None,
        };
        let rest = &reference[scheme..];
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let end = end.unwrap_or(rest.len());
        let authority = &rest[..end];
        // An empty port is that of the scheme (RFC 3986 §3.2.3).
        let authority = authority.strip_suffix(b":").unwrap_or(authority);
        let authority = HeaderValue::from_bytes(authority).ok()?;
        let named = Authority::parse(&authority).ok()?;
        let port = named.port().unwrap_or(default_port);
        let is_inside = if named.to_host() == ours.to_host() {
            let our_port = ours.port().unwrap_or(443);
            if default_port == 443 && port == our_port {
                return Some((Origin::Ours, scheme + end));
            }
            let is_of_app = |inside: &Inside| inside.port == port;
            let is_plain = default_port == 80 && port == 80;
            port == our_port || is_plain || self.inside.iter().any(is_of_app)
        } else {
            let host = named.to_host();
            let host = host.as_str().trim_matches(['[', ']']);
            // Of applications that redirect by the name alone, the port is lost.
            let lost = |inside: &Inside| {
                port == 80 && default_port == 80 || inside.at_https && port == 443
            };
            self.inside
                .iter()
                .any(|inside| inside.host == host && (inside.port == port || lost(inside)))
        };
        is_inside.then_some((Origin::Inside, scheme + end))
    }
}

impl Inside {
    /// `host` is what the application is told in place of the browser's or of its address's.
    fn all(addresses: &[Address], preserve_host: bool, host: Option<&Authority>) -> Vec<Self> {
        let mut all: Vec<_> = addresses.iter().flat_map(Self::of).collect();
        let has_tls = all.iter().any(|inside| inside.at_https);
        if let Some(host) = host {
            all.push(Self::told(host, has_tls));
        } else if !preserve_host {
            let hosts = addresses.iter().map(Address::host_header);
            let hosts = hosts.filter_map(|host| Authority::parse(&host).ok());
            all.extend(hosts.map(|host| Self::told(&host, has_tls)));
        }
        all
    }

    fn of(address: &Address) -> Vec<Self> {
        let (host, port, at_https) = match address {
            Address::Http { host, port } => (&**host, *port, false),
            Address::Https { host, port } => (&**host, *port, true),
            Address::Unix(_) => ("localhost", 80, false), // as `Host` has it there
        };
        let hosts = if LOOPBACK.contains(&host) {
            LOOPBACK.map(str::to_owned).into()
        } else {
            vec![host.to_ascii_lowercase()]
        };
        let inside = |host| Self {
            host,
            port,
            at_https,
        };
        hosts.into_iter().map(inside).collect()
    }

    /// `Host` as the application gets it.
    fn told(host: &Authority, has_tls: bool) -> Self {
        Self {
            port: host.port().unwrap_or(80),
            at_https: has_tls || host.port().is_none(),
            host: host.to_host().as_str().trim_matches(['[', ']']).to_owned(),
        }
    }
}

/// A field that may name the inside.
#[derive(Clone, Copy)]
enum Field {
    Address,
    Cookie,
    Link,
    Refresh,
}

impl Field {
    fn of(name: &HeaderName) -> Option<Self> {
        // Of the headers that applications send, most do not get past this line.
        if !matches!(
            name.as_str().as_bytes(),
            [b'l' | b'r' | b's', ..] | [b'c', b'o', ..]
        ) {
            return None;
        }
        let known = [
            (header::LOCATION, Self::Address),
            (header::CONTENT_LOCATION, Self::Address),
            (header::SET_COOKIE, Self::Cookie),
            (header::LINK, Self::Link),
            (header::REFRESH, Self::Refresh),
        ];
        let mut known = known.into_iter();
        known.find_map(|(field, kind)| (*name == field).then_some(kind))
    }
}

/// Whether this is a path, and no `//host` in any spelling that browsers have for it (WHATWG URL).
fn is_path(reference: &[u8]) -> bool {
    let mut rest = reference.iter().skip(1).filter(|&&byte| byte != b'\t');
    reference.starts_with(b"/") && !matches!(rest.next(), Some(b'/' | b'\\'))
}

/// Whether browsers take this cookie with `Path=/` only (RFC 6265bis §4.1.3.2).
fn is_host_only(pair: &[u8]) -> bool {
    let begin = pair.trim_ascii_start().get(..7);
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(b"__host-"))
}

/// Name and value of a cookie's attribute.
fn split(part: &[u8]) -> (&[u8], &[u8]) {
    let equals = part.iter().position(|&byte| byte == b'=');
    let (name, value) = part.split_at(equals.unwrap_or(part.len()));
    let value = value.strip_prefix(b"=").unwrap_or_default();
    (name.trim_ascii(), value.trim_ascii())
}

#[cfg(test)]
mod tests;
