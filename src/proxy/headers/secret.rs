//! A header whose value is in a file of its own, as credentials are.

use std::fmt;
use std::io;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use crate::regular_file::{self, Distrust, Owners, SecretError};
use crate::upstream::signs_connection_in;

/// Of a header, and of the file that its value is read from.
#[derive(Clone, Debug)]
pub(crate) struct SecretHeader {
    pub(crate) name: HeaderName,
    pub(crate) file: PathBuf,
    /// In the configuration, for people.
    pub(crate) line: usize,
    /// Only the service itself would see it then.
    pub(crate) may_be_credential: bool,
}

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum SecretHeaderError {
    /// NTLM and the like (SEC-92).
    Connection(PathBuf),
    /// Nothing, or something that no header can have (SEC-40).
    NoValue(PathBuf),
    /// Somebody else on the machine could read it (SEC-79); the mode it has.
    TooOpen(PathBuf, u32),
    Unreadable(PathBuf, io::Error),
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
}

impl SecretHeader {
    /// As [`read`](Self::read), for the service itself.
    pub(super) fn read_trusted(&self) -> Result<HeaderValue, SecretHeaderError> {
        regular_file::trust(&self.file, &Owners::own()).map_err(SecretHeaderError::Untrusted)?;
        self.read()
    }

    /// The one line of the file. A group that exists for it may read it, too, as with keys.
    pub(crate) fn read(&self) -> Result<HeaderValue, SecretHeaderError> {
        let path = || self.file.clone();
        let content = regular_file::secret(&self.file).map_err(|error| match error {
            SecretError::TooOpen(mode) => SecretHeaderError::TooOpen(path(), mode),
            SecretError::Io(error) => SecretHeaderError::Unreadable(path(), error),
        })?;
        // Windows puts a byte order mark in front.
        let marked = content.strip_prefix("\u{feff}".as_bytes());
        let line = marked.unwrap_or(&content);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_visible = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
        let value = Some(line).filter(|line| !line.is_empty() && line.iter().all(is_visible));
        let value = value.and_then(|line| HeaderValue::from_bytes(line).ok());
        let mut value = value.ok_or_else(|| SecretHeaderError::NoValue(path()))?;
        if self.name == http::header::AUTHORIZATION && signs_connection_in(&value) {
            return Err(SecretHeaderError::Connection(path()));
        }
        value.set_sensitive(true);
        Ok(value)
    }
}

impl SecretHeaderError {
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Connection(_) => {
                "NTLM and Negotiate sign a connection in: no fixed value can".to_owned()
            }
            Self::NoValue(_) => {
                "its content is not one line of visible ASCII characters".to_owned()
            }
            Self::TooOpen(_, mode) => format!("others can read or change it (mode {mode:04o})"),
            Self::Unreadable(_, error) => format!("it cannot be read: {error}"),
            Self::Untrusted(distrust) => distrust.message(),
        }
    }

    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Connection(_) => "use another scheme, such as Basic".to_owned(),
            Self::NoValue(_) => {
                "write the whole value into it, as in: Basic dXNlcjpwYXNz".to_owned()
            }
            Self::TooOpen(path, _) => format!("chmod 600 {}", regular_file::shell(path)),
            Self::Unreadable(..) => {
                "put it there, readable for the user of the service, or name another file in \
                 `set_file`"
                    .to_owned()
            }
            Self::Untrusted(distrust) => distrust.fix(),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        match self {
            Self::Connection(path)
            | Self::NoValue(path)
            | Self::TooOpen(path, _)
            | Self::Unreadable(path, _) => path,
            Self::Untrusted(distrust) => distrust.path(),
        }
    }
}

impl fmt::Display for SecretHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        write!(f, "{path}: {}; {}", self.message(), self.fix())
    }
}

impl std::error::Error for SecretHeaderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Untrusted(distrust) => Some(distrust),
            Self::Connection(_) | Self::NoValue(_) | Self::TooOpen(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_header_is_one_line_of_a_file_that_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let header = SecretHeader {
            name: http::header::AUTHORIZATION,
            file: file.clone(),
            line: 1,
            may_be_credential: false,
        };
        let read = |content: &[u8], mode| {
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            header.read()
        };
        for content in [&b"Basic {a}=="[..], b"Basic {a}==\n", b"Basic {a}==\r\n"] {
            let value = read(content, 0o600).unwrap();
            assert_eq!(value, "Basic {a}==", "as it is, and no template");
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
        assert!(read(b"a", 0o440).is_ok(), "as systemd gives credentials");
        for content in [
            &b""[..],
            b"\n",
            b"a\nb",
            b"a\n\n",
            "\u{e9}".as_bytes(),
            b"a\0",
            b"a\tb",
        ] {
            let refused = read(content, 0o600);
            assert!(
                matches!(refused, Err(SecretHeaderError::NoValue(_))),
                "{content:?}"
            );
        }
        let open = read(b"a", 0o644);
        assert!(matches!(open, Err(SecretHeaderError::TooOpen(_, 0o644))));
        let ntlm = read(b"ntlm abc", 0o600);
        assert!(matches!(ntlm, Err(SecretHeaderError::Connection(_))));
        fs::remove_file(&file).unwrap();
        assert!(matches!(
            header.read(),
            Err(SecretHeaderError::Unreadable(..))
        ));
    }
}
