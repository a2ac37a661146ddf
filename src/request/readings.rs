//! Every path that an application could take a request for (SEC-93).
//!
//! We judge one normal form and send it on as it is; the application reads it in its own way. One
//! decodes `%2F` and serves `/admin/x` for `/admin%2Fx`, one cuts `;parameters` off, one of Windows
//! drops dots and spaces at the end of a name and knows no case. So each reading is judged, and a
//! request is permitted only if each of them is.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// `[[app]] path_case`: whether `/Admin` and `/admin` are two paths for the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PathCase {
    #[default]
    Sensitive,
    Insensitive,
}

/// The readings of one path in normal form. Most paths have one.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    path: Cow<'a, str>,
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    /// Of a path that `normal_path` gave.
    pub(crate) fn of(path: &'a str, case: PathCase) -> Self {
        let others = if is_odd(path) {
            others(path)
        } else {
            Vec::new()
        };
        let mut readings = Self {
            path: Cow::Borrowed(path),
            others,
        };
        if case == PathCase::Insensitive {
            readings.fold();
        }
        readings
    }

    /// The path as it stands, but for its case where that does not count.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What else it could be read as.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    fn fold(&mut self) {
        if let Cow::Owned(folded) = fold_case(&self.path) {
            self.path = Cow::Owned(folded);
        }
        for other in &mut self.others {
            if let Cow::Owned(folded) = fold_case(other) {
                *other = folded;
            }
        }
    }
}

/// A path or the path of a rule, as an application without regard to case compares it: a letter
/// counts as any that has the same capital or small form.
pub(crate) fn fold_case(path: &str) -> Cow<'_, str> {
    if !path
        .bytes()
        .any(|byte| byte.is_ascii_uppercase() || byte == b'%')
    {
        return Cow::Borrowed(path);
    }
    // What is escaped and ASCII stays escaped: `%2F` is no slash in this reading.
    let mut open = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        open.push_str(before);
        let escapes = from.len().min(3);
        let is_ascii = matches!(from.as_bytes().get(1), Some(b'0'..=b'7'));
        open.push_str(if is_ascii { "%25" } else { "%" });
        open.push_str(&from[1..escapes]);
        rest = &from[escapes..];
    }
    open.push_str(rest);
    let open = percent_decode_str(&open).decode_utf8_lossy();
    Cow::Owned(open.to_uppercase().to_lowercase())
}

/// Whether there is anything to read in two ways.
fn is_odd(path: &str) -> bool {
    let bytes = path.as_bytes();
    memchr::memchr3_iter(b';', b'%', b'.', bytes).any(|at| match bytes[at] {
        b';' => true,
        b'%' => matches!(bytes.get(at + 1..at + 3), Some(b"2F" | b"3B" | b"20")),
        _ => matches!(bytes.get(at + 1), None | Some(b'/')),
    })
}

fn others(path: &str) -> Vec<String> {
    let decode = |path: &str| path.replace("%2F", "/").replace("%3B", ";");
    let decoded = decode(path);
    let (literal, all) = (strip(path, &[";"]), strip(path, &[";", "%3B"]));
    // Parameters are cut off before escapes are decoded, or after.
    let bare = strip(&decoded, &[";"]);
    let then_decoded = [decode(&literal), decode(&all)];
    let mut others = Vec::new();
    let mut add = |reading: String| {
        if reading != path && !others.contains(&reading) {
            others.push(reading);
        }
    };
    let bases = [path.to_owned(), decoded, literal, all, bare];
    for base in bases.into_iter().chain(then_decoded) {
        let trimmed = trim_segments(&base);
        for reading in [base, trimmed] {
            add(merge_slashes(&reading));
            add(reading);
        }
    }
    others
}

/// Each segment up to the first of these marks.
fn strip(path: &str, marks: &[&str]) -> String {
    each_segment(path, |segment| {
        let ends = marks.iter().filter_map(|mark| segment.find(mark));
        &segment[..ends.min().unwrap_or(segment.len())]
    })
}

/// Each segment without the dots and spaces at its end.
fn trim_segments(path: &str) -> String {
    each_segment(path, |mut segment| {
        while let Some(shorter) = segment
            .strip_suffix('.')
            .or_else(|| segment.strip_suffix("%20"))
        {
            segment = shorter;
        }
        segment
    })
}

fn each_segment<'p>(path: &'p str, change: impl Fn(&'p str) -> &'p str) -> String {
    let mut changed = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        changed.push('/');
        changed.push_str(change(segment));
    }
    changed
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_93_a_path_is_read_in_every_way_that_an_app_may_have() {
        for (path, expected) in [
            ("/admin%2Fx", &["/admin/x"][..]),
            ("/%2Fadmin/x", &["//admin/x", "/admin/x"]),
            ("/admin%2F", &["/admin/"]),
            ("/admin;a%2Fx", &["/admin;a/x", "/admin", "/admin/x"]),
            ("/admin%3B%2Fx", &["/admin;/x", "/admin", "/admin/x"]),
            ("/x;/%2Fadmin", &["/x//admin", "/x/admin"]),
            ("/;x/admin", &["//admin", "/admin"]),
            ("/admin;x/y;z", &["/admin/y"]),
            ("/admin%3Bx", &["/admin;x", "/admin"]),
            ("/admin.", &["/admin"]),
            ("/admin%20", &["/admin"]),
            ("/admin.%20./x", &["/admin/x"]),
            ("/admin.;x", &["/admin.", "/admin"]),
            ("/admin.%2Fx", &["/admin./x", "/admin/x"]),
            ("/%20/admin", &["//admin", "/admin"]),
            ("/.../admin", &["//admin", "/admin"]),
            ("/.vestibule%2Flogin", &["/.vestibule/login"]),
            ("/.vestibule%3Bx", &["/.vestibule;x", "/.vestibule"]),
            ("/.vestibule./login", &["/.vestibule/login"]),
            ("/.vestibule%20/login", &["/.vestibule/login"]),
        ] {
            let readings = Readings::of(path, PathCase::Sensitive);
            assert_eq!(readings.path(), path);
            for reading in expected {
                let others = readings.others();
                assert!(
                    others.iter().any(|other| other == reading),
                    "{reading} of {path}: {others:?}"
                );
            }
            assert!(readings.others().len() < 28, "{readings:?}");
        }
    }

    #[test]
    fn a_common_path_has_one_reading_and_takes_no_memory() {
        for path in [
            "/",
            "/admin/x",
            "/.vestibule/login",
            "/static/app.min.js",
            "/.well-known/x.y/z",
            "/caf%C3%A9/%5B1%5D/100%25",
            "*",
        ] {
            let readings = Readings::of(path, PathCase::Sensitive);
            assert!(matches!(readings.path, Cow::Borrowed(same) if same == path));
            assert!(readings.others().is_empty(), "{readings:?}");
            assert_eq!(readings.others.capacity(), 0);
        }
        let readings = Readings::of("/admin/x.js", PathCase::Insensitive);
        assert!(matches!(readings.path, Cow::Borrowed(_)));
    }

    #[test]
    fn sec_93_without_regard_to_case_two_spellings_are_one() {
        for (one, other, same) in [
            ("/Admin", "/admin", true),
            ("/ADMIN/X", "/admin/x", true),
            ("/t%C3%A9", "/T%C3%89", true),
            ("/%E2%84%AAeys", "/keys", true),  // the sign for kelvin
            ("/%C5%BFecret", "/secret", true), // a long s
            ("/a%2FB", "/A%2Fb", true),
            ("/a%2Fb", "/a/b", false),
            ("/a%25b", "/a%2525b", false),
            ("/t%C3%A9", "/cafe", false),
            ("/admin", "/admin2", false),
        ] {
            assert_eq!(fold_case(one) == fold_case(other), same, "{one} {other}");
        }
        let readings = Readings::of("/.VESTIBULE%2FLogin", PathCase::Insensitive);
        assert_eq!(readings.path(), "/.vestibule%2flogin");
        assert!(readings.others().contains(&"/.vestibule/login".to_owned()));
    }
}
