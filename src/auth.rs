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
pub(crate) mod incarnation;
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
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use self::hashing::Waiter;
use self::hashing::{Done, Pool};
use self::incarnation::Incarnation;
use self::local_users::LocalUsers;
use self::local_users::authenticate::Attempt;
pub(crate) use self::local_users::store::{
    ChangeError, Outcome, SharedUsers, StoreFault, StoredUsers, read_once as read_stored_users,
    read_one as read_stored_user,
};
pub(crate) use self::local_users::{Revoked, users_memory};
use self::password::{Hasher, NewPassword};
use self::timing::Work;
use self::users_file::{User, Users, UsersFileError};
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::principal::{AccountRef, CredentialFingerprint, Identity, Methods, SourceName};
use crate::secret::Secret;

/// Where local users live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsersHome {
    /// In this users file, which a node has for itself.
    File(PathBuf),
    /// In the session store, the same on all nodes. It takes over those of a users file while it has
    /// none.
    Store { first: Option<PathBuf> },
}

impl UsersHome {
    /// The users file, whatever it is for.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Store { first } => first.as_deref(),
        }
    }

    pub(crate) fn is_store(&self) -> bool {
        matches!(self, Self::Store { .. })
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    identity: Arc<Identity>,
    fingerprint: CredentialFingerprint,
    incarnation: Incarnation,
}

impl Account {
    fn of(user: &User) -> Self {
        let email = user.email().map(str::to_owned);
        let identity = Identity::new(user.name().to_owned(), user.groups().to_vec(), email);
        Self {
            identity: Arc::new(identity),
            fingerprint: user.fingerprint(),
            incarnation: Incarnation {
                id: user.id().clone(),
                since: 0,
            },
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn fingerprint(&self) -> CredentialFingerprint {
        self.fingerprint
    }

    /// The same, who came with this change of the accounts.
    fn since(mut self, since: u64) -> Self {
        self.incarnation.since = since;
        self
    }

    /// Which one it is of those who have had this name.
    pub(crate) fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }
}

/// What is known of an account.
#[derive(Debug)]
pub(crate) enum Standing {
    Active(Arc<Account>),
    /// It was removed or disabled, or there never was one.
    Gone,
    /// It lives in the store, and could not be read there for too long, or at all; or the store may have
    /// lost it.
    Unknown,
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
    /// It could not be read or written where users live; the log says why.
    NotWritten,
    /// Somebody else has changed the password, or disabled or removed the user, since the proof.
    Overtaken,
}

/// Bytes that verifying takes when all threads are at the password that costs most (REL-06).
pub(crate) fn hashing_memory(users: &Users) -> u64 {
    hashing_memory_of(users.hashing_memory())
}

/// The same where the one that costs most takes so much; whoever is unknown is verified, too.
fn hashing_memory_of(largest: u64) -> u64 {
    let threads = u64::try_from(hashing::threads()).unwrap_or(u64::MAX);
    threads.saturating_mul(largest.max(password::MEMORY))
}

/// Why a login got no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    /// Too many logins wait already (SEC-60).
    Busy,
    /// The hashing thread is gone.
    Gone,
    /// The store that the users are in cannot be read.
    Unavailable,
    /// What it has of this user cannot be read, whatever the password. Counts as a failure: whoever tries
    /// names would learn for nothing which there are (SEC-59).
    Unreadable,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many logins are waiting to be verified",
            Self::Gone => "the password could not be verified",
            Self::Unavailable => "the session store with the users cannot be read",
            Self::Unreadable => "what the session store has of the user cannot be read",
        })
    }
}

impl std::error::Error for VerifyError {}

/// Logins that upgrade a hash while others do.
const TRIES: usize = 3;

/// The local users in memory, kept up to date, and the threads that verify.
pub(crate) struct Accounts {
    users: Arc<LocalUsers>,
    pool: Pool,
}

impl Accounts {
    /// Reads the users file; at start whatever is wrong with it is an error (SEC-79, SEC-80). Users
    /// in the store are there when [`follow`](Self::follow) has read them.
    pub(crate) fn open(
        home: &UsersHome,
        nodes: &Nodes,
        clock: &Clock,
    ) -> Result<Self, UsersFileError> {
        Ok(Self {
            users: Arc::new(LocalUsers::open(home, nodes, clock)?),
            pool: Pool::start().map_err(UsersFileError::Hashing)?,
        })
    }

    /// Verifies a password by the users as they are now, in the turn of `waiter`. Takes the
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
        let (waiter, password) = (waiter.into(), Arc::new(password));
        for _ in 0..TRIES {
            let caught_up = self.users.catch_up().await;
            caught_up.map_err(|_| VerifyError::Unavailable)?; // the log says why
            let (users, name) = (Arc::clone(&self.users), username.to_owned());
            let password = Arc::clone(&password);
            let job = move |hasher: &mut Hasher| {
                let (work, before) = (Work::begin(), users.timing());
                let attempt = users.authenticate(hasher, &name, password.expose());
                // It may have read a file with the first old hash, or have upgraded the last one.
                let interval = before.max(users.timing());
                Done {
                    held_back: !matches!(
                        attempt,
                        Attempt::Decided(Verdict::SignedIn(_)) | Attempt::Upgrade(_)
                    ),
                    answer: attempt,
                    hold: interval.map(|interval| work.up_to(interval)),
                }
            };
            match self.pool.run(waiter.clone(), job).await? {
                Attempt::Decided(verdict) => return Ok(verdict),
                Attempt::Unreadable => return Err(VerifyError::Unreadable),
                Attempt::Upgrade(upgrade) => {
                    if let Some(verdict) = self.users.upgrade(&upgrade).await {
                        return Ok(verdict);
                    }
                }
            }
        }
        Err(VerifyError::Busy)
    }

    /// How many logins wait for a hashing thread, and how many may.
    pub(crate) fn hashing_queue(&self) -> (usize, usize) {
        self.pool.waiting()
    }

    /// Gives whoever proved the old password a new one, and writes it to where users live. Sessions
    /// of the old one end by their fingerprint (SEC-51).
    pub(crate) async fn change_password(
        &self,
        proof: SignedIn,
        new: NewPassword,
    ) -> Result<PasswordChange, VerifyError> {
        let users = Arc::clone(&self.users);
        let user = Waiter::User(proof.account().identity().user().into());
        let Some(store) = self.shared() else {
            let job = move |hasher: &mut Hasher| {
                Done::at_once(users.change_in_file(hasher, &proof, &new))
            };
            return self.pool.run(user, job).await;
        };
        let job = move |hasher: &mut Hasher| Done::at_once(hasher.hash(new.expose()));
        Ok(match self.pool.run(user, job).await? {
            Ok(hash) => store.change_password(&proof, &hash).await,
            Err(error) => local_users::not_written(proof.account().identity().user(), &error),
        })
    }

    /// The users that all nodes have in common, where they do.
    pub(crate) fn shared(&self) -> Option<&SharedUsers> {
        self.users.shared()
    }

    /// Waits until what other nodes have changed so far is known here; at once where they share no
    /// users.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreFault> {
        self.users.catch_up().await
    }

    /// Keeps up with the other nodes; does not end.
    pub(crate) async fn follow(&self) {
        match self.shared() {
            Some(store) => store.follow().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when streams may have to end because of what was done on another node.
    pub(crate) async fn have_changed(&self) {
        match self.shared() {
            Some(store) => store.have_changed().await,
            None => std::future::pending().await,
        }
    }

    /// Whether what is known of users still counts: another node may have disabled some while this one
    /// could not read the store (REL-10).
    pub(crate) fn are_known(&self) -> bool {
        self.shared().is_none_or(SharedUsers::is_known)
    }

    /// The account as it is now, as far as this node can say.
    pub(crate) fn standing(&self, account: &AccountRef) -> Standing {
        if !self.are_known() {
            return Standing::Unknown;
        }
        if let Some(account) = self.active(account) {
            return Standing::Active(account);
        }
        match (account.source(), self.shared()) {
            (SourceName::UsersFile, Some(store)) if !store.is_gone(account.subject()) => {
                Standing::Unknown
            }
            (SourceName::UsersFile, _) => Standing::Gone,
        }
    }

    /// The account as it is now; `None` when it was removed or disabled.
    pub(crate) fn active(&self, account: &AccountRef) -> Option<Arc<Account>> {
        match account.source() {
            SourceName::UsersFile => self.users.active(account.subject()),
        }
    }

    /// Bytes that verifying takes at most with the passwords that there are (REL-06).
    pub(crate) fn hashing_memory(&self) -> u64 {
        self.users.hashing_memory()
    }

    /// Bytes of the users themselves (REL-06).
    pub(crate) fn memory(&self) -> u64 {
        self.users.memory()
    }

    /// How many users there are, disabled users included.
    pub(crate) fn count(&self) -> usize {
        self.users.count()
    }

    /// Users who may no longer be signed in as they were: gone, disabled, or with another
    /// password or id than before. Each is given once.
    pub(crate) fn take_revoked(&self) -> Vec<Revoked> {
        self.users.take_revoked()
    }

    /// Gives one of them once more, whose sessions could not be ended.
    pub(crate) fn give_again(&self, revoked: Revoked) {
        self.users.give_again(revoked);
    }

    /// The account of whoever gave this proof, as it is now. `None` if the user was removed or disabled
    /// since or has another password, whoever has the name.
    pub(crate) fn still(&self, proof: &SignedIn) -> Option<Arc<Account>> {
        let proved = proof.account();
        let account = AccountRef::of_users_file(proved.identity().user());
        let now = self.active(&account)?;
        (now.fingerprint() == proved.fingerprint()).then_some(now)
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
mod tests;
