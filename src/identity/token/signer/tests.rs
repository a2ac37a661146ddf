use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::super::ring::TURN;
use super::*;

/// The names of the published keys, and of the one that signs.
fn ids(signer: &Signer) -> (Vec<String>, String) {
    let set: Value = serde_json::from_slice(&signer.published().unwrap()).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    let ids = keys.map(|key| key["kid"].as_str().unwrap().to_owned());
    let signing = signer.keys.load().as_ref().unwrap().signing.id().to_owned();
    (ids.collect(), signing)
}

fn opened(source: &KeySource, clock: &Clock) -> Signer {
    let signer = Signer::new(source.clone(), clock.clone(), None);
    signer.open().unwrap();
    signer
}

/// ES256 has another signature each time that something is signed (FIPS 186-5): the same one was kept.
#[test]
fn the_same_claims_are_signed_once() {
    let signer = opened(&KeySource::Memory, &Clock::system());
    let sign = |claims: &str| signer.sign(claims.as_bytes()).unwrap();
    let first = sign("{\"iat\":1,\"htu\":\"/a\"}");
    let other = sign("{\"iat\":2,\"htu\":\"/a\"}");
    assert_ne!(first, other, "of another second");
    let again = |claims| (0..20).filter(|_| sign(claims) == sign(claims)).count();
    assert_eq!(again("{\"iat\":3,\"htu\":\"/a\"}"), 20);
    let long = format!("{{\"groups\":\"{}\"}}", "x".repeat(4096));
    assert_ne!(sign(&long), sign(&long), "too long to be kept");
}

#[test]
fn keys_take_turns_and_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    for source in [KeySource::File(path), KeySource::Memory] {
        let clock = Clock::system();
        let signer = opened(&source, &clock);
        let (first, signing) = ids(&signer);
        assert_eq!((first.len(), &signing), (2, &first[1]));
        signer.turn();
        signer.open().unwrap();
        assert_eq!(ids(&signer), (first.clone(), signing), "not yet");
        let moment = Duration::from_secs(1);
        clock.advance(TURN.saturating_sub(moment));
        assert!(!signer.is_due());
        clock.advance(moment);
        assert!(signer.is_due());
        signer.turn();
        let (second, signing) = ids(&signer);
        assert_eq!((&second[1..], &signing), (&first[..], &first[0]));
        assert!(!signer.is_due());
        let again = opened(&source, &clock);
        if source == KeySource::Memory {
            assert!(second.iter().all(|id| !ids(&again).0.contains(id)));
        } else {
            assert_eq!(ids(&again), (second, signing));
        }
        clock.advance(TURN * 3);
        assert!(again.is_due());
        again.turn();
        assert!(!again.is_due(), "one turn, however long nobody was here");
    }
}

#[test]
fn rel_09_no_key_signs_that_was_not_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let clock = Clock::system();
    let signer = opened(&KeySource::File(path.clone()), &clock);
    let before = ids(&signer);
    let content = fs::read(&path).unwrap();
    clock.advance(TURN);
    fs::remove_file(&path).unwrap();
    signer.turn();
    assert_eq!(ids(&signer), before);
    assert!(!signer.is_due(), "not each moment");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    clock.advance(TRY_AGAIN);
    assert!(signer.is_due());
    signer.turn();
    assert_eq!(ids(&signer).0[1..], before.0);
}

#[test]
fn of_a_credential_the_first_key_signs_and_the_others_are_published() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity-token-keys");
    let keys = [(); 3].map(|()| Key::generate().unwrap());
    let pem: String = (keys.iter())
        .map(|key| pem("PRIVATE KEY", &key.to_pkcs8().unwrap()))
        .collect();
    fs::write(&path, &pem).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
    let source = KeySource::Credential(path.clone());
    let clock = Clock::system();
    let signer = opened(&source, &clock);
    let expected: Vec<_> = keys.iter().map(|key| key.id().to_owned()).collect();
    assert_eq!(ids(&signer), (expected.clone(), expected[0].clone()));
    clock.advance(TURN * 2);
    assert!(!signer.is_due(), "whoever has made them replaces them");
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let refused = || {
        Signer::new(source.clone(), clock.clone(), None)
            .open()
            .unwrap_err()
    };
    assert!(matches!(refused(), KeysError::TooOpen(_, 0o444)));
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for wrong in [
        "",
        "no PEM",
        &p384.serialize_pem(),
        &(pem + &p384.serialize_pem()),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, wrong).unwrap();
        let refused = refused();
        assert!(refused.is_invalid());
        assert!(refused.to_string().contains("openssl genpkey"), "{refused}");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
