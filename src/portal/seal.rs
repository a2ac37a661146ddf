//! Texts that leave with a browser and come back: signed, so that they come back as they left.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::nodes::{KeyRing, RingKey};

/// What a text is for: one of another purpose is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Where a login on another host leads, and for which browser.
    State,
    /// The session that a sign-out on another host is about.
    SignOut,
    /// What a sign-out has ended.
    SignedOut,
}

/// Signs and opens them.
pub(super) struct Seal(Arc<KeyRing>);

impl Seal {
    pub(super) fn new(keys: Arc<KeyRing>) -> Self {
        Self(keys)
    }

    /// The text and its signature, of letters, digits, `-`, `_` and a dot.
    pub(super) fn close(&self, purpose: Purpose, text: &str) -> String {
        let signature = mac(self.0.keys().current(), purpose, text);
        let signature = signature.finalize().into_bytes();
        let [text, signature] =
            [text.as_bytes(), &signature].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{text}.{signature}")
    }

    /// The text, if this process, or another node, has signed it for that purpose.
    pub(super) fn open(&self, purpose: Purpose, sealed: &str) -> Option<String> {
        let (text, signature) = sealed.split_once('.')?;
        let [text, signature] = [text, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let text = String::from_utf8(text?).ok()?;
        let (keys, signature) = (self.0.keys(), signature?);
        let signs = |key| mac(key, purpose, &text).verify_slice(&signature).is_ok();
        let is_signed = keys.accepted().any(signs);
        is_signed.then_some(text)
    }
}

fn mac(key: &RingKey, purpose: Purpose, text: &str) -> Hmac<Sha256> {
    let key = key.derive::<32>("seal", b"");
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("any length will do");
    mac.update(match purpose {
        Purpose::State => b"state\0",
        Purpose::SignOut => b"sign out\0",
        Purpose::SignedOut => b"signed out\0",
    });
    mac.update(text.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::RingOf;

    #[test]
    fn sec_97_only_what_was_signed_for_a_purpose_is_opened_for_it() {
        let seal = Seal::new(KeyRing::alone(RingOf::Forms));
        let text = "a\nb c\u{e9}";
        let sealed = seal.close(Purpose::State, text);
        assert_eq!(seal.open(Purpose::State, &sealed).as_deref(), Some(text));
        assert_eq!(seal.open(Purpose::SignOut, &sealed), None);
        let other = Seal::new(KeyRing::alone(RingOf::Forms));
        assert_eq!(other.open(Purpose::State, &sealed), None);
        let (body, signature) = sealed.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode("a\nb");
        for forged in [
            "",
            ".",
            body,
            &format!("{body}."),
            &format!(".{signature}"),
            &format!("{other}.{signature}"),
            &format!("{body}.{}", &signature[1..]),
            &format!("{sealed}A"),
            &format!("{sealed}="),
            &format!("{sealed}.{signature}"),
            &sealed.to_uppercase(),
        ] {
            assert_eq!(seal.open(Purpose::State, forged), None, "{forged}");
        }
    }
}
