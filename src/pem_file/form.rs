//! What a file holds that is no PEM with what is wanted, and how PEM is made of it.

use x509_parser::asn1_rs::{Any, FromBer, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Wanted;
use super::sections::Section;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Empty,
    /// PEM with a first line that is none.
    DamagedBegin,
    /// The name of the encoding, for `iconv`.
    Utf16(&'static str),
    /// PEM that was encoded once more, as in a Secret of Kubernetes.
    Base64,
    /// PEM of a certificate with another label.
    OddCertificate,
    JavaKeyStore,
    OpenSshKey,
    /// Certificates and key in one, by PKCS #12.
    Pkcs12,
    Asn1(Encoding, Kind),
    /// PEM with sections of other kinds; the first label, if it is known.
    OtherPem(Option<String>),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Pem,
    /// PEM with something else in place of line ends.
    JoinedPem,
    Der,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Certificate,
    EncryptedKey,
    Key,
    Parameters,
    /// Certificates by PKCS #7.
    Pkcs7,
    PublicKey,
    /// For a certificate (CSR).
    Request,
    RevocationList,
}

impl Form {
    pub(super) fn of(content: &[u8], sections: &[Section<'_>], wanted: Wanted) -> Self {
        let forms = sections.iter().map(of_section);
        if let Some(form) = forms.min_by_key(|form| form.distance(wanted)) {
            return form;
        }
        match content {
            _ if content.iter().all(u8::is_ascii_whitespace) => Self::Empty,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Utf16("UTF-16"),
            [b'-', 0, b'-', 0, ..] => Self::Utf16("UTF-16LE"),
            [0, b'-', 0, b'-', ..] => Self::Utf16("UTF-16BE"),
            [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Self::JavaKeyStore,
            _ if content.trim_ascii().starts_with(b"LS0tLS1CRUdJTi") => Self::Base64,
            _ if is_ssh_public_key(content) => Self::Asn1(Encoding::Pem, Kind::PublicKey),
            _ => of_der(content)
                .or_else(|| Section::within_a_line(content).map(|found| of_section(&found)))
                .unwrap_or(Self::Unknown),
        }
    }

    /// Of several sections, the one is spoken of that comes closest to what is wanted.
    fn distance(&self, wanted: Wanted) -> u8 {
        match (wanted == Wanted::Key, self) {
            (_, Self::Asn1(Encoding::JoinedPem, kind)) if kind.is_for(wanted) => 0,
            (true, Self::Asn1(_, Kind::EncryptedKey) | Self::OpenSshKey)
            | (false, Self::OddCertificate | Self::Asn1(_, Kind::Pkcs7)) => 0,
            (true, Self::Asn1(_, Kind::PublicKey)) | (false, Self::Asn1(_, Kind::Request)) => 1,
            (true, Self::Asn1(_, Kind::Parameters)) => 3,
            _ => 2,
        }
    }

    pub(super) fn message(&self, wanted: Wanted) -> String {
        let what = wanted.words().0;
        let message = match self {
            Self::Empty => "it is empty",
            Self::Utf16(_) => "it is UTF-16 text, as some Windows programs write it",
            Self::Base64 => "it is PEM in Base64, as in a Secret of Kubernetes",
            Self::OddCertificate => {
                "its certificate begins with another line than -----BEGIN CERTIFICATE-----"
            }
            Self::JavaKeyStore => "this is a Java key store, not PEM",
            Self::OpenSshKey => "this is a key of OpenSSH, not one of TLS",
            Self::Pkcs12 => "this is PKCS #12 (.pfx, .p12), not PEM",
            Self::Asn1(encoding, kind) => return kind.message(*encoding, wanted),
            Self::DamagedBegin => {
                return format!("there is no {what} in it: its -----BEGIN line is damaged");
            }
            Self::OtherPem(Some(label)) => {
                return format!("there is no {what} in it, but a {label}");
            }
            Self::OtherPem(None) => {
                return format!("there is no {what} in it, but a section with an unknown label");
            }
            Self::Unknown => return format!("there is no {what} in it: this is no PEM"),
        };
        message.to_owned()
    }

    /// Makes `to` of `from`, both as a shell reads them; `None` where no command can.
    pub(super) fn command(&self, wanted: Wanted, from: &str, to: &str) -> Option<String> {
        let is_key = wanted == Wanted::Key;
        let encoding = match self {
            Self::Asn1(Encoding::Der, _) => " -inform DER",
            _ => "",
        };
        // Whatever writes a key without openssl's help has to keep others from reading it.
        let private = |command: String| {
            if is_key {
                format!("(umask 077; {command})")
            } else {
                command
            }
        };
        Some(match self {
            Self::Utf16(name) => private(format!("iconv -f {name} -t UTF-8 {from} > {to}")),
            Self::Base64 => private(format!("base64 -d {from} > {to}")),
            Self::OddCertificate if !is_key => format!("openssl x509 -in {from} -out {to}"),
            Self::JavaKeyStore => {
                let (middle, part) = (format!("{to}.p12"), pkcs12_part(wanted));
                format!(
                    "keytool -importkeystore -srckeystore {from} -destkeystore {middle} \
                     -deststoretype PKCS12 && openssl pkcs12 -in {middle} {part} -out {to}"
                )
            }
            Self::OpenSshKey if is_key => {
                format!("cp -p {from} {to} && ssh-keygen -p -N '' -m PKCS8 -f {to}")
            }
            Self::Pkcs12 => format!(
                "openssl pkcs12 -in {from} {} -out {to}",
                pkcs12_part(wanted)
            ),
            Self::Asn1(Encoding::JoinedPem, kind) if kind.is_for(wanted) => {
                private(joined(from, to))
            }
            Self::Asn1(_, kind) => match (kind, wanted) {
                (Kind::Certificate, Wanted::Chain | Wanted::Authorities) => {
                    format!("openssl x509{encoding} -in {from} -out {to}")
                }
                (Kind::Pkcs7, Wanted::Chain | Wanted::Authorities) => {
                    format!("openssl pkcs7{encoding} -print_certs -in {from} -out {to}")
                }
                (Kind::Key | Kind::EncryptedKey, Wanted::Key) => {
                    format!("openssl pkey{encoding} -in {from} -out {to}")
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Where there is no command.
    pub(super) fn advice(&self, wanted: Wanted) -> String {
        let (what, key) = wanted.words();
        let other = if key == "key" { "cert" } else { "key" };
        let advice = match (self, wanted) {
            (Self::Asn1(_, Kind::Request), Wanted::Chain | Wanted::Authorities) => {
                "send it to the authority, and put the certificate there that comes back"
            }
            (Self::Asn1(_, Kind::Request), Wanted::Key) => {
                "name the file with the key that was made together with this request"
            }
            (
                Self::Asn1(_, Kind::Certificate) | Self::OddCertificate | Self::OtherPem(_),
                Wanted::Key,
            )
            | (Self::Asn1(_, Kind::Key | Kind::EncryptedKey) | Self::OpenSshKey, Wanted::Chain) => {
                return format!(
                    "name the file with the {what} in `{key}`; if `{other}` names it, exchange \
                     the two"
                );
            }
            (Self::Asn1(_, Kind::PublicKey | Kind::Parameters), Wanted::Key) => {
                "name the file with the private key"
            }
            _ => {
                return format!(
                    "put the {what} there as PEM: it begins with {}",
                    wanted.first_line()
                );
            }
        };
        advice.to_owned()
    }
}

impl Kind {
    /// Whether a command makes what is wanted of it.
    fn is_for(self, wanted: Wanted) -> bool {
        match self {
            Self::Certificate | Self::Pkcs7 => wanted != Wanted::Key,
            Self::EncryptedKey | Self::Key => wanted == Wanted::Key,
            Self::Parameters | Self::PublicKey | Self::Request | Self::RevocationList => false,
        }
    }

    fn message(self, encoding: Encoding, wanted: Wanted) -> String {
        if encoding == Encoding::JoinedPem && self.is_for(wanted) {
            return "its PEM has something else in place of line ends, such as \\n or spaces"
                .to_owned();
        }
        let what = wanted.words().0;
        let is_der = encoding == Encoding::Der;
        let this = match self {
            Self::Certificate if wanted != Wanted::Key => "its certificate is DER, not PEM",
            Self::Key if wanted == Wanted::Key => "its key is DER, not PEM",
            Self::EncryptedKey if wanted == Wanted::Key => {
                return format!(
                    "its key is encrypted{}, and nobody types the passphrase when the service \
                     starts",
                    if is_der { " DER" } else { "" }
                );
            }
            Self::Certificate => "a certificate",
            Self::Key | Self::EncryptedKey => "a private key",
            Self::Parameters => "parameters of keys",
            Self::Pkcs7 if wanted != Wanted::Key => "its certificates are PKCS #7 (.p7b), not PEM",
            Self::Pkcs7 => "certificates by PKCS #7",
            Self::PublicKey => "a public key",
            Self::Request => "a request for a certificate (CSR)",
            Self::RevocationList => "a list of revoked certificates (CRL)",
        };
        if this.starts_with("its ") {
            return this.to_owned();
        }
        format!("there is no {what} in it, but {this}")
    }
}

/// Whatever has taken the place of line ends goes, and what the text is wrapped into, too.
fn joined(from: &str, to: &str) -> String {
    format!(
        r"sed -E 's,\\[nr]|%0[ad]|<br ?/?>,,gI; s,-----(BEGIN|END) [A-Z0-9 ]+-----,\n&\n,g' < {from} | sed -E '/^-----/!s,[^A-Za-z0-9+/=],,g; /^$/d' | fold -w 64 > {to}"
    )
}

/// Keys stay readable for their owner only: openssl sees to that by itself.
fn pkcs12_part(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Key => "-nocerts -nodes",
        Wanted::Chain | Wanted::Authorities => "-nokeys",
    }
}

pub(super) fn of_section(section: &Section<'_>) -> Form {
    let encoding = if section.is_joined {
        Encoding::JoinedPem
    } else {
        Encoding::Pem
    };
    let kind = match section.label {
        b"" => return Form::DamagedBegin,
        // What is in them is asked again when they have lines.
        b"OPENSSH PRIVATE KEY" if section.is_joined => Kind::Key,
        b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" if section.is_joined => Kind::Certificate,
        b"OPENSSH PRIVATE KEY" => return Form::OpenSshKey,
        b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" => return Form::OddCertificate,
        b"CERTIFICATE" => Kind::Certificate,
        b"ENCRYPTED PRIVATE KEY" => Kind::EncryptedKey,
        _ if section.is_encrypted() => Kind::EncryptedKey,
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => Kind::Key,
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" | b"SSH2 PUBLIC KEY" => Kind::PublicKey,
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Kind::Request,
        b"X509 CRL" => Kind::RevocationList,
        b"PKCS7" | b"CMS" => Kind::Pkcs7,
        b"EC PARAMETERS" | b"DH PARAMETERS" | b"DSA PARAMETERS" => Kind::Parameters,
        _ => return Form::OtherPem(section.known_label().map(str::to_owned)),
    };
    Form::Asn1(encoding, kind)
}

/// As in `id_ed25519.pub`.
fn is_ssh_public_key(content: &[u8]) -> bool {
    let begins = [&b"ssh-"[..], b"ecdsa-sha2-", b"sk-ssh-"];
    begins.iter().any(|begin| content.starts_with(begin))
}

/// Told by its outermost structure.
fn of_der(content: &[u8]) -> Option<Form> {
    let (_, outer) = Any::from_ber(content).ok()?; // PKCS #12 may be BER (RFC 7292 §4)
    if outer.tag() != Tag::Sequence {
        return None;
    }
    let kind = if X509Certificate::from_der(content).is_ok() {
        Kind::Certificate
    } else if X509CertificationRequest::from_der(content).is_ok() {
        Kind::Request
    } else if CertificateRevocationList::from_der(content).is_ok() {
        Kind::RevocationList
    } else {
        let (mut rest, mut tags, mut version) = (outer.data, Vec::new(), None);
        while let Ok((behind, field)) = Any::from_ber(rest)
            && tags.len() < 9
        {
            version.get_or_insert(field.data);
            tags.push(field.tag());
            rest = behind;
        }
        match *tags {
            // RFC 5958, RFC 5915, and RFC 8017: the version and eight numbers.
            [Tag::Integer, Tag::Sequence, Tag::OctetString, ..]
            | [Tag::Integer, Tag::OctetString, ..]
            | [Tag::Integer, Tag::Integer, Tag::Integer, ..] => Kind::Key,
            [Tag::Integer, Tag::Sequence, ..] if version == Some(&[3]) => {
                return Some(Form::Pkcs12);
            }
            // RFC 5280, and the two numbers of RFC 8017.
            [Tag::Sequence, Tag::BitString] | [Tag::Integer, Tag::Integer] => Kind::PublicKey,
            [Tag::Oid, ..] => Kind::Pkcs7,
            [Tag::Sequence, Tag::OctetString] => Kind::EncryptedKey,
            _ => return None,
        }
    };
    Some(Form::Asn1(Encoding::Der, kind))
}
