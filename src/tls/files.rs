//! From a pair of files to a chain and its key.

use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::x509::{Details, weak_key, weak_private_key};
use super::{CertificateFiles, TlsError};
use crate::pem_file::{self, Wanted};
use crate::regular_file::{self, SecretError};

/// At least one certificate.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = regular_file::open(path).and_then(|file| regular_file::read(&file));
    let pem = pem.map_err(|error| TlsError::Unreadable(path.to_owned(), error))?;
    pem_file::certificates(path, &pem, Wanted::Chain).map_err(TlsError::File)
}

/// At least one, in a file that nobody else may read (SEC-79).
pub(super) fn read_keys(path: &Path) -> Result<Vec<PrivateKeyDer<'static>>, TlsError> {
    let pem = regular_file::secret(path).map_err(|error| match error {
        SecretError::TooOpen(mode) => TlsError::KeyTooOpen(path.to_owned(), mode),
        SecretError::Io(error) => TlsError::Unreadable(path.to_owned(), error),
    })?;
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
    let weak = chain.first().and_then(|first| weak_key(first));
    let is_unusable = |error: &rustls::Error| !matches!(error, rustls::Error::InconsistentKeys(_));
    let weak = weak.or_else(|| {
        refused.as_ref().filter(|error| is_unusable(error))?;
        keys.iter().find_map(weak_private_key)
    });
    Err(match (weak, refused) {
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
    })
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn files(key: &Path) -> CertificateFiles {
        CertificateFiles {
            key: key.to_owned(),
            cert: PathBuf::from("cert.pem"),
            line: 1,
            may_be_credentials: false,
        }
    }

    /// RFC 8410 §7, with zeros for the key.
    fn key(algorithm: u8, length: u8) -> PrivateKeyDer<'static> {
        let mut der = vec![
            0x30,
            length + 14,
            2,
            1,
            0,
            0x30,
            5,
            6,
            3,
            0x2b,
            0x65,
            algorithm,
        ];
        der.extend([4, length + 2, 4, length]);
        der.resize(der.len() + usize::from(length), 0);
        PrivatePkcs8KeyDer::from(der).into()
    }

    #[test]
    fn a_key_of_another_algorithm_is_called_by_it() {
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
        let chain = [params.self_signed(&own).unwrap().into()];
        let files = files(Path::new("key.pem"));
        for (algorithm, length, name) in [
            (0x6e, 32, "X25519"),
            (0x6f, 56, "X448"),
            (0x71, 57, "Ed448"),
        ] {
            let error = pair(&files, &chain, &[key(algorithm, length)]).unwrap_err();
            let expected = format!(
                "the key is {name}, which TLS here does not take; it takes RSA with 2048 to 8192 \
                 bits, ECDSA with P-256, P-384 or P-521, and Ed25519"
            );
            assert_eq!(error.message(), expected);
            assert!(error.fix().starts_with("make a new one with `openssl req"));
        }
    }

    #[test]
    fn a_folder_or_device_in_place_of_a_key_has_no_place_for_a_file() {
        let missing = read_keys(Path::new("/nowhere/key.pem")).unwrap_err();
        assert_eq!(
            missing.fix(),
            "put it there, or name another file in `cert` and `key`"
        );
        for path in ["/", "/dev/null"] {
            let taken = read_keys(Path::new(path)).unwrap_err();
            assert_eq!(taken.fix(), "name another file in `cert` and `key`");
        }
    }
}
