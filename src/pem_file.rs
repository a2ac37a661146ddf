//! Certificates and keys in the files that operators bring. Whatever byte order marks, line ends
//! and indents PEM has, it is read; of everything else it is said what it is, and which command
//! makes PEM of it.

mod form;
mod sections;

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::regular_file::shell;
use form::{Form, of_section};
use sections::{Section, Sections, clean};

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// `cert`
    Chain,
    /// `key`
    Key,
    /// `upstream_ca`
    Authorities,
}

/// A file without what is wanted of it.
#[derive(Debug)]
pub(crate) struct Unfit {
    path: PathBuf,
    wanted: Wanted,
    /// The key of the configuration that names the file.
    named_by: &'static str,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// It holds something else.
    Form(Form),
    /// The section of this number, counted from one, is broken.
    Broken(usize, Fault),
}

/// What is wrong in a section. The words of [`pem::Error`] do not say it to people, and some of
/// them hold what may be a key (SEC-79).
#[derive(Debug)]
enum Fault {
    /// With this label, if it is known.
    NoEnd(Option<String>),
    NotBase64,
    Other,
}

/// The certificates in the order of the file, at least one.
pub(crate) fn certificates(
    path: &Path,
    content: &[u8],
    wanted: Wanted,
) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    read(path, content, wanted, |label| label == b"CERTIFICATE")
}

/// The keys in the order of the file, at least one. Encrypted ones are passed over.
pub(crate) fn keys(path: &Path, content: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, Unfit> {
    const LABELS: [&[u8]; 3] = [b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"];
    read(path, content, Wanted::Key, |label| LABELS.contains(&label))
}

fn read<T: PemObject>(
    path: &Path,
    content: &[u8],
    wanted: Wanted,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<T>, Unfit> {
    let unfit = |cause| Unfit {
        path: path.to_owned(),
        wanted,
        named_by: wanted.words().1,
        cause,
    };
    let text = clean(content);
    let found: Vec<_> = Sections::of(&text).collect();
    let fitting = || {
        let wanted = found.iter().filter(|section| is_wanted(section.label));
        wanted.filter(|section| !section.is_encrypted())
    };
    if let Some(joined) = fitting().find(|section| section.is_joined) {
        return Err(unfit(Cause::Form(of_section(joined))));
    }
    let read = (1..).zip(fitting()).map(|(number, section)| {
        T::from_pem_slice(section.text)
            .map_err(|error| unfit(Cause::Broken(number, Fault::of(&error, section))))
    });
    let read = read.collect::<Result<Vec<_>, _>>()?;
    if read.is_empty() {
        return Err(unfit(Cause::Form(Form::of(content, &found, wanted))));
    }
    Ok(read)
}

impl Fault {
    fn of(error: &pem::Error, section: &Section<'_>) -> Self {
        match error {
            pem::Error::MissingSectionEnd { .. } => {
                Self::NoEnd(section.known_label().map(str::to_owned))
            }
            pem::Error::Base64Decode(_) => Self::NotBase64,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnd(Some(label)) => write!(f, "its line -----END {label}----- is missing"),
            Self::NoEnd(None) => f.write_str("its -----END line is missing"),
            Self::NotBase64 => {
                f.write_str("what stands between its first and its last line is no Base64")
            }
            Self::Other => f.write_str("it is no PEM"),
        }
    }
}

impl Wanted {
    /// What the file is to hold, and the key of the configuration that names it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Chain => ("certificate", "cert"),
            Self::Key => ("private key", "key"),
            Self::Authorities => ("certificate", "upstream_ca"),
        }
    }

    fn first_line(self) -> &'static str {
        match self {
            Self::Chain | Self::Authorities => "-----BEGIN CERTIFICATE-----",
            Self::Key => "-----BEGIN PRIVATE KEY-----",
        }
    }
}

impl Unfit {
    /// Of a file that another key of the configuration names.
    #[must_use]
    pub(crate) fn named_by(self, key: &'static str) -> Self {
        Self {
            named_by: key,
            ..self
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn message(&self) -> String {
        let what = self.wanted.words().0;
        match &self.cause {
            Cause::Form(form) => form.message(self.wanted),
            Cause::Broken(1, error) => format!("its {what} cannot be read: {error}"),
            Cause::Broken(number, error) => {
                format!("{what} {number} in it cannot be read: {error}")
            }
        }
    }

    /// A command, where one mends it.
    pub(crate) fn fix(&self) -> String {
        let (what, key) = (self.wanted.words().0, self.named_by);
        match &self.cause {
            Cause::Form(form) => {
                let to = converted(&self.path, self.wanted);
                match form.command(self.wanted, &shell(&self.path), &shell(&to)) {
                    Some(command) => {
                        format!("do `{command}`, and name {} in `{key}`", to.display())
                    }
                    None => form.advice(self.wanted),
                }
            }
            Cause::Broken(..) => format!("the file is damaged: get a new copy of the {what}"),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {}; {}", self.message(), self.fix())
    }
}

impl std::error::Error for Unfit {}

/// Where a command puts what it makes: beside the file, which stays as it is.
pub(crate) fn converted(path: &Path, wanted: Wanted) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(match wanted {
        Wanted::Chain => "-chain.pem",
        Wanted::Key => "-key.pem",
        Wanted::Authorities => "-ca.pem",
    });
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
