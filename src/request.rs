//! Parses a request once: host, normal path, limits. What is matched is what is sent.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use http::Method;

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
    /// Methods that are let in; CONNECT and TRACE never are.
    pub(crate) methods: HashSet<Method>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            fields: 100,
            target: 8 * 1024,
            cookie: 8 * 1024,
            methods: [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ]
            .into_iter()
            .collect(),
        }
    }
}

/// A host name or IP address without port, lower case, without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host(String);

impl Host {
    /// Parses a host as configuration and `Host` fields have it; no port, no userinfo.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let valid = match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                name.len() <= 253
                    && name.split('.').all(|label| {
                        !label.is_empty()
                            && label.len() <= 63
                            && label
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                    })
            }
        };
        valid.then_some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a path has no normal form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathError;

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an escape in it is broken or ambiguous")
    }
}

/// The one form in which paths are compared and sent (SEC-29 to SEC-32).
pub(crate) fn normal_path(path: &str, encoded_slash: bool) -> Result<Cow<'_, str>, PathError> {
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/').skip(1) {
        match decode_unreserved(segment, encoded_slash)?.as_str() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain.to_owned()),
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let end = if folder && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    Ok(Cow::Owned(format!("/{}{end}", segments.join("/"))))
}

fn decode_unreserved(segment: &str, encoded_slash: bool) -> Result<String, PathError> {
    let mut parts = segment.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..2).ok_or(PathError)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PathError);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| PathError)?;
        match byte {
            b'/' if encoded_slash => decoded.push_str("%2F"),
            b'/' | b'\\' | 0 | b'%' => return Err(PathError),
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
            }
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        decoded.push_str(&part[2..]);
    }
    Ok(decoded)
}
