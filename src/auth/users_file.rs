//! The users file: one table for each user, written by `vestibule user` or by hand.

pub(crate) mod edit;
mod locked;
mod parse;
mod problem;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::incarnation::UserId;
use super::password::StoredHash;
use crate::principal::CredentialFingerprint;
use crate::principal::user_name::canonical;
use crate::regular_file::{self, Distrust, Owners};
use crate::source_text::Problem;
#[cfg(fuzzing)]
pub(crate) use parse::parse;

const KEYS: [&str; 5] = ["password", "groups", "email", "disabled", "id"];

/// One `[user.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    name: String,
    password: StoredHash,
    groups: Vec<String>,
    email: Option<String>,
    disabled: bool,
    id: UserId,
}

impl User {
    /// Without groups, e-mail and id, and not disabled.
    pub(crate) fn new(name: String, password: StoredHash) -> Self {
        Self {
            name,
            password,
            groups: Vec::new(),
            email: None,
            disabled: false,
            id: UserId::Unset,
        }
    }

    pub(crate) fn in_groups(self, groups: Vec<String>) -> Self {
        Self { groups, ..self }
    }

    pub(crate) fn with_email(self, email: Option<String>) -> Self {
        Self { email, ..self }
    }

    pub(super) fn with_password(self, password: StoredHash) -> Self {
        Self { password, ..self }
    }

    pub(crate) fn set_disabled(self, disabled: bool) -> Self {
        Self { disabled, ..self }
    }

    pub(crate) fn with_id(self, id: UserId) -> Self {
        Self { id, ..self }
    }

    /// The name as the file spells it, composed; this is what upstreams get (SEC-58).
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn password(&self) -> &StoredHash {
        &self.password
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    pub(crate) fn disabled(&self) -> bool {
        self.disabled
    }

    /// What tells them from others who have had the name.
    pub(crate) fn id(&self) -> &UserId {
        &self.id
    }

    /// Of the user and the password: sessions end when it changes.
    pub(super) fn fingerprint(&self) -> CredentialFingerprint {
        self.password.fingerprint(&self.id)
    }
}

/// Everybody in the file, by canonical name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Users(BTreeMap<String, User>);

impl Users {
    /// Whoever `name` names, in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.0.get(canonical(name)?.as_ref())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    /// Bytes that verifying takes where it costs most.
    pub(super) fn hashing_memory(&self) -> u64 {
        let hashes = self.iter().map(|user| user.password().memory());
        hashes.max().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for Users {
    type Item = (String, User);
    type IntoIter = std::collections::btree_map::IntoIter<String, User>;

    /// Each with its canonical name.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<User> for Users {
    /// Of two with the same name the last.
    fn from_iter<I: IntoIterator<Item = User>>(users: I) -> Self {
        let named = |user: User| Some((canonical(user.name())?.into_owned(), user));
        Self(users.into_iter().filter_map(named).collect())
    }
}

/// Groups go to the upstream as one list with `,` between them, so that none may hold one (SEC-40).
pub(crate) fn is_group(group: &str) -> bool {
    !group.is_empty()
        && group.trim() == group
        && !group.contains(|c: char| c == ',' || c.is_control())
}

/// A plausible address; whether it exists is not ours to know.
pub(crate) fn is_email(email: &str) -> bool {
    !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

/// Why there are no users to work with.
#[derive(Debug)]
pub(crate) enum UsersFileError {
    Invalid {
        path: PathBuf,
        problems: Vec<Problem>,
    },
    /// Another program keeps it locked.
    Locked {
        path: PathBuf,
    },
    Missing {
        path: PathBuf,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
    /// No threads, or no random bytes, to hash with.
    Hashing(io::Error),
    /// The system gives no random bytes.
    NoRandomness,
    /// The users are to be in the session store, and nodes share none.
    NoStore,
    /// Others than its owner may read or write it (SEC-79).
    TooOpen {
        path: PathBuf,
        mode: u32,
    },
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
    Write {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for UsersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { path, problems } => {
                for (n, problem) in problems.iter().enumerate() {
                    let end_of_last = if n == 0 { "" } else { "\n" };
                    write!(f, "{end_of_last}{}:{problem}", path.display())?;
                }
                Ok(())
            }
            Self::Locked { path } => write!(
                f,
                "{} is locked by another program; try again when it is done",
                path.display()
            ),
            Self::Missing { path } => write!(
                f,
                "there is no users file {}; `vestibule user add NAME` makes it",
                path.display()
            ),
            Self::Read { path, source } => {
                write!(f, "cannot read the users file {}: {source}", path.display())
            }
            Self::Hashing(source) => write!(f, "cannot hash passwords: {source}"),
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::NoStore => f.write_str(
                "the users are to be in the session store, which is none that nodes share; write \
                 store = \"redis\" in [session], or users = \"file\" in [login]",
            ),
            Self::TooOpen { path, mode } => write!(
                f,
                "others may open the users file {path} (mode {mode:04o}); do `chmod 600 {path}`",
                path = path.display()
            ),
            Self::Untrusted(distrust) => write!(f, "the users file: {distrust}"),
            Self::Write { path, source } => {
                write!(
                    f,
                    "cannot write the users file {}: {source}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for UsersFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Hashing(source) | Self::Write { source, .. } => {
                Some(source)
            }
            Self::Invalid { .. }
            | Self::Locked { .. }
            | Self::Missing { .. }
            | Self::NoRandomness
            | Self::NoStore
            | Self::TooOpen { .. }
            | Self::Untrusted(_) => None,
        }
    }
}

/// Reads a file that decides who may sign in: only one of the user that this runs as, or of root.
pub(crate) fn read_trusted(path: &Path) -> Result<Users, UsersFileError> {
    regular_file::trust(path, &Owners::own()).map_err(UsersFileError::Untrusted)?;
    read(path)
}

/// Reads and checks the file; reports every problem in it, not just the first.
pub(crate) fn read(path: &Path) -> Result<Users, UsersFileError> {
    parse::parse(&read_text(path)?).map_err(|problems| UsersFileError::Invalid {
        path: path.to_owned(),
        problems,
    })
}

/// The text of a file that only its owner can open.
fn read_text(path: &Path) -> Result<String, UsersFileError> {
    let file = regular_file::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => UsersFileError::Missing {
            path: path.to_owned(),
        },
        _ => cannot_read(path)(source),
    })?;
    text_of(&file, path)
}

fn text_of(file: &File, path: &Path) -> Result<String, UsersFileError> {
    let mode = file
        .metadata()
        .map_err(cannot_read(path))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 != 0 {
        return Err(UsersFileError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let text = regular_file::read(file).map_err(cannot_read(path))?;
    regular_file::decode(text, path).map_err(cannot_read(path))
}

fn cannot_read(path: &Path) -> impl Fn(io::Error) -> UsersFileError {
    move |source| UsersFileError::Read {
        path: path.to_owned(),
        source,
    }
}
