use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::config::Config;

const NOW: u64 = 1_800_000_000;
const DAY_SECONDS: u64 = 24 * 60 * 60;

fn params(name: &str, from: u64, until: u64) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let time = |seconds: u64| (UNIX_EPOCH + Duration::from_secs(seconds)).into();
    (params.not_before, params.not_after) = (time(from), time(until));
    params
}

fn authority(name: &str, until: u64) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name, 0, until);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn only(found: Vec<String>) -> String {
    let [one] = found.try_into().unwrap();
    one
}

/// What is said of this chain and key, for these hosts.
fn found(chain: &str, key: &KeyPair, hosts: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("c.pem", chain);
    write("k.pem", &key.serialize_pem());
    let app = |host: &&str| format!("[[app]]\nhost = \"{host}\"\nupstream = \"http://a:1\"\n");
    let apps: String = hosts.iter().map(app).collect();
    let text = format!("[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n{apps}");
    let config = Config::parse(&text, &folder.path().join("config.toml")).unwrap();
    let now = Timestamp::from_millis(NOW * 1000);
    let certificates = inspect(&config.tls, now);
    let inside = format!("{}/", folder.path().display());
    examine(&certificates, &config.apps, now, Perspective::Person)
        .into_iter()
        .map(|one| {
            let Finding {
                severity,
                subject,
                line,
                message,
                help,
            } = one;
            let line = line.unwrap();
            format!("{line} {} {subject}: {message}; {help}", severity.as_str())
                .replace(&inside, "")
        })
        .collect()
}

#[test]
fn rel_16_how_long_a_certificate_is_good_for_decides() {
    let key = KeyPair::generate().unwrap();
    for (from, until, expected) in [
        (0, NOW + 21 * DAY_SECONDS, None),
        (
            0,
            NOW + 21 * DAY_SECONDS - 1,
            Some("1 warning c.pem: it ends on 2027-02-05, in 20 days; renew it"),
        ),
        (
            0,
            NOW + DAY_SECONDS,
            Some("1 warning c.pem: it ends on 2027-01-16, in 1 day; renew it"),
        ),
        (
            0,
            NOW,
            Some("1 warning c.pem: it ends on 2027-01-15, in 0 days; renew it"),
        ),
        (
            0,
            NOW - 1,
            Some("1 error c.pem: it has ended on 2027-01-15: browsers refuse it; renew it"),
        ),
        (
            NOW + 1,
            NOW + 99 * DAY_SECONDS,
            Some(
                "1 error c.pem: it is valid from 2027-01-15 on: browsers refuse it until then; wait",
            ),
        ),
        (NOW, NOW + 99 * DAY_SECONDS, None),
    ] {
        let certificate = params("gate.test", from, until).self_signed(&key).unwrap();
        let found = found(&certificate.pem(), &key, &["gate.test"]);
        match (expected, &found[..]) {
            (None, []) => {}
            (Some(said), [one]) => assert!(one.starts_with(said), "{one}"),
            _ => panic!("{from} to {until}: {found:?}"),
        }
    }
}

#[test]
fn a_chain_is_followed_from_its_first_certificate_on() {
    let late = NOW + 99 * DAY_SECONDS;
    let (mine, other) = (authority("mine", late), authority("other", late));
    let key = KeyPair::generate().unwrap();
    let leaf = params("gate.test", 0, late)
        .signed_by(&key, &mine)
        .unwrap()
        .pem();
    let found = |chain: &[&str]| found(&chain.concat(), &key, &["gate.test"]);
    assert!(
        found(&[&leaf, &mine.pem()]).is_empty(),
        "an authority of one's own"
    );
    let order = "put the server's own certificate first, then the one that signed it, and so on";
    let said = only(found(&[&leaf, &other.pem()]));
    let expected = "1 warning c.pem: certificate 2 is of \"other\", which did not sign certificate 1; \
                    that was \"mine\"; ";
    let command = ": do `for n in 1; do awk ";
    assert!(
        said.starts_with(&format!("{expected}{order}{command}")),
        "{said}"
    );
    let said = &found(&[&mine.pem(), &leaf])[0];
    let expected = "1 error k.pem: this is the key of certificate 2 in c.pem; ";
    let command = ": do `for n in 2 1; do awk ";
    assert!(
        said.starts_with(&format!("{expected}{order}{command}")),
        "{said}"
    );
    let namesake = authority("mine", late);
    let forged = found(&[&leaf, &namesake.pem()]);
    assert!(
        forged[0].contains("\"mine\" in this file is another"),
        "{forged:?}"
    );
}

/// PEM all right, and what is in it ends in the middle.
fn cut(certificate: &str) -> String {
    let lines: Vec<_> = certificate.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    format!("{first}\n{}\n{last}\n", lines[1])
}

#[test]
fn a_certificate_that_is_damaged_inside_is_told_and_not_its_key() {
    let late = NOW + 99 * DAY_SECONDS;
    let authority = authority("mine", late);
    let key = KeyPair::generate().unwrap();
    let leaf = params("gate.test", 0, late)
        .signed_by(&key, &authority)
        .unwrap()
        .pem();
    let found = |chain: &[String]| only(found(&chain.concat(), &key, &["gate.test"]));
    let first = "1 error c.pem: its first certificate cannot be read: ";
    for chain in [&[cut(&leaf)][..], &[cut(&leaf), authority.pem()]] {
        let said = found(chain);
        assert!(said.starts_with(first), "{said}");
        let fix = "; the file is damaged: get a new copy from its issuer";
        assert!(said.ends_with(fix), "{said}");
    }
    assert_eq!(
        found(&[leaf, cut(&authority.pem())]),
        "1 warning c.pem: certificate 2 in it cannot be read: browsers may refuse the chain; the \
         file is damaged: get a new copy from its issuer"
    );
}

#[test]
fn a_wildcard_of_an_app_needs_one_in_a_certificate() {
    let key = KeyPair::generate().unwrap();
    let late = NOW + 99 * DAY_SECONDS;
    let chain = |name: &str| params(name, 0, late).self_signed(&key).unwrap().pem();
    let hosts = ["*.apps.example.org", "a.apps.example.org"];
    let wildcard = found(&chain("*.apps.example.org"), &key, &hosts);
    let of_names = |found: &[String]| {
        let names = found
            .iter()
            .filter(|one| one.contains("no certificate is for"));
        names.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_names(&wildcard), [""; 0]);
    let single = of_names(&found(&chain("a.apps.example.org"), &key, &hosts));
    assert!(only(single).contains("no certificate is for *.apps.example.org: browsers"));
}

#[test]
fn an_authority_that_has_ended_is_told_where_clients_go_by_it() {
    let late = NOW + 99 * DAY_SECONDS;
    let root = authority("root", NOW - DAY_SECONDS);
    let mut middle = params("middle", 0, NOW - DAY_SECONDS);
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params("gate.test", 0, late)
        .signed_by(&key, &middle)
        .unwrap();
    let chain = [leaf.pem(), middle.pem(), root.pem()].concat();
    let found = found(&chain, &key, &["gate.test"]);
    let [ended] = &found[..] else {
        panic!("{found:?}");
    };
    let said =
        "1 error c.pem: \"middle\" in this chain has ended on 2027-01-14: browsers refuse it";
    assert!(ended.starts_with(said), "{ended}");
}

#[test]
fn each_host_needs_a_certificate_for_it() {
    let key = KeyPair::generate().unwrap();
    let mut params = params("gate.test", 0, NOW + 99 * DAY_SECONDS);
    let wildcard = rcgen::SanType::DnsName("*.apps.test".try_into().unwrap());
    params.subject_alt_names.push(wildcard);
    let certificate = params.self_signed(&key).unwrap().pem();
    let hosts = ["gate.test", "wiki.apps.test", "a.b.apps.test", "[::1]"];
    assert_eq!(
        found(&certificate, &key, &hosts),
        [("10", "a.b.apps.test"), ("13", "[::1]")].map(|(line, host)| format!(
            "{line} warning app {host}: no certificate is for {host}: browsers warn of another \
             name; have one made for this name and add it as [[tls.extra]]; there are some for \
             gate.test, *.apps.test"
        ))
    );
}

#[test]
fn a_key_of_another_certificate_does_not_fit() {
    let (mine, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = params("gate.test", 0, NOW + 99 * DAY_SECONDS);
    let certificate = params.self_signed(&mine).unwrap().pem();
    let found = found(&certificate, &other, &["gate.test"]);
    let said = "1 error k.pem: this is not the key of c.pem; name the key";
    assert!(found[0].starts_with(said), "{found:?}");
}
