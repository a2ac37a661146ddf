//! Makes and verifies hashes.

use std::fmt;
use std::hint::black_box;

use argon2::password_hash::phc::{self, Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use subtle::ConstantTimeEq;

use super::{Argon2Hash, LANES, MEMORY_KIB, PASSES, Scheme, StoredHash};

/// bcrypt knows no more of a password than this.
const BCRYPT_LENGTH: usize = 72;

/// Hashes, and keeps the memory of argon2 from one password to the next.
#[derive(Default)]
pub(crate) struct Hasher {
    blocks: Vec<Block>,
    #[cfg(test)]
    pub(in crate::auth) work: Vec<&'static str>,
}

impl Hasher {
    /// Whether `password` is the one that was stored. The work depends on the stored hash only,
    /// not on whether the password fits it.
    pub(crate) fn verify(&mut self, stored: &StoredHash, password: &[u8]) -> bool {
        #[cfg(test)]
        self.work.push(stored.scheme_name());
        match &stored.scheme {
            Scheme::Argon2(hash) => {
                let mut output = [0; Output::MAX_LENGTH];
                let output = &mut output[..hash.output.len()];
                self.argon2(
                    hash.algorithm,
                    hash.version,
                    &hash.params,
                    |argon2, blocks| {
                        argon2.hash_password_into_with_memory(password, &hash.salt, output, blocks)
                    },
                )
                .is_ok()
                    && bool::from(output.ct_eq(hash.output.as_ref()))
            }
            // What bcrypt cannot tell apart is refused rather than let in (SEC-57): it cuts a
            // password at 72 bytes, and repeats it with a NUL in between, so that "a" and
            // "a\0a" are the same key.
            Scheme::Bcrypt { .. } => {
                let right = bcrypt::verify(password, &stored.text).unwrap_or(false);
                right && password.len() <= BCRYPT_LENGTH && !password.contains(&0)
            }
            Scheme::Sha256Crypt { .. } | Scheme::Sha512Crypt { .. } => ShaCrypt::default()
                .verify_password(password, stored.text.as_str())
                .is_ok(),
        }
    }

    /// Whether it keeps memory.
    pub(crate) fn has_memory(&self) -> bool {
        self.blocks.capacity() > 0
    }

    /// To be called some time after a hasher was dropped: mimalloc keeps what is freed for a tenth
    /// of a second, and gives it back when the next large piece is freed after that. In a process
    /// where little happens, that would be the next login.
    pub(crate) fn return_memory() {
        drop(black_box(Vec::<Block>::with_capacity(MEMORY_KIB as usize)));
    }

    /// Argon2id with a fresh salt.
    pub(crate) fn hash(&mut self, password: &[u8]) -> Result<StoredHash, HashingError> {
        #[cfg(test)]
        self.work.push("hash");
        let salt = salt()?;
        let mut output = [0; 32];
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(output.len()))
            .map_err(HashingError::Argon2)?;
        self.argon2(
            Algorithm::Argon2id,
            Version::V0x13,
            &params,
            |argon2, blocks| {
                argon2.hash_password_into_with_memory(password, &salt, &mut output, blocks)
            },
        )
        .map_err(HashingError::Argon2)?;
        encode(&salt, &output)
    }

    fn argon2<T>(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        work: impl FnOnce(&Argon2<'_>, &mut [Block]) -> T,
    ) -> T {
        let needed = params.block_count();
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::new());
        }
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let done = work(&argon2, &mut self.blocks[..needed]);
        // One costly hash of somebody must not keep its memory from then on (REL-06).
        let kept = MEMORY_KIB as usize;
        if self.blocks.len() > kept {
            self.blocks.truncate(kept);
            self.blocks.shrink_to_fit();
        }
        done
    }
}

/// Why a password could not be hashed.
#[derive(Debug)]
pub(crate) enum HashingError {
    Argon2(argon2::Error),
    /// The system gave no random salt.
    Random(SysError),
}

impl fmt::Display for HashingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2(error) => write!(f, "argon2 failed: {error}"),
            Self::Random(error) => write!(f, "no random bytes for a salt: {error}"),
        }
    }
}

impl std::error::Error for HashingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Argon2(error) => Some(error),
            Self::Random(error) => Some(error),
        }
    }
}

impl StoredHash {
    /// A hash of the usual cost that no password is known for: verifying against it is how an
    /// unknown user takes as long as a known one (SEC-56).
    pub(in crate::auth) fn dummy() -> Result<Self, HashingError> {
        let mut output = [0; 32];
        SysRng
            .try_fill_bytes(&mut output)
            .map_err(HashingError::Random)?;
        encode(&salt()?, &output)
    }
}

fn salt() -> Result<[u8; 16], HashingError> {
    let mut salt = [0; 16];
    SysRng
        .try_fill_bytes(&mut salt)
        .map_err(HashingError::Random)?;
    Ok(salt)
}

/// `$argon2id$v=19$m=..,t=..,p=..$salt$output` with the parameters of today.
fn encode(salt: &[u8; 16], output: &[u8; 32]) -> Result<StoredHash, HashingError> {
    let invalid = |_| HashingError::Argon2(argon2::Error::OutputTooLong);
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, Some(output.len())).map_err(HashingError::Argon2)?;
    let (salt, output) = (
        Salt::new(salt).map_err(invalid)?,
        Output::new(output).map_err(invalid)?,
    );
    let text = phc::PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)
            .map_err(|_| HashingError::Argon2(argon2::Error::MemoryTooMuch))?,
        salt: Some(salt),
        hash: Some(output),
    }
    .to_string();
    let hash = Argon2Hash {
        algorithm: Algorithm::Argon2id,
        version: Version::V0x13,
        params,
        salt,
        output,
    };
    Ok(StoredHash {
        text,
        scheme: Scheme::Argon2(Box::new(hash)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(stored: &str, password: &[u8]) -> bool {
        Hasher::default().verify(&StoredHash::parse(stored).unwrap(), password)
    }

    /// Vectors of the reference implementations: phc-winner-argon2 `test.c`, `crypt_blowfish`
    /// `wrapper.c`, and Drepper's "Unix crypt using SHA-256 and SHA-512".
    #[test]
    fn reference_vectors_verify_and_nothing_near_them_does() {
        for (password, stored) in [
            (
                &b"password"[..],
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            ),
            (
                b"password",
                "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
            ),
            (
                b"U*U",
                "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            ),
            (
                b"\xa3",
                "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq",
            ),
            (
                b"Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                b"Hello world!",
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
            (
                b"Hello world!",
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
        ] {
            assert!(verifies(stored, password), "{stored}");
            let padded = [password, b" "].concat();
            let zero = [password, b"\0"].concat();
            for wrong in [
                &padded,
                &zero,
                &password.to_ascii_uppercase(),
                &password[1..].to_vec(),
            ] {
                let same = wrong == password;
                assert_eq!(verifies(stored, wrong), same, "{stored} {wrong:?}");
            }
        }
    }

    #[test]
    fn sec_57_bcrypt_takes_no_password_that_it_cannot_tell_from_another() {
        let seventy_two = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS";
        assert!(verifies(seventy_two, &[b'x'; 72]));
        assert!(!verifies(seventy_two, &[b'x'; 73]));
        let one_letter = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.crbyEJ0XFaJ9sONRyOTHdI7c4ZT.ndu";
        assert!(verifies(one_letter, b"a"));
        assert!(!verifies(one_letter, b"a\0a"));
        assert!(!verifies(one_letter, b"a\0"));
    }

    #[test]
    fn sec_57_every_byte_of_a_long_password_counts() {
        let mut hasher = Hasher::default();
        let password = [b'x'; 1024];
        let stored = hasher.hash(&password).unwrap();
        assert!(hasher.verify(&stored, &password));
        let mut last_differs = password;
        last_differs[1023] = 0;
        assert!(!hasher.verify(&stored, &last_differs));
        assert!(!hasher.verify(&stored, &password[..1023]));
    }

    #[test]
    fn a_new_hash_is_argon2id_with_its_own_salt_and_reads_back() {
        let mut hasher = Hasher::default();
        let (one, two) = (hasher.hash(b"same").unwrap(), hasher.hash(b"same").unwrap());
        assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(one, two);
        let read_back = StoredHash::parse(one.as_str()).unwrap();
        assert!(hasher.verify(&read_back, b"same"));
        assert!(!read_back.is_weak() && read_back.costs_as_usual());
    }

    #[test]
    fn rel_06_a_costly_hash_does_not_keep_its_memory() {
        let mut hasher = Hasher::default();
        let costly = format!(
            "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ${}",
            "A".repeat(43)
        );
        hasher.verify(&StoredHash::parse(&costly).unwrap(), b"x");
        assert!(hasher.blocks.capacity() <= MEMORY_KIB as usize);
    }
}
