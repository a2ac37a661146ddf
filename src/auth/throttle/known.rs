//! The networks that somebody has signed in to an account from: failures of others do not keep
//! them waiting (ASVS 6.1.1).
//!
//! Account and network are kept as keyed hashes: the file by itself does not say who was where.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, thread};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::network::Network;
use crate::random::{NoRandomness, random};
use crate::regular_file::{self, Distrust, Owners};
use crate::secret::Secret;

/// Networks of an account; the one that was not used for the longest is forgotten.
pub(super) const OF_ACCOUNT: usize = 8;

/// How long one is known after the last login from there.
pub(super) const KNOWN_FOR: Duration = Duration::from_hours(90 * 24);

/// A login from a known network is written down once in this time.
pub(super) const NOTE_EVERY: Duration = Duration::from_hours(24);

/// The first bytes of the file, with its version.
const MAGIC: &[u8] = b"vestibule known networks 1\n";

const KEY: usize = 32;

type Tag = [u8; 16];

/// An account and one network of it, as they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    account: Tag,
    network: Tag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    network: Tag,
    at: Timestamp,
}

type Accounts = HashMap<Tag, Vec<Seen>>;

/// Why what the file keeps cannot be used.
#[derive(Debug)]
pub(crate) enum KnownError {
    Io(PathBuf, io::Error),
    NoRandomness,
    /// Others than its owner may read or write it (SEC-79).
    TooOpen(PathBuf, u32),
    /// Another user could have written it (SEC-98).
    Untrusted(Distrust),
}

impl fmt::Display for KnownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::TooOpen(path, mode) => write!(
                f,
                "others may open {path} (mode {mode:04o}); do `chmod 600 {path}`",
                path = path.display()
            ),
            Self::Untrusted(distrust) => distrust.fmt(f),
        }
    }
}

/// The known networks of all accounts.
pub(crate) struct KnownNetworks {
    key: Secret<[u8; KEY]>,
    shared: Arc<Shared>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    accounts: Accounts,
    /// There is something that the file does not have.
    unwritten: bool,
    closed: bool,
}

impl KnownNetworks {
    /// In memory only.
    pub(crate) fn in_memory() -> Result<Self, NoRandomness> {
        Ok(Self {
            key: Secret::new(random()?),
            shared: Arc::default(),
            writer: Mutex::default(),
        })
    }

    /// Beside the sessions, in a file of their own: whatever becomes of it, sessions go on.
    pub(crate) fn beside(sessions: &Path) -> Result<Self, KnownError> {
        let path = sessions.with_extension("known-networks");
        let (key, accounts) = match read(&path)? {
            Some(kept) => kept,
            None => (
                random().map_err(|NoRandomness| KnownError::NoRandomness)?,
                Accounts::new(),
            ),
        };
        let shared = Arc::new(Shared::default());
        shared.state().accounts = accounts;
        let (writing, file) = (Arc::clone(&shared), path.clone());
        let writer = thread::Builder::new()
            .name("known-networks".to_owned())
            .spawn(move || write_changes(&writing, &file, &key))
            .map_err(|error| KnownError::Io(path, error))?;
        Ok(Self {
            key: Secret::new(key),
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// `account` is a canonical name.
    pub(super) fn pair(&self, account: &str, network: Network) -> Pair {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("any length will do");
        mac.update(account.as_bytes());
        let account = tag(&mac.clone().finalize().into_bytes());
        mac.update(b"\0"); // in no name and no network
        mac.update(network.to_string().as_bytes());
        Pair {
            account,
            network: tag(&mac.finalize().into_bytes()),
        }
    }

    pub(super) fn contains(&self, pair: &Pair, now: Timestamp) -> bool {
        let state = self.shared.state();
        let known = state.accounts.get(&pair.account);
        known
            .into_iter()
            .flatten()
            .any(|seen| seen.network == pair.network && now.since(seen.at) < KNOWN_FOR)
    }

    /// Somebody has signed in.
    pub(super) fn note(&self, pair: Pair, now: Timestamp) {
        let mut state = self.shared.state();
        let known = state.accounts.entry(pair.account).or_default();
        let before = known.iter_mut().find(|seen| seen.network == pair.network);
        match before {
            Some(seen) if now.since(seen.at) < NOTE_EVERY => return,
            Some(seen) => seen.at = now,
            None => known.push(Seen {
                network: pair.network,
                at: now,
            }),
        }
        known.sort_by_key(|seen| std::cmp::Reverse(seen.at));
        known.truncate(OF_ACCOUNT);
        state.unwritten = true;
        state.accounts.retain(|_, known| {
            known.retain(|seen| now.since(seen.at) < KNOWN_FOR);
            !known.is_empty()
        });
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Waits until everything is written.
    pub(crate) fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
        let writer = self.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ended = writer.join();
        }
    }
}

impl Drop for KnownNetworks {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the file whenever there is something new; what comes meanwhile goes together.
fn write_changes(shared: &Shared, path: &Path, key: &[u8; KEY]) {
    loop {
        let idle = |state: &mut State| !state.unwritten && !state.closed;
        let state = shared.changed.wait_while(shared.state(), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let closed = state.closed;
        if std::mem::take(&mut state.unwritten) {
            let content = encode(key, &state.accounts);
            drop(state);
            if let Err(error) = regular_file::replace(path, &content) {
                tracing::warn!(
                    %error, file = %path.display(),
                    "known networks were not written: after a restart they are unknown"
                );
            }
        }
        if closed {
            return;
        }
    }
}

/// `None` where there is none, or none that can be read.
fn read(path: &Path) -> Result<Option<([u8; KEY], Accounts)>, KnownError> {
    regular_file::trust(path, &Owners::own()).map_err(KnownError::Untrusted)?;
    let cannot = |error| KnownError::Io(path.to_owned(), error);
    let file = match regular_file::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KnownError::TooOpen(path.to_owned(), mode));
    }
    let content = regular_file::read(&file).map_err(cannot)?;
    let kept = decode(&content);
    if kept.is_none() {
        tracing::warn!(
            file = %path.display(),
            "known networks cannot be read: all are unknown until somebody signs in there"
        );
    }
    Ok(kept)
}

/// The key, then account, network and time of each, 40 bytes together.
fn encode(key: &[u8; KEY], accounts: &Accounts) -> Vec<u8> {
    let mut content = [MAGIC, key].concat();
    for (account, known) in accounts {
        for seen in known {
            content.extend_from_slice(account);
            content.extend_from_slice(&seen.network);
            content.extend_from_slice(&seen.at.as_millis().to_le_bytes());
        }
    }
    content
}

fn decode(content: &[u8]) -> Option<([u8; KEY], Accounts)> {
    let (key, rows) = content.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (rows, []) = rows.as_chunks::<40>() else {
        return None;
    };
    let mut accounts = Accounts::new();
    for row in rows {
        let (account, rest) = row.split_first_chunk()?;
        let (network, at) = rest.split_first_chunk()?;
        accounts.entry(*account).or_default().push(Seen {
            network: *network,
            at: Timestamp::from_millis(u64::from_le_bytes(at.try_into().ok()?)),
        });
    }
    Some((*key, accounts))
}

fn tag(mac: &[u8]) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&mac[..16]);
    tag
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn network(n: u8) -> Network {
        Network::of([192, 0, 2, n].into())
    }

    fn day(day: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_hours(24 * day))
    }

    fn knows(known: &KnownNetworks, account: &str, n: u8, now: Timestamp) -> bool {
        known.contains(&known.pair(account, network(n)), now)
    }

    #[test]
    fn sec_59_the_last_eight_networks_are_known_for_ninety_days() {
        let known = KnownNetworks::in_memory().unwrap();
        for n in 0..9 {
            known.note(known.pair("ada", network(n)), day(u64::from(n)));
        }
        assert!(!knows(&known, "ada", 0, day(9)), "the ninth took its place");
        assert!((1..9).all(|n| knows(&known, "ada", n, day(9))));
        assert!(!knows(&known, "bob", 1, day(9)), "another account");
        assert!(!knows(&known, "ada", 1, day(91)) && knows(&known, "ada", 2, day(91)));
        known.note(known.pair("bob", network(1)), day(200));
        assert_eq!(known.shared.state().accounts.len(), 1);
    }

    #[test]
    fn sec_59_they_outlive_a_restart_and_the_file_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = folder.path().join("sessions.redb");
        let known = KnownNetworks::beside(&sessions).unwrap();
        known.note(known.pair("ada", network(1)), day(1));
        known.close();
        let path = folder.path().join("sessions.known-networks");
        let content = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!content.windows(3).any(|bytes| bytes == b"ada"));
        let again = KnownNetworks::beside(&sessions).unwrap();
        assert!(knows(&again, "ada", 1, day(2)) && !knows(&again, "ada", 2, day(2)));
    }

    #[test]
    fn a_file_that_is_damaged_is_empty_and_one_of_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = folder.path().join("sessions.redb");
        let path = folder.path().join("sessions.known-networks");
        for damaged in [
            &b""[..],
            b"vestibule known networks 2\n",
            &[MAGIC, &[0; 33]].concat(),
        ] {
            fs::write(&path, damaged).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let known = KnownNetworks::beside(&sessions).unwrap();
            known.note(known.pair("ada", network(1)), day(1));
            known.close();
            let again = KnownNetworks::beside(&sessions).unwrap();
            assert!(knows(&again, "ada", 1, day(1)));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let refused = KnownNetworks::beside(&sessions).err().unwrap();
        assert!(
            matches!(refused, KnownError::TooOpen(_, 0o620)),
            "{refused}"
        );
    }
}
