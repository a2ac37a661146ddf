//! The users of the users file as it is now, and the verdict on one login.

mod change;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::password::{Hasher, StoredHash};
use super::users_file::edit::EditError;
use super::users_file::{self, User, Users, UsersFileError};
use super::watch::Watch;
use super::{Account, SignedIn, Verdict, timing};
use crate::clock::Clock;
use crate::principal::Method;

/// How often requests refresh the users.
const REFRESH_EVERY: Duration = Duration::from_millis(20);

/// The users at one time.
struct Snapshot {
    users: Users,
    /// Those who are not disabled, by canonical name.
    accounts: HashMap<String, Arc<Account>>,
    timing: Option<Duration>,
    /// Bytes of all hashing threads.
    hashing_memory: u64,
}

impl Snapshot {
    fn of(users: Users) -> Self {
        let accounts = users
            .iter()
            .filter(|user| !user.disabled())
            .filter_map(|user| {
                let name = users_file::canonical(user.name())?.into_owned();
                Some((name, Arc::new(Account::of(user))))
            })
            .collect();
        Self {
            accounts,
            hashing_memory: super::hashing_memory(&users),
            timing: timing::interval(users.iter().map(User::password)),
            users,
        }
    }
}

impl Snapshot {
    /// Those who could be signed in before and now cannot, or not by the same password.
    fn revoked_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = String> + 'a {
        let lost = before.accounts.iter().filter(|(name, account)| {
            let now = self.accounts.get(*name);
            now.is_none_or(|now| now.fingerprint() != account.fingerprint())
        });
        lost.map(|(name, _)| name.clone())
    }
}

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
        let name = users_file::canonical(user)?;
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

    pub(super) fn authenticate(&self, hasher: &mut Hasher, name: &str, password: &[u8]) -> Verdict {
        self.watch.refresh(|| self.read());
        let snapshot = self.snapshot.load_full();
        let user = snapshot.users.get(name);
        let stored = user.map_or(&self.dummy_hash, User::password);
        let right = hasher.verify(stored, password);
        match user {
            Some(user) if right && !user.disabled() => self.sign_in(hasher, user, password),
            Some(_) | None => Verdict::Refused,
        }
    }

    fn sign_in(&self, hasher: &mut Hasher, user: &User, password: &[u8]) -> Verdict {
        let signed_in = |account| {
            Verdict::SignedIn(SignedIn {
                account: Arc::new(account),
                methods: Method::Password.into(),
            })
        };
        let account = Account::of(user);
        if !user.password().is_weak() {
            return signed_in(account);
        }
        match self.upgrade(hasher, user, password) {
            Some(Upgrade::Done(new)) => signed_in(Account {
                fingerprint: new.fingerprint(),
                ..account
            }),
            // Another login of the same user was quicker, or somebody set a new password.
            Some(Upgrade::Overtaken) => {
                let snapshot = self.snapshot.load_full();
                match snapshot.users.get(user.name()) {
                    Some(now) if !now.disabled() && hasher.verify(now.password(), password) => {
                        signed_in(Account::of(now))
                    }
                    Some(_) | None => Verdict::Refused,
                }
            }
            None => signed_in(account),
        }
    }

    /// Puts an argon2id hash in the place of a weak one. Where that is impossible the old one
    /// goes on to work.
    fn upgrade(&self, hasher: &mut Hasher, user: &User, password: &[u8]) -> Option<Upgrade> {
        let old = user.password();
        let new = hasher
            .hash(password)
            .inspect_err(
                |error| tracing::warn!(target: "vestibule", %error, "password not hashed again"),
            )
            .ok()?;
        let replaced = users_file::edit::replace_password(&self.path, user.name(), old, &new);
        let upgrade = match replaced {
            Ok(true) => {
                tracing::info!(
                    target: "vestibule", user = user.name(), from = old.scheme_name(),
                    "password hash replaced by argon2id"
                );
                Upgrade::Done(new)
            }
            Ok(false) | Err(EditError::NoSuchUser { .. }) => Upgrade::Overtaken,
            Err(error @ (EditError::File(_) | EditError::NameTaken(_))) => {
                if !self.upgrades_fail.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: "vestibule", %error,
                        "old password hashes stay in the users file; told once"
                    );
                }
                return None;
            }
        };
        // Now and not at the next refresh: the session that starts bears the new fingerprint.
        self.watch.refresh(|| self.read());
        Some(upgrade)
    }
}

enum Upgrade {
    Done(StoredHash),
    /// The hash in the file was no longer the one that was verified.
    Overtaken,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::users_file::edit;

    /// "U*U"
    const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    struct Scene {
        folder: tempfile::TempDir,
        users: LocalUsers,
        hasher: Hasher,
    }

    impl Scene {
        /// `ada` has the password "ada's", `bo` the same and is disabled, `old` has "U*U" by bcrypt.
        fn new() -> Self {
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

        fn authenticate(&mut self, name: &str, password: &str) -> Option<Arc<Account>> {
            match self
                .users
                .authenticate(&mut self.hasher, name, password.as_bytes())
            {
                Verdict::SignedIn(signed_in) => Some(Arc::clone(signed_in.account())),
                Verdict::Refused => None,
            }
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.users.path).unwrap()
        }
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn sec_56_whatever_is_wrong_takes_one_verification() {
        let mut scene = Scene::new();
        for (name, password) in [
            ("ada", "wrong"),
            ("bo", "ada's"),
            ("bo", "wrong"),
            ("nobody", "ada's"),
            ("no name\0at all", "ada's"),
            ("", "ada's"),
        ] {
            assert_eq!(scene.authenticate(name, password), None, "{name}");
            let work = std::mem::take(&mut scene.hasher.work);
            assert_eq!(work, ["argon2id"], "{name} {password}");
        }
        assert!(scene.authenticate("ada", "ada's").is_some());
        assert_eq!(scene.hasher.work, ["argon2id"]);
    }

    #[test]
    fn sec_58_a_name_has_one_canonical_form_and_the_stored_one_is_passed_on() {
        let mut scene = Scene::new();
        for name in ["ada", "Ada", "ADA"] {
            let account = scene.authenticate(name, "ada's").unwrap();
            assert_eq!(account.identity().user(), "Ada");
            assert_eq!(account.identity().groups(), ["admins"]);
        }
        for name in [
            " ada",
            "ada ",
            "ada\0",
            "ａｄａ",
            "\u{212a}da",
            "ada\n",
            "user.ada",
        ] {
            assert_eq!(scene.authenticate(name, "ada's"), None, "{name:?}");
        }
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
        assert!(scene.authenticate("bo", "ada's").is_some(), "mended");
    }

    #[test]
    fn a_bcrypt_hash_is_replaced_at_login_and_the_new_session_stays() {
        let mut scene = Scene::new();
        let before = scene.text();
        assert_eq!(scene.authenticate("old", "wrong"), None);
        assert_eq!(scene.text(), before, "only the right password replaces it");
        scene.hasher.work.clear();

        let account = scene.authenticate("old", "U*U").unwrap();
        assert_eq!(scene.hasher.work, ["bcrypt", "hash"]);
        let new = scene
            .users
            .snapshot
            .load()
            .users
            .get("old")
            .unwrap()
            .password()
            .clone();
        assert_eq!(new.scheme_name(), "argon2id");
        assert_eq!(
            scene.text(),
            before.replace(BCRYPT, new.as_str()),
            "nothing else changed"
        );
        assert_eq!(scene.users.active("old"), Some(account));
        assert_eq!(scene.users.generation(), 1);
        assert!(scene.authenticate("old", "U*U").is_some());
        let mode = fs::metadata(&scene.users.path)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn where_the_file_cannot_be_written_old_hashes_go_on_to_work() {
        let mut scene = Scene::new();
        // Permissions would not stop a test that runs as root; a folder that is missing does.
        let path = scene.folder.path().join("not there").join("users.toml");
        scene.users.path = path;
        let user = scene
            .users
            .snapshot
            .load()
            .users
            .get("old")
            .unwrap()
            .clone();
        let verdict = scene.users.sign_in(&mut scene.hasher, &user, b"U*U");
        let Verdict::SignedIn(signed_in) = verdict else {
            panic!("refused");
        };
        assert_eq!(
            signed_in.account().fingerprint(),
            user.password().fingerprint()
        );
        assert!(scene.users.upgrades_fail.load(Ordering::Relaxed));
    }

    #[test]
    fn a_password_changed_while_the_old_one_was_verified_wins() {
        let mut scene = Scene::new();
        let user = scene
            .users
            .snapshot
            .load()
            .users
            .get("old")
            .unwrap()
            .clone();
        let path = scene.users.path.clone();
        let mut changed_to = |password: &[u8]| {
            edit::set_password(&path, "old", &Hasher::default().hash(password).unwrap()).unwrap();
            scene.users.sign_in(&mut scene.hasher, &user, b"U*U")
        };
        assert!(matches!(changed_to(b"another"), Verdict::Refused));
        let Verdict::SignedIn(signed_in) = changed_to(b"U*U") else {
            panic!("the same password, hashed by a login that was quicker");
        };
        let now = scene.users.active("old").unwrap();
        assert_eq!(signed_in.account().fingerprint(), now.fingerprint());
        edit::remove(&path, "old").unwrap();
        let verdict = scene.users.sign_in(&mut scene.hasher, &user, b"U*U");
        assert!(matches!(verdict, Verdict::Refused), "removed meanwhile");
    }
}
