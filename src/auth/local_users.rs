//! The users of the users file as it is now.

mod authenticate;
mod change;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use self::snapshot::Snapshot;
use super::Account;
use super::password::StoredHash;
use super::users_file::{self, UsersFileError};
use super::watch::Watch;
use crate::clock::Clock;
use crate::principal::user_name::canonical;

/// How often requests refresh the users.
const REFRESH_EVERY: Duration = Duration::from_millis(20);

pub(super) struct LocalUsers {
    dummy_hash: StoredHash,
    generation: AtomicU64,
    /// Who has lost an account, or its password, since somebody asked.
    revoked: Mutex<Vec<String>>,
    /// Milliseconds after `started`.
    next_refresh: AtomicU64,
    path: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    started: Instant,
    /// The log has said so.
    upgrades_fail: AtomicBool,
    watch: Watch,
}

impl LocalUsers {
    pub(super) fn open(users_file: &Path, clock: Clock) -> Result<Self, UsersFileError> {
        let watch = Watch::new(users_file, clock);
        let snapshot = Snapshot::of(users_file::read_trusted(users_file)?);
        let dummy_hash = StoredHash::dummy()
            .map_err(|error| UsersFileError::Hashing(std::io::Error::other(error)))?;
        Ok(Self {
            dummy_hash,
            generation: AtomicU64::new(0),
            revoked: Mutex::default(),
            next_refresh: AtomicU64::new(0),
            path: users_file.to_owned(),
            snapshot: ArcSwap::from_pointee(snapshot),
            started: Clock::stopwatch(),
            upgrades_fail: AtomicBool::new(false),
            watch,
        })
    }

    pub(super) fn active(&self, user: &str) -> Option<Arc<Account>> {
        let name = canonical(user)?;
        self.snapshot.load().accounts.get(name.as_ref()).cloned()
    }

    pub(super) fn hashing_memory(&self) -> u64 {
        self.snapshot.load().hashing_memory
    }

    pub(super) fn count(&self) -> usize {
        self.snapshot.load().users.len()
    }

    pub(super) fn take_revoked(&self) -> Vec<String> {
        std::mem::take(&mut *self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The time that refusals are held back to, where hashes differ in cost.
    pub(super) fn timing(&self) -> Option<Duration> {
        self.snapshot.load().timing
    }

    pub(super) fn refresh(&self) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.started.elapsed());
        let due = self.next_refresh.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now + millis(REFRESH_EVERY);
        // Of the requests that come at this moment one refreshes.
        let claim =
            self.next_refresh
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if claim.is_ok() {
            self.watch.try_refresh(|| self.read());
        }
    }

    fn read(&self) {
        match users_file::read_trusted(&self.path) {
            Ok(users) => {
                if users != self.snapshot.load().users {
                    tracing::info!(target: "vestibule", users = users.len(), "users file read again");
                    let next = Arc::new(Snapshot::of(users));
                    let before = self.snapshot.swap(Arc::clone(&next));
                    let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
                    revoked.extend(next.revoked_since(&before));
                    drop(revoked);
                    self.generation.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => {
                // One line an event, however many problems the file has (SEC-71).
                let error = error.to_string().replace('\n', "; ");
                tracing::error!(
                    target: "vestibule", error,
                    "users file not read again; the users stay as they were"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::Verdict;
    use crate::auth::password::Hasher;
    use crate::auth::users_file::edit;

    /// "U*U"
    pub(super) const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    pub(super) struct Scene {
        pub(super) folder: tempfile::TempDir,
        pub(super) users: LocalUsers,
        pub(super) hasher: Hasher,
    }

    impl Scene {
        /// `ada` has the password "ada's", `bo` the same and is disabled, `old` has "U*U" by bcrypt.
        pub(super) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("users.toml");
            let mut hasher = Hasher::default();
            let hash = hasher.hash(b"ada's").unwrap();
            let text = format!(
                "# everybody\n[user.Ada]\npassword = \"{0}\"\ngroups = [\"admins\"]\n\n\
                 [user.bo]\npassword = \"{0}\"\ndisabled = true\n\n\
                 [user.old]\npassword = \"{BCRYPT}\" # since 2009\n",
                hash.as_str()
            );
            write(&path, &text);
            let users = LocalUsers::open(&path, Clock::system()).unwrap();
            hasher.work.clear();
            Self {
                folder,
                users,
                hasher,
            }
        }

        pub(super) fn authenticate(&mut self, name: &str, password: &str) -> Option<Arc<Account>> {
            match self
                .users
                .authenticate(&mut self.hasher, name, password.as_bytes())
            {
                Verdict::SignedIn(signed_in) => Some(Arc::clone(signed_in.account())),
                Verdict::Refused => None,
            }
        }

        pub(super) fn text(&self) -> String {
            fs::read_to_string(&self.users.path).unwrap()
        }
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn sec_51_a_change_of_the_file_counts_from_the_next_refresh() {
        let mut scene = Scene::new();
        let before = scene.users.generation();
        let account = scene.authenticate("ada", "ada's").unwrap();
        assert_eq!(scene.users.active("ada"), Some(account.clone()));
        assert_eq!(scene.users.active("bo"), None, "disabled");

        let path = scene.users.path.clone();
        edit::set_disabled(&path, "bo", false).unwrap();
        assert!(
            scene.authenticate("bo", "ada's").is_some(),
            "a login always refreshes"
        );
        assert_ne!(scene.users.generation(), before);

        edit::set_password(&path, "ada", &Hasher::default().hash(b"new").unwrap()).unwrap();
        scene.users.next_refresh.store(0, Ordering::Relaxed);
        scene.users.refresh();
        let now = scene.users.active("ada").unwrap();
        assert_ne!(now.fingerprint(), account.fingerprint());
        assert_eq!(now.identity(), account.identity());
        assert_eq!(scene.authenticate("ada", "ada's"), None);

        edit::remove(&path, "ada").unwrap();
        scene.users.next_refresh.store(0, Ordering::Relaxed);
        scene.users.refresh();
        assert_eq!(scene.users.active("ada"), None);
    }

    #[test]
    fn requests_refresh_at_most_every_20_ms() {
        let scene = Scene::new();
        scene.users.next_refresh.store(u64::MAX, Ordering::Relaxed);
        write(&scene.users.path, "# nobody\n");
        scene.users.refresh();
        assert!(scene.users.active("ada").is_some());
        assert_eq!(scene.users.generation(), 0);
        scene.users.next_refresh.store(0, Ordering::Relaxed);
        scene.users.refresh();
        assert!(scene.users.active("ada").is_none());
        let next = scene.users.next_refresh.load(Ordering::Relaxed);
        assert!(next >= 20, "the next refresh is 20 ms away");
    }

    #[test]
    fn a_broken_or_open_file_leaves_everybody_as_they_were() {
        let mut scene = Scene::new();
        let (path, good) = (scene.users.path.clone(), scene.text());
        let still_there = |scene: &mut Scene, case: &str| {
            assert!(scene.authenticate("ada", "ada's").is_some(), "{case}");
            assert_eq!(scene.users.generation(), 0, "{case}");
        };
        write(&path, "[user.ada\npassword");
        still_there(&mut scene, "broken");
        write(&path, "");
        still_there(&mut scene, "cut to nothing by an editor");
        write(&path, "[user.eve]\npassword = \"plain\"\n");
        still_there(&mut scene, "invalid");
        write(&path, &good.replace("disabled = true", "disabled = false"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        still_there(&mut scene, "open to the group");
        fs::remove_file(&path).unwrap();
        still_there(&mut scene, "removed");
        write(&path, &good.replace("disabled = true", "disabled = false"));
        assert!(scene.authenticate("bo", "ada's").is_some(), "fixed");
    }
}
