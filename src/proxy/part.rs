//! `[[app]] path`: the part of a host that is an app's.

use http::{HeaderName, HeaderValue};

use crate::request::{BadRequest, PathCase, Readings, fold_case};

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

    /// The same without regard to case, of a path whose case is [folded](fold_case).
    fn covers_folded(&self, path: &str) -> bool {
        covers(&fold_case(&self.prefix), path)
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

/// Which of the parts of a host a path in normal form is of. It has to be the same in whichever way
/// the path is read (SEC-93); without regard to case as well, where that is `case` for one of the
/// apps: several may be one application behind. The longest prefix comes first.
pub(crate) fn choose<'p>(
    parts: &(impl Iterator<Item = &'p Part> + Clone),
    path: &str,
    case: PathCase,
) -> Result<Option<usize>, BadRequest> {
    let readings = Readings::of(path, PathCase::Sensitive).map_err(BadRequest::Path)?;
    let find = |path: &str| parts.clone().position(|part| part.covers(path));
    let find_folded = |path: &str| {
        let path = fold_case(path);
        parts.clone().position(|part| part.covers_folded(&path))
    };
    let found = find(readings.path());
    let is_same = |path: &str| {
        find(path) == found && (case == PathCase::Sensitive || find_folded(path) == found)
    };
    if !is_same(readings.path()) || !readings.others().iter().all(|other| is_same(other)) {
        return Err(BadRequest::SeveralApps);
    }
    Ok(found)
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
                    choose(&parts.iter(), &path, case),
                    expected,
                    "{path} {case:?}"
                );
            }
        }
        let apart = choose(&parts[..2].iter(), "/x", PathCase::Insensitive);
        assert_eq!(apart, Ok(None));
        assert!(parts[1].is_same(&Part::new("/wiki/", true), PathCase::Insensitive));
        assert!(!parts[1].is_same(&Part::new("/wiki/", true), PathCase::Sensitive));
    }
}
