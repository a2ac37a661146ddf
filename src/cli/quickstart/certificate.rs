//! The certificate of quickstart, signed by an authority that exists for one signature.
//!
//! The authority's key is never written, and name constraints (RFC 5280 section 4.2.1.10) bind it
//! to this machine's names: who trusts the authority trusts this one certificate, and nobody who
//! reads the folder can make another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::{Failure, write_private};
use crate::clock::{Clock, Timestamp};

pub(super) const CA: &str = "quickstart-ca.pem";
pub(super) const CERT: &str = "quickstart-cert.pem";
pub(super) const KEY: &str = "quickstart-key.pem";

const LOCALHOST: &str = "localhost";

/// Browsers refuse certificates for more than 398 days.
const VALIDITY: Duration = Duration::from_hours(365 * 24);

/// For browsers on machines whose clock is behind.
const SKEW: Duration = Duration::from_hours(1);

/// A certificate that would end during a day's work is made again before.
const MARGIN: Duration = Duration::from_hours(24);

/// Makes a certificate unless there is one that serves `listen` for another day.
pub(super) fn ensure(folder: &Path, listen: IpAddr) -> Result<(), Failure> {
    let now = Clock::system().now();
    let addresses = addresses(listen);
    if serves(folder, &addresses, now.plus(MARGIN)) {
        return Ok(());
    }
    let made = make(&addresses, now)
        .map_err(|error| Failure::Failed(format!("cannot make a certificate: {error}")))?;
    write_private(&folder.join(KEY), made.key.as_bytes())?;
    write_private(&folder.join(CERT), made.cert.as_bytes())?;
    write_private(&folder.join(CA), made.ca.as_bytes())
}

/// The certificate names them besides `localhost`.
fn addresses(listen: IpAddr) -> Vec<IpAddr> {
    let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    // All interfaces are no name that a browser can open.
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    addresses
}

/// Whether the files fit together and a browser that trusts the authority would take them `at`
/// that time. What cannot be read is made again.
fn serves(folder: &Path, addresses: &[IpAddr], at: Timestamp) -> bool {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let cert = CertificateDer::from_pem_file(folder.join(CERT));
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY));
    let ca = CertificateDer::from_pem_file(folder.join(CA));
    let (Ok(cert), Ok(key), Ok(ca)) = (cert, key, ca) else {
        return false;
    };
    if CertifiedKey::from_der(vec![cert.clone()], key, &provider).is_err() {
        return false;
    }
    let mut roots = RootCertStore::empty();
    if roots.add(ca).is_err() {
        return false;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let Ok(verifier) = verifier else { return false };
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.as_millis()));
    let covers = |name: &ServerName<'_>| {
        let verdict = verifier.verify_server_cert(&cert, &[], name, &[], at);
        verdict.is_ok()
    };
    ServerName::try_from(LOCALHOST).is_ok_and(|name| covers(&name))
        && addresses.iter().all(|&ip| covers(&ServerName::from(ip)))
}

/// Three PEM texts.
struct Made {
    ca: String,
    cert: String,
    key: String,
}

fn make(addresses: &[IpAddr], now: Timestamp) -> Result<Made, rcgen::Error> {
    let now = now.to_system_time();
    let mut names = vec![LOCALHOST.to_owned()];
    names.extend(addresses.iter().map(IpAddr::to_string));

    let mut ca = params("Vestibule quickstart, this machine only", vec![], now)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut permitted = vec![GeneralSubtree::DnsName(LOCALHOST.to_owned())];
    permitted.extend(addresses.iter().map(|&ip| {
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, whole))
    }));
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: vec![],
    });
    let authority = CertifiedIssuer::self_signed(ca, key()?)?;

    let mut leaf = params("Vestibule quickstart", names, now)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = key()?;
    let cert = leaf.signed_by(&key, &authority)?;
    Ok(Made {
        ca: authority.pem(),
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

fn params(
    common_name: &str,
    names: Vec<String>,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn read(folder: &Path) -> [Vec<u8>; 3] {
        [CA, CERT, KEY].map(|name| fs::read(folder.join(name)).unwrap())
    }

    #[test]
    fn sec_79_a_certificate_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), LOOPBACK).unwrap();
        let first = read(folder.path());
        ensure(folder.path(), LOOPBACK).unwrap();
        ensure(folder.path(), Ipv4Addr::UNSPECIFIED.into()).unwrap();
        assert_eq!(read(folder.path()), first);
        for name in [CA, CERT, KEY] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_certificate_that_does_not_serve_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), LOOPBACK).unwrap();
        let first = read(folder.path());
        let elsewhere = "192.0.2.7".parse().unwrap();
        ensure(folder.path(), elsewhere).unwrap();
        let second = read(folder.path());
        assert_ne!(second, first, "the listen address was not covered");
        assert!(serves(
            folder.path(),
            &addresses(elsewhere),
            Clock::system().now()
        ));
        for name in [CA, CERT, KEY] {
            let before = read(folder.path());
            fs::write(folder.path().join(name), "broken").unwrap();
            ensure(folder.path(), elsewhere).unwrap();
            assert_ne!(read(folder.path()), before, "{name}");
        }
        fs::write(folder.path().join(KEY), &second[2]).unwrap();
        let addresses = addresses(elsewhere);
        assert!(
            !serves(folder.path(), &addresses, Clock::system().now()),
            "this key belongs to another certificate"
        );
    }

    #[test]
    fn a_certificate_is_made_again_before_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), LOOPBACK).unwrap();
        let now = Clock::system().now();
        let addresses = addresses(LOOPBACK);
        let days = |days: u64| now.plus(Duration::from_hours(24 * days));
        assert!(serves(folder.path(), &addresses, days(364)));
        assert!(!serves(folder.path(), &addresses, days(366)));
    }

    #[test]
    fn the_authority_is_good_for_no_other_name() {
        let folder = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        let elsewhere = [LOOPBACK, "192.0.2.7".parse().unwrap()];
        let issued = |permitted: &[IpAddr], named: &[IpAddr]| {
            let now = now.to_system_time();
            let mut ca = params("CA", vec![], now).unwrap();
            ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let subtree = |&ip| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, 32));
            let mut subtrees = vec![GeneralSubtree::DnsName(LOCALHOST.to_owned())];
            subtrees.extend(permitted.iter().map(subtree));
            ca.name_constraints = Some(NameConstraints {
                permitted_subtrees: subtrees,
                excluded_subtrees: vec![],
            });
            let authority = CertifiedIssuer::self_signed(ca, key().unwrap()).unwrap();
            let mut names = vec![LOCALHOST.to_owned()];
            names.extend(named.iter().map(IpAddr::to_string));
            let key = key().unwrap();
            let leaf = params("leaf", names, now).unwrap();
            let cert = leaf.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(CA), authority.pem()).unwrap();
            fs::write(folder.path().join(CERT), cert.pem()).unwrap();
            fs::write(folder.path().join(KEY), key.serialize_pem()).unwrap();
        };
        issued(&elsewhere, &elsewhere);
        assert!(serves(folder.path(), &elsewhere, now));
        issued(&elsewhere[..1], &elsewhere);
        assert!(!serves(folder.path(), &elsewhere, now));
    }
}
