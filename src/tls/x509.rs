//! What a certificate says of itself: rustls knows, and does not tell.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use rustls::pki_types::PrivateKeyDer;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use crate::clock::Timestamp;

/// One certificate (RFC 5280 §4.1).
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The hosts and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// Whether it may sign others.
    pub(crate) is_authority: bool,
}

/// A key that TLS here does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WeakKey {
    /// The length of the modulus in bits.
    Rsa(usize),
    /// The object identifier; none where the parameters are spelt out.
    Curve(Option<String>),
    /// An algorithm by its object identifier.
    Algorithm(String),
}

/// Who has a certificate or has signed one: compared byte for byte, as TLS does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    der: Vec<u8>,
    shown: Option<String>,
}

impl Details {
    /// `None` for what is no certificate.
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        Some(Self {
            issuer: Name::of(certificate.issuer()),
            subject: Name::of(certificate.subject()),
            not_before: timestamp(validity.not_before),
            not_after: timestamp(validity.not_after),
            names: names(&certificate),
            is_authority: certificate.is_ca(),
        })
    }

    /// Whether it names itself as the one who has signed it.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

impl Name {
    /// People know somebody by the common name, else by the organisation, else by its unit; of
    /// several the last one is the most special one.
    fn of(name: &X509Name<'_>) -> Self {
        let known = (name.iter_common_name().last())
            .or_else(|| name.iter_organization().last())
            .or_else(|| name.iter_organizational_unit().last());
        Self {
            der: name.as_raw().to_owned(),
            shown: known.map(|known| printable(known.as_slice())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(text) => write!(f, "\"{text}\""),
            None => f.write_str("somebody without a name"),
        }
    }
}

/// The key of a certificate, where it is none that TLS here takes: RSA with 2048 to 8192 bits, the
/// curves of NIST, and Ed25519.
pub(super) fn weak_key(certificate: &[u8]) -> Option<WeakKey> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => {
            let bits = key.key_size();
            (!(2048..=8192).contains(&bits)).then_some(WeakKey::Rsa(bits))
        }
        _ => of_algorithm(&info.algorithm),
    }
}

/// The same of a key by itself, as far as PKCS #8 tells it (RFC 5958).
pub(super) fn weak_private_key(key: &PrivateKeyDer<'_>) -> Option<WeakKey> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    let PrivateKeyDer::Pkcs8(key) = key else {
        return None;
    };
    let (_, outer) = Any::from_der(key.secret_pkcs8_der()).ok()?;
    let (behind_version, _) = Any::from_der(outer.data).ok()?;
    let (_, algorithm) = AlgorithmIdentifier::from_der(behind_version).ok()?;
    of_algorithm(&algorithm).filter(|weak| *weak != WeakKey::Algorithm(RSA.to_owned()))
}

/// Whatever is no RSA.
fn of_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> Option<WeakKey> {
    const EC: &str = "1.2.840.10045.2.1";
    const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
    const ED25519: &str = "1.3.101.112";
    let id = algorithm.algorithm.to_id_string();
    if id != EC {
        return (id != ED25519).then_some(WeakKey::Algorithm(id));
    }
    let parameters = algorithm.parameters.as_ref();
    let named = parameters.filter(|parameters| parameters.tag() == Tag::Oid);
    let curve = named.and_then(|parameters| parameters.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string());
    let taken = curve
        .as_deref()
        .is_some_and(|curve| CURVES.contains(&curve));
    (!taken).then_some(WeakKey::Curve(curve))
}

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, name) = match self {
            Self::Rsa(bits) => return write!(f, "RSA with {bits} bits"),
            Self::Curve(None) => return f.write_str("of an elliptic curve without a name"),
            Self::Curve(Some(id)) => {
                f.write_str("of the elliptic curve ")?;
                let name = match id.as_str() {
                    "1.2.840.10045.3.1.1" => "P-192",
                    "1.3.132.0.10" => "secp256k1",
                    "1.3.132.0.33" => "P-224",
                    "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
                    "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
                    "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
                    _ => "",
                };
                (id, name)
            }
            Self::Algorithm(id) => {
                let name = match id.as_str() {
                    "1.2.840.10040.4.1" => "DSA",
                    "1.2.840.113549.1.1.10" => "RSA for PSS only",
                    "1.3.101.110" => "X25519",
                    "1.3.101.111" => "X448",
                    "1.3.101.113" => "Ed448",
                    _ => "of the algorithm ",
                };
                (id, name)
            }
        };
        f.write_str(name)?;
        if name.is_empty() || name.ends_with(' ') {
            f.write_str(id)?;
        }
        Ok(())
    }
}

/// A terminal must not obey what a certificate says.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(char::is_control, "\u{fffd}")
}

/// Before 1970 is long ago.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    Timestamp::from_millis(seconds * 1000)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter());
    names.into_iter().flatten().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name.as_bytes())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
            let v6 = || <[u8; 16]>::try_from(*bytes).map(|bytes| Ipv6Addr::from(bytes).to_string());
            v4.or_else(|_| v6()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_read_as_it_was_written() {
        let names = ["gate.test", "*.apps.test", "192.0.2.1", "2001:db8::1"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "Büro\u{1b}[31m");
        name.push(DnType::OrganizationName, "Example");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let details = Details::read(certificate.der()).unwrap();
        assert_eq!(details.names, names);
        assert_eq!(details.subject.to_string(), "\"Büro\u{fffd}[31m\"");
        assert!(details.is_self_issued());
        assert!(details.not_before < details.not_after);
    }

    #[test]
    fn whoever_has_no_common_name_is_known_by_the_next_best() {
        let named = |kinds: &[(DnType, &str)]| {
            let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, text) in kinds {
                params.distinguished_name.push(kind.clone(), *text);
            }
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            Details::read(certificate.der())
                .unwrap()
                .subject
                .to_string()
        };
        let (organisation, unit) = (DnType::OrganizationName, DnType::OrganizationalUnitName);
        assert_eq!(
            named(&[(unit.clone(), "IT"), (organisation, "Example")]),
            "\"Example\""
        );
        assert_eq!(named(&[(unit, "IT")]), "\"IT\"");
        assert_eq!(named(&[]), "somebody without a name");
    }

    fn certificate(not_after: SystemTime) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
        params.not_before = UNIX_EPOCH.into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn not_after(certificate: &[u8]) -> Option<Timestamp> {
        Some(Details::read(certificate)?.not_after)
    }

    #[test]
    fn rel_16_the_end_of_a_certificate_is_read_in_both_notations() {
        for seconds in [
            0,
            951_782_399,     // 2000-02-28, a leap year
            951_868_799,     // 2000-02-29
            1_798_761_600,   // 2027-01-01
            2_524_607_999,   // 2049-12-31, the last of UTCTime
            2_524_608_000,   // 2050-01-01, the first of GeneralizedTime
            4_107_542_400,   // 2100-03-01, no leap year
            253_402_300_799, // 9999-12-31, which stands for no end
        ] {
            let certificate = certificate(UNIX_EPOCH + Duration::from_secs(seconds));
            let expected = Some(Timestamp::from_millis(seconds * 1000));
            assert_eq!(not_after(&certificate), expected, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let certificate = certificate(UNIX_EPOCH + Duration::from_hours(24));
        for end in 0..certificate.len() {
            let cut = not_after(&certificate[..end]);
            assert_eq!(cut, None, "{end} bytes of {}", certificate.len());
        }
        // Whatever a byte is changed to, it is an answer and no panic.
        for at in 0..certificate.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut changed = certificate.clone();
                changed[at] = byte;
                let _ = not_after(&changed);
            }
        }
    }
}
