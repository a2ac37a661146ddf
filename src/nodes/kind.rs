//! What there is to say of a small value, and of why there is none.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a node that is alone keeps none")
)]

use std::fmt;

/// What a value is, how it is written, and how large it may be. Two kinds have two names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(super) name: &'static str,
    pub(super) version: u8,
    pub(super) most: usize,
}

impl Kind {
    /// `name` stands in the keys of the store. `version` is how this program writes values of the
    /// kind, of `most` bytes at most.
    pub(crate) const fn new(name: &'static str, version: u8, most: usize) -> Self {
        Self {
            name,
            version,
            most,
        }
    }
}

/// Why a value was not kept or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// It was changed, or another key has sealed it. It stays where it is, except when it was to be
    /// taken.
    Damaged,
    /// The store has no memory left.
    Full,
    /// A later version of Vestibule has written it.
    Newer,
    NoRandomness,
    /// Larger than its kind may be: it was not sent, or was not read.
    TooLarge,
    /// The store cannot be reached, or refuses, as the log says. Whether anything was done is not
    /// known.
    Unavailable,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "it is damaged, or sealed by another key",
            Self::Full => "the session store has no memory left",
            Self::Newer => "a later version of Vestibule has written it",
            Self::NoRandomness => "the system gives no random bytes",
            Self::TooLarge => "it is larger than it may be",
            Self::Unavailable => "the session store cannot be reached",
        })
    }
}

impl std::error::Error for ValueError {}
