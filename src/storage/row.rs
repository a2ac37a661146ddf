//! Rows in JSON. Each says the oldest version whose readers understand it, not the one that wrote it:
//! new fields that readers may leave out do not raise it. So a file goes up and down by one version
//! (REL-19); what a reader does not understand it leaves alone.

use std::fmt;

use serde::Deserialize;

/// Why a row cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It needs a reader of this version.
    Version(u32),
    Malformed(serde_json::Error),
    /// The field of this name holds none of its values.
    Value(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "a later version of vestibule wrote it (format {version})"
            ),
            Self::Malformed(error) => error.fmt(f),
            Self::Value(field) => write!(f, "the field `{field}` has no valid value"),
        }
    }
}

/// A row whose field `v` is its version.
pub(crate) trait Versioned {
    /// The newest that is understood here.
    const NEWEST: u32;

    fn version(&self) -> u32;
}

/// What a row of any version says of itself.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "v")]
    version: u32,
}

pub(crate) fn decode<'r, R: Versioned + Deserialize<'r>>(bytes: &'r [u8]) -> Result<R, Unreadable> {
    let row = serde_json::from_slice::<R>(bytes);
    let version = row.as_ref().map(R::version).ok().or_else(|| {
        let header = serde_json::from_slice::<Header>(bytes);
        header.ok().map(|header| header.version)
    });
    match version {
        Some(version) if version > R::NEWEST => Err(Unreadable::Version(version)),
        _ => row.map_err(Unreadable::Malformed),
    }
}
