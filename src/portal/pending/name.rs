//! What owners, and what they have, are called in the store.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A hash: whoever reads the names in the store learns no cookie, and no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::portal) struct Name([u8; Name::BYTES]);

impl Name {
    const BYTES: usize = 16;

    /// `kind` tells apart what could be called alike.
    pub(in crate::portal) fn of(kind: &str, name: &[u8]) -> Self {
        debug_assert!(!kind.contains('\0'));
        let hash = Sha256::new()
            .chain_update(kind)
            .chain_update(b"\0")
            .chain_update(name)
            .finalize();
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&hash[..Self::BYTES]);
        Self(bytes)
    }

    /// As [`Display`](fmt::Display) writes it.
    #[cfg(feature = "redis")]
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
