//! Every path that an application could take a request for (SEC-93).
//!
//! We judge one normal form and send it on as it is; the application reads it in its own way. One
//! decodes `%2F` and serves `/admin/x` for `/admin%2Fx`, one decodes twice, one cuts `;parameters`
//! off, one takes what follows `//` for a host, one of Windows drops dots and spaces at the end of
//! a name and knows no case. So each reading is judged, and a request is permitted only if each of
//! them is.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::path::{PathError, push_escape, shortened, unescape};

/// `[[app]] path_case`: whether `/Admin` and `/admin` are two paths for the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PathCase {
    #[default]
    Sensitive,
    Insensitive,
}

impl PathCase {
    /// Insensitive where either is.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        match self {
            Self::Sensitive => other,
            Self::Insensitive => self,
        }
    }
}

/// The readings of one path in normal form, as rules [compare](compared) them. Most paths have one.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    path: Cow<'a, str>,
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    /// Of a path that `normal_path` gave. An error when there are too many, or one of them leaves
    /// the folder that it names.
    pub(crate) fn of(path: &'a str, case: PathCase) -> Result<Self, PathError> {
        let path = compared(path);
        let others = match &*path {
            // A question about all there is (RFC 9110 §9.3.7) is one about the root, too.
            "*" => vec!["/".to_owned()],
            path if is_odd(path) => others(path)?,
            _ => Vec::new(),
        };
        let mut readings = Self { path, others };
        if case == PathCase::Insensitive {
            readings.fold();
        }
        Ok(readings)
    }

    /// The same of a path that an app gets without `prefix`: what is left may have more readings.
    pub(crate) fn of_app(
        path: &'a str,
        prefix: Option<&str>,
        case: PathCase,
    ) -> Result<Self, PathError> {
        let mut readings = Self::of(path, case)?;
        let Some(prefix) = prefix else {
            return Ok(readings);
        };
        let rest = path.strip_prefix(prefix);
        if let Some(rest) = rest.filter(|rest| rest.starts_with('/')) {
            let prefix = match case {
                PathCase::Sensitive => Cow::Borrowed(prefix),
                PathCase::Insensitive => fold_case(prefix),
            };
            let of_rest = Self::of(rest, case)?;
            let of_rest = of_rest
                .others
                .iter()
                .map(|other| format!("{prefix}{other}"));
            readings.others.extend(of_rest);
        }
        Ok(readings)
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

/// A path or the path of a rule, as applications compare it: `%40` is `@`. Escapes stay that
/// separate something without them, or are no visible ASCII character.
pub(crate) fn compared(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        match unescape(from.as_bytes()) {
            Some(byte) => push(&mut plain, byte),
            None => plain.push('%'), // there is none in a normal form
        }
        rest = from.get(3..).unwrap_or_default();
    }
    plain.push_str(rest);
    if plain == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(plain)
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
    let mut is_foreign = false;
    for at in memchr::memchr3_iter(b';', b'%', b'.', bytes) {
        let is_odd = match bytes[at] {
            b';' => true,
            b'.' => matches!(bytes.get(at + 1), None | Some(b'/')),
            _ => match unescape(&bytes[at..]) {
                Some(b'%') => again(&bytes[at..]).is_some(),
                Some(0x80..) => {
                    is_foreign = true;
                    false
                }
                Some(byte) => {
                    matches!(byte, b' ' | b'#' | b'/' | b';' | b'?' | b'\\')
                        || byte.is_ascii_control()
                }
                None => false,
            },
        };
        if is_odd {
            return true;
        }
    }
    bytes.windows(2).any(|pair| pair == b"//")
        || is_foreign && percent_decode_str(path).decode_utf8().is_err()
}

/// More readings than a path has that somebody means.
const MOST: usize = 96;

/// Bytes of all readings together: a stranger cannot have us read for milliseconds.
const MOST_TEXT: usize = 128 * 1024;

/// What an application does to a path before it looks at it; `None` where it changes nothing.
type Change = fn(&str) -> Option<String>;

/// Each of them, in whatever order, and as often as it changes something.
const CHANGES: [Change; 15] = [
    |path| replace(path, "%2F", "/"),
    |path| replace(path, "%3B", ";"),
    |path| replace(path, "%5C", "/"),
    decode_again,
    |path| {
        path.contains(';')
            .then(|| each_segment(path, without_parameters))
    },
    |path| changed(path, each_segment(path, without_end)),
    |path| path.contains("//").then(|| merge_slashes(path)),
    without_authority,
    without_host,
    // Some decode first, and then look where the path ends.
    |path| end_of_path(path).map(|end| path[..end].to_owned()),
    // A string of C ends with a null byte; parsers of addresses drop line breaks and tabs.
    |path| path.find("%00").map(|end| path[..end].to_owned()),
    without_controls,
    |path| bytes_changed(path, shortened),
    // Bytes that are not UTF-8 are ignored, or are Latin-1.
    |path| bytes_changed(path, |bytes| is_foreign(bytes).then(|| only_utf8(bytes))),
    |path| bytes_changed(path, |bytes| is_foreign(bytes).then(|| from_latin1(bytes))),
];

fn others(path: &str) -> Result<Vec<String>, PathError> {
    let mut others: Vec<String> = Vec::new();
    let (mut next, mut text) = (0, 0);
    loop {
        let base = match next {
            0 => path,
            _ => match others.get(next - 1) {
                Some(base) => base.as_str(),
                None => return Ok(others),
            },
        };
        let changed: Vec<_> = CHANGES.iter().filter_map(|change| change(base)).collect();
        for reading in changed {
            if reading.split('/').any(|name| matches!(name, "." | "..")) {
                return Err(PathError::DotSegment);
            }
            if reading == path || others.contains(&reading) {
                continue;
            }
            text += reading.len();
            if others.len() == MOST || text > MOST_TEXT {
                return Err(PathError::Readings);
            }
            others.push(reading);
        }
        next += 1;
    }
}

fn changed(path: &str, reading: String) -> Option<String> {
    (reading != path).then_some(reading)
}

fn replace(path: &str, from: &str, to: &str) -> Option<String> {
    path.contains(from).then(|| path.replace(from, to))
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// A segment without the dots and spaces at its end.
fn without_end(mut segment: &str) -> &str {
    while let Some(shorter) = segment
        .strip_suffix('.')
        .or_else(|| segment.strip_suffix("%20"))
    {
        segment = shorter;
    }
    segment
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

/// `//host/path` is a reference to another host (RFC 3986 §4.2).
fn without_authority(path: &str) -> Option<String> {
    let rest = path.strip_prefix("//")?;
    let at = rest.find('/');
    Some(at.map_or("/", |at| &rest[at..]).to_owned())
}

/// A browser's parser, which Node has as well, skips all slashes before the host (WHATWG URL,
/// "special authority ignore slashes state").
fn without_host(path: &str) -> Option<String> {
    let rest = path.strip_prefix("//")?.trim_start_matches('/');
    let at = rest.find('/');
    Some(at.map_or("/", |at| &rest[at..]).to_owned())
}

/// Where a query or a fragment begins, in the path without its escapes.
fn end_of_path(path: &str) -> Option<usize> {
    let mut escapes = memchr::memchr_iter(b'%', path.as_bytes());
    escapes.find(|&at| matches!(path.get(at..at + 3), Some("%23" | "%3F" | "%3f")))
}

/// `%25` and two digits are an escape for whoever decodes what is decoded.
fn decode_again(path: &str) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find("%25") {
        let (before, from) = rest.split_at(at);
        decoded.push_str(before);
        if let Some(byte) = again(from.as_bytes()) {
            push(&mut decoded, byte);
            rest = &from[5..];
        } else {
            decoded.push_str("%25");
            rest = &from[3..];
        }
    }
    decoded.push_str(rest);
    changed(path, decoded)
}

/// The byte that `%25XX` becomes when it is decoded twice.
fn again(escape: &[u8]) -> Option<u8> {
    let digits = escape.get(3..5)?;
    unescape(&[b'%', digits[0], digits[1]])
}

fn without_controls(path: &str) -> Option<String> {
    let is_control = |byte: &u8| byte.is_ascii_control();
    let drop = |bytes: &[u8]| {
        bytes
            .iter()
            .filter(|byte| !is_control(byte))
            .copied()
            .collect()
    };
    bytes_changed(path, |bytes| {
        bytes.iter().any(is_control).then(|| drop(bytes))
    })
}

fn is_foreign(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err()
}

fn only_utf8(bytes: &[u8]) -> Vec<u8> {
    let chunks = bytes.utf8_chunks();
    chunks.flat_map(|chunk| chunk.valid().bytes()).collect()
}

fn from_latin1(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    text.into_bytes()
}

/// The path after a change of its bytes. What separates something stays where it is.
fn bytes_changed(path: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<String> {
    if !path.contains('%') {
        return None;
    }
    let mut reading = String::with_capacity(path.len());
    for part in path.split_inclusive(['/', ';']) {
        let (name, end) = match part.strip_suffix(['/', ';']) {
            Some(name) => part.split_at(name.len()),
            None => (part, ""),
        };
        let bytes: Vec<u8> = percent_decode_str(name).collect();
        match change(&bytes) {
            Some(bytes) => bytes.into_iter().for_each(|byte| push(&mut reading, byte)),
            None => reading.push_str(name),
        }
        reading.push_str(end);
    }
    changed(path, reading)
}

/// Appends a byte as [`compared`] has it.
fn push(text: &mut String, byte: u8) {
    if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'/' | b'\\' | b';' | b'?' | b'#') {
        text.push(char::from(byte));
    } else {
        push_escape(text, byte);
    }
}

#[cfg(test)]
mod tests;
