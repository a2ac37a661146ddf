//! What a certificate says of itself: rustls knows, and does not tell.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{
    INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, any_element, element, elements,
};
use super::validity;
use crate::clock::Timestamp;

/// `[0]`, which holds the version.
const VERSION: u8 = 0xa0;
/// `[3]`, which holds the extensions.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17, `subjectAltName`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.4.3, 2.5.4.10 and 2.5.4.11: by which of them people know somebody, the best one first.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];
const UNIT: &[u8] = &[0x55, 0x04, 0x0b];

/// One certificate (RFC 5280 §4.1).
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The hosts and addresses that it is for.
    pub(crate) names: Vec<String>,
}

/// Who has a certificate or has signed one: compared byte for byte, as TLS does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(Vec<u8>);

impl Details {
    /// `None` for what is no certificate.
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        if let Some((_, rest)) = element(fields, VERSION) {
            fields = rest; // absent in version 1
        }
        let (_serial_number, fields) = element(fields, INTEGER)?;
        let (_signature, fields) = element(fields, SEQUENCE)?;
        let (issuer, fields) = element(fields, SEQUENCE)?;
        let (validity, fields) = element(fields, SEQUENCE)?;
        let (subject, rest) = element(fields, SEQUENCE)?;
        let (_, not_after) = any_element(validity)?;
        Some(Self {
            issuer: Name(issuer.to_owned()),
            subject: Name(subject.to_owned()),
            not_before: validity::time(validity)?,
            not_after: validity::time(not_after)?,
            names: names(rest),
        })
    }

    /// Whether it names itself as the one who has signed it.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [COMMON_NAME, ORGANISATION, UNIT]
            .into_iter()
            .find_map(|attribute| self.attribute(attribute));
        match known {
            // A terminal must not obey what a certificate says.
            Some(text) => write!(f, "\"{}\"", text.replace(char::is_control, "\u{fffd}")),
            None => f.write_str("somebody without a name"),
        }
    }
}

impl Name {
    /// The last one is the most special one.
    fn attribute(&self, wanted: &[u8]) -> Option<String> {
        let sets = elements(&self.0).filter(|(tag, _)| *tag == SET);
        let pairs = sets.flat_map(|(_, set)| elements(set));
        let values = pairs.filter_map(|(_, pair)| {
            let (kind, value) = element(pair, OBJECT_IDENTIFIER)?;
            let (text, _) = any_element(value)?;
            (kind == wanted).then(|| String::from_utf8_lossy(text).into_owned())
        });
        values.last()
    }
}

/// The names in the extensions; none where there is no such extension.
fn names(fields: &[u8]) -> Vec<String> {
    let extensions = elements(fields).find(|(tag, _)| *tag == EXTENSIONS);
    let found = extensions.and_then(|(_, extensions)| {
        let (extensions, _) = element(extensions, SEQUENCE)?;
        elements(extensions).find_map(|(_, extension)| alternative_names(extension))
    });
    let names = elements(found.unwrap_or_default());
    names
        .filter_map(|(tag, name)| general_name(tag, name))
        .collect()
}

/// The content of this extension, if it is the one with the names.
fn alternative_names(extension: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = element(extension, OBJECT_IDENTIFIER)?;
    let (_, value) = elements(rest).find(|(tag, _)| *tag == OCTET_STRING)?;
    let (names, _) = element(value, SEQUENCE)?;
    (kind == SUBJECT_ALT_NAME).then_some(names)
}

fn general_name(tag: u8, name: &[u8]) -> Option<String> {
    match tag {
        DNS_NAME => Some(String::from_utf8_lossy(name).replace(char::is_control, "\u{fffd}")),
        IP_ADDRESS => {
            let v4 = <[u8; 4]>::try_from(name).map(|bytes| Ipv4Addr::from(bytes).to_string());
            let v6 = || <[u8; 16]>::try_from(name).map(|bytes| Ipv6Addr::from(bytes).to_string());
            v4.or_else(|_| v6()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
}
