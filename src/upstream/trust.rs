//! Which certificate an https upstream may show.
//!
//! An appliance often has one that it has signed itself, without a name, or with another one than
//! it is reached by. Such a certificate is trusted when the operator names that very one, in
//! `upstream_ca` or by its fingerprint: what an authority vouches for does not matter then.

mod p521;
mod signature;
mod untrusted;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS12;
use rustls::{
    ALL_VERSIONS, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{OpenError, Settings};
use crate::pem_file::{self, Wanted};
use crate::regular_file;
use p521::P521;
use untrusted::Cause;
pub(crate) use untrusted::Untrusted;

/// SHA-256 of a certificate, which is that of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of no certificate that anybody has.
    pub(super) const NONE: Self = Self([0; 32]);

    /// Reads `sha256:` and hexadecimal digits, with or without colons between the bytes, as
    /// `openssl x509 -fingerprint -sha256` prints them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.replace(':', "");
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How TLS is spoken with the addresses of an app.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) usual: Arc<ClientConfig>,
    /// For certificates with a short key that are trusted as they are: over TLS 1.2.
    pub(super) short_key: Option<Arc<ClientConfig>>,
}

/// Trust for https upstreams: the certificate of the pin, else those of the file and what their
/// authorities have signed, else what the authorities of the system have.
pub(super) fn clients(settings: &Settings) -> Result<Clients, OpenError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.push(&P521);
    let provider = Arc::new(provider);
    let usual = Verifier::new(settings, &provider)?;
    let short_key = Verifier {
        known: usual.known.clone(),
        authorities: None,
        algorithms: usual.algorithms,
        takes_short_keys: true,
    };
    let config = |verifier, versions: &[&'static SupportedProtocolVersion]| {
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let mut config = config
            .with_protocol_versions(versions)
            .map_err(OpenError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    let short_key = (!short_key.known.is_empty()).then(|| config(short_key, &[&TLS12]));
    Ok(Clients {
        usual: config(usual, ALL_VERSIONS)?,
        short_key: short_key.transpose()?,
    })
}

#[derive(Debug)]
struct Verifier {
    /// Certificates that are trusted as they are.
    known: Vec<Fingerprint>,
    /// `None` where no others are.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    takes_short_keys: bool,
}

impl Verifier {
    fn new(settings: &Settings, provider: &Arc<CryptoProvider>) -> Result<Self, OpenError> {
        let (mut known, mut roots) = (settings.pins.clone(), RootCertStore::empty());
        match &settings.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    known.push(Fingerprint::of(&certificate));
                    if let Err(error) = roots.add(certificate.clone())
                        && X509Certificate::from_der(&certificate).is_err()
                    {
                        return Err(OpenError::Authority(path.clone(), error));
                    }
                }
            }
            None if known.is_empty() => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            None => {}
        }
        if roots.is_empty() && known.is_empty() {
            return Err(OpenError::NoAuthorities);
        }
        let authorities = (!roots.is_empty()).then(|| {
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider)).build()
        });
        Ok(Self {
            known,
            authorities: authorities
                .transpose()
                .map_err(|_| OpenError::NoAuthorities)?,
            algorithms: provider.signature_verification_algorithms,
            takes_short_keys: false,
        })
    }

    /// What rustls has found, unless the certificate is trusted as it is: then only its key matters.
    fn verified(
        &self,
        verified: Result<HandshakeSignatureValid, rustls::Error>,
        certificate: &CertificateDer<'_>,
        verify: impl FnOnce() -> Result<(), CertificateError>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let fingerprint = Fingerprint::of(certificate);
        match verified {
            Err(rustls::Error::InvalidCertificate(_)) if self.known.contains(&fingerprint) => {
                match verify() {
                    Ok(()) => Ok(HandshakeSignatureValid::assertion()),
                    Err(_) => Err(Untrusted::error(certificate, Cause::Signature)),
                }
            }
            verified => verified,
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let pem = regular_file::open(path).and_then(|file| regular_file::read(&file));
    let pem = pem.map_err(|error| OpenError::Unreadable(path.to_owned(), error))?;
    pem_file::certificates(path, &pem, Wanted::Authorities).map_err(OpenError::Authorities)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(certificate);
        if self.known.contains(&fingerprint) {
            return match signature::short_key(certificate) {
                Some(bits) if !self.takes_short_keys => {
                    Err(Untrusted::error(certificate, Cause::ShortKey(bits)))
                }
                _ => Ok(ServerCertVerified::assertion()),
            };
        }
        let cause = match &self.authorities {
            None => Cause::NotPinned,
            Some(authorities) => {
                match authorities.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                    Err(rustls::Error::InvalidCertificate(cause)) => Cause::Rules(cause),
                    verified => return verified,
                }
            }
        };
        Err(Untrusted::error(certificate, cause))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = verify_tls12_signature(message, certificate, signed, &self.algorithms);
        self.verified(verified, certificate, || {
            signature::verify(message, certificate, signed, &self.algorithms, false)
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = verify_tls13_signature(message, certificate, signed, &self.algorithms);
        self.verified(verified, certificate, || {
            signature::verify(message, certificate, signed, &self.algorithms, true)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if self.takes_short_keys {
            return signature::SHORT_KEY_SCHEMES.to_vec();
        }
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = format!("sha256:{}", "0a".repeat(32));
        let with_colons = format!("sha256:{}", ["0A"; 32].join(":"));
        let parsed = Fingerprint::parse(&plain).unwrap();
        assert_eq!(parsed, Fingerprint([10; 32]));
        assert_eq!(Fingerprint::parse(&with_colons), Some(parsed));
        assert_eq!(parsed.to_string(), plain);
        for wrong in [
            "",
            "sha256:",
            &plain[7..],
            &plain[..70],
            &format!("{plain}0"),
            &format!("sha1:{}", "0a".repeat(20)),
            &plain.replace("0a", "0g"),
            &plain.replacen('0', "é", 1),
        ] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
