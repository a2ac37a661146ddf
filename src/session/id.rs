//! The secret in the cookie, and its hash, which is all that anything else ever sees.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::nodes::SessionName;
use crate::random::NoRandomness;
use crate::request::Host;

/// The secret in the visitor's cookie: 256 random bits (SEC-44).
#[derive(Clone)]
pub(crate) struct SessionId(Zeroizing<[u8; 32]>);

impl SessionId {
    /// Length of the text in the cookie.
    pub(crate) const TEXT: usize = 43;

    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        SysRng
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Reads the text of a cookie; what is not exactly an id is none (SEC-53).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut *bytes).ok()?;
        (text.len() == Self::TEXT && length == bytes.len()).then_some(Self(bytes))
    }

    /// The text for the cookie, and for nothing else.
    pub(crate) fn to_cookie_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.0))
    }

    /// The id of the same session at another host. The same whenever it is asked for: many tabs that
    /// get there at once show the same one. Nobody gets from it to the id of the login, or to that of
    /// a third host: it is a MAC with the id of the login for a key.
    pub(crate) fn for_host(&self, host: &Host) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("any length will do");
        mac.update(b"vestibule session id at\0");
        mac.update(host.as_str().as_bytes());
        Self(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    /// The id under a one-time pad, for where ids may not be read.
    pub(crate) fn covered(&self, pad: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(std::array::from_fn(|at| self.0[at] ^ pad[at]))
    }

    /// What was [covered](Self::covered) with this pad.
    pub(crate) fn uncovered(covered: &[u8; 32], pad: &[u8; 32]) -> Self {
        Self(Zeroizing::new(std::array::from_fn(|at| {
            covered[at] ^ pad[at]
        })))
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        let (words, _) = self.0.as_chunks::<8>();
        words.iter().map(|word| u64::from_ne_bytes(*word))
    }

    /// What stores keep, so that reading a stolen store opens no session.
    pub(crate) fn key(&self) -> SessionKey {
        SessionKey(Sha256::digest(*self.0).into())
    }
}

impl PartialEq for SessionId {
    /// Takes the same time whatever they are. By words, because each request on a connection that
    /// remembers its session does it.
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.words().zip(other.words());
        let same = pairs.fold(Choice::from(1), |same, (a, b)| same & a.ct_eq(&b));
        same.into()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// SHA-256 of a [`SessionId`]: names a session in stores, logs and commands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SessionKey([u8; 32]);

impl SessionKey {
    pub(super) const LAST: Self = Self([255; 32]);

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What nodes call it among themselves.
    pub(crate) fn shared_name(&self) -> SessionName {
        std::array::from_fn(|at| self.0[at])
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads all 64 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let prefix = KeyPrefix::parse(text)?;
        (text.len() == 64).then(|| prefix.range().0)
    }

    /// The first 8 hex digits: what people see.
    pub(crate) fn short(&self) -> impl fmt::Display {
        let beginning = self.beginning();
        fmt::from_fn(move |f| write!(f, "{beginning:08x}"))
    }

    /// The same as a number.
    pub(crate) fn beginning(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}..)", self.short())
    }
}

/// The beginning of a key, as people copy it from a list: 8 hex digits or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPrefix(String);

impl KeyPrefix {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_prefix =
            (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_prefix.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The first and the last key that begin so.
    pub(super) fn range(&self) -> (SessionKey, SessionKey) {
        let fill = |digit: char| {
            let text: String = self
                .0
                .chars()
                .chain(std::iter::repeat(digit))
                .take(64)
                .collect();
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
            }
            SessionKey(bytes)
        };
        (fill('0'), fill('f'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_cookie_text() {
        let id = SessionId::generate().unwrap();
        let text = id.to_cookie_text();
        assert_eq!(text.len(), SessionId::TEXT);
        assert_eq!(SessionId::parse(text.as_bytes()).unwrap().key(), id.key());
        assert_eq!(format!("{id:?}"), "SessionId(..)");
        assert_eq!(id.key().to_string()[..8], id.key().short().to_string());
    }

    #[test]
    fn sec_97_each_host_has_an_id_of_its_own_and_always_the_same() {
        let host = |name| Host::parse(name).unwrap();
        let login = SessionId::generate().unwrap();
        let wiki = login.for_host(&host("wiki.test"));
        assert_eq!(wiki, login.for_host(&host("Wiki.Test.")));
        let other = SessionId::generate().unwrap();
        for another in [
            &login,
            &login.for_host(&host("wik.test")),
            &wiki.for_host(&host("wiki.test")),
            &other.for_host(&host("wiki.test")),
        ] {
            assert_ne!(&wiki, another);
            assert_ne!(wiki.key(), another.key());
        }
    }

    #[test]
    fn a_prefix_of_a_key_names_the_keys_that_begin_so() {
        let key = SessionId::generate().unwrap().key();
        let text = key.to_string();
        for length in [8, 9, 63, 64] {
            let (first, last) = KeyPrefix::parse(&text[..length]).unwrap().range();
            assert!(first <= key && key <= last, "{length}");
        }
        let (first, last) = KeyPrefix::parse(&text.to_uppercase()).unwrap().range();
        assert_eq!((first, last), (key, key));
        let (first, last) = KeyPrefix::parse("0123456f").unwrap().range();
        assert_eq!(first.to_string(), format!("0123456f{}", "0".repeat(56)));
        assert_eq!(last.to_string(), format!("0123456f{}", "f".repeat(56)));
        let long = "a".repeat(65);
        for wrong in ["", "0123456", "0123456g", "0123 567", "+1234567", &long] {
            assert_eq!(KeyPrefix::parse(wrong), None, "{wrong}");
        }
        assert_eq!(SessionKey::parse(&text), Some(key));
        for wrong in [&text[..63], &text[..8], &long] {
            assert_eq!(SessionKey::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sec_53_what_is_not_exactly_an_id_is_none() {
        let text = SessionId::generate().unwrap().to_cookie_text().to_string();
        let padded = format!("{text}=");
        let spaced = format!("{} ", &text[..42]);
        let standard = format!("+{}", &text[1..]);
        let loose_bits = format!("{}B", &text[..42]);
        for forged in [
            "",
            "a",
            &text[..42],
            &padded,
            &spaced,
            &standard,
            &loose_bits,
            &text.repeat(2),
        ] {
            assert!(SessionId::parse(forged.as_bytes()).is_none(), "{forged}");
        }
    }
}
