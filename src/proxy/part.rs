//! `[[app]] path`: the part of a host that is an app's.

use http::{HeaderName, HeaderValue};

use crate::portal::Endpoint;
use crate::request::{BadRequest, PathCase, PathIndex, Readings, fold_case};

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
        covers(&self.prefix, path)
    }

    /// Whether one reading of a path is an address of our own, or would be one for the app, which does
    /// not see the prefix (SEC-73).
    pub(crate) fn reads_as_own_page(&self, reading: &str) -> bool {
        let rest = self.stripped().map(str::len);
        let rest = rest.and_then(|length| reading.get(length..));
        Endpoint::of(reading).is_some() || rest.is_some_and(|rest| Endpoint::of(rest).is_some())
    }

    /// Whether two apps would share a path.
    pub(crate) fn is_same(&self, other: &Self, case: PathCase) -> bool {
        match case {
            PathCase::Sensitive => self.prefix == other.prefix,
            PathCase::Insensitive => fold_case(&self.prefix) == fold_case(&other.prefix),
        }
    }
}

fn covers(prefix: &str, path: &str) -> bool {
    let below = path.strip_prefix(prefix);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) || prefix.is_empty() // and `*`
}

/// The parts of one host.
pub(crate) struct PartIndex {
    index: PathIndex,
    /// The same without regard to case, where that is how one of the apps takes paths: several may
    /// be one application behind.
    folded: Option<PathIndex>,
    /// That which has what no other has.
    rest: Option<usize>,
}

impl PartIndex {
    pub(crate) fn new<'p>(parts: impl Iterator<Item = &'p Part>, case: PathCase) -> Self {
        let prefixes: Vec<_> = parts.map(Part::prefix).collect();
        let folded = || {
            let folded: Vec<_> = prefixes.iter().map(|prefix| fold_case(prefix)).collect();
            PathIndex::new(folded.iter().map(|prefix| &**prefix))
        };
        Self {
            index: PathIndex::new(prefixes.iter().copied()),
            folded: (case == PathCase::Insensitive).then(folded),
            rest: prefixes.iter().position(|prefix| prefix.is_empty()),
        }
    }

    /// Which of them a path in normal form is of. It has to be the same in whichever way the path is
    /// read (SEC-93).
    pub(crate) fn choose(&self, path: &str) -> Result<Option<usize>, BadRequest> {
        let readings = Readings::of(path, PathCase::Sensitive).map_err(BadRequest::Path)?;
        let found = self.covering(readings.path());
        let is_same = |path: &str| {
            let in_case = |folded| self.first(folded, &fold_case(path)) == found;
            self.covering(path) == found && self.folded.as_ref().is_none_or(in_case)
        };
        if !is_same(readings.path()) || !readings.others().iter().all(|other| is_same(other)) {
            return Err(BadRequest::SeveralApps);
        }
        Ok(found)
    }

    /// The one with the longest prefix that covers a path as it is written.
    pub(super) fn covering(&self, path: &str) -> Option<usize> {
        self.first(&self.index, path)
    }

    fn first(&self, index: &PathIndex, path: &str) -> Option<usize> {
        index.covering(path).next().or(self.rest)
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

    #[test]
    fn sec_93_a_path_is_of_one_part_in_whichever_way_it_is_read() {
        let parts = ["/Wiki/admin", "/Wiki", "/"].map(|path| Part::new(path, false));
        let several = Err(BadRequest::SeveralApps);
        for (path, sensitive, insensitive) in [
            ("/Wiki/admin/x", Ok(Some(0)), Ok(Some(0))),
            ("/Wiki/x", Ok(Some(1)), Ok(Some(1))),
            ("/x", Ok(Some(2)), Ok(Some(2))),
            ("*", Ok(Some(2)), Ok(Some(2))),
            ("/wiki/x", Ok(Some(2)), several),
            ("/Wiki/ADMIN/x", Ok(Some(1)), several),
            ("/Wiki/%C4%B1", Ok(Some(1)), Ok(Some(1))),
            ("/W%C4%B1ki/x", Ok(Some(2)), several), // without its dot
            ("/Wi\u{212a}i", Ok(Some(2)), several), // the sign for kelvin
            ("/Wiki%2Fadmin", several, several),
            ("/Wiki/;/admin", several, several),
            ("/wiki%2FADMIN", Ok(Some(2)), several),
        ] {
            for (case, expected) in [
                (PathCase::Sensitive, sensitive),
                (PathCase::Insensitive, insensitive),
            ] {
                let path = path.replace('\u{212a}', "%E2%84%AA");
                assert_eq!(
                    PartIndex::new(parts.iter(), case).choose(&path),
                    expected,
                    "{path} {case:?}"
                );
            }
        }
        let apart = PartIndex::new(parts[..2].iter(), PathCase::Insensitive).choose("/x");
        assert_eq!(apart, Ok(None));
        assert!(parts[1].is_same(&Part::new("/wiki/", true), PathCase::Insensitive));
        assert!(!parts[1].is_same(&Part::new("/wiki/", true), PathCase::Sensitive));
    }
}
