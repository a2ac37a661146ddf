//! Stored password hashes: which are accepted, what they may cost, and how they are verified.

mod hasher;
mod weakness;

use std::fmt;

use argon2::password_hash::phc::{self, Output, Salt};
use argon2::{Algorithm, Params, Version};

pub(crate) use self::hasher::Hasher;
pub(crate) use self::weakness::{MIN_CHARACTERS, NewPassword, Weakness, weakness};
use super::incarnation::UserId;
use crate::principal::CredentialFingerprint;

/// Bytes of the longest password (SEC-57). Bytes are compared as they were sent: nothing is
/// trimmed, and a browser that sends NFC and a shell that sends NFD send different passwords.
pub(crate) const MAX_LENGTH: usize = 1024;

/// Argon2id as OWASP's password storage cheat sheet has it: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Memory of one hash in bytes.
pub(super) const MEMORY: u64 = MEMORY_KIB as u64 * 1024;

/// KiB times passes of the weakest of OWASP's equivalent sets (7 MiB, five passes).
const ENOUGH_WORK: u64 = 7 * 1024 * 5;

/// What a stored hash may cost at most: a users file must not be able to stop all logins.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 4;
const MAX_BCRYPT_COST: u32 = 15;
const MAX_ROUNDS: u32 = 1_000_000;

/// The `password` of a user, understood and within the limits on cost.
#[derive(Clone)]
pub(crate) struct StoredHash {
    text: String,
    scheme: Scheme,
}

/// How a hash is verified.
#[derive(Clone)]
pub(super) enum Scheme {
    Argon2(Box<Argon2Hash>),
    Bcrypt { cost: u32 },
    Sha256Crypt { rounds: u32 },
    Sha512Crypt { rounds: u32 },
}

#[derive(Clone)]
pub(super) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    pub(super) params: Params,
    salt: Salt,
    output: Output,
}

/// Why a stored hash is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashError {
    /// A scheme that looks known but has another form.
    Malformed(&'static str),
    /// No hash of any known form; most likely the password itself.
    NotAHash,
    TooCostly {
        parameter: &'static str,
        found: u32,
        limit: u32,
    },
    /// A known scheme that is too weak, or that nothing here verifies.
    Unsupported(&'static str),
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(scheme) => write!(f, "the password is no complete {scheme} hash"),
            Self::NotAHash => f.write_str("the password is not hashed"),
            Self::TooCostly {
                parameter,
                found,
                limit,
            } => write!(
                f,
                "the password hash costs too much: {parameter} is {found}, at most {limit}"
            ),
            Self::Unsupported(scheme) => write!(f, "{scheme} password hashes are not supported"),
        }
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHash({})", self.scheme_name())
    }
}

impl PartialEq for StoredHash {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl StoredHash {
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let scheme = match text.get(..3) {
            _ if text.starts_with("$argon2") => Scheme::Argon2(Box::new(parse_argon2(text)?)),
            Some("$2a" | "$2b" | "$2y") => parse_bcrypt(text)?,
            Some("$5$") => Scheme::Sha256Crypt {
                rounds: parse_sha_crypt(text, "SHA-256-crypt", 43)?,
            },
            Some("$6$") => Scheme::Sha512Crypt {
                rounds: parse_sha_crypt(text, "SHA-512-crypt", 86)?,
            },
            _ => return Err(unsupported(text)),
        };
        Ok(Self {
            text: text.to_owned(),
            scheme,
        })
    }

    /// The hash as it stands in the file.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn scheme_name(&self) -> &'static str {
        match &self.scheme {
            Scheme::Argon2(hash) => hash.algorithm.as_str(),
            Scheme::Bcrypt { .. } => "bcrypt",
            Scheme::Sha256Crypt { .. } => "sha256-crypt",
            Scheme::Sha512Crypt { .. } => "sha512-crypt",
        }
    }

    pub(super) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Where it is the password of the user who has this id.
    pub(super) fn fingerprint(&self, id: &UserId) -> CredentialFingerprint {
        match id.text() {
            Some(id) => CredentialFingerprint::of_user(&self.text, id),
            None => CredentialFingerprint::of(&self.text),
        }
    }

    /// Whether the next login should replace it.
    pub(super) fn is_weak(&self) -> bool {
        let Scheme::Argon2(hash) = &self.scheme else {
            return true;
        };
        hash.algorithm != Algorithm::Argon2id
            || hash.version != Version::V0x13
            || u64::from(hash.params.m_cost()) * u64::from(hash.params.t_cost()) < ENOUGH_WORK
    }

    /// Bytes that verifying takes, or making the hash that replaces this one.
    pub(super) fn memory(&self) -> u64 {
        match &self.scheme {
            Scheme::Argon2(hash) => MEMORY.max(u64::from(hash.params.m_cost()) * 1024),
            Scheme::Bcrypt { .. } | Scheme::Sha256Crypt { .. } | Scheme::Sha512Crypt { .. } => {
                MEMORY
            }
        }
    }

    /// Whether verifying takes as long as verifying a hash that was made here.
    pub(super) fn costs_as_usual(&self) -> bool {
        matches!(&self.scheme, Scheme::Argon2(hash)
            if (hash.params.m_cost(), hash.params.t_cost()) == (MEMORY_KIB, PASSES))
    }
}

fn parse_argon2(text: &str) -> Result<Argon2Hash, HashError> {
    let malformed = HashError::Malformed("argon2");
    let hash = phc::PasswordHash::new(text).map_err(|_| malformed)?;
    // `keyid` and `data` would need a key that no users file holds.
    if hash
        .params
        .iter()
        .any(|(name, _)| !matches!(name.as_str(), "m" | "t" | "p"))
    {
        return Err(malformed);
    }
    let params = Params::try_from(&hash).map_err(|_| malformed)?;
    limit("m", params.m_cost(), MAX_MEMORY_KIB)?;
    limit("t", params.t_cost(), MAX_PASSES)?;
    limit("p", params.p_cost(), MAX_LANES)?;
    Ok(Argon2Hash {
        algorithm: hash.algorithm.as_str().parse().map_err(|_| malformed)?,
        // A hash without a version is older than the field (argon2's `decode_string`).
        version: Version::try_from(hash.version.unwrap_or(0x10)).map_err(|_| malformed)?,
        params,
        salt: hash.salt.ok_or(malformed)?,
        output: hash.hash.ok_or(malformed)?,
    })
}

fn parse_bcrypt(text: &str) -> Result<Scheme, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    let cost = parts.get_cost();
    limit("the cost", cost, MAX_BCRYPT_COST)?;
    if cost < 4 {
        return Err(HashError::Malformed("bcrypt"));
    }
    Ok(Scheme::Bcrypt { cost })
}

/// The rounds of `$6$[rounds=N$]salt$hash`.
fn parse_sha_crypt(text: &str, scheme: &'static str, length: usize) -> Result<u32, HashError> {
    let malformed = HashError::Malformed(scheme);
    let fields: Vec<_> = text.split('$').skip(2).collect();
    let (rounds, salt, hash) = match fields[..] {
        [salt, hash] => (None, salt, hash),
        [rounds, salt, hash] => (Some(rounds), salt, hash),
        _ => return Err(malformed),
    };
    let rounds = match rounds.map(|field| field.strip_prefix("rounds=")) {
        None => sha_crypt::Params::RECOMMENDED_ROUNDS,
        Some(Some(digits)) => digits.parse().map_err(|_| malformed)?,
        Some(None) => return Err(malformed),
    };
    limit("rounds", rounds, MAX_ROUNDS)?;
    let alphabet = |field: &str| {
        field
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b))
    };
    let complete = rounds >= sha_crypt::Params::ROUNDS_MIN
        && (1..=16).contains(&salt.len())
        && alphabet(salt)
        && hash.len() == length
        && alphabet(hash);
    complete.then_some(rounds).ok_or(malformed)
}

fn limit(parameter: &'static str, found: u32, limit: u32) -> Result<(), HashError> {
    if found <= limit {
        return Ok(());
    }
    Err(HashError::TooCostly {
        parameter,
        found,
        limit,
    })
}

fn unsupported(text: &str) -> HashError {
    let known = [
        ("$1$", "MD5-crypt"),
        ("$2x$", "broken bcrypt ($2x$)"),
        ("$7$", "scrypt"),
        ("$apr1$", "Apache MD5 (apr1)"),
        ("$gy$", "gost-yescrypt"),
        ("$pbkdf2", "PBKDF2"),
        ("$scrypt$", "scrypt"),
        ("$y$", "yescrypt"),
        ("{SHA}", "unsalted SHA-1"),
        ("{SSHA}", "SHA-1"),
    ];
    known
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix))
        .map_or(HashError::NotAHash, |(_, name)| {
            HashError::Unsupported(name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA512: &str = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    const BCRYPT: &str = "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq";

    #[test]
    fn stored_hashes_are_understood_or_refused_with_their_reason() {
        let argon2 = |cost: &str| format!("$argon2id$v=19${cost}$c29tZXNhbHQ${}", "A".repeat(43));
        let too_costly = |parameter, found, limit| {
            Some(HashError::TooCostly {
                parameter,
                found,
                limit,
            })
        };
        let malformed = |scheme| Some(HashError::Malformed(scheme));
        let unsupported = |scheme| Some(HashError::Unsupported(scheme));
        for (text, expected) in [
            (argon2("m=19456,t=2,p=1"), None),
            (argon2("m=262144,t=16,p=4"), None),
            (
                argon2("m=262145,t=1,p=1"),
                too_costly("m", 262_145, 262_144),
            ),
            (argon2("m=4096,t=17,p=1"), too_costly("t", 17, 16)),
            (argon2("m=4096,t=1,p=5"), too_costly("p", 5, 4)),
            (
                argon2("m=4294967295,t=1,p=1"),
                too_costly("m", u32::MAX, 262_144),
            ),
            (argon2("m=1,t=1,p=1"), malformed("argon2")),
            (argon2("m=4096,t=1,p=1,keyid=AAAA"), malformed("argon2")),
            (
                "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQ".to_owned(),
                malformed("argon2"),
            ),
            (
                "$argon2x$v=19$m=4096,t=1,p=1$c29tZXNhbHQ$AAAA".to_owned(),
                malformed("argon2"),
            ),
            (BCRYPT.to_owned(), None),
            (BCRYPT.replace("$05$", "$15$"), None),
            (
                BCRYPT.replace("$05$", "$16$"),
                too_costly("the cost", 16, 15),
            ),
            (BCRYPT.replace("$05$", "$03$"), malformed("bcrypt")),
            (
                BCRYPT.replace("2y", "2x"),
                unsupported("broken bcrypt ($2x$)"),
            ),
            (BCRYPT[..59].to_owned(), malformed("bcrypt")),
            (SHA512.to_owned(), None),
            (SHA512.replace("$6$", "$6$rounds=1000000$"), None),
            (
                SHA512.replace("$6$", "$6$rounds=1000001$"),
                too_costly("rounds", 1_000_001, 1_000_000),
            ),
            (
                SHA512.replace("$6$", "$6$rounds=999$"),
                malformed("SHA-512-crypt"),
            ),
            (
                SHA512.replace("$6$", "$6$turns=5000$"),
                malformed("SHA-512-crypt"),
            ),
            (SHA512.replace("saltstring", ""), malformed("SHA-512-crypt")),
            (SHA512[..99].to_owned(), malformed("SHA-512-crypt")),
            (
                "$apr1$salt$hash".to_owned(),
                unsupported("Apache MD5 (apr1)"),
            ),
            (
                "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
                unsupported("unsalted SHA-1"),
            ),
            ("$y$j9T$salt$hash".to_owned(), unsupported("yescrypt")),
            ("correct horse".to_owned(), Some(HashError::NotAHash)),
            ("äöü".to_owned(), Some(HashError::NotAHash)),
            (String::new(), Some(HashError::NotAHash)),
        ] {
            assert_eq!(StoredHash::parse(&text).err(), expected, "{text}");
        }
    }

    #[test]
    fn only_hashes_weaker_than_ours_are_replaced() {
        let rest = format!("c29tZXNhbHQ${}", "A".repeat(43));
        for (text, weak) in [
            (format!("$argon2id$v=19$m=19456,t=2,p=1${rest}"), false),
            (format!("$argon2id$v=19$m=65536,t=3,p=4${rest}"), false),
            (format!("$argon2id$v=19$m=47104,t=1,p=1${rest}"), false),
            (format!("$argon2id$v=19$m=4096,t=3,p=1${rest}"), true),
            (format!("$argon2id$v=16$m=19456,t=2,p=1${rest}"), true),
            (format!("$argon2i$v=19$m=19456,t=2,p=1${rest}"), true),
            (BCRYPT.to_owned(), true),
            (SHA512.to_owned(), true),
        ] {
            assert_eq!(StoredHash::parse(&text).unwrap().is_weak(), weak, "{text}");
        }
    }

    #[test]
    fn a_stored_hash_is_not_shown_and_its_fingerprint_tells_it_from_others() {
        let (one, other) = (StoredHash::parse(BCRYPT), StoredHash::parse(SHA512));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(format!("{one:?}"), "StoredHash(bcrypt)");
        let again = StoredHash::parse(BCRYPT).unwrap();
        let ids = [
            UserId::Unset,
            UserId::parse("7").unwrap(),
            UserId::parse("8").unwrap(),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(one.fingerprint(id), again.fingerprint(id));
            assert_ne!(one.fingerprint(id), other.fingerprint(id));
            assert!(
                ids[..n]
                    .iter()
                    .all(|before| one.fingerprint(before) != one.fingerprint(id))
            );
        }
        // As of sessions from before there were ids.
        assert_eq!(one.fingerprint(&ids[0]), CredentialFingerprint::of(BCRYPT));
    }
}
