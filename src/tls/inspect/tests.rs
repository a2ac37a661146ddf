use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(root: &Authority) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authority("middle"), key, root).unwrap()
}

/// Its certificate and key, in PEM.
fn leaf(issuer: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = params("gate.test").signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn inspected(chain: &[&str], key: &str, known: &[&Authority]) -> Inspection {
    let folder = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        line: 1,
        may_be_credentials: false,
    };
    fs::write(&files.cert, chain.concat()).unwrap();
    fs::write(&files.key, key).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut authorities = RootCertStore::empty();
    for authority in known {
        authorities.add(authority.der().clone()).unwrap();
    }
    inspect(&files, &authorities, crate::clock::Clock::system().now())
}

#[test]
fn who_vouches_for_a_certificate_is_found_out() {
    let root = root("root");
    let middle = intermediate(&root);
    let (leaf, key) = leaf(&middle);
    let (middle_pem, root_pem) = (middle.pem(), root.pem());
    for (chain, known, expected) in [
        (&[&*leaf, &middle_pem][..], &[&root][..], Trust::Known),
        (&[&leaf, &middle_pem, &root_pem], &[&root], Trust::Known),
        (&[&leaf, &root_pem, &middle_pem], &[&root], Trust::Known),
        (&[&leaf, &middle_pem, &root_pem], &[], Trust::OwnRoot),
        (&[&leaf, &middle_pem], &[], Trust::Missing),
        (&[&leaf], &[&root], Trust::Missing),
        (&[&leaf], &[], Trust::Missing),
    ] {
        let inspected = inspected(chain, &key, known);
        assert_eq!(inspected.trust, Some(expected), "{} of them", chain.len());
        assert!(inspected.problems.is_empty(), "{:?}", inspected.problems);
        assert_eq!(inspected.chain.len(), chain.len());
    }
}

#[test]
fn an_authority_of_the_same_name_and_another_key_has_signed_nothing() {
    let (mine, other) = (root("root"), root("root"));
    let (leaf, key) = leaf(&mine);
    let trust = |root: &Authority| inspected(&[&leaf, &root.pem()], &key, &[]).trust;
    assert_eq!(trust(&mine), Some(Trust::OwnRoot));
    assert_eq!(trust(&other), Some(Trust::Forged));
}

#[test]
fn a_certificate_that_is_not_for_servers_is_unfit() {
    let root = root("root");
    let key = KeyPair::generate().unwrap();
    let mut client = params("gate.test");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&key, &root).unwrap().pem();
    for known in [&[&root][..], &[]] {
        let inspected = inspected(&[&client, &root.pem()], &key.serialize_pem(), known);
        assert!(
            matches!(inspected.trust, Some(Trust::Unfit(_))),
            "{:?}",
            inspected.trust
        );
    }
}

#[test]
fn a_self_signed_certificate_is_told_from_one_of_an_authority() {
    let key = KeyPair::generate().unwrap();
    let own = params("gate.test").self_signed(&key).unwrap().pem();
    let inspected = inspected(&[&own], &key.serialize_pem(), &[]);
    assert_eq!(inspected.trust, Some(Trust::SelfSigned));
}

#[test]
fn a_key_that_belongs_to_another_certificate_of_the_file_says_so() {
    let root = root("root");
    let (leaf, key) = leaf(&root);
    let inspected_as = |chain: &[&str]| inspected(chain, &key, &[]);
    let problems = inspected_as(&[&leaf, &root.pem()]).problems;
    assert!(problems.is_empty(), "{problems:?}");
    let other = self::root("other").pem();
    for (chain, expected) in [
        (&[&*root.pem(), &leaf][..], &[2, 1][..]),
        (&[&root.pem(), &other, &leaf], &[3, 1]),
    ] {
        let swapped = inspected_as(chain).problems;
        let [TlsError::NotFirst(_, order)] = &swapped[..] else {
            panic!("{swapped:?}");
        };
        assert_eq!(order, expected);
    }
    let foreign = inspected_as(&[&root.pem()]).problems;
    assert!(
        matches!(foreign[..], [TlsError::Mismatch(_)]),
        "{foreign:?}"
    );
    let middle = intermediate(&root).pem();
    let foreign = inspected_as(&[&middle, &root.pem()]).problems;
    assert!(
        matches!(foreign[..], [TlsError::NoEndEntity(_)]),
        "{foreign:?}"
    );
}

#[test]
fn of_several_keys_the_one_of_the_certificate_is_used() {
    let root = root("root");
    let (leaf, key) = leaf(&root);
    let other = KeyPair::generate().unwrap().serialize_pem();
    for keys in [[&*key, &other], [&other, &key]] {
        let inspected = inspected(&[&leaf], &keys.concat(), &[]);
        assert!(inspected.problems.is_empty(), "{:?}", inspected.problems);
        assert_eq!(inspected.keys, 2);
    }
}

#[test]
fn both_files_are_judged_when_one_is_wrong() {
    let wrong = inspected(&["nothing"], "nothing", &[]);
    let problems = &wrong.problems[..];
    assert!(
        matches!(problems, [TlsError::File(_), TlsError::File(_)]),
        "{problems:?}"
    );
    assert_eq!(wrong.trust, None);
}

#[test]
fn names_are_compared_as_clients_do() {
    let key = KeyPair::generate().unwrap();
    let names = ["*.apps.test", "192.0.2.1"].map(str::to_owned);
    let own = CertificateParams::new(names).unwrap();
    let own = own.self_signed(&key).unwrap().pem();
    let inspected = inspected(&[&own], &key.serialize_pem(), &[]);
    for (name, covered) in [
        ("wiki.apps.test", true),
        ("WIKI.apps.test", true),
        ("apps.test", false),
        ("a.b.apps.test", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
    ] {
        let server = ServerName::try_from(name).unwrap();
        assert_eq!(inspected.covers(&server), covered, "{name}");
    }
}
