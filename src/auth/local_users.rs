//! The local users as they are now.

pub(super) mod authenticate;
mod change;
mod current;
mod file;
mod footprint;
mod snapshot;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a node that is alone has its file")
)]
pub(super) mod store;

use std::sync::Arc;
use std::time::Duration;

use self::current::Current;
use self::file::InFile;
use self::store::{SharedUsers, StoreFault};
use super::password::StoredHash;
use super::users_file::{Users, UsersFileError};
use super::{Account, UsersHome};
use crate::clock::Clock;
use crate::nodes::Nodes;

pub(super) use self::change::not_written;
pub(crate) use self::current::Revoked;
pub(crate) use self::footprint::users_memory;

pub(super) struct LocalUsers {
    dummy_hash: StoredHash,
    current: Arc<Current>,
    home: Home,
}

enum Home {
    File(Box<InFile>),
    Store(Box<SharedUsers>),
}

impl LocalUsers {
    pub(super) fn open(
        home: &UsersHome,
        nodes: &Nodes,
        clock: &Clock,
    ) -> Result<Self, UsersFileError> {
        let (home, current) = match home {
            UsersHome::File(path) => {
                let (file, users) = InFile::open(path, clock.clone())?;
                (
                    Home::File(Box::new(file)),
                    Arc::new(Current::new(users, clock)),
                )
            }
            UsersHome::Store { first } => {
                let current = Arc::new(Current::new(Users::default(), clock));
                let store = SharedUsers::open(first.clone(), &current, nodes, clock);
                let store = store.ok_or(UsersFileError::NoStore)?;
                (Home::Store(Box::new(store)), current)
            }
        };
        let dummy_hash = StoredHash::dummy()
            .map_err(|error| UsersFileError::Hashing(std::io::Error::other(error)))?;
        Ok(Self {
            dummy_hash,
            current,
            home,
        })
    }

    pub(super) fn active(&self, user: &str) -> Option<Arc<Account>> {
        self.current.load().account(user).cloned()
    }

    pub(super) fn hashing_memory(&self) -> u64 {
        self.current.load().hashing_memory
    }

    /// Bytes of all of them (REL-06).
    pub(super) fn memory(&self) -> u64 {
        let removed = self.shared().map_or(0, SharedUsers::removed);
        footprint::of(&self.current.load(), self.shared().is_some(), removed)
    }

    pub(super) fn count(&self) -> usize {
        self.current.load().len()
    }

    pub(super) fn take_revoked(&self) -> Vec<Revoked> {
        self.current.take_revoked()
    }

    pub(super) fn give_again(&self, revoked: Revoked) {
        self.current.give_again(revoked);
    }

    pub(super) fn generation(&self) -> u64 {
        self.current.generation()
    }

    /// The time that refusals are held back to, where hashes differ in cost.
    pub(super) fn timing(&self) -> Option<Duration> {
        self.current.load().timing
    }

    pub(super) fn refresh(&self) {
        if let Home::File(file) = &self.home {
            file.refresh(&self.current);
        }
    }

    /// Where all nodes have the same.
    pub(super) fn shared(&self) -> Option<&SharedUsers> {
        match &self.home {
            Home::File(_) => None,
            Home::Store(store) => Some(store),
        }
    }

    /// Waits until what other nodes have changed so far is known here.
    pub(super) async fn catch_up(&self) -> Result<(), StoreFault> {
        match self.shared() {
            Some(store) => store.catch_up().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::auth::Verdict;
    use crate::auth::password::Hasher;
    use crate::auth::users_file::edit;

    /// "U*U"
    pub(super) const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    impl LocalUsers {
        pub(in crate::auth) fn refresh_now(&self) {
            self.in_file().refresh_now(&self.current);
        }

        pub(super) fn of_file(path: &Path) -> Self {
            let home = UsersHome::File(path.to_owned());
            Self::open(&home, &Nodes::alone(), &Clock::system()).unwrap()
        }

        pub(super) fn in_file(&self) -> &InFile {
            match &self.home {
                Home::File(file) => file,
                Home::Store(_) => panic!("they are in the store"),
            }
        }

        pub(super) fn in_file_mut(&mut self) -> &mut InFile {
            match &mut self.home {
                Home::File(file) => file,
                Home::Store(_) => panic!("they are in the store"),
            }
        }
    }

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
            let users = LocalUsers::of_file(&path);
            hasher.work.clear();
            Self {
                folder,
                users,
                hasher,
            }
        }

        pub(super) fn authenticate(&mut self, name: &str, password: &str) -> Option<Arc<Account>> {
            let password = password.as_bytes();
            let attempt = self.users.authenticate(&mut self.hasher, name, password);
            match attempt.verdict() {
                Verdict::SignedIn(signed_in) => Some(Arc::clone(signed_in.account())),
                Verdict::Refused => None,
            }
        }

        pub(super) fn text(&self) -> String {
            fs::read_to_string(&self.users.in_file().path).unwrap()
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

        let path = scene.users.in_file().path.clone();
        edit::set_disabled(&path, "bo", false).unwrap();
        assert!(
            scene.authenticate("bo", "ada's").is_some(),
            "a login always refreshes"
        );
        assert_ne!(scene.users.generation(), before);

        edit::set_password(&path, "ada", &Hasher::default().hash(b"new").unwrap()).unwrap();
        scene
            .users
            .in_file()
            .next_refresh
            .store(0, Ordering::Relaxed);
        scene.users.refresh();
        let now = scene.users.active("ada").unwrap();
        assert_ne!(now.fingerprint(), account.fingerprint());
        assert_eq!(now.identity(), account.identity());
        assert_eq!(scene.authenticate("ada", "ada's"), None);

        edit::remove(&path, "ada").unwrap();
        scene
            .users
            .in_file()
            .next_refresh
            .store(0, Ordering::Relaxed);
        scene.users.refresh();
        assert_eq!(scene.users.active("ada"), None);
    }

    #[test]
    fn sec_96_who_comes_after_somebody_of_the_same_name_is_another_one() {
        let scene = Scene::new();
        let (path, text) = (scene.users.in_file().path.clone(), scene.text());
        let now = || {
            scene.users.in_file().refresh_now(&scene.users.current);
            let account = scene.users.active("ada").unwrap();
            account.incarnation().clone()
        };
        let first = now();
        let hash = Hasher::default().hash(b"new").unwrap();
        edit::set_password(&path, "ada", &hash).unwrap();
        assert_eq!(now(), first, "another password");
        // Without ids: that one was gone was seen.
        let without = text.replace("[user.Ada]", "[user.eve]");
        write(&path, &without);
        scene.users.in_file().refresh_now(&scene.users.current);
        write(&path, &text);
        let second = now();
        assert_ne!(second, first);
        // With ids: nobody has seen it.
        let with = |id: &str| text.replace("groups =", &format!("id = \"{id}\"\ngroups ="));
        write(&path, &with("e-42"));
        let third = now();
        assert_ne!(third, second);
        write(&path, &with("e-42").replace("admins", "staff"));
        assert_eq!(now(), third, "other groups");
        write(&path, &with("e-43"));
        assert_ne!(now(), third);
        write(&path, &with("e-42"));
        assert_ne!(now(), third, "though that one had it");
    }

    #[test]
    fn requests_refresh_at_most_every_20_ms() {
        let scene = Scene::new();
        scene
            .users
            .in_file()
            .next_refresh
            .store(u64::MAX, Ordering::Relaxed);
        write(&scene.users.in_file().path, "# nobody\n");
        scene.users.refresh();
        assert!(scene.users.active("ada").is_some());
        assert_eq!(scene.users.generation(), 0);
        scene
            .users
            .in_file()
            .next_refresh
            .store(0, Ordering::Relaxed);
        scene.users.refresh();
        assert!(scene.users.active("ada").is_none());
        let next = scene.users.in_file().next_refresh.load(Ordering::Relaxed);
        assert!(next >= 20, "the next refresh is 20 ms away");
    }

    #[test]
    fn a_broken_or_open_file_leaves_everybody_as_they_were() {
        let mut scene = Scene::new();
        let (path, good) = (scene.users.in_file().path.clone(), scene.text());
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
