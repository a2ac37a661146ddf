//! Invalid lines that some parser may take for a field that must not be dropped.

use memchr::memchr;
use unicode_normalization::UnicodeNormalization;

use super::is_token;

/// Names whose fields frame the answer, are of the connection, or give a session away; without
/// what is neither a letter nor a digit.
pub(super) const RESERVED: [&[u8]; 15] = [
    b"connection",
    b"contentlength",
    b"keepalive",
    b"proxyauthenticate",
    b"proxyauthenticationinfo",
    b"proxyauthorization",
    b"proxyconnection",
    b"setcookie",
    b"setcookie2",
    b"te",
    b"trailer",
    b"transferencoding",
    b"upgrade",
    b"xsessionset",
    b"xsessionunset",
];

/// Whether some parser may take an invalid line for a field with such a name: one that skips what
/// is before it, ends the name at a blank, folds `_` or other bytes, breaks lines elsewhere, or takes
/// other characters for the letters of ASCII.
pub(super) fn may_be_reserved(line: &[u8]) -> bool {
    is_reserved(line)
        || !line.is_ascii() && (is_reserved(&as_latin_1(line)) || is_reserved(&folded(line)))
}

fn is_reserved(line: &[u8]) -> bool {
    let mut lines = line.split(|byte| byte.is_ascii_control() && *byte != b'\t');
    has_reserved_name(line) || lines.any(has_reserved_name)
}

/// With a line end where Latin-1 has one besides those of ASCII.
fn as_latin_1(line: &[u8]) -> Vec<u8> {
    let of_byte = |&byte: &u8| if byte == 0x85 { b'\n' } else { byte };
    line.iter().map(of_byte).collect()
}

/// With ASCII in place of what UTF-8 has for the same by compatibility (UAX #15), as the Kelvin sign,
/// the long s U+017F or full-width letters, or by case, as the two letters of Turkish; and with the
/// line ends of Unicode.
fn folded(line: &[u8]) -> Vec<u8> {
    let fold = |letter| match letter {
        '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
        '\u{130}' | '\u{131}' => 'i',
        other => other,
    };
    let line = String::from_utf8_lossy(line);
    line.nfkc().map(fold).collect::<String>().into_bytes()
}

/// One pass, however many places there are where the name may begin: the app chooses them.
pub(super) fn has_reserved_name(line: &[u8]) -> bool {
    let letters = letters_of_name(line);
    (letters.iter().enumerate())
        .filter(|(_, letter)| letter.begins)
        .any(|(at, _)| RESERVED.iter().any(|name| is_name(&letters[at..], name)))
}

/// Whether they begin with all of a name.
fn is_name(letters: &[Letter], name: &[u8]) -> bool {
    let Some(letters) = letters.get(..name.len()) else {
        return false;
    };
    letters.last().is_some_and(|last| last.ends)
        && letters
            .iter()
            .map(|letter| letter.byte)
            .eq(name.iter().copied())
}

/// A letter or digit before the colon of a line.
struct Letter {
    /// In lower case.
    byte: u8,
    /// A name may begin here.
    begins: bool,
    /// A name may end here.
    ends: bool,
}

fn letters_of_name(line: &[u8]) -> Vec<Letter> {
    let begin = line.iter().position(u8::is_ascii_alphanumeric);
    let line = &line[begin.unwrap_or(line.len())..];
    let name = &line[..memchr(b':', line).unwrap_or(line.len())];
    let mut letters: Vec<Letter> = Vec::new();
    let mut begins = true;
    for &byte in name {
        if byte.is_ascii_alphanumeric() {
            letters.push(Letter {
                byte: byte.to_ascii_lowercase(),
                begins,
                ends: false,
            });
            begins = false;
            continue;
        }
        begins |= byte.is_ascii_control() || !byte.is_ascii();
        if let (Some(last), false) = (letters.last_mut(), is_token(byte)) {
            last.ends = true;
        }
    }
    if let Some(last) = letters.last_mut() {
        last.ends = true;
    }
    letters
}
