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
            "there is no certificate in it: its -----BEGIN line is damaged",
        ),
        (
            NOTHING[..NOTHING.len() - 10].to_owned(),
            "its certificate cannot be read: its line -----END CERTIFICATE----- is missing",
        ),
        (
            NOTHING.replace("END CERTIFICATE", "END X509 CERTIFICATE"),
            "its certificate cannot be read: its line -----END CERTIFICATE----- is missing",
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
            "in it: its -----BEGIN line is damaged; put the private key there as PEM",
        ),
        (
            NOTHING.replace("CERTIFICATE", "DSA PRIVATE KEY").into(),
            Wanted::Key,
            "but a DSA PRIVATE KEY; name",
        ),
        (
            NOTHING.replace("CERTIFICATE", "PGP MESSAGE").into(),
            Wanted::Chain,
            "but a PGP MESSAGE; ",
        ),
    ] {
        let said = said(&content, wanted);
        assert!(said.contains(expected), "{said}, expected {expected}");
    }
}

/// What becomes of the line ends of PEM on its way through environment variables, Secrets, forms
/// and copies; all of these can be undone.
fn without_line_ends(pem: &str) -> Vec<String> {
    let lines: Vec<_> = pem.trim_end().lines().collect();
    let separators = [
        "", " ", "\t", "\\n", "\\r\\n", "\\\\n", "%0A", "%0d%0a", "\u{b}", "\u{2028}", "\u{85}",
        "<br>", "<br />",
    ];
    let mut all: Vec<_> = separators.map(|separator| lines.join(separator)).into();
    let escaped = pem.replace('\n', "\\n");
    let (first, rest) = (lines[0], lines[1..].join("\\n"));
    all.extend([
        escaped.clone(),
        format!("\"{escaped}\"\n"),
        format!("key: \"{escaped}\"\n"),
        format!("{{\"k\": \"{}\"}}", escaped.replace('/', "\\/")),
        format!("{first}\n{rest}\n"),
        format!("  {escaped}\r\n"),
    ]);
    all
}

/// Whether somebody who reads `text` learns something of the key, written as it is or as numbers.
fn tells(text: &str, key: &str) -> bool {
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    body.as_bytes().windows(9).any(|run| {
        let numbers = format!("{run:?}");
        text.contains(std::str::from_utf8(run).unwrap())
            || text.contains(numbers.trim_matches(['[', ']']))
    })
}

#[test]
fn sec_79_no_message_about_a_file_tells_of_the_key_in_it() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let mut files = without_line_ends(&key);
    let (first, rest) = key.split_once('\n').unwrap();
    let body = rest.split_once("-----").unwrap().0;
    files.extend([
        format!("-----BEGIN PRIVATE KEY\n{rest}"),
        format!("-----BEGIN PRIVATE KEY----\n{rest}"),
        format!("-----BEGIN {}\n", body.replace('\n', "")),
        format!("-----BEGIN {}-----\n", body.replace('\n', "")),
        format!(
            "-----BEGIN {}-----\n",
            body.replace('\n', "").to_uppercase()
        ),
        format!("{first} {rest}"),
        format!("{first}\n{body}"),
        format!("{first}\n{}", body.replace('\n', "!\n")),
        format!("{first}\n{body}-----END {body}"),
        format!("{first}\n{}-----END {0}-----", body.replace('\n', "")),
        body.to_owned(),
        key.replace(' ', ""),
        key.replace(' ', "%20").replace('\n', "%0A"),
        key.replace("-----", "\u{2014}"),
        key.chars().flat_map(|c| [c, '\0']).collect(),
    ]);
    for file in files {
        for wanted in [Wanted::Key, Wanted::Chain, Wanted::Authorities] {
            let path = Path::new("/etc/k.pem");
            let unfit = match wanted {
                Wanted::Key => keys(path, file.as_bytes()).map(drop),
                wanted => super::certificates(path, file.as_bytes(), wanted).map(drop),
            };
            let unfit = unfit.expect_err(&file);
            let mut said = format!("{unfit} {unfit:?}");
            let mut cause = std::error::Error::source(&unfit);
            while let Some(error) = cause {
                said = format!("{said} {error} {error:?}");
                cause = error.source();
            }
            assert!(!tells(&said, &key), "{wanted:?} of {file}: {said}");
        }
    }
}

#[test]
fn pem_without_line_ends_is_mended_by_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it's a.pem");
    let pair = KeyPair::generate().unwrap();
    let (key, nothing) = (pair.serialize_pem(), [NOTHING, NOTHING].concat());
    for (pem, wanted) in [(&key, Wanted::Key), (&nothing, Wanted::Chain)] {
        for file in without_line_ends(pem) {
            std::fs::write(&path, &file).unwrap();
            let said = match wanted {
                Wanted::Key => keys(&path, file.as_bytes()).map(drop),
                wanted => super::certificates(&path, file.as_bytes(), wanted).map(drop),
            };
            let said = said.expect_err(&file).to_string();
            assert!(
                said.contains(": its PEM has something else in place of line ends, such as \\n or spaces; do `"),
                "{said}"
            );
            let command = said.split('`').nth(1).unwrap();
            let shell = std::process::Command::new("sh")
                .args(["-c", command])
                .output()
                .unwrap();
            assert!(
                shell.status.success() && shell.stderr.is_empty(),
                "{command}: {shell:?}"
            );
            let new = converted(&path, wanted);
            let content = std::fs::read(&new).unwrap();
            if wanted == Wanted::Key {
                use std::os::unix::fs::PermissionsExt;
                let found = keys(&new, &content).unwrap();
                assert_eq!(found[0].secret_der(), pair.serialized_der(), "{file}");
                let mode = std::fs::metadata(&new).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            } else {
                assert_eq!(
                    certificates(std::str::from_utf8(&content).unwrap()),
                    2,
                    "{file}"
                );
            }
            std::fs::remove_file(&new).unwrap();
        }
    }
    // Such a file is told by what is in it, too.
    let said = said(without_line_ends(&key)[3].as_bytes(), Wanted::Chain);
    let expected = "there is no certificate in it, but a private key; name the file with the \
                    certificate in `cert`; if `key` names it, exchange the two";
    assert!(said.ends_with(expected), "{said}");
}

/// Letters of a key between the dashes pass for a label, and are shown to nobody.
#[test]
fn sec_79_a_label_of_other_words_is_not_printed() {
    for label in [
        "MIGHAGEAMBMGBYQGSM49AGEGCCQGSM49AWEHBG0W",
        "PRIVATE KEY MIGHAGEAMBMGBYQGSM49",
        "PRIVATE  KEY",
        " PRIVATE KEY",
        "CERTIFICATES",
    ] {
        for (content, wanted) in [
            (NOTHING.replace("CERTIFICATE", label), Wanted::Chain),
            (NOTHING.replace("CERTIFICATE", label), Wanted::Key),
        ] {
            let said = said(content.as_bytes(), wanted);
            assert!(!said.contains("MIGHAGE") && !said.contains(label), "{said}");
            assert!(
                said.contains("but a section with an unknown label; "),
                "{said}"
            );
        }
    }
}
