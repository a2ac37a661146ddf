//! The normal form of a path: what is judged is what is sent.
//!
//! A path that two parsers could read in two ways is refused, not repaired: the proxy would judge
//! one reading and the application serve the other (CVE-2021-32637, CVE-2026-48020).

use std::borrow::Cow;
use std::fmt;

use super::allow::{AllowInPath, PathForm};

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// A backslash, where the app does not allow it.
    Backslash,
    /// Bytes that are not UTF-8, raw ones beyond ASCII, or control characters, where the app does
    /// not allow them.
    Bytes,
    /// A null byte, a line break or a raw space or control character.
    Control,
    /// A `.` or `..` segment in any spelling, `;parameters` aside (SEC-30, SEC-31).
    DotSegment,
    /// An empty segment, where the path is not sent on by us and the app does not allow it.
    DoubleSlash,
    /// A percent sign that begins no escape, or one escape after another.
    Escape,
    /// No slash at the start.
    NotAbsolute,
    /// An escape that hides a dot, slash, backslash or control character from whoever decodes only
    /// once, where the app does not allow it.
    Percent,
    /// Applications could read it in too many ways.
    Readings,
    /// `%2F` where the app does not allow it.
    Slash,
}

impl PathError {
    /// What is wrong, and the setting that lets it pass, for operators.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Backslash => {
                "a backslash is in it: only for apps with \"encoded-backslash\" in `allow_in_path`"
            }
            Self::Bytes => {
                "a byte that is no UTF-8, a control character or an unescaped character beyond \
                 ASCII is in it: only for apps with \"any-bytes\" in `allow_in_path`"
            }
            Self::Control => "a null byte, line break or unescaped space is in it",
            Self::DotSegment => "`.` and `..` segments are not allowed",
            Self::DoubleSlash => {
                "`//` is in it: by forward auth only for apps with \"double-slash\" in \
                 `allow_in_path`"
            }
            Self::Escape => "a percent sign that begins no escape is in it",
            Self::NotAbsolute => "it does not begin with `/`",
            Self::Percent => {
                "an escape within an escape, as in `%252F`, is in it: only for apps with \
                 \"encoded-percent\" in `allow_in_path`"
            }
            Self::Readings => "an app could read it in too many ways",
            Self::Slash => {
                "`%2F` is in it: only for apps with \"encoded-slash\" in `allow_in_path`"
            }
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The one spelling of `path`: unreserved characters unescaped, other escapes in upper case
/// (RFC 3986 §6.2.2), empty segments merged. Borrows when `path` already is in that form.
///
/// What the app allows stays as it is.
pub(crate) fn normal_path(path: &str, allow: AllowInPath) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_evidently_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let merges = !allow.has(PathForm::DoubleSlash);
    let mut normal = String::with_capacity(path.len());
    let mut decoded = Vec::new();
    for segment in path.split('/').skip(1) {
        if !merges || !normal.ends_with('/') {
            normal.push('/');
        }
        decoded.clear();
        normalise(segment.as_bytes(), allow, &mut normal, &mut decoded)?;
        check_decoded(&decoded, allow)?;
    }
    Ok(if normal == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(normal)
    })
}

/// What an application reads that unescapes nothing, where it gets `path` as it was sent and not in its
/// normal form: with an escape for the percent sign of each that need not be one, `/%2561` for `/%61`.
/// `None` where that is the normal form. For paths that have one.
pub(super) fn as_it_stands(path: &str, allow: AllowInPath) -> Result<Option<String>, PathError> {
    if is_evidently_normal(path) {
        return Ok(None);
    }
    if !allow.has(PathForm::DoubleSlash) && path.contains("//") {
        return Err(PathError::DoubleSlash);
    }
    let mut literal = String::new();
    let mut rest = path;
    for at in memchr::memchr_iter(b'%', path.as_bytes()) {
        if unescape(&path.as_bytes()[at..]).is_some_and(is_unreserved) {
            let (before, from) = rest.split_at(at - (path.len() - rest.len()));
            literal.push_str(before);
            literal.push_str("%25");
            rest = &from[1..];
        }
    }
    if literal.is_empty() {
        return Ok(None);
    }
    literal.push_str(rest);
    Ok(Some(literal))
}

/// Appends the normal form of one segment to `normal`, and its bytes to `decoded`.
fn normalise(
    segment: &[u8],
    allow: AllowInPath,
    normal: &mut String,
    decoded: &mut Vec<u8>,
) -> Result<(), PathError> {
    let mut at = 0;
    while at < segment.len() {
        let is_escape = segment[at] == b'%';
        let byte = if is_escape {
            unescape(&segment[at..]).ok_or(PathError::Escape)?
        } else {
            segment[at]
        };
        match byte {
            0 | b'\n' | b'\r' => return Err(PathError::Control),
            0..=b' ' | 0x7f if !is_escape => return Err(PathError::Control),
            0..=0x1f | 0x7f if !allow.has(PathForm::AnyBytes) => return Err(PathError::Bytes),
            0x80.. if !is_escape => return Err(PathError::Bytes),
            b'/' if !allow.has(PathForm::EncodedSlash) => return Err(PathError::Slash),
            b'\\' if !allow.has(PathForm::EncodedBackslash) => return Err(PathError::Backslash),
            _ => {}
        }
        if is_unreserved(byte) || !is_escape && byte != b'\\' {
            normal.push(char::from(byte));
        } else {
            push_escape(normal, byte);
        }
        decoded.push(byte);
        at += if is_escape { 3 } else { 1 };
    }
    Ok(())
}

/// Appends a byte as `%XX`.
pub(super) fn push_escape(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}

/// How many escapes may stand within another: two in `%25252E`.
const NESTED: usize = 3;

/// Looks at a segment without its escapes, and once more for each application that decodes what it
/// has decoded: what such a one sees is no dot segment, and nothing that the app does not allow.
fn check_decoded(segment: &[u8], allow: AllowInPath) -> Result<(), PathError> {
    if !allow.has(PathForm::AnyBytes) && std::str::from_utf8(segment).is_err() {
        return Err(PathError::Bytes);
    }
    check_names(segment)?;
    let mut seen = Cow::Borrowed(segment);
    for _ in 0..=NESTED {
        let hidden: Vec<u8> = escapes(&seen).collect();
        if hidden.is_empty() {
            return Ok(());
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode(&seen).collect();
        let counts = |byte: &u8| matches!(byte, b'.' | b'/' | b'\\') || byte.is_ascii_control();
        let allowed = allow.has(PathForm::EncodedPercent);
        if !allowed && (hidden.iter().any(counts) || shortened(&decoded).is_some()) {
            return Err(PathError::Percent);
        }
        check_names(&decoded)?;
        seen = Cow::Owned(decoded);
    }
    Err(PathError::Readings)
}

/// The bytes that are escaped in `text`.
fn escapes(text: &[u8]) -> impl Iterator<Item = u8> {
    memchr::memchr_iter(b'%', text).filter_map(|at| unescape(&text[at..]))
}

/// Refuses what some application would take for `.` or `..`: an encoded slash or backslash makes
/// parts that it may take for segments.
fn check_names(segment: &[u8]) -> Result<(), PathError> {
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
    if segment.split(is_separator).any(is_dot) {
        return Err(PathError::DotSegment);
    }
    match shortened(segment) {
        Some(short) if short.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) => {
            Err(PathError::Control)
        }
        Some(short) if short.split(is_separator).any(is_dot) => Err(PathError::DotSegment),
        _ => Ok(()),
    }
}

/// Whether this is `.` or `..` once parameters and what follows a null byte are cut off, and
/// spaces, control characters and bytes that are no UTF-8 are dropped. On Windows `.. ` is `..`
/// (SEC-93).
fn is_dot(name: &[u8]) -> bool {
    let end = memchr::memchr2(b';', 0, name).unwrap_or(name.len());
    let name = &name[..end];
    if !name.contains(&b'.') {
        return false;
    }
    let mut text = name.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    let is_dots = text.all(|c| c == '.' || c == ' ' || c.is_ascii_control());
    let dots = memchr::memchr_iter(b'.', name).count();
    is_dots && (dots < 3 || dots < name.len())
}

/// `bytes` with each ASCII character that is encoded in more bytes than UTF-8 has for it (RFC 3629
/// §10) as some decoders read it; `None` without any.
pub(super) fn shortened(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut short = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (byte, length) = match bytes[at..] {
            [high @ 0xc0..=0xc1, low @ 0x80..=0xbf, ..]
            | [0xe0, high @ 0x80..=0x81, low @ 0x80..=0xbf, ..]
            | [0xf0, 0x80, high @ 0x80..=0x81, low @ 0x80..=0xbf, ..] => {
                let length = match bytes[at] {
                    0xe0 => 3,
                    0xf0 => 4,
                    _ => 2,
                };
                ((high & 1) << 6 | low & 0x3f, length)
            }
            _ => (bytes[at], 1),
        };
        short.push(byte);
        at += length;
    }
    (short.len() < bytes.len()).then_some(short)
}

pub(super) fn unescape(escape: &[u8]) -> Option<u8> {
    let digit = |at: usize| {
        escape
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a path is in its normal form without a second look: nothing is escaped, no segment is empty
/// and none begins with a dot. In one pass, because each request has a path.
fn is_evidently_normal(path: &str) -> bool {
    let mut after_slash = false;
    path.bytes().all(|byte| {
        let is_plain = is_plain(byte) && !(after_slash && matches!(byte, b'/' | b'.'));
        after_slash = byte == b'/';
        is_plain
    })
}

/// Bytes that need no second look, wherever they stand.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [PathForm; 0] = [];

    fn normal(path: &str, allow: &[PathForm]) -> Result<String, PathError> {
        let allow = allow.iter().copied().collect();
        normal_path(path, allow).map(Cow::into_owned)
    }

    #[test]
    fn paths_come_to_one_normal_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/%41%7e", "/A~"),
            ("/a%20b", "/a%20b"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("//a///b//", "/a/b/"),
            ("//", "/"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/a%3Bb", "/a%3Bb"),
            ("/100%25", "/100%25"),
            ("/100%25zz", "/100%25zz"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a.b..c", "/a.b..c"),
            ("/@scope/p:1,2!$&'()*+=", "/@scope/p:1,2!$&'()*+="),
            ("/My%2520Invoice.txt", "/My%2520Invoice.txt"),
            ("/100%25%20off", "/100%25%20off"),
            ("/100%25ac", "/100%25ac"),
            ("/_%2525_", "/_%2525_"),
            ("/a%255Bb%255d", "/a%255Bb%255d"),
            ("/%2561dmin", "/%2561dmin"),
        ] {
            assert_eq!(normal(path, &NOTHING).as_deref(), Ok(expected), "{path}");
            let again = normal_path(expected, AllowInPath::default());
            assert!(
                matches!(again, Ok(Cow::Borrowed(_))),
                "{expected} is in normal form"
            );
        }
    }

    #[test]
    fn sec_29_a_path_with_two_readings_is_refused() {
        use PathError::{Backslash, Bytes, Control, Escape, NotAbsolute, Percent, Readings, Slash};
        for (path, expected) in [
            ("/a%2fb", Slash),
            ("/a%2Fb", Slash),
            ("/a%5cb", Backslash),
            ("/a\\b", Backslash),
            ("/a%00", Control),
            ("/a%0d%0a", Control),
            ("/a%09", Bytes),
            ("/a%7f", Bytes),
            ("/%252e%252e/admin", Percent),
            ("/a%252eb", Percent),
            ("/a%252fb", Percent),
            ("/a%255cb", Percent),
            ("/a%2500", Percent),
            ("/a%250a", Percent),
            ("/a%25252fb", Percent),
            ("/a%25c0%25af", Percent),
            ("/a%25%32%65", Percent),
            ("/a%2525252520", Readings),
            ("/a%2", Escape),
            ("/a%", Escape),
            ("/a%zz", Escape),
            ("/a%+1", Escape),
            ("/%c0%af", Bytes),
            ("/%c0%ae%c0%ae", Bytes),
            ("/%ff", Bytes),
            ("/%ed%a0%80", Bytes),
            ("/é", Bytes),
            ("/a b", Control),
            ("a", NotAbsolute),
            ("", NotAbsolute),
        ] {
            assert_eq!(normal(path, &NOTHING), Err(expected), "{path}");
        }
    }

    #[test]
    fn sec_30_dot_segments_are_refused_in_every_spelling() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E./a",
            "/%2e/a",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/%2e%2e;/b",
            "/a/.;/b",
            "/a/..%3Bx/b",
            "/a/..%20/b",
            "/a/.%20./b",
            "/a/%20../b",
            "/a/..%20;x/b",
            "/a/...%20",
        ] {
            assert_eq!(normal(path, &NOTHING), Err(PathError::DotSegment), "{path}");
            assert_eq!(
                normal(path, &PathForm::ALL),
                Err(PathError::DotSegment),
                "{path}"
            );
        }
        for path in [
            "/a%2f..",
            "/..%2fa",
            "/a%2f%2e%2e%2fb",
            "/a/%2e%2f",
            "/a%5c..%5cb",
            "/a\\..",
            "/a/%252e%252e/b",
            "/a/.%25252e/b",
            "/a/..%252fb",
            "/a/..%255cb",
            "/a/..%2500.png",
            "/a/.%2509./b",
            "/a/%c0%ae%c0%ae/b",
            "/a/.%e0%80%ae/b",
            "/a/.%ff./b",
            "/a/.%09./b",
            "/a/..%7f/b",
            "/a/%25c0%25ae./b",
        ] {
            assert_eq!(
                normal(path, &PathForm::ALL),
                Err(PathError::DotSegment),
                "{path}"
            );
        }
    }

    #[test]
    fn sec_95_what_is_escaped_without_need_has_one_more_reading() {
        let double: AllowInPath = [PathForm::DoubleSlash].into_iter().collect();
        let nothing = AllowInPath::default();
        for (path, allow, expected) in [
            ("/", nothing, Ok(None)),
            ("/a%20b%C3%A9", nothing, Ok(None)),
            ("/100%25", nothing, Ok(None)),
            ("/%61dmin", nothing, Ok(Some("/%2561dmin"))),
            ("/a%20%7Eada/%2d", nothing, Ok(Some("/a%20%257Eada/%252d"))),
            ("/a//b", nothing, Err(PathError::DoubleSlash)),
            ("//", nothing, Err(PathError::DoubleSlash)),
            ("/a//b", double, Ok(None)),
            ("/%61//b", double, Ok(Some("/%2561//b"))),
        ] {
            let literal = as_it_stands(path, allow);
            let expected = expected.map(|literal| literal.map(str::to_owned));
            assert_eq!(literal, expected, "{path}");
        }
    }

    #[test]
    fn sec_29_an_app_may_allow_one_form_and_nothing_more() {
        use PathForm::{AnyBytes, DoubleSlash, EncodedBackslash, EncodedPercent, EncodedSlash};
        let forms = [
            (EncodedSlash, &["/api/%2F/q", "/a%2Fb"][..]),
            (EncodedPercent, &["/a%252F", "/a%2500", "/a%25252eb"]),
            (EncodedBackslash, &["/a%5Cb", "/%95%5C"]),
            (AnyBytes, &["/caf%E9", "/%93%FA%96%7B", "/a%09", "/%C0%AF"]),
            (DoubleSlash, &["/a//b", "//top", "/a//", "//"]),
        ];
        for (form, paths) in forms {
            for path in paths {
                let all = normal(path, &PathForm::ALL);
                assert_eq!(all.as_deref(), Ok(*path), "as it came");
                let others: Vec<_> = PathForm::ALL.into_iter().filter(|f| *f != form).collect();
                assert_ne!(normal(path, &others).as_deref(), Ok(*path), "{form:?}");
            }
        }
        for path in ["/a%00", "/a%0A", "/a%0D", "/%c0%80", "/a%", "/a%zz", "/a b"] {
            assert!(normal(path, &PathForm::ALL).is_err(), "{path}");
        }
        assert_eq!(
            normal("/a\\b", &[EncodedBackslash]).as_deref(),
            Ok("/a%5Cb")
        );
    }
}
