//! The signature of a handshake by a certificate that is trusted as it is.
//!
//! rustls reads such a certificate by the rules for authorities, and takes no key from one of an
//! old version, with an extension that it does not know, or with a short key. For a certificate
//! that the operator has named, only its key matters.

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey,
};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use x509_parser::asn1_rs::Sequence;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// Below this, RSA is verified with the padding of PKCS #1 only, which TLS 1.3 has not.
const SHORT_RSA: usize = 2048;

/// What [`verify`] takes of a short key, over TLS 1.2.
pub(super) const SHORT_KEY_SCHEMES: [SignatureScheme; 2] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// The bits of the key, where that is a short one for RSA.
pub(super) fn short_key(certificate: &CertificateDer<'_>) -> Option<usize> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(key.key_size()).filter(|&bits| bits < SHORT_RSA),
        _ => None,
    }
}

/// Whether the owner of this certificate has signed `message`. In TLS 1.3, a `scheme` has one
/// algorithm only, the first.
pub(super) fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    is_tls13: bool,
) -> Result<(), CertificateError> {
    let is_short = short_key(certificate).is_some();
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let info = certificate.public_key();
    let key = &*info.subject_public_key.data;
    if is_short {
        let algorithm = match signed.scheme {
            _ if is_tls13 => None,
            SignatureScheme::RSA_PKCS1_SHA256 => {
                Some(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
            }
            SignatureScheme::RSA_PKCS1_SHA512 => {
                Some(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
            }
            _ => None,
        };
        let algorithm = algorithm.ok_or(CertificateError::BadSignature)?;
        let key = UnparsedPublicKey::new(algorithm, key);
        let verified = key.verify(message, signed.signature());
        return verified.map_err(|_| CertificateError::BadSignature);
    }
    let id = algorithm_id(info.raw).ok_or(CertificateError::BadEncoding)?;
    let mapped = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme);
    let candidates = mapped.map_or(&[][..], |(_, algorithms)| algorithms);
    let candidates = &candidates[..if is_tls13 {
        candidates.len().min(1)
    } else {
        candidates.len()
    }];
    let algorithm =
        (candidates.iter()).find(|candidate| candidate.public_key_alg_id().as_ref() == id);
    let algorithm = algorithm.ok_or(CertificateError::BadSignature)?;
    let verified = algorithm.verify_signature(key, message, signed.signature());
    verified.map_err(|_| CertificateError::BadSignature)
}

/// What is inside the `AlgorithmIdentifier` of a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
fn algorithm_id(info: &[u8]) -> Option<Vec<u8>> {
    let (_, info) = Sequence::from_der(info).ok()?;
    let (_, id) = Sequence::from_der(&info.content).ok()?;
    Some(id.content.into_owned())
}
