use super::*;

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

fn keys(text: &str) -> SealKeys {
    SealKeys::parse(text).unwrap()
}

fn sealed(keys: &SealKeys, plain: &[u8]) -> Vec<u8> {
    keys.seal("session", b"v:{3}:s:abc", plain).ok().unwrap()
}

#[test]
fn sec_84_a_value_is_opened_where_it_was_sealed_for_and_nowhere_else() {
    let keys = keys(ONE);
    let value = sealed(&keys, b"ada");
    assert_eq!(value.len(), b"ada".len() + OVERHEAD);
    assert!(!value.windows(3).any(|window| window == b"ada"));
    let open = |kind, key: &[u8]| keys.open(kind, key, &value);
    assert_eq!(open("session", b"v:{3}:s:abc").unwrap().as_slice(), b"ada");
    for (kind, key) in [
        ("id", &b"v:{3}:s:abc"[..]),
        ("session", b"v:{3}:s:abx"),
        ("session", b"v:{3}:s:ab"),
        ("session", b""),
        ("", b"session\0v:{3}:s:abc"),
    ] {
        assert_eq!(open(kind, key), Err(Unreadable::Damaged), "{kind} {key:?}");
    }
}

#[test]
fn sec_84_no_two_values_are_alike() {
    let keys = keys(ONE);
    assert_ne!(sealed(&keys, b"ada"), sealed(&keys, b"ada"));
    let empty = sealed(&keys, b"");
    let opened = keys.open("session", b"v:{3}:s:abc", &empty).unwrap();
    assert_eq!(opened.as_slice(), b"");
}

#[test]
fn sec_84_the_first_key_seals_and_each_opens() {
    let (old, new) = (keys(ONE), keys(OTHER));
    let both = keys(&format!("{OTHER}\n{ONE}\n"));
    let open = |keys: &SealKeys, value: &[u8]| {
        keys.open("session", b"v:{3}:s:abc", value)
            .map(|plain| plain.to_vec())
    };
    let of_old = sealed(&old, b"ada");
    assert_eq!(open(&both, &of_old).unwrap(), b"ada");
    assert_eq!(open(&new, &of_old), Err(Unreadable::Damaged));
    let of_both = sealed(&both, b"bob");
    assert_eq!(open(&new, &of_both).unwrap(), b"bob");
    assert_eq!(open(&old, &of_both), Err(Unreadable::Damaged));
}

#[test]
fn sec_84_a_damaged_value_is_none_and_a_later_version_is_said_to_be_one() {
    let keys = keys(ONE);
    let value = sealed(&keys, b"ada lovelace");
    let open = |value: &[u8]| keys.open("session", b"v:{3}:s:abc", value);
    for at in 1..value.len() {
        let mut damaged = value.clone();
        damaged[at] ^= 1;
        assert_eq!(open(&damaged), Err(Unreadable::Damaged), "byte {at}");
    }
    for length in 0..value.len() {
        assert_eq!(open(&value[..length]), Err(Unreadable::Damaged), "{length}");
    }
    let longer = [value.as_slice(), b"x"].concat();
    assert_eq!(open(&longer), Err(Unreadable::Damaged));
    let mut later = value.clone();
    later[0] = 2;
    assert_eq!(open(&later), Err(Unreadable::Version(2)));
    later[0] = 0;
    assert_eq!(open(&later), Err(Unreadable::Damaged));
    assert_eq!(open(b"{\"user\":\"ada\"}"), Err(Unreadable::Version(b'{')));
}

/// The format that nodes of other versions read and write. Made with Python's `cryptography`:
/// HKDF-SHA256 over the key, 44 bytes for key and nonce, then AES-256-GCM.
#[test]
fn rel_19_the_format_stays() {
    let value = "01000102030405060708090a0b0c0d0e0f89cc5121c3281ce7d7b64145870ca3a5a515665ecc873fe5544ffe4f";
    let value: Vec<_> = (0..value.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&value[at..at + 2], 16).unwrap())
        .collect();
    let opened = keys(ONE).open("session", b"v:{3}:s:abc", &value).unwrap();
    assert_eq!(opened.as_slice(), b"ada lovelace");
}

#[test]
fn keys_are_lines_of_base64_or_hexadecimal_digits() {
    let url_safe = "_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-8";
    let text = format!("# new\n{ONE}\r\n\n  {OTHER}  \n{url_safe}");
    assert_eq!(keys(&text).0.len(), 3);
    assert_eq!(keys(ONE.trim_end_matches('=')).0.len(), 1);
    let many = |count: usize| {
        let lines = (0..count).map(|n| format!("{n:064x}\n"));
        lines.collect::<String>()
    };
    assert_eq!(keys(&many(8)).0.len(), 8);
    for (text, fault, words) in [
        ("", KeyFault::None, "there is no key in it"),
        ("# none\n \n", KeyFault::None, "there is no key in it"),
        (
            "\nnot a key!",
            KeyFault::NotAKey(2),
            "line 2 is no key: it is neither Base64 nor hexadecimal",
        ),
        (
            "c2hvcnQ=",
            KeyFault::Length(1, 5),
            "the key in line 1 has 5 bytes instead of 32",
        ),
        (
            &format!("{ONE}\n{}", ONE.trim_end_matches('=')),
            KeyFault::Twice(2),
            "the key in line 2 is there twice",
        ),
        (&many(9), KeyFault::TooMany, "it has more than 8 keys"),
    ] {
        let refused = SealKeys::parse(text).unwrap_err();
        assert_eq!(refused, fault);
        assert_eq!(refused.to_string(), words);
    }
    assert!(
        !format!("{:?}", keys(ONE)).contains("1, 2"),
        "shows nothing"
    );
}
