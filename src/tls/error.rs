//! Why TLS cannot be offered: what is wrong with which file, and the command that mends it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::CertificateError;

use super::CertificateFiles;
use super::x509::WeakKey;
use crate::pem_file::{Unfit, Wanted, converted};
use crate::regular_file::{Distrust, shell};

#[derive(Debug)]
pub(crate) enum TlsError {
    /// The first certificate of the chain is PEM, and no certificate inside.
    Damaged(PathBuf, CertificateError),
    /// The key is of a kind that TLS does not take.
    WeakKey(PathBuf, WeakKey, Vec<String>),
    /// The key of this file belongs to none of the certificates in the other one.
    Mismatch(CertificateFiles),
    /// It is of a kind that TLS cannot use, for another reason.
    UnusableKey(PathBuf, rustls::Error),
    /// The key belongs to a certificate of the chain that is not the first. The numbers of the
    /// certificates, counted from one, in the order that they have to have.
    NotFirst(CertificateFiles, Vec<usize>),
    /// There are only authorities in the chain.
    NoEndEntity(CertificateFiles),
    /// Something else than PEM with what is wanted, or broken.
    File(Unfit),
    /// Somebody else on the machine could read the key (SEC-79); the mode it has.
    KeyTooOpen(PathBuf, u32),
    Tls(rustls::Error),
    Unreadable(PathBuf, io::Error),
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
}

/// What to do with a damaged file.
pub(crate) const ANEW: &str = "the file is damaged: get a new copy from its issuer";

/// The keys that are no [`WeakKey`].
const TAKEN: &str = "RSA with 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, and Ed25519";

const ORDER: &str =
    "put the server's own certificate first, then the one that signed it, and so on";

impl TlsError {
    /// The file to look at.
    pub(crate) fn path(&self) -> Option<&Path> {
        Some(match self {
            Self::Damaged(path, _)
            | Self::WeakKey(path, ..)
            | Self::UnusableKey(path, _)
            | Self::KeyTooOpen(path, _)
            | Self::Unreadable(path, _) => path,
            Self::Mismatch(files) | Self::NotFirst(files, _) => &files.key,
            Self::NoEndEntity(files) => &files.cert,
            Self::File(unfit) => unfit.path(),
            Self::Untrusted(distrust) => distrust.path(),
            Self::Tls(_) => return None,
        })
    }

    /// What is wrong with it.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Damaged(_, error) => format!("its first certificate cannot be read: {error}"),
            Self::WeakKey(_, kind, _) => {
                format!("the key is {kind}, which TLS here does not take; it takes {TAKEN}")
            }
            Self::Mismatch(files) => {
                format!("this is not the key of {}", files.cert.display())
            }
            Self::UnusableKey(..) => format!("TLS here cannot use this key; it takes {TAKEN}"),
            Self::NotFirst(files, order) => {
                let number = order.first().copied().unwrap_or_default();
                let cert = files.cert.display();
                format!("this is the key of certificate {number} in {cert}")
            }
            Self::NoEndEntity(files) => format!(
                "there are only certificates of authorities in it, none for {}",
                files.key.display()
            ),
            Self::File(unfit) => unfit.message(),
            Self::KeyTooOpen(_, mode) => {
                format!("others can read or change the key (mode {mode:04o})")
            }
            Self::Tls(error) => format!("TLS cannot be set up: {error}"),
            Self::Unreadable(_, error) => format!("it cannot be read: {error}"),
            Self::Untrusted(distrust) => distrust.message(),
        }
    }

    /// A command, where one mends it.
    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Damaged(..) => ANEW.to_owned(),
            Self::WeakKey(path, _, names) => {
                let key = converted(path, Wanted::Key);
                let request = shell(&key.with_extension("csr"));
                format!(
                    "make a new one with `openssl req -new -newkey rsa:2048 -nodes -keyout {} \
                     -out {request}{}`, and have a certificate made of {request}",
                    shell(&key),
                    subject(names)
                )
            }
            Self::Mismatch(_) => {
                "name the key that the certificate was made with; a renewal may have changed both"
                    .to_owned()
            }
            Self::NotFirst(files, order) => reorder(&files.cert, order),
            Self::NoEndEntity(files) => {
                let (cert, new) = (&files.cert, converted(&files.cert, Wanted::Chain));
                format!(
                    "put the server's own certificate in front: do `cat OWN.pem {} > {}` with its \
                     file for OWN.pem, and name {} in `cert`",
                    shell(cert),
                    shell(&new),
                    new.display()
                )
            }
            Self::File(unfit) => unfit.fix(),
            Self::KeyTooOpen(path, _) => format!("chmod 600 {}", shell(path)),
            Self::UnusableKey(..) | Self::Tls(_) => {
                "make a new pair, of ECDSA P-256 or RSA with 2048 bits or more".to_owned()
            }
            Self::Unreadable(_, error) if error.kind() != io::ErrorKind::NotFound => {
                "name another file in `cert` and `key`".to_owned()
            }
            Self::Unreadable(..) => {
                "put it there, or name another file in `cert` and `key`".to_owned()
            }
            Self::Untrusted(distrust) => distrust.fix(),
        }
    }
}

/// How a chain gets into this order.
pub(crate) fn reorder(cert: &Path, order: &[usize]) -> String {
    let new = converted(cert, Wanted::Chain);
    let numbers = order.iter().map(usize::to_string).collect::<Vec<_>>();
    format!(
        "{ORDER}: do `for n in {}; do awk -v n=$n '/BEGIN CERT/{{i++; on=1}} on && i==n; /END \
         CERT/{{on=0}}' {}; done > {}`, and name {} in `cert`",
        numbers.join(" "),
        shell(cert),
        shell(&new),
        new.display()
    )
}

/// For a request that needs no further questions.
fn subject(names: &[String]) -> String {
    let Some(first) = names.first() else {
        return String::new();
    };
    let kind = |name: &String| match name.parse::<std::net::IpAddr>() {
        Ok(_) => format!("IP:{name}"),
        Err(_) => format!("DNS:{name}"),
    };
    let all = names.iter().map(kind).collect::<Vec<_>>().join(",");
    let quoted = |text: String| shell(Path::new(&text));
    format!(
        " -subj {} -addext {}",
        quoted(format!("/CN={first}")),
        quoted(format!("subjectAltName={all}"))
    )
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(distrust) => distrust.fmt(f),
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            _ => {
                if let Some(path) = self.path() {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "{}; {}", self.message(), self.fix())
            }
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnusableKey(_, error) | Self::Tls(error) => Some(error),
            Self::File(unfit) => Some(unfit),
            Self::Unreadable(_, error) => Some(error),
            Self::Untrusted(distrust) => Some(distrust),
            Self::Damaged(..)
            | Self::WeakKey(..)
            | Self::Mismatch(_)
            | Self::NotFirst(..)
            | Self::NoEndEntity(_)
            | Self::KeyTooOpen(..) => None,
        }
    }
}
