//! `[[app]] path`: the part of a host that is an app's.

use http::{HeaderName, HeaderValue};

/// Tells an app below which path visitors see it.
pub(super) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// A path and everything below it, by whole segments; or all of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// As in `/wiki`, without the slash at its end; empty for all of the host.
    prefix: Box<str>,
    /// What `X-Forwarded-Prefix` says, where the app does not see the prefix.
    stripped: Option<HeaderValue>,
}

impl Part {
    /// Of a path of letters, digits, `-._~` and slashes, which has one spelling only. With
    /// `strip`, the app gets paths without it.
    pub(crate) fn new(path: &str, strip: bool) -> Self {
        let prefix = path.trim_end_matches('/');
        let stripped = || HeaderValue::from_str(prefix).ok();
        Self {
            prefix: prefix.into(),
            stripped: (strip && !prefix.is_empty()).then(stripped).flatten(),
        }
    }

    pub(crate) fn is_whole_host(&self) -> bool {
        self.prefix.is_empty()
    }

    /// The path as an operator writes it.
    pub(crate) fn path(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// The path without the slash at its end, as in `/wiki`; empty for all of a host.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What is taken off a path before the app gets it: the prefix, or nothing.
    pub(crate) fn stripped(&self) -> Option<&str> {
        self.stripped.as_ref().map(|_| &*self.prefix)
    }

    /// The same as a header tells it.
    pub(super) fn stripped_header(&self) -> Option<&HeaderValue> {
        self.stripped.as_ref()
    }

    /// Whether a path in normal form belongs to it: `/wiki` does not cover `/wikis`.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let below = path.strip_prefix(&*self.prefix);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) || self.is_whole_host() // and `*`
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_covers_whole_segments() {
        let wiki = Part::new("/wiki/", true);
        assert_eq!(
            (wiki.path().as_str(), wiki.stripped()),
            ("/wiki/", Some("/wiki"))
        );
        for (path, covered) in [
            ("/wiki", true),
            ("/wiki/", true),
            ("/wiki/a", true),
            ("/wikis", false),
            ("/wik", false),
            ("/", false),
            ("/a/wiki/", false),
            ("*", false),
        ] {
            assert_eq!(wiki.covers(path), covered, "{path}");
            assert!(Part::new("/", false).covers(path), "{path}");
        }
        assert_eq!(Part::new("/", true).stripped(), None);
    }
}
