//! The text of a token: what its user keeps, and the hash, which is all that anything else sees.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::random::{NoRandomness, random};

/// By this, and by the checksum, secret scanners know a token that somebody has published.
const PREFIX: &str = "vst_";

/// Letters of the secret: 62^43 is more than 2^256.
const SECRET: usize = 43;

/// Letters of the checksum.
const CHECKSUM: usize = 6;

/// Of a whole token.
pub(crate) const LENGTH: usize = PREFIX.len() + SECRET + CHECKSUM;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a token: `vst_`, 256 random bits and a checksum, all letters and digits.
#[derive(Clone)]
pub(crate) struct ApiToken(Zeroizing<[u8; LENGTH]>);

impl ApiToken {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut text = Zeroizing::new([0; LENGTH]);
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let (secret, checksum) = rest.split_at_mut(SECRET);
        let mut filled = 0;
        while filled < SECRET {
            let bytes: Zeroizing<[u8; 64]> = random()?.into();
            // The last eight of 256 would make some letters likelier than others.
            let letters = bytes.iter().filter(|&&byte| byte < 248);
            for (place, byte) in secret[filled..].iter_mut().zip(letters) {
                *place = LETTERS[usize::from(byte % 62)];
                filled += 1;
            }
        }
        checksum.copy_from_slice(&checksum_of(secret));
        Ok(Self(text))
    }

    /// Reads exactly a token; the checksum of anything else is wrong.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; LENGTH] = text.try_into().ok()?;
        let rest = text.strip_prefix(PREFIX.as_bytes())?;
        let (secret, checksum) = rest.split_at(SECRET);
        let is_right =
            secret.iter().all(u8::is_ascii_alphanumeric) && checksum_of(secret) == checksum;
        is_right.then(|| Self(Zeroizing::new(*text)))
    }

    /// What stores keep: it opens nothing, and a hash without salt is enough for 256 random bits.
    pub(crate) fn key(&self) -> TokenKey {
        TokenKey(Sha256::digest(*self.0).into())
    }

    /// The text for its user, and for nobody else.
    pub(crate) fn expose(&self) -> &str {
        std::str::from_utf8(&*self.0).unwrap_or_default() // ASCII
    }
}

impl PartialEq for ApiToken {
    /// Takes the same time whatever they are.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl From<&ApiToken> for TokenKey {
    fn from(token: &ApiToken) -> Self {
        token.key()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// To set it up takes more than to look through a field.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));

/// Whether a token is anywhere in a text.
pub(crate) fn find_in(text: &[u8]) -> bool {
    let mut places = FINDER.find_iter(text);
    places.any(|at| {
        let token = text.get(at..at + LENGTH);
        token.is_some_and(|token| ApiToken::parse(token).is_some())
    })
}

/// CRC-32 (ISO 3309) as six letters. It tells a token from what only looks like one, and guards
/// nothing.
fn checksum_of(secret: &[u8]) -> [u8; CHECKSUM] {
    let mut crc = !0_u32;
    for &byte in secret {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ BYTES[usize::from(low ^ byte)];
    }
    let mut rest = !crc;
    let mut text = [b'0'; CHECKSUM];
    for letter in text.iter_mut().rev() {
        *letter = LETTERS[(rest % 62) as usize];
        rest /= 62;
    }
    text
}

/// The polynomial, for a byte at a time.
const BYTES: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0_u32;
    while at < 256 {
        let mut crc = at;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
            bit += 1;
        }
        table[at as usize] = crc;
        at += 1;
    }
    table
};

/// SHA-256 of an [`ApiToken`]: names a token in the store, in logs and commands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TokenKey([u8; 32]);

impl TokenKey {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first 8 hex digits: what people see.
    pub(crate) fn short(&self) -> impl fmt::Display + use<> {
        let beginning = self.beginning();
        fmt::from_fn(move |f| write!(f, "{beginning:08x}"))
    }

    /// The same as a number.
    pub(crate) fn beginning(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}..)", self.short())
    }
}

/// The beginning of a key, as people copy it from a list: 8 hex digits or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenKeyPrefix(String);

impl TokenKeyPrefix {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_prefix =
            (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_prefix.then(|| Self(text.to_ascii_lowercase()))
    }

    pub(super) fn is_of(&self, key: &TokenKey) -> bool {
        key.to_string().starts_with(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_96_a_token_is_known_by_its_checksum() {
        let token = ApiToken::generate().unwrap();
        let text = token.expose().to_owned();
        assert_eq!(text.len(), 53);
        assert!(text.starts_with("vst_"), "{text}");
        assert!(text[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(ApiToken::parse(text.as_bytes()).unwrap().key(), token.key());
        assert_ne!(ApiToken::generate().unwrap().key(), token.key());
        assert_eq!(format!("{token:?}"), "ApiToken(..)");
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(ApiToken::parse(&other).is_none(), "another letter at {at}");
        }
        for other in [
            &text[1..],
            &text[..52],
            &format!("{text}x"),
            &format!(" {text}"),
            &text.to_uppercase(),
            "",
        ] {
            assert!(ApiToken::parse(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn the_checksum_is_the_usual_crc_32_so_that_others_can_check_it() {
        // Of "123456789": 0xcbf43926.
        assert_eq!(&checksum_of(b"123456789"), b"3jZRME");
    }

    #[test]
    fn a_token_is_found_wherever_it_is_in_a_text() {
        let token = ApiToken::generate().unwrap();
        let text = token.expose();
        for inside in [
            text.to_owned(),
            format!("Token {text}"),
            format!("vst_vst_{text}, Bearer x"),
        ] {
            assert!(find_in(inside.as_bytes()), "{inside}");
        }
        for without in [
            "",
            "vst_",
            "vst_x",
            &text[..52],
            &text.replace("vst_", "vsu_"),
        ] {
            assert!(!find_in(without.as_bytes()), "{without}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_beginning() {
        let key = TokenKey::from_bytes([0xab; 32]);
        assert_eq!(key.short().to_string(), "abababab");
        for (text, expected) in [
            ("ABABABAB", Some(true)),
            ("abababababab", Some(true)),
            ("abababac", Some(false)),
            ("abababa", None),
            ("abababag", None),
        ] {
            let prefix = TokenKeyPrefix::parse(text);
            assert_eq!(prefix.map(|prefix| prefix.is_of(&key)), expected, "{text}");
        }
    }
}
