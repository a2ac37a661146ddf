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
mod tests;
