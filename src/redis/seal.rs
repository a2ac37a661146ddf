//! Values that only nodes with the same key can read or make (SEC-84).
//!
//! Whoever can read or write the store learns no session and can invent none, and cannot put one
//! value in the place of another: each is sealed for its kind and its key in the store. Nothing keeps
//! them from putting an old value back at its own key, or from taking one away.
//!
//! A value is a version byte (1), 16 random bytes, and what AES-256-GCM makes of the plaintext. Key
//! and nonce come from the key of the configuration by HKDF-SHA256 (RFC 5869), with the random bytes
//! as salt and kind and key as info: no two values share a key, however many there are.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::random::{NoRandomness, random};
use crate::secret::Secret;

/// Of all values so far.
const VERSION: u8 = 1;

const KEY: usize = 32;
const SALT: usize = 16;
const TAG: usize = 16;

/// Bytes that a value is longer than its plaintext.
pub(crate) const OVERHEAD: usize = 1 + SALT + TAG;

/// More are no rotation.
const MOST_KEYS: usize = 8;

/// The keys of the configuration: the first seals, each opens.
#[derive(Clone, Debug)]
pub(crate) struct SealKeys(Vec<Secret<[u8; KEY]>>);

/// A value that cannot be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A later version of Vestibule has written it, perhaps.
    Version(u8),
    /// It was damaged, or sealed by another key, for another kind or for another place.
    Damaged,
}

/// What is wrong with the keys of a configuration. Shows nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    None,
    TooMany,
    /// The line of this number is neither Base64 nor hexadecimal.
    NotAKey(usize),
    /// It has another length than 32 bytes.
    Length(usize, usize),
    /// It is there twice.
    Twice(usize),
}

impl SealKeys {
    /// Reads a key a line, in Base64 or hexadecimal; lines that are empty or begin with `#` are
    /// none.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyFault> {
        let mut keys: Vec<Secret<[u8; KEY]>> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = decode(line).ok_or(KeyFault::NotAKey(number))?;
            let key = <[u8; KEY]>::try_from(bytes.as_slice())
                .map_err(|_| KeyFault::Length(number, bytes.len()))?;
            let key = Secret::new(key);
            if keys.contains(&key) {
                return Err(KeyFault::Twice(number));
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyFault::None),
            1..=MOST_KEYS => Ok(Self(keys)),
            _ => Err(KeyFault::TooMany),
        }
    }

    /// A key for one purpose, which nodes with the same first key have in common.
    pub(crate) fn derive(&self, purpose: &str) -> Secret<[u8; KEY]> {
        let mut key = [0; KEY];
        // Values are sealed with a salt of random bytes, and so never with this key.
        Salt::new(HKDF_SHA256, &[])
            .extract(self.0[0].expose())
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut key))
            .expect("HKDF gives up to 8160 bytes");
        Secret::new(key)
    }

    /// Seals `plain` for this kind, to be kept at this key of the store.
    pub(crate) fn seal(
        &self,
        kind: &str,
        key: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, NoRandomness> {
        let salt = random::<SALT>()?;
        let context = context(kind, key);
        let mut value = Vec::with_capacity(plain.len() + OVERHEAD);
        value.push(VERSION);
        value.extend(salt);
        value.extend(plain);
        let (cipher, nonce) = derive(&self.0[0], &salt, &context);
        let tag = cipher
            .seal_in_place_separate_tag(nonce, Aad::from(&context), &mut value[1 + SALT..])
            .expect("a value is far shorter than what GCM can seal");
        value.extend(tag.as_ref());
        Ok(value)
    }

    /// What was sealed for this kind and this key of the store.
    pub(crate) fn open(
        &self,
        kind: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.open_noting_age(kind, key, value)
            .map(|(plain, _)| plain)
    }

    /// The same, and whether the key that seals now has sealed it.
    pub(crate) fn open_noting_age(
        &self,
        kind: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, bool), Unreadable> {
        let (salt, sealed) = match value.split_first() {
            Some((&VERSION, rest)) => rest
                .split_first_chunk::<SALT>()
                .ok_or(Unreadable::Damaged)?,
            Some((0, _)) | None => return Err(Unreadable::Damaged),
            Some((version, _)) => return Err(Unreadable::Version(*version)),
        };
        let context = context(kind, key);
        for (number, secret) in self.0.iter().enumerate() {
            let (cipher, nonce) = derive(secret, salt, &context);
            let mut buffer = Zeroizing::new(sealed.to_vec());
            if let Ok(plain) = cipher.open_in_place(nonce, Aad::from(&context), &mut buffer) {
                let length = plain.len();
                buffer.truncate(length);
                return Ok((buffer, number == 0));
            }
        }
        Err(Unreadable::Damaged)
    }
}

/// What a value is bound to. A kind has no zero byte, so no two pairs make the same one.
fn context(kind: &str, key: &[u8]) -> Vec<u8> {
    debug_assert!(!kind.contains('\0'));
    [kind.as_bytes(), b"\0", key].concat()
}

/// Of a key and its nonce together.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY + NONCE_LEN
    }
}

fn derive(secret: &Secret<[u8; KEY]>, salt: &[u8; SALT], context: &[u8]) -> (LessSafeKey, Nonce) {
    let mut bytes = Zeroizing::new([0; KEY + NONCE_LEN]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret.expose())
        .expand(&[context], Length)
        .and_then(|derived| derived.fill(bytes.as_mut_slice()))
        .expect("HKDF gives up to 8160 bytes");
    let (key, nonce) = bytes.split_at(KEY);
    let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of AES-256");
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the nonce has its length");
    (LessSafeKey::new(key), nonce)
}

/// Base64 of either alphabet, padded or not, or hexadecimal digits.
fn decode(line: &str) -> Option<Zeroizing<Vec<u8>>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    if line.len() == 2 * KEY && line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let digits = (0..line.len()).step_by(2);
        let bytes = digits.map(|at| u8::from_str_radix(&line[at..at + 2], 16).ok());
        return bytes.collect::<Option<Vec<_>>>().map(Zeroizing::new);
    }
    let engines = [&alphabet::STANDARD, &alphabet::URL_SAFE]
        .map(|alphabet| GeneralPurpose::new(alphabet, ANY_PADDING));
    let decoded = engines.iter().find_map(|engine| engine.decode(line).ok());
    decoded.map(Zeroizing::new)
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no key in it"),
            Self::TooMany => write!(f, "it has more than {MOST_KEYS} keys"),
            Self::NotAKey(line) => {
                write!(
                    f,
                    "line {line} is no key: it is neither Base64 nor hexadecimal"
                )
            }
            Self::Length(line, bytes) => {
                write!(
                    f,
                    "the key in line {line} has {bytes} bytes instead of {KEY}"
                )
            }
            Self::Twice(line) => write!(f, "the key in line {line} is there twice"),
        }
    }
}

impl std::error::Error for KeyFault {}

#[cfg(test)]
mod tests;
