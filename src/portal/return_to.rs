//! Where a login leads: a path on this host and nothing else (SEC-62).

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode;

use super::Endpoint;
use crate::pages;
use crate::request::{AllowInPath, normal_path};

/// The address of the login page takes no more: encoded once more, it could become longer than a
/// target may be. What is longer is kept on the server until the login (SEC-63).
pub(super) const MAX_IN_LINK: usize = 2048;

/// A path with query on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReturnTo(String);

impl ReturnTo {
    /// The start page.
    pub(crate) fn home() -> Self {
        Self("/".to_owned())
    }

    /// Takes what a form or a link says, up to `longest` bytes. What a browser could read as another
    /// host, or would be one of our own, becomes the start page: `//evil`, `/\evil`,
    /// `/%09/evil`, a scheme.
    pub(crate) fn parse(text: &str, longest: usize) -> Self {
        Self::check(text, longest).unwrap_or_else(Self::home)
    }

    /// The same, for what is not to become the start page.
    pub(crate) fn check(text: &str, longest: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        if text.len() > longest || !bytes.iter().all(u8::is_ascii_graphic) || bytes.contains(&b'#')
        {
            return None;
        }
        if bytes.first() != Some(&b'/') || matches!(bytes.get(1), Some(b'/' | b'\\')) {
            return None;
        }
        let target = PathAndQuery::try_from(text).ok()?;
        let path = normal_path(target.path(), AllowInPath::everything()).ok()?;
        if !is_harmless(path.as_bytes()) {
            return None;
        }
        if Endpoint::of(&path).is_some() && path != super::ACCOUNT {
            return None;
        }
        // Written anew from what was parsed, so that nothing unparsed is left in it.
        Some(Self(match target.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// 303, as the answer that leads there.
    pub(super) fn redirect(&self) -> Response<Bytes> {
        let location = HeaderValue::try_from(&self.0);
        let location = location.unwrap_or(HeaderValue::from_static("/"));
        pages::redirect(StatusCode::SEE_OTHER, location)
    }

    /// Whether it is one of our own pages.
    pub(crate) fn is_own(&self) -> bool {
        Endpoint::of(self.path()).is_some()
    }

    pub(super) fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// Whether it is too long for the address of the login page.
    pub(super) fn is_long(&self) -> bool {
        self.0.len() > MAX_IN_LINK
    }
}

/// Whether a path stays on this host, and on one line, however often something on its way decodes
/// it.
fn is_harmless(path: &[u8]) -> bool {
    if matches!(path.get(1), Some(b'/' | b'\\')) || path.iter().any(u8::is_ascii_control) {
        return false;
    }
    let decoded: Vec<u8> = percent_decode(path).collect();
    decoded.len() == path.len() || is_harmless(&decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_62_a_login_leads_to_a_path_on_this_host() {
        for (text, expected) in [
            ("/", "/"),
            ("/report?q=1&r=%2F", "/report?q=1&r=%2F"),
            (
                "/a/b?next=https://evil.example",
                "/a/b?next=https://evil.example",
            ),
            ("/api/%2F/x", "/api/%2F/x"),
            ("/job/feature%252Fx/", "/job/feature%252Fx/"),
            ("/caf%E9//men%FC%5C", "/caf%E9//men%FC%5C"),
            ("/%252fevil.example", "/"),
            ("/%255cevil.example", "/"),
            ("/a%2500", "/"),
            ("/a%25250d%25250aSet-Cookie:x", "/"),
            ("/a%09", "/"),
            ("/.vestibule/account", "/.vestibule/account"),
            ("", "/"),
            ("report", "/"),
            ("//evil.example", "/"),
            ("///evil.example", "/"),
            ("/\\evil.example", "/"),
            ("\\/evil.example", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("/%5cevil.example", "/"),
            ("/%2fevil.example", "/"),
            ("/%09/evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("/%0d%0aSet-Cookie:x", "/"),
            ("/a\r\nLocation:x", "/"),
            ("/..//evil.example", "/"),
            ("/%2e%2e//evil.example", "/"),
            (" /a", "/"),
            ("/é", "/"),
            ("/.vestibule/logout", "/"),
            ("/.vestibule", "/"),
            ("/.vestibule;x", "/"),
            ("/%2evestibule/login", "/"),
            ("/a#b", "/"),
        ] {
            assert_eq!(ReturnTo::parse(text, 2048).as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn sec_62_no_normal_form_begins_with_two_slashes() {
        let parsed = ReturnTo::parse("/a/..//evil.example", 2048);
        assert!(!parsed.as_str().starts_with("//"));
        assert_eq!(ReturnTo::parse("/.//evil.example", 2048).as_str(), "/");
    }

    #[test]
    fn sec_63_it_is_as_long_as_a_target_may_be() {
        let parse = |length| ReturnTo::parse(&format!("/{}", "a".repeat(length - 1)), 8192);
        for (length, is_long) in [(1, false), (2048, false), (2049, true), (8192, true)] {
            assert_eq!(parse(length).as_str().len(), length);
            assert_eq!(parse(length).is_long(), is_long, "{length}");
        }
        assert_eq!(parse(8193), ReturnTo::home());
    }

    #[test]
    fn the_path_is_what_rules_judge() {
        for (text, path) in [("/", "/"), ("/a/b?c=/d?e", "/a/b"), ("/a?", "/a")] {
            assert_eq!(ReturnTo::parse(text, 100).path(), path, "{text}");
        }
    }
}
