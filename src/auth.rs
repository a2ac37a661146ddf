//! Verifies passwords, and knows at any time who may still use a session.
//!
//! A wrong password is a verdict, not an error. Whatever is wrong with a login, it takes the same
//! work and gets the same answer (SEC-56): an unknown user is verified against a dummy hash, a disabled
//! one against the own hash. Hashes of another cost than ours would still tell by their time who
//! exists; while the users file holds such hashes, refusals wait for a fixed interval.

pub(crate) mod api_token;
pub(crate) mod authenticators;
pub(crate) mod callers;
pub(crate) mod credential;
mod hashing;
pub(crate) mod htpasswd;
pub(crate) mod known_passwords;
mod local_users;
pub(crate) mod password;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the page for a second factor takes its steps next"
    )
)]
pub(crate) mod step;
pub(crate) mod throttle;
mod timing;
pub(crate) mod users_file;
mod watch;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::hashing::Waiter;
use self::hashing::{Done, Pool};
use self::local_users::LocalUsers;
use self::password::{Hasher, NewPassword};
use self::timing::Work;
use self::users_file::{User, Users, UsersFileError};
use crate::clock::Clock;
use crate::principal::{AccountRef, CredentialFingerprint, Identity, Methods, SourceName};
use crate::secret::Secret;

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    identity: Arc<Identity>,
    fingerprint: CredentialFingerprint,
}

impl Account {
    fn of(user: &User) -> Self {
        let email = user.email().map(str::to_owned);
        let identity = Identity::new(user.name().to_owned(), user.groups().to_vec(), email);
        Self {
            identity: Arc::new(identity),
            fingerprint: user.password().fingerprint(),
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn fingerprint(&self) -> CredentialFingerprint {
        self.fingerprint
    }
}

/// The proof that a login finished; only this module makes one.
#[derive(Debug)]
pub(crate) struct SignedIn {
    account: Arc<Account>,
    methods: Methods,
}

impl SignedIn {
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// How they signed in.
    pub(crate) fn methods(&self) -> &Methods {
        &self.methods
    }
}

/// What came of a login.
#[derive(Debug)]
#[must_use]
pub(crate) enum Verdict {
    /// Unknown, disabled or wrong: nobody learns which.
    Refused,
    SignedIn(SignedIn),
}

/// What came of a new password.
#[derive(Debug)]
#[must_use]
pub(crate) enum PasswordChange {
    /// It holds; the proof is for a session that the new password started.
    Done(SignedIn),
    /// The users file could not be read or written; the log says why.
    NotWritten,
    /// Somebody else has changed the password, or disabled or removed the user, since the proof.
    Overtaken,
}

/// Bytes that verifying takes when all threads are at the password that costs most (REL-06).
pub(crate) fn hashing_memory(users: &Users) -> u64 {
    let threads = u64::try_from(hashing::threads()).unwrap_or(u64::MAX);
    threads.saturating_mul(users.hashing_memory())
}

/// Why a login got no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    /// Too many logins wait already (SEC-60).
    Busy,
    /// The hashing thread is gone.
    Gone,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many logins are waiting to be verified",
            Self::Gone => "the password could not be verified",
        })
    }
}

impl std::error::Error for VerifyError {}

/// The users file in memory, kept up to date, and the threads that verify.
pub(crate) struct Accounts {
    users: Arc<LocalUsers>,
    pool: Pool,
}

impl Accounts {
    /// Reads the users file; at start whatever is wrong with it is an error (SEC-79, SEC-80).
    pub(crate) fn open(users_file: &Path, clock: Clock) -> Result<Self, UsersFileError> {
        Ok(Self {
            users: Arc::new(LocalUsers::open(users_file, clock)?),
            pool: Pool::start().map_err(UsersFileError::Hashing)?,
        })
    }

    /// Verifies a password by the users file as it is now, in the turn of `waiter`. Takes the
    /// same work for unknown users, disabled users and wrong passwords, and occupies a thread for
    /// as long (SEC-56).
    pub(crate) async fn verify(
        &self,
        waiter: impl Into<Waiter>,
        username: &str,
        password: Secret<Vec<u8>>,
    ) -> Result<Verdict, VerifyError> {
        // This one shows by its time, but it depends on nothing that only we know (SEC-57).
        if !(1..=password::MAX_LENGTH).contains(&password.expose().len()) {
            return Ok(Verdict::Refused);
        }
        let (users, name) = (Arc::clone(&self.users), username.to_owned());
        let job = move |hasher: &mut Hasher| {
            let (work, before) = (Work::begin(), users.timing());
            let verdict = users.authenticate(hasher, &name, password.expose());
            // It may have read a file with the first old hash, or have upgraded the last one.
            let interval = before.max(users.timing());
            Done {
                held_back: matches!(verdict, Verdict::Refused),
                answer: verdict,
                hold: interval.map(|interval| work.up_to(interval)),
            }
        };
        self.pool.run(waiter.into(), job).await
    }

    /// How many logins wait for a hashing thread, and how many may.
    pub(crate) fn hashing_queue(&self) -> (usize, usize) {
        self.pool.waiting()
    }

    /// Gives whoever proved the old password a new one, and writes it to the users file. Sessions
    /// of the old one end by their fingerprint (SEC-51).
    pub(crate) async fn change_password(
        &self,
        proof: SignedIn,
        new: NewPassword,
    ) -> Result<PasswordChange, VerifyError> {
        let users = Arc::clone(&self.users);
        let user = proof.account().identity().user().into();
        let job =
            move |hasher: &mut Hasher| Done::at_once(users.change_password(hasher, &proof, &new));
        self.pool.run(Waiter::User(user), job).await
    }

    /// The account as it is now; `None` when it was removed or disabled.
    pub(crate) fn active(&self, account: &AccountRef) -> Option<Arc<Account>> {
        match account.source() {
            SourceName::UsersFile => self.users.active(account.subject()),
        }
    }

    /// Bytes that verifying takes at most with the passwords of the users file (REL-06).
    pub(crate) fn hashing_memory(&self) -> u64 {
        self.users.hashing_memory()
    }

    /// How many users there are, disabled users included.
    pub(crate) fn count(&self) -> usize {
        self.users.count()
    }

    /// Users who may no longer be signed in as they were: gone, disabled, or with another
    /// password than before. Each is given once.
    pub(crate) fn take_revoked(&self) -> Vec<String> {
        self.users.take_revoked()
    }

    /// Another number than before says that some account may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.users.generation()
    }

    /// Reads the users file again if it changed, looking at most every 20 ms: called for each
    /// request. A file that is broken or open to others leaves everything as it was, and says so
    /// in the log.
    pub(crate) fn refresh(&self) {
        self.users.refresh();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::password::MAX_LENGTH;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn secret(password: &[u8]) -> Secret<Vec<u8>> {
        Secret::new(password.to_vec())
    }

    fn own() -> crate::network::Network {
        crate::network::Network::of([192, 0, 2, 1].into())
    }

    #[tokio::test]
    async fn sec_57_passwords_have_1_to_1024_bytes() {
        let longest = [b'x'; MAX_LENGTH];
        let hash = Hasher::default().hash(&longest).unwrap();
        let (_folder, path) = file(
            &format!("[user.ada]\npassword = \"{}\"", hash.as_str()),
            0o600,
        );
        let accounts = Accounts::open(&path, Clock::system()).unwrap();
        let verdict = accounts
            .verify(own(), "ada", secret(&longest))
            .await
            .unwrap();
        let Verdict::SignedIn(signed_in) = verdict else {
            panic!("1024 bytes are not too many");
        };
        assert_eq!(signed_in.methods().names(), "password");
        let ada = AccountRef::of_users_file("ada");
        assert_eq!(accounts.active(&ada).as_ref(), Some(signed_in.account()));
        for wrong in [&b""[..], &[b'x'; MAX_LENGTH + 1]] {
            let verdict = accounts.verify(own(), "ada", secret(wrong)).await.unwrap();
            assert!(matches!(verdict, Verdict::Refused));
        }
    }

    #[tokio::test]
    async fn sec_56_beside_old_hashes_every_refusal_waits_for_the_interval() {
        let bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let (_folder, path) = file(&format!("[user.old]\npassword = \"{bcrypt}\""), 0o600);
        let accounts = Accounts::open(&path, Clock::system()).unwrap();
        let interval = accounts.users.timing().unwrap();
        for name in ["old", "nobody"] {
            let started = Clock::stopwatch();
            let verdict = accounts
                .verify(own(), name, secret(b"wrong"))
                .await
                .unwrap();
            assert!(matches!(verdict, Verdict::Refused));
            assert!(started.elapsed() >= interval, "{name}");
        }
        let verdict = accounts.verify(own(), "old", secret(b"U*U")).await.unwrap();
        assert!(matches!(verdict, Verdict::SignedIn(_)));
        assert_eq!(accounts.users.timing(), None, "the last old hash is gone");
    }

    #[tokio::test]
    async fn sec_56_beside_old_hashes_each_login_takes_its_thread_for_the_interval() {
        let bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let own_hash = Hasher::default().hash(b"ada's").unwrap();
        let (_folder, path) = file(
            &format!(
                "[user.old]\npassword = \"{bcrypt}\"\n[user.ada]\npassword = \"{}\"",
                own_hash.as_str()
            ),
            0o600,
        );
        let accounts = Accounts::open(&path, Clock::system()).unwrap();
        let interval = accounts.users.timing().unwrap();
        let threads = hashing::threads();
        for (name, password) in [("old", "wrong"), ("nobody", "wrong"), ("ada", "ada's")] {
            let started = Clock::stopwatch();
            let before =
                (0..threads).map(|_| accounts.verify(own(), name, secret(password.as_bytes())));
            let before = futures_util::future::join_all(before);
            let behind = accounts.verify(own(), "ghost", secret(b"wrong"));
            let (_, behind) = tokio::join!(before, behind);
            assert!(matches!(behind, Ok(Verdict::Refused)));
            assert!(started.elapsed() >= 2 * interval, "behind {name}");
        }
    }

    #[test]
    fn sec_79_sec_80_a_users_file_that_is_missing_open_or_invalid_stops_the_start() {
        for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            let (_folder, path) = file("", mode);
            let opened = Accounts::open(&path, Clock::system());
            assert_eq!(opened.is_err(), refused, "{mode:o}");
            if let Err(error) = opened {
                let message = error.to_string();
                assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
                assert!(message.contains("chmod 600"), "{message}");
            }
        }
        let (folder, invalid) = file("[users]", 0o600);
        let error = Accounts::open(&invalid, Clock::system()).err().unwrap();
        assert!(error.to_string().contains("users.toml:1:2: "), "{error}");
        let error = Accounts::open(&folder.path().join("none"), Clock::system()).err();
        let message = error.unwrap().to_string();
        assert!(message.contains("vestibule user add NAME"), "{message}");
    }
}
