use rcgen::KeyPair;

use super::*;

const NOTHING: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn certificates(content: &str) -> usize {
    let read = super::certificates(Path::new("c.pem"), content.as_bytes(), Wanted::Chain);
    read.unwrap_or_else(|unfit| panic!("{unfit} in:\n{content}"))
        .len()
}

fn said(content: &[u8], wanted: Wanted) -> String {
    let path = Path::new("/a b/c.pem");
    match wanted {
        Wanted::Key => keys(path, content).map(drop),
        wanted => super::certificates(path, content, wanted).map(drop),
    }
    .unwrap_err()
    .to_string()
}

#[test]
fn what_editors_and_cat_leave_in_pem_does_not_matter() {
    let unended = NOTHING.trim_end();
    for (content, expected) in [
        (format!("\u{feff}{NOTHING}{NOTHING}"), 2),
        (format!("{NOTHING}\u{feff}{NOTHING}"), 2),
        (format!("{unended}{NOTHING}{unended}"), 3),
        (format!("{unended}\u{feff}{NOTHING}"), 2),
        (NOTHING.replace('\n', "\r\n"), 1),
        (NOTHING.replace('\n', "\r"), 1),
        (format!("  {}", NOTHING.replace('\n', " \n  ")), 1),
        (format!("subject=x\n{NOTHING}Bag Attributes\n{NOTHING}"), 2),
        (format!("# -----BEGIN CERTIFICATE-----\n{NOTHING}"), 1),
    ] {
        assert_eq!(certificates(&content), expected, "{content:?}");
    }
}

#[test]
fn of_keys_the_encrypted_ones_are_passed_over() {
    let plain = KeyPair::generate().unwrap().serialize_pem();
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n\
               AAAA\n-----END RSA PRIVATE KEY-----\n";
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let all = [old, &plain, new, &plain].concat();
    assert_eq!(keys(Path::new("k.pem"), all.as_bytes()).unwrap().len(), 2);
    for encrypted in [old, new] {
        let expected = "/a b/c.pem: its key is encrypted, and nobody types the passphrase when the \
                        service starts; do `openssl pkey -in '/a b/c.pem' -out '/a b/c-key.pem'`, \
                        and name /a b/c-key.pem in `key`";
        assert_eq!(said(encrypted.as_bytes(), Wanted::Key), expected);
    }
}

#[test]
fn a_broken_section_is_told_by_its_number() {
    let cut = format!("{NOTHING}{}", &NOTHING[..NOTHING.len() - 10]);
    for (content, expected) in [
        (
            NOTHING.replace("AAAA", "A!"),
            "its certificate cannot be read: ",
        ),
        (cut, "certificate 2 in it cannot be read: "),
        (
            NOTHING.replacen("-----\n", "----\n", 1),
            "there is no certificate in it, but a ",
        ),
    ] {
        let said = said(content.as_bytes(), Wanted::Chain);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_file_with_something_else_is_called_by_its_name() {
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (content, wanted, expected) in [
        (
            b" \n".to_vec(),
            Wanted::Chain,
            "it is empty; put the certificate there as PEM",
        ),
        (
            b"hello".to_vec(),
            Wanted::Key,
            "in it: this is no PEM; put the private key there as PEM",
        ),
        (
            utf16(&format!("\u{feff}{NOTHING}")),
            Wanted::Authorities,
            "do `iconv -f UTF-16 -t UTF-8 '/a b/c.pem' > '/a b/c-ca.pem'`, and name /a b/c-ca.pem \
             in `upstream_ca`",
        ),
        (utf16(NOTHING), Wanted::Chain, "do `iconv -f UTF-16LE "),
        (
            b"ssh-ed25519 AAAA me".to_vec(),
            Wanted::Key,
            "but a public key; name the file with the private key",
        ),
        (
            NOTHING.into(),
            Wanted::Key,
            "but a certificate; name the file with the private key in `key`; if `cert` names it, \
             exchange the two",
        ),
        (
            NOTHING.replace("CERTIFICATE", "EC PRIVATE KEY").into(),
            Wanted::Chain,
            "but a private key; name the file with the certificate in `cert`; if `key` names it, \
             exchange the two",
        ),
        (
            NOTHING.replace("CERTIFICATE", "X509 CRL").into(),
            Wanted::Chain,
            "but a list of revoked certificates (CRL); put the certificate there",
        ),
        (
            NOTHING.replace("CERTIFICATE", "EC PARAMETERS").into(),
            Wanted::Key,
            "but parameters of keys; name the file with the private key",
        ),
        (
            NOTHING
                .replace("CERTIFICATE", "DSA\u{7} PRIVATE KEY")
                .into(),
            Wanted::Key,
            "but a DSA\u{fffd} PRIVATE KEY; name",
        ),
    ] {
        let said = said(&content, wanted);
        assert!(said.contains(expected), "{said}, expected {expected}");
    }
}
