//! What a user is called where names are not to be read.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::principal::user_name;

/// The beginning of the hash of a user's name, without case: the same for all that name one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserKey([u8; UserKey::BYTES]);

impl UserKey {
    pub(crate) const BYTES: usize = 8;

    pub(crate) fn of(user: &str) -> Self {
        let hash = Sha256::digest(user_name::key(user));
        Self(std::array::from_fn(|at| hash[at]))
    }

    #[cfg(feature = "redis")]
    pub(super) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Reads what [`Display`](fmt::Display) writes.
    #[cfg(feature = "redis")]
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let number = u64::from_str_radix(text, 16).ok()?;
        (text.len() == 2 * Self::BYTES).then(|| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
