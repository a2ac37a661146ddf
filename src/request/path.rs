//! The normal form of a path: what is judged is what is sent.
//!
//! A path that two parsers could read in two ways is refused, not repaired: the proxy would judge
//! one reading and the application serve the other (CVE-2021-32637, CVE-2026-48020).

use std::borrow::Cow;
use std::fmt;

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// A backslash, control byte, space or non-ASCII byte, or one of them encoded (SEC-29).
    Byte,
    /// A `.` or `..` segment in any spelling, `;parameters` aside (SEC-30, SEC-31).
    DotSegment,
    /// A percent sign that begins no escape, or an escape of an escape (SEC-29).
    Escape,
    /// No slash at the start.
    NotAbsolute,
    /// `%2F` where the app does not allow it (SEC-29).
    Slash,
    /// Escapes that are not UTF-8 (SEC-29).
    Utf8,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "a backslash, space, control or non-ASCII character is in it",
            Self::DotSegment => "`.` and `..` segments are not allowed",
            Self::Escape => "a percent sign that is no plain escape is in it",
            Self::NotAbsolute => "it does not begin with `/`",
            Self::Slash => "`%2F` is only for apps with `encoded_slash = true`",
            Self::Utf8 => "its escapes are not UTF-8",
        })
    }
}

/// The one spelling of `path`: unreserved characters unescaped, other escapes in upper case
/// (RFC 3986 §6.2.2), empty segments merged. Borrows when `path` already is in that form.
///
/// `encoded_slash` keeps `%2F` as part of a segment, for apps that need it (SEC-29).
pub(crate) fn normal_path(path: &str, encoded_slash: bool) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let bytes = path.as_bytes();
    let plain =
        bytes.iter().all(|&byte| is_plain(byte)) && !path.contains("//") && !path.contains("/.");
    if plain {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut decoded = Vec::new();
    for segment in path.split('/').skip(1) {
        if segment.is_empty() && normal.ends_with('/') {
            continue;
        }
        if !normal.ends_with('/') {
            normal.push('/');
        }
        decoded.clear();
        normalise(segment.as_bytes(), encoded_slash, &mut normal, &mut decoded)?;
        check_decoded(&decoded)?;
    }
    Ok(if normal == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(normal)
    })
}

/// Appends the normal form of one segment to `normal`, and its bytes to `decoded`.
fn normalise(
    segment: &[u8],
    encoded_slash: bool,
    normal: &mut String,
    decoded: &mut Vec<u8>,
) -> Result<(), PathError> {
    let mut at = 0;
    while at < segment.len() {
        let byte = segment[at];
        if byte != b'%' {
            if !byte.is_ascii_graphic() || byte == b'\\' {
                return Err(PathError::Byte);
            }
            normal.push(char::from(byte));
            decoded.push(byte);
            at += 1;
            continue;
        }
        let byte = unescape(&segment[at..]).ok_or(PathError::Escape)?;
        match byte {
            0..=0x1f | 0x7f | b'\\' => return Err(PathError::Byte),
            b'/' if !encoded_slash => return Err(PathError::Slash),
            _ if is_unreserved(byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push(char::from(HEX[usize::from(byte >> 4)]));
                normal.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        decoded.push(byte);
        at += 3;
    }
    Ok(())
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn check_decoded(segment: &[u8]) -> Result<(), PathError> {
    // `%252e`, `%2561`: some application would decode twice and see another path.
    if memchr::memchr_iter(b'%', segment).any(|at| unescape(&segment[at..]).is_some()) {
        return Err(PathError::Escape);
    }
    let text = std::str::from_utf8(segment).map_err(|_| PathError::Utf8)?;
    // Spaces at the end are dropped on Windows: `.. ` is `..` there (SEC-93).
    let is_dot = |part: &str| {
        let name = part.split(';').next().unwrap_or_default();
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let spaces = name.bytes().filter(|&byte| byte == b' ').count();
        dots + spaces == name.len() && dots > 0 && (dots < 3 || spaces > 0)
    };
    // An encoded slash makes parts that the application may take for segments.
    if text.split('/').any(is_dot) {
        Err(PathError::DotSegment)
    } else {
        Ok(())
    }
}

fn unescape(escape: &[u8]) -> Option<u8> {
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

/// Bytes that need no second look, wherever they stand.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b';')
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let normal = normal_path(path, false);
            assert_eq!(normal.as_deref(), Ok(expected), "{path}");
            let again = normal_path(expected, false);
            assert!(
                matches!(again, Ok(Cow::Borrowed(_))),
                "{expected} is in normal form"
            );
        }
    }

    #[test]
    fn sec_29_a_path_with_two_readings_is_refused() {
        for (path, expected) in [
            ("/a%2fb", PathError::Slash),
            ("/a%2Fb", PathError::Slash),
            ("/a%5cb", PathError::Byte),
            ("/a\\b", PathError::Byte),
            ("/a%00", PathError::Byte),
            ("/a%0d%0a", PathError::Byte),
            ("/a%7f", PathError::Byte),
            ("/%252e%252e/admin", PathError::Escape),
            ("/a%252fb", PathError::Escape),
            ("/a%255cb", PathError::Escape),
            ("/a%25%32%65", PathError::Escape),
            ("/a%2", PathError::Escape),
            ("/a%", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/a%+1", PathError::Escape),
            ("/%c0%af", PathError::Utf8),
            ("/%c0%ae%c0%ae", PathError::Utf8),
            ("/%ff", PathError::Utf8),
            ("/%ed%a0%80", PathError::Utf8),
            ("/é", PathError::Byte),
            ("/a b", PathError::Byte),
            ("a", PathError::NotAbsolute),
            ("", PathError::NotAbsolute),
        ] {
            assert_eq!(normal_path(path, false), Err(expected), "{path}");
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
            assert_eq!(
                normal_path(path, false),
                Err(PathError::DotSegment),
                "{path}"
            );
        }
    }

    #[test]
    fn sec_29_an_app_may_allow_encoded_slashes_and_nothing_more() {
        assert_eq!(normal_path("/api/%2f/q", true).as_deref(), Ok("/api/%2F/q"));
        for path in ["/a%2f..", "/..%2fa", "/a%2f%2e%2e%2fb", "/a/%2e%2f"] {
            assert_eq!(
                normal_path(path, true),
                Err(PathError::DotSegment),
                "{path}"
            );
        }
        assert_eq!(normal_path("/a%5cb", true), Err(PathError::Byte));
    }
}
