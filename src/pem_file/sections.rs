//! The sections of a PEM file (RFC 7468).

use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// The longest of those in use has half of it.
const MAX_LABEL: usize = 40;
/// Of the labels of RFC 7468, and of the tools for TLS, SSH, PGP, age and TPM.
const WORDS: [&str; 42] = [
    "ACERT",
    "AGE",
    "ANY",
    "ATTRIBUTE",
    "BLOCK",
    "CERTIFICATE",
    "CHAIN",
    "CMS",
    "CRL",
    "DH",
    "DSA",
    "EC",
    "ECDSA",
    "ED25519",
    "ENCRYPTED",
    "FILE",
    "HEADER",
    "KEY",
    "LIST",
    "MESSAGE",
    "NEW",
    "OPENSSH",
    "PARAMETERS",
    "PGP",
    "PKCS10",
    "PKCS12",
    "PKCS7",
    "PRIVATE",
    "PUBLIC",
    "REQUEST",
    "RSA",
    "SESSION",
    "SIGNATURE",
    "SIGNED",
    "SSH",
    "SSH2",
    "SSL",
    "TRUSTED",
    "TSS",
    "TSS2",
    "X509",
    "X942",
];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// From a line `-----BEGIN LABEL-----` up to its end.
pub(super) struct Section<'t> {
    /// Empty where the first line is damaged.
    pub(super) label: &'t [u8],
    pub(super) text: &'t [u8],
    /// Whether it has something else in place of line ends.
    pub(super) is_joined: bool,
}

impl<'t> Section<'t> {
    /// Whether it takes a passphrase, by the older of both ways (RFC 1421 §4.6.1.1). The newer one
    /// has a label of its own.
    pub(super) fn is_encrypted(&self) -> bool {
        let mut lines = self.text.split(|&byte| byte == b'\n');
        lines.any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
    }

    /// The label, if it is made of words that labels have: letters of a key are none, and errors show
    /// and log it (SEC-79).
    pub(super) fn known_label(&self) -> Option<&'t str> {
        let label = std::str::from_utf8(self.label).ok()?;
        let is_known = |word: &str| WORDS.contains(&word);
        label.split(' ').all(is_known).then_some(label)
    }

    /// The first one inside of a line, as in JSON.
    pub(super) fn within_a_line(content: &'t [u8]) -> Option<Self> {
        let mut begins = memchr::memmem::find_iter(content, BEGIN);
        begins.find_map(|at| {
            let text = &content[at..];
            let (label, _) = label(&text[BEGIN.len()..])?;
            Some(Self {
                label,
                text,
                is_joined: true,
            })
        })
    }
}

/// Goes through the sections of a text that is [`clean`].
pub(super) struct Sections<'t>(&'t [u8]);

impl<'t> Sections<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self(text)
    }
}

impl<'t> Iterator for Sections<'t> {
    type Item = Section<'t>;

    fn next(&mut self) -> Option<Section<'t>> {
        let mut start = None;
        let mut at = 0;
        for line in self.0.split_inclusive(|&byte| byte == b'\n') {
            match start {
                None if line.starts_with(BEGIN) => start = Some((at, line)),
                // One that does not end: the next one is whole.
                Some(_) if line.starts_with(BEGIN) => break,
                Some(_) if line.starts_with(END) => {
                    at += line.len();
                    break;
                }
                _ => {}
            }
            at += line.len();
        }
        let (start, line) = start?;
        let (text, rest) = self.0.split_at(at);
        self.0 = rest;
        let text = &text[start..];
        let (label, behind) = label(&line[BEGIN.len()..]).unwrap_or_default();
        let mut ends = memchr::memmem::find_iter(text, END);
        Some(Section {
            label,
            text,
            is_joined: !behind.trim_ascii().is_empty() || ends.any(|at| text[at - 1] != b'\n'),
        })
    }
}

/// The label at the beginning of a text, and what comes behind its dashes. A whole key may stand
/// there when its line ends are lost: whatever is none is not taken for one (SEC-79).
fn label(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (label, behind) = text.split_at(memchr::memmem::find(text, DASHES)?);
    let is_plain = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ');
    ((1..=MAX_LABEL).contains(&label.len()) && label.iter().all(is_plain))
        .then_some((label, &behind[DASHES.len()..]))
}

/// The same text with each section on lines of its own: without byte order marks, which Windows
/// puts in front of a file and `cat` into the middle, without indents and blanks at the end of
/// lines, and with a line end where the last line of one file had none before the next one was
/// appended.
pub(super) fn clean(content: &[u8]) -> Zeroizing<Vec<u8>> {
    // Large enough from the start: when it grew, a key would be left behind in memory.
    let begins = memchr::memmem::find_iter(content, BEGIN).count();
    let mut text = Zeroizing::new(Vec::with_capacity(content.len() + begins + 1));
    for line in content.split(|byte| b"\r\n".contains(byte)) {
        let mut line = trim(line);
        if line.starts_with(END)
            && let Some(at) = memchr::memmem::find(line, BEGIN)
        {
            text.extend_from_slice(trim(&line[..at]));
            text.push(b'\n');
            line = &line[at..];
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

fn trim(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
        line = rest.trim_ascii_start();
    }
    while let Some(rest) = line.strip_suffix(BYTE_ORDER_MARK) {
        line = rest.trim_ascii_end();
    }
    line
}
