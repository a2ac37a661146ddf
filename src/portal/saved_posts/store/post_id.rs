//! The names of saved POSTs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::portal::pending::Name;
use crate::random::{NoRandomness, random};

/// Names a saved POST: 128 random bits. No secret: without the session, or the token of its page, it
/// opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PostId([u8; 16]);

impl PostId {
    /// Length of its text.
    pub(super) const TEXT: usize = 22;

    pub(super) fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// In the store of several nodes.
    pub(super) fn name(&self) -> Name {
        Name::of("post", &self.0)
    }

    /// Reads what [`Display`](fmt::Display) writes; everything else is no id.
    pub(in crate::portal) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (text.len() == Self::TEXT && length == bytes.len()).then_some(Self(bytes))
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
impl PostId {
    pub(in crate::portal) const ANY: Self = Self([7; 16]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one() {
        let id = PostId::generate().ok().unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), PostId::TEXT);
        assert_eq!(PostId::parse(&text), Some(id));
        for forged in [
            "",
            "a",
            &text[1..],
            &format!("{text}="),
            &format!("{text}A"),
        ] {
            assert_eq!(PostId::parse(forged), None, "{forged}");
        }
    }
}
