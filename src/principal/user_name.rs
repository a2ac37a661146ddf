//! Names of users: which there are, and which are the same.
//!
//! A name is compared in one form only, without case and composed (NFC). Everything that could pass
//! for another name is none, so that it is an unknown user and not a second way to write a known one
//! (SEC-58): spaces around it, invisible and control characters, full-width and other forms that
//! Unicode has for compatibility, and words with letters of several scripts.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// In characters.
const MAX: usize = 64;

/// What a name can hold besides letters, digits, and a space between words: what account names of
/// Windows may have, `\` after a domain, and what is in e-mail addresses.
const MARKS: &str = "._@+-\\'!#$&()~";

/// What a name is, for people.
pub(crate) const RULE: &str = "a name is 1 to 64 letters and digits, single spaces between words, \
                               and any of `._@+-\\'!#$&()~`; no word mixes alphabets";

/// The one form by which names are compared; `None` for what is no name.
pub(crate) fn canonical(name: &str) -> Option<Cow<'_, str>> {
    // Nearly all names; asked with each request.
    if is_plain(name) {
        return Some(if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        });
    }
    let spelling = spelling(name)?;
    Some(Cow::Owned(spelling.chars().flat_map(lower).nfc().collect()))
}

/// A name as it is kept and sent on: as it was written, but composed. `None` for what is no name.
pub(crate) fn spelling(name: &str) -> Option<Cow<'_, str>> {
    if is_plain(name) {
        return Some(Cow::Borrowed(name));
    }
    // The sign for Kelvin is the letter K to Unicode, and must not be.
    let becomes_ascii = |c: char| !c.is_ascii() && std::iter::once(c).nfc().any(|c| c.is_ascii());
    if name.len() > MAX * 16 || name.chars().any(becomes_ascii) {
        return None;
    }
    let composed: String = name.nfc().collect();
    is_name(&composed).then_some(Cow::Owned(composed))
}

/// By what sessions and throttles find a user, who may have any name, or be anything that somebody
/// has typed.
pub(crate) fn key(name: &str) -> String {
    borrowed_key(name).into_owned()
}

/// The same, as it is where it is the name itself: asked with each request.
pub(crate) fn borrowed_key(name: &str) -> Cow<'_, str> {
    canonical(name).unwrap_or_else(|| Cow::Owned(name.to_ascii_lowercase()))
}

/// Whether both name one user.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || key(one) == key(other)
}

fn is_plain(name: &str) -> bool {
    (1..=MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || MARKS.as_bytes().contains(&b))
}

/// One that is composed.
fn is_name(name: &str) -> bool {
    let mut words = name.split(|c: char| c == ' ' || MARKS.contains(c));
    (1..=MAX).contains(&name.chars().count())
        // Also where there are two of them.
        && name.split(' ').all(|part| !part.is_empty())
        && words.all(is_word)
        && is_nfkc(name)
}

fn is_word(word: &str) -> bool {
    let mut alphabet = None;
    let mut in_word = false;
    word.chars().all(|c| {
        let is_mark = in_word && is_combining_mark(c);
        in_word = true;
        match Alphabet::of(c) {
            _ if is_invisible(c) => false,
            _ if is_mark || c.is_ascii_digit() => true,
            _ if !c.is_alphanumeric() => false,
            found => *alphabet.get_or_insert(found) == found,
        }
    })
}

/// Letters that are written together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// Which Chinese, Japanese and Korean mix with their own.
    Latin,
    Greek,
    Cyrillic,
    Other,
}

impl Alphabet {
    fn of(c: char) -> Self {
        match c {
            'a'..='z'
            | 'A'..='Z'
            | '\u{c0}'..='\u{24f}'
            | '\u{1e00}'..='\u{1eff}'
            | '\u{2e80}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{20000}'..='\u{3ffff}' => Self::Latin,
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            _ => Self::Other,
        }
    }
}

/// Letters and marks that nobody sees (`Default_Ignorable_Code_Point`).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// No letter beyond ASCII comes to be one of ASCII, but the capital I with a dot, which keeps its
/// dot. At the end of a word, Greek has another small sigma.
fn lower(c: char) -> impl Iterator<Item = char> {
    let c = if c == 'ς' { 'σ' } else { c };
    c.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_58_a_name_has_one_form() {
        let long = "x".repeat(64);
        let long_umlauts = "ü".repeat(64);
        for (name, expected) in [
            ("ada", "ada"),
            ("Ada.Lovelace+x@Example-1_2", "ada.lovelace+x@example-1_2"),
            (&*long, &*long),
            (&long_umlauts, &long_umlauts),
            ("Ada Lovelace", "ada lovelace"),
            ("CORP\\Ada", "corp\\ada"),
            ("O'Brien", "o'brien"),
            ("Jürgen", "jürgen"),
            ("JÜRGEN", "jürgen"),
            ("Ju\u{308}rgen", "jürgen"),
            ("Zoë van 't Hoff", "zoë van 't hoff"),
            ("Straße", "straße"),
            ("ΝΊΚΟΣ", "νίκοσ"),
            ("Νίκος", "νίκοσ"),
            ("CORP\\Юрий", "corp\\юрий"),
            ("田中taro", "田中taro"),
            ("김민준", "김민준"),
            ("हिन्दी", "हिन्दी"),
            ("\u{212b}ke", "åke"),
            ("İnci", "i\u{307}nci"),
        ] {
            assert_eq!(canonical(name).as_deref(), Some(expected), "{name:?}");
            assert_eq!(key(name), expected, "{name:?}");
            assert!(is_same(name, expected));
        }
        assert_eq!(spelling("Ju\u{308}rgen").as_deref(), Some("Jürgen"));
        assert!(!is_same("jürgen", "jurgen") && !is_same("inci", "İnci"));
    }

    #[test]
    fn sec_58_what_could_pass_for_another_name_is_none() {
        let (long, long_umlauts) = ("x".repeat(65), "ü".repeat(65));
        for name in [
            &*long,
            &long_umlauts,
            "",
            " ada",
            "ada ",
            " ",
            "ada  lovelace",
            "ada\u{a0}lovelace",
            "ada\tlovelace",
            "ada\0",
            "ada\r\n",
            "ada\u{7f}",
            "ada\u{85}",
            // Full-width, superscript, mathematical, a ligature, a sign.
            "ａｄａ",
            "Ａda",
            "ad\u{aa}",
            "\u{1d41a}da",
            "o\u{fb01}",
            "\u{212a}ate",
            // Cyrillic, Greek and Latin letters that look the same.
            "ad\u{430}",
            "\u{391}da",
            "ja\u{308}\u{430}",
            // Zero width, bidirectional, variation, filler, tag.
            "a\u{200b}da",
            "a\u{200d}da",
            "\u{feff}ada",
            "ada\u{202e}",
            "\u{2066}ada\u{2069}",
            "ada\u{200f}",
            "ada\u{ad}",
            "ada\u{fe0f}",
            "ada\u{34f}",
            "ada\u{3164}",
            "ada\u{e0101}",
            "ada\u{e0061}",
            // Marks without a letter, symbols, what separates elsewhere.
            "\u{301}ada",
            "ada \u{301}",
            "ada\u{1f600}",
            "ada\u{fffd}",
            "a/b",
            "a,b",
            "a:b",
            "a\"b",
            "a<b",
            "a;b",
            "a=b",
            "a%b",
        ] {
            assert_eq!(canonical(name), None, "{name:?}");
            assert_eq!(spelling(name), None, "{name:?}");
        }
        assert_eq!(key("ADA "), "ada ");
    }
}
