//! Many paths, and those of them that cover the path of a request.

use std::collections::HashMap;

/// The places of paths in a list. A path covers itself and everything below it, by whole segments:
/// `/public` does not cover `/publicx` (SEC-32).
#[derive(Clone, Debug, Default)]
pub(crate) struct PathIndex {
    places: HashMap<Box<str>, Vec<usize>>,
    /// Of the longest path, in bytes.
    longest: usize,
}

impl PathIndex {
    /// Of paths without a slash at their ends; the root is empty.
    pub(crate) fn new<'p>(paths: impl Iterator<Item = &'p str>) -> Self {
        let mut index = Self::default();
        for (place, path) in paths.enumerate() {
            index.longest = index.longest.max(path.len());
            index.places.entry(path.into()).or_default().push(place);
        }
        index
    }

    /// The places of the paths that cover this one, the longest path first, and those of one path in
    /// the order of the list. However many paths there are, it looks for no more than this one has
    /// segments, and for none that is longer than the longest: a long target costs nothing more.
    pub(crate) fn covering<'i>(&'i self, path: &'i str) -> impl Iterator<Item = usize> + 'i {
        around(path, self.longest).flat_map(|path| self.at(path))
    }

    /// The places of this path.
    pub(crate) fn at(&self, path: &str) -> impl Iterator<Item = usize> + '_ {
        self.places.get(path).into_iter().flatten().copied()
    }
}

/// A path and those that it is below, down to the root, without those of more than `longest` bytes.
fn around(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let whole = (path.len() <= longest).then_some(path);
    let within = &path[..path.floor_char_boundary(longest.saturating_add(1))];
    let above = memchr::memrchr_iter(b'/', within.as_bytes()).map(|at| &path[..at]);
    whole.into_iter().chain(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an index is to find, looked for in all of the list.
    fn covering(paths: &[&str], path: &str) -> Vec<usize> {
        let covers = |prefix: &str| {
            let below = path.strip_prefix(prefix);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut found: Vec<_> = (0..paths.len()).filter(|at| covers(paths[*at])).collect();
        found.sort_by_key(|at| std::cmp::Reverse(paths[*at].len()));
        found
    }

    #[test]
    fn an_index_finds_what_a_look_at_each_path_finds() {
        let segments = ["", "/a", "/ab", "/\u{e4}", "//"];
        let mut paths = vec!["*".to_owned(), "a".to_owned()];
        for one in segments {
            for two in segments {
                paths.extend(segments.map(|three| format!("{one}{two}{three}")));
            }
        }
        let listed = [
            "/ab",
            "/a/ab",
            "",
            "/a",
            "/ab",
            "/\u{e4}/a",
            "/a/\u{e4}",
            "/a/a/a",
        ];
        for many in 0..=listed.len() {
            let listed = &listed[..many];
            let index = PathIndex::new(listed.iter().copied());
            for path in &paths {
                let found: Vec<_> = index.covering(path).collect();
                assert_eq!(found, covering(listed, path), "{path} in {listed:?}");
            }
        }
    }

    #[test]
    fn rel_13_it_looks_for_no_more_paths_than_a_path_has_segments() {
        let many: Vec<_> = (0..10_000).map(|n| format!("/part{n:05}/of")).collect();
        let index = PathIndex::new(many.iter().map(String::as_str));
        let looks = |path: &str| around(path, index.longest).count();
        assert_eq!(
            looks("/part09999/of/a"),
            3,
            "all but the path itself, which is too long"
        );
        assert_eq!(looks("/"), 2);
        let long = "/a".repeat(4000);
        assert_eq!(
            looks(&long),
            index.longest / 2 + 1,
            "a target of 8000 bytes"
        );
        assert_eq!(
            index.covering("/part09999/of/a").collect::<Vec<_>>(),
            [9999]
        );
    }
}
