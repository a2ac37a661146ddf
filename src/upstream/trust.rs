//! Which certificate an https upstream may show.
//!
//! An appliance often has one that it has signed itself, without a name, or with another one than
//! it is reached by. Such a certificate is trusted when the operator names that very one, in
//! `upstream_ca` or by its fingerprint: what an authority vouches for does not matter then.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{OpenError, Settings};
use crate::regular_file;

/// SHA-256 of a certificate, which is that of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
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

/// A certificate that is not trusted, and which one it is.
#[derive(Debug)]
pub(crate) struct Untrusted {
    cause: Cause,
    fingerprint: Fingerprint,
    /// The hosts and addresses that it is for.
    names: Vec<String>,
}

#[derive(Debug)]
enum Cause {
    /// It is not the one that the configuration names.
    NotPinned,
    Rules(CertificateError),
}

impl Untrusted {
    /// What is wrong with it; `certificate` is a word for it.
    pub(crate) fn problem(&self, certificate: impl fmt::Display) -> String {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
            NotValidYet, NotValidYetContext, Other, UnknownIssuer,
        };
        match &self.cause {
            Cause::NotPinned => format!("{certificate} is not the one of `upstream_pin`"),
            // The latter is of another authority with the same name.
            Cause::Rules(UnknownIssuer | BadSignature) => {
                format!("no authority that is trusted here has signed {certificate}")
            }
            Cause::Rules(NotValidForName | NotValidForNameContext { .. }) => {
                match &self.names[..] {
                    [] => format!("{certificate} names no host"),
                    names => format!("{certificate} is for another name: {}", names.join(", ")),
                }
            }
            Cause::Rules(Expired | ExpiredContext { .. }) => format!("{certificate} has ended"),
            Cause::Rules(NotValidYet | NotValidYetContext { .. }) => {
                format!("{certificate} is not valid yet")
            }
            Cause::Rules(Other(other)) if is_authority(other) => {
                format!("{certificate} is one of an authority, and not of a server")
            }
            Cause::Rules(other) => format!("{certificate} cannot be used: {other}"),
        }
    }

    /// What helps.
    pub(crate) fn help(&self) -> String {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
            NotValidYet, NotValidYetContext, UnknownIssuer,
        };
        let this_one = format!(
            "to trust this very certificate, put it into the file of `upstream_ca`, or compare its \
             fingerprint and write upstream_pin = \"{}\"",
            self.fingerprint
        );
        match &self.cause {
            Cause::NotPinned => format!(
                "if the app has a new one, compare its fingerprint and write upstream_pin = \"{}\"",
                self.fingerprint
            ),
            Cause::Rules(UnknownIssuer | BadSignature) => {
                format!("name the file with its authority in `upstream_ca`; {this_one}")
            }
            Cause::Rules(NotValidForName | NotValidForNameContext { .. }) => {
                let name = self.names.iter().find(|name| !name.contains('*'));
                match name {
                    Some(name) => format!("write upstream_server_name = \"{name}\"; {this_one}"),
                    None => this_one,
                }
            }
            Cause::Rules(Expired | ExpiredContext { .. }) => format!("renew it there; {this_one}"),
            Cause::Rules(NotValidYet | NotValidYetContext { .. }) => {
                format!("set the clocks right; {this_one}")
            }
            Cause::Rules(_) => this_one,
        }
    }

    /// The one that a handshake has failed for.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
                error.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.problem("the certificate of the application");
        write!(f, "{problem}; {}", self.help())
    }
}

impl Error for Untrusted {}

/// Whether it is what openssl makes by default: `CA:TRUE` for a server.
fn is_authority(error: &OtherError) -> bool {
    format!("{:?}", error.0).contains("CaUsedAsEndEntity")
}

/// Trust for https upstreams: the certificate of the pin, else those of the file and what their
/// authorities have signed, else what the authorities of the system have.
pub(super) fn client_config(settings: &Settings) -> Result<Arc<ClientConfig>, OpenError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(settings, &provider)?;
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .map_err(OpenError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Verifier {
    /// Certificates that are trusted as they are.
    known: Vec<Fingerprint>,
    /// `None` where no others are.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
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
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let unreadable = |error| OpenError::Authorities(path.to_owned(), error);
    let file = regular_file::open(path).and_then(|file| regular_file::read(&file));
    let pem = file.map_err(|error| unreadable(pem::Error::Io(error)))?;
    let certificates: Result<_, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.map_err(unreadable)
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
            return Ok(ServerCertVerified::assertion());
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
        let untrusted = Untrusted {
            cause,
            fingerprint,
            names: names(certificate),
        };
        let untrusted = CertificateError::Other(OtherError(Arc::new(untrusted)));
        Err(rustls::Error::InvalidCertificate(untrusted))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The hosts and addresses that a certificate is for, as far as a key could name them.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter());
    let name = |name: &GeneralName<'_>| match name {
        // A terminal must not obey what a certificate says.
        GeneralName::DNSName(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            Some(v4.or_else(|_| v6()).ok()?.to_string())
        }
        _ => None,
    };
    names.into_iter().flatten().filter_map(name).collect()
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
