//! Files with secrets, which nobody else may read (SEC-79).

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// Why a secret is not read.
#[derive(Debug)]
pub(crate) enum SecretError {
    /// Others can read or change the file; the mode it has.
    TooOpen(u32),
    Io(io::Error),
}

impl From<io::Error> for SecretError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The content of a file that its owner may read, and a group that exists for it, as Debian's
/// ssl-cert, and nobody else.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let file = super::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(SecretError::TooOpen(mode));
    }
    Ok(Zeroizing::new(super::read(&file)?))
}
