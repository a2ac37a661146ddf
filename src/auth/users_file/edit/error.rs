//! Why the users file was not changed.

use std::fmt;

use crate::auth::users_file::UsersFileError;
use crate::regular_file::operand;

/// Why a user was not changed.
#[derive(Debug)]
pub(crate) enum EditError {
    File(UsersFileError),
    /// `add` of somebody who is there, by the name in the file.
    NameTaken(String),
    NoSuchUser {
        name: String,
        nearest: Option<String>,
    },
}

impl From<UsersFileError> for EditError {
    fn from(error: UsersFileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::NameTaken(name) => write!(
                f,
                "there is a user {shown:?} already; do `vestibule user passwd {name}` for another \
                 password, or `vestibule user remove {name}` first",
                shown = name,
                name = operand(name)
            ),
            Self::NoSuchUser {
                name,
                nearest: Some(nearest),
            } => write!(f, "there is no user {name:?}; did you mean {nearest:?}?"),
            Self::NoSuchUser {
                name,
                nearest: None,
            } => write!(
                f,
                "there is no user {name:?}; `vestibule user list` shows them all"
            ),
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::NameTaken(_) | Self::NoSuchUser { .. } => None,
        }
    }
}
