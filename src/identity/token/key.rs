//! One key, and what is published of it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The octets of r and s, one after the other (RFC 7518 §3.4).
const SIGNATURE: usize = 64;

/// It could not be made, or is no key for ECDSA with P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoKey;

/// A private key, parsed once: that takes longer than a signature.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    /// What its tokens begin with: their header, encoded, and a dot.
    prefix: Box<str>,
    /// What the world may know (RFC 7517 §4).
    jwk: Value,
}

impl Key {
    pub(super) fn generate() -> Result<Self, NoKey> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of(pair.map_err(|_| NoKey)?)
    }

    /// Reads PKCS #8 (RFC 5958), and the form of RFC 5915 that OpenSSL calls an EC private key.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, NoKey> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_der(algorithm, der);
        Self::of(pair.map_err(|_| NoKey)?)
    }

    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, NoKey> {
        let document = self.pair.to_pkcs8v1().map_err(|_| NoKey)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, NoKey> {
        // 4, x, y (SEC 1 §2.3.3)
        let Some((&[4], point)) = pair.public_key().as_ref().split_first_chunk() else {
            return Err(NoKey);
        };
        let (x, y) = point.split_at_checked(32).ok_or(NoKey)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 §3: these members, in this order, without a space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        let header = format!(r#"{{"alg":"ES256","kid":"{id}","typ":"JWT"}}"#);
        Ok(Self {
            pair,
            prefix: (URL_SAFE_NO_PAD.encode(header) + ".").into(),
            jwk: json!({
                "alg": "ES256", "crv": "P-256", "kid": id, "kty": "EC", "use": "sig", "x": x, "y": y,
            }),
        })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Names the key in tokens, and tells nothing of its secret.
    pub(super) fn id(&self) -> &str {
        self.jwk["kid"].as_str().unwrap_or_default()
    }

    pub(super) fn sign(&self, text: &str) -> Option<[u8; SIGNATURE]> {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes());
        signature.ok()?.as_ref().try_into().ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// Published keys (RFC 7517 §5).
pub(super) fn set<'k>(keys: impl Iterator<Item = &'k Key>) -> String {
    let keys: Vec<_> = keys.map(Key::jwk).collect();
    json!({ "keys": keys }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let key = Key::generate().unwrap();
        let again = Key::from_der(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!((key.id(), key.jwk()), (again.id(), again.jwk()));
        assert_eq!(key.id().len(), 43);
        assert!(!set([&key].into_iter()).contains("\"d\""), "the secret");
        assert!(!format!("{key:?}").contains('{'));
        assert_eq!(Key::from_der(b"no key").err(), Some(NoKey));
    }

    #[test]
    fn a_key_has_the_thumbprint_of_rfc_7638() {
        // RFC 7517 §A.2: the first key, for ECDSA with P-256.
        let d = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
        let d = URL_SAFE_NO_PAD.decode(d).unwrap();
        let sec1 = [
            &[0x30, 0x31, 2, 1, 1, 4, 32],
            &*d,
            &[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        ];
        let key = Key::from_der(&sec1.concat()).unwrap();
        assert_eq!(
            key.jwk()["x"],
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
        );
        assert_eq!(
            key.jwk()["y"],
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
        );
        // Of these two and the curve, by sha256sum.
        assert_eq!(key.id(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }
}
