//! What is wrong with the certificate of an application, and what helps.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, OtherError};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Fingerprint;

/// A certificate that is not trusted, and which one it is.
#[derive(Debug)]
pub(crate) struct Untrusted {
    cause: Cause,
    fingerprint: Fingerprint,
    /// The hosts and addresses that it is for.
    names: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// It is not the one that the configuration names.
    NotPinned,
    Rules(CertificateError),
    /// So many bits, which suffice over TLS 1.2 only.
    ShortKey(usize),
    /// Its key has not signed the handshake, or in no way that is known here.
    Signature,
}

impl Untrusted {
    /// What fails the handshake with this certificate.
    pub(super) fn error(certificate: &CertificateDer<'_>, cause: Cause) -> rustls::Error {
        let untrusted = Self {
            cause,
            fingerprint: Fingerprint::of(certificate),
            names: names(certificate),
        };
        let untrusted = CertificateError::Other(OtherError(Arc::new(untrusted)));
        rustls::Error::InvalidCertificate(untrusted)
    }

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
            Cause::Rules(Other(other)) if is(other, "CaUsedAsEndEntity") => {
                format!("{certificate} is one of an authority, and not of a server")
            }
            Cause::Rules(Other(other)) if is(other, "UnsupportedCertVersion") => {
                format!("{certificate} is of an old version of X.509")
            }
            Cause::Rules(Other(other)) if is(other, "UnsupportedCriticalExtension") => {
                format!("{certificate} has a critical extension that is not known here")
            }
            Cause::Rules(other) => format!("{certificate} cannot be used: {other}"),
            Cause::ShortKey(bits) => format!(
                "{certificate} has an RSA key of {bits} bits, which can be used over TLS 1.2 only"
            ),
            Cause::Signature => {
                format!("{certificate} has another key than the one that signed the handshake")
            }
        }
    }

    /// Whether TLS 1.2 could do with it.
    pub(in crate::upstream) fn has_short_key(&self) -> bool {
        matches!(self.cause, Cause::ShortKey(_))
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
            Cause::ShortKey(_) => "have the application offer TLS 1.2, with ECDHE and RSA with \
                                   SHA-256; better, make its key anew with 2048 bits"
                .to_owned(),
            Cause::Signature => "restart the application, or make its key and its certificate \
                                 anew, for ECDSA with P-256 or RSA with 2048 bits"
                .to_owned(),
        }
    }

    /// The one that a handshake has failed for.
    pub(in crate::upstream) fn of(error: &io::Error) -> Option<&Self> {
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

/// Of the errors without a name in rustls, some are common: openssl makes servers' certificates
/// with `CA:TRUE`, and with `openssl x509 -req` ones of version 1.
fn is(error: &OtherError, name: &str) -> bool {
    format!("{:?}", error.0).contains(name)
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
