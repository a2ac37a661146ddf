//! From a pair of files to a chain and its key.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::x509::{Details, weak_key};
use super::{CertificateFiles, TlsError};
use crate::pem_file::{self, Wanted};
use crate::regular_file;

/// At least one certificate.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = regular_file::open(path).and_then(|file| regular_file::read(&file));
    let pem = pem.map_err(|error| TlsError::Unreadable(path.to_owned(), error))?;
    pem_file::certificates(path, &pem, Wanted::Chain).map_err(TlsError::File)
}

/// At least one. Keys may be read by their owner and by a group that exists for them, as Debian's
/// ssl-cert, and by nobody else (SEC-79).
pub(super) fn read_keys(path: &Path) -> Result<Vec<PrivateKeyDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let file = regular_file::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(TlsError::KeyTooOpen(path.to_owned(), mode));
    }
    let pem = Zeroizing::new(regular_file::read(&file).map_err(unreadable)?);
    pem_file::keys(path, &pem).map_err(TlsError::File)
}

/// A chain and the key of its first certificate, which is one of `keys`.
pub(super) fn pair(
    files: &CertificateFiles,
    chain: &[CertificateDer<'static>],
    keys: &[PrivateKeyDer<'static>],
) -> Result<CertifiedKey, TlsError> {
    let mut refused = None;
    for key in keys {
        match fit(chain, key) {
            Ok(pair) => return Ok(pair),
            // The key itself has been read then.
            Err(rustls::Error::InvalidCertificate(error)) => {
                return Err(TlsError::Damaged(files.cert.clone(), error));
            }
            Err(error @ rustls::Error::InconsistentKeys(_)) => refused = Some(error),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    if let Some(rustls::Error::InconsistentKeys(_)) | None = refused
        && let Some(first) = own(chain, keys)
    {
        let details: Vec<_> = chain.iter().map_while(|der| Details::read(der)).collect();
        return Err(TlsError::NotFirst(files.clone(), order(&details, first)));
    }
    let first = chain.first().and_then(|first| Details::read(first));
    Err(
        match (chain.first().and_then(|first| weak_key(first)), refused) {
            (Some(kind), _) => {
                let names = first.map(|details| details.names).unwrap_or_default();
                TlsError::WeakKey(files.key.clone(), kind, names)
            }
            (None, None | Some(rustls::Error::InconsistentKeys(_))) => match first {
                Some(first) if first.is_authority && !first.is_self_issued() => {
                    TlsError::NoEndEntity(files.clone())
                }
                _ => TlsError::Mismatch(files.clone()),
            },
            (None, Some(error)) => TlsError::UnusableKey(files.key.clone(), error),
        },
    )
}

fn fit(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(
        chain.to_vec(),
        key.clone_key(),
        &aws_lc_rs::default_provider(),
    )
}

/// Whose one of the keys is when it is not the first certificate's; counted from zero.
fn own(chain: &[CertificateDer<'static>], keys: &[PrivateKeyDer<'static>]) -> Option<usize> {
    let is_own = |first: &usize| keys.iter().any(|key| fit(&chain[*first..], key).is_ok());
    (1..chain.len()).find(is_own)
}

/// The numbers of the certificates from `first` on, each signed by the next one (RFC 8446 §4.4.2);
/// they count from one, `first` from zero.
pub(crate) fn order(chain: &[Details], first: usize) -> Vec<usize> {
    let (mut order, mut last) = (vec![first], first);
    while let Some(current) = chain.get(last)
        && let Some(next) =
            (0..chain.len()).find(|at| !order.contains(at) && chain[*at].subject == current.issuer)
    {
        order.push(next);
        last = next;
    }
    order.iter().map(|at| at + 1).collect()
}
