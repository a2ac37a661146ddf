//! Certificates that rustls does not read, made by openssl as appliances have them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::status_of;
use crate::harness::*;

/// What `openssl req` or `openssl x509` makes them with.
const KINDS: [(&str, &str); 7] = [
    ("RSA 1024", "req -x509 -newkey rsa:1024"),
    ("RSA 1536, SHA-1", "req -x509 -newkey rsa:1536 -sha1"),
    ("RSA 2048, SHA-1", "req -x509 -newkey rsa:2048 -sha1"),
    (
        "critical extension",
        "req -x509 -newkey rsa:2048 -addext 1.2.3.4=critical,ASN1:UTF8String:x",
    ),
    (
        "P-384",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384",
    ),
    (
        "P-521",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521",
    ),
    ("version 1", ""),
];

struct Odd {
    openssl: PathBuf,
    folder: tempfile::TempDir,
}

impl Odd {
    fn new() -> Option<Self> {
        Some(Self {
            openssl: real::find("openssl")?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new(&self.openssl);
        command
            .current_dir(&self.folder)
            .args(arguments.split_ascii_whitespace());
        let (code, _, complaint) = run_to_end(&mut command, "");
        assert_eq!(code, Some(0), "{arguments}: {complaint}");
    }

    /// Makes `cert.pem` and `key.pem`; gives the certificate and the fingerprint.
    fn make(&self, how: &str) -> (String, String) {
        let subject = "-nodes -subj /CN=box -keyout key.pem";
        if how.is_empty() {
            self.openssl(&format!("req -new -newkey rsa:2048 {subject} -out csr.pem"));
            self.openssl("x509 -req -in csr.pem -signkey key.pem -days 30 -out cert.pem");
        } else {
            self.openssl(&format!("{how} {subject} -days 30 -out cert.pem"));
        }
        let pem = fs::read_to_string(self.folder.path().join("cert.pem")).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let hash = Sha256::digest(&der);
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        let pin = format!("upstream_pin = \"sha256:{}\"", digits.collect::<String>());
        (pem, pin)
    }

    /// A server with that certificate.
    async fn serve(&self, version: &str) -> (Program, String) {
        let address = held_port();
        let mut command = Command::new(&self.openssl);
        command
            .current_dir(&self.folder)
            .args(["s_server", "-accept", &address.to_string()])
            .args(["-cert", "cert.pem", "-key", "key.pem", "-www", "-quiet"])
            .args(["-cipher", "ALL:@SECLEVEL=0", version]);
        let mut program = Program::spawn(command);
        program.wait_for_port(address).await;
        (program, format!("https://{address}"))
    }

    fn key(&self) -> String {
        fs::read_to_string(self.folder.path().join("key.pem")).unwrap()
    }
}

const TLS_1_2: &str = "-tls1_2";
const TLS_1_3: &str = "-tls1_3";
/// Both versions; a switch without an effect.
const EITHER: &str = "-no_ssl3";

#[tokio::test]
async fn the_very_certificate_of_an_app_is_enough_however_it_was_made() {
    let Some(odd) = Odd::new() else {
        return;
    };
    for (kind, how) in KINDS {
        let (pem, pin) = odd.make(how);
        for version in [TLS_1_2, EITHER] {
            let (_server, url) = odd.serve(version).await;
            for keys in [&*pin, "upstream_ca = \"ca.pem\""] {
                let status = status_of(&url, keys, &pem).await;
                assert_eq!(status, 200, "{kind}, {version}, {keys}");
            }
        }
    }
}

#[tokio::test]
async fn sec_21_a_known_certificate_with_another_key_is_refused() {
    let Some(odd) = Odd::new() else {
        return;
    };
    let signs: Vec<_> = ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"]
        .iter()
        .map(|kind| {
            odd.make(&format!("req -x509 -newkey {kind}"));
            odd.key()
        })
        .collect();
    for (kind, how) in KINDS {
        let (pem, pin) = odd.make(how);
        for key in &signs {
            let thief = Upstream::tls_with(&pem, key).await;
            let url = thief.url().replace("localhost", "127.0.0.1");
            for keys in [&*pin, "upstream_ca = \"ca.pem\""] {
                assert_eq!(status_of(&url, keys, &pem).await, 502, "{kind}, {keys}");
            }
            assert_eq!(thief.requests(), 0, "{kind}");
        }
    }
}

fn checked(url: &str, keys: &str) -> String {
    let files = Vestibule::before_url(url).app(keys).public().write();
    let (_, said, complaint) = run(&files, &["check"]);
    said + &complaint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_is_wrong_with_such_a_certificate_and_what_to_do() {
    let Some(odd) = Odd::new() else {
        return;
    };
    let trust = "to trust this very certificate";
    for (how, problem) in [
        ("", "is of an old version of X.509"),
        (
            KINDS[3].1,
            "has a critical extension that is not known here",
        ),
    ] {
        odd.make(how);
        let (_server, url) = odd.serve(EITHER).await;
        let said = checked(&url, "upstream_ca = \"cert.pem\"");
        assert!(said.contains(problem) && said.contains(trust), "{said}");
    }
    let (_, pin) = odd.make(KINDS[0].1);
    let (_server, url) = odd.serve(TLS_1_3).await;
    let said = checked(&url, &pin);
    let problem = "has an RSA key of 1024 bits, which can be used over TLS 1.2 only";
    assert!(
        said.contains(problem) && said.contains("have the application offer TLS 1.2"),
        "{said}"
    );
    let mut plain = Command::new(&odd.openssl);
    let address = held_port();
    plain
        .current_dir(&odd.folder)
        .args(["s_server", "-accept", &address.to_string()])
        .args(["-cert", "cert.pem", "-key", "key.pem", "-www", "-quiet"])
        .args(["-cipher", "AES128-SHA:@SECLEVEL=0", TLS_1_2]);
    let mut program = Program::spawn(plain);
    program.wait_for_port(address).await;
    let said = checked(&format!("https://{address}"), &pin);
    assert!(
        said.contains("has no version or cipher of TLS in common")
            && said.contains("switch on there: TLS 1.2 or 1.3, ECDHE"),
        "{said}"
    );
}
