//! Why there are no keys to sign with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{CREDENTIAL, FILE};
use crate::pem_file::Unfit;
use crate::regular_file::{Distrust, shell};

/// Why there are no keys to sign with.
#[derive(Debug)]
pub(crate) enum KeysError {
    /// The credential holds something else than ECDSA keys with P-256.
    Credential(PathBuf, Option<Unfit>),
    /// The file does not hold what was written into it.
    Damaged(PathBuf),
    Io(PathBuf, io::Error),
    /// The system makes no keys.
    NoRandomness,
    /// Others than its owner may read or write it (SEC-79); the mode it has.
    TooOpen(PathBuf, u32),
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
}

impl KeysError {
    /// Whether somebody has to fix something before another try makes sense.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Credential(..) | Self::Damaged(_) | Self::TooOpen(..) | Self::Untrusted(_) => {
                true
            }
            Self::Io(..) | Self::NoRandomness => false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Credential(path, _)
            | Self::Damaged(path)
            | Self::Io(path, _)
            | Self::TooOpen(path, _) => path,
            Self::NoRandomness => Path::new(FILE),
            Self::Untrusted(distrust) => distrust.path(),
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Credential(_, Some(unfit)) => unfit.message(),
            Self::Credential(_, None) => {
                "a key in it is none of ECDSA with P-256, which identity tokens are signed with"
                    .to_owned()
            }
            Self::Damaged(_) => "the file with the keys of identity tokens is damaged".to_owned(),
            Self::Io(_, error) => {
                format!("the keys of identity tokens cannot be read or written: {error}")
            }
            Self::NoRandomness => "the system makes no keys for identity tokens".to_owned(),
            Self::TooOpen(_, mode) => {
                format!("others may open the keys of identity tokens (mode {mode:04o})")
            }
            Self::Untrusted(distrust) => distrust.message(),
        }
    }

    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Credential(..) => format!(
                "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
                 -out {CREDENTIAL}.pem`"
            ),
            Self::Damaged(path) => {
                let path = shell(path);
                format!(
                    "put a copy of it back, or do `mv {path} {path}.damaged` and start again: apps \
                     refuse the new keys until they fetch them"
                )
            }
            Self::Io(..) => {
                "let the user of the service read and write it, and its folder".to_owned()
            }
            Self::NoRandomness => "start again".to_owned(),
            Self::TooOpen(path, _) => format!("do `chmod 600 {}`", shell(path)),
            Self::Untrusted(distrust) => format!("do `{}`", distrust.fix()),
        }
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        write!(f, "{path}: {}; {}", self.message(), self.fix())
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Credential(_, Some(unfit)) => Some(unfit),
            Self::Credential(_, None)
            | Self::Damaged(_)
            | Self::NoRandomness
            | Self::TooOpen(..)
            | Self::Untrusted(_) => None,
        }
    }
}
