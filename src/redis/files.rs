//! Secrets of the configuration: in it, or in files of their own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::KeyFault;
use crate::pem_file::Unfit;
use crate::regular_file::{self, Distrust, Owners, SecretError, shell};
use crate::secret::Secret;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Given(Secret<String>),
    File {
        path: PathBuf,
        /// Only the service itself would see it then.
        may_be_credential: bool,
    },
}

/// A file that cannot be used.
#[derive(Debug)]
pub(crate) enum FileError {
    /// No key, or a wrong one; `None` is in the configuration itself.
    Key(Option<PathBuf>, KeyFault),
    /// The file with the key is missing.
    NoKey(PathBuf, io::Error),
    /// Not one line of text.
    NoPassword(PathBuf),
    /// Others can read or change it (SEC-79); the mode it has.
    TooOpen(PathBuf, u32),
    Unreadable(PathBuf, io::Error),
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
    Pem(Unfit),
    /// What rustls says of a certificate and its key.
    Tls(PathBuf, rustls::Error),
}

impl SecretSource {
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Given(_) => None,
            Self::File { path, .. } => Some(path.clone()),
        }
    }

    /// The text, whoever its file belongs to.
    pub(crate) fn read(&self) -> Result<Secret<String>, FileError> {
        let path = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::File { path, .. } => path,
        };
        let content = regular_file::secret(path);
        let content = content.map_err(|error| FileError::of_secret(path, error))?;
        let text = regular_file::decode(content.to_vec(), path);
        text.map(Secret::new)
            .map_err(|error| FileError::Unreadable(path.clone(), error))
    }

    /// The one line of a password.
    pub(crate) fn read_line(&self) -> Result<Secret<String>, FileError> {
        let text = self.read()?;
        let line = text.expose();
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.chars().any(char::is_control) {
            return Err(FileError::NoPassword(self.path().unwrap_or_default()));
        }
        Ok(Secret::new(line.to_owned()))
    }
}

/// Whether all of them belong to us, for the service itself.
pub(super) fn trust(files: &[PathBuf]) -> Result<(), FileError> {
    let owners = Owners::own();
    (files.iter())
        .try_for_each(|path| regular_file::trust(path, &owners))
        .map_err(FileError::Untrusted)
}

impl FileError {
    pub(super) fn of_secret(path: &Path, error: SecretError) -> Self {
        match error {
            SecretError::TooOpen(mode) => Self::TooOpen(path.to_owned(), mode),
            SecretError::Io(error) => Self::Unreadable(path.to_owned(), error),
        }
    }

    /// What it is about, for people.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Key(None, _) => "`key` in [session.redis]".to_owned(),
            Self::Key(Some(path), _)
            | Self::NoKey(path, _)
            | Self::NoPassword(path)
            | Self::TooOpen(path, _)
            | Self::Unreadable(path, _)
            | Self::Tls(path, _) => path.display().to_string(),
            Self::Untrusted(distrust) => distrust.path().display().to_string(),
            Self::Pem(unfit) => unfit.path().display().to_string(),
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Key(_, fault) => fault.to_string(),
            Self::NoPassword(_) => "its content is not one line of text".to_owned(),
            Self::TooOpen(_, mode) => format!("others can read or change it (mode {mode:04o})"),
            Self::NoKey(_, error) | Self::Unreadable(_, error) => {
                format!("it cannot be read: {error}")
            }
            Self::Untrusted(distrust) => distrust.message(),
            Self::Pem(unfit) => unfit.message(),
            Self::Tls(_, error) => format!("it cannot be used for TLS: {error}"),
        }
    }

    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Key(path, KeyFault::None) => {
                let path = path.as_deref().unwrap_or(Path::new("redis.key"));
                format!("make one with {}", make_key(path))
            }
            // What can be read now is sealed with the other lines: none of them may be lost.
            Self::Key(_, KeyFault::TooMany) => {
                "take out lines whose sessions are over, the last ones first".to_owned()
            }
            Self::Key(
                _,
                KeyFault::Length(line, _) | KeyFault::NotAKey(line) | KeyFault::Twice(line),
            ) => format!("correct line {line}, or take it out"),
            Self::NoKey(path, _) => format!(
                "copy it from another node, or for the first one make it with {}",
                make_key(path)
            ),
            Self::NoPassword(_) => "write the password into it, and nothing else".to_owned(),
            Self::TooOpen(path, _) => format!("do `chmod 600 {}`", shell(path)),
            Self::Unreadable(..) => {
                "put it there, readable for the user of the service, or name another file in \
                 [session.redis]"
                    .to_owned()
            }
            Self::Untrusted(distrust) => format!("do `{}`", distrust.fix()),
            Self::Pem(unfit) => unfit.fix(),
            Self::Tls(..) => {
                "name a certificate in `cert` and its own key in `client_key`".to_owned()
            }
        }
    }
}

/// The command that makes a key, in a file that nobody else can read.
pub(crate) fn make_key(path: &Path) -> String {
    format!("`(umask 077; openssl rand -base64 32 > {})`", shell(path))
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, message, fix) = (self.subject(), self.message(), self.fix());
        write!(f, "{subject}: {message}; {fix}")
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoKey(_, error) | Self::Unreadable(_, error) => Some(error),
            Self::Untrusted(distrust) => Some(distrust),
            Self::Pem(unfit) => Some(unfit),
            Self::Tls(_, error) => Some(error),
            Self::Key(_, fault) => Some(fault),
            Self::NoPassword(_) | Self::TooOpen(..) => None,
        }
    }
}
