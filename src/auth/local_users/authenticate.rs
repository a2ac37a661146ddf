//! The verdict on one login.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::LocalUsers;
use crate::auth::password::{Hasher, StoredHash};
use crate::auth::users_file::User;
use crate::auth::users_file::edit::EditError;
use crate::auth::{Account, SignedIn, Verdict};
use crate::principal::Method;

impl LocalUsers {
    pub(in crate::auth) fn authenticate(
        &self,
        hasher: &mut Hasher,
        name: &str,
        password: &[u8],
    ) -> Verdict {
        self.file.refresh_now(&self.current);
        let snapshot = self.current.load_full();
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
                let snapshot = self.current.load_full();
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
        let replaced = self
            .file
            .replace_password(&self.current, user.name(), old, &new);
        match replaced {
            Ok(true) => {
                tracing::info!(
                    target: "vestibule", user = user.name(), from = old.scheme_name(),
                    "password hash replaced by argon2id"
                );
                Some(Upgrade::Done(new))
            }
            Ok(false) | Err(EditError::NoSuchUser { .. }) => Some(Upgrade::Overtaken),
            Err(error @ (EditError::File(_) | EditError::NameTaken(_))) => {
                if !self.file.upgrades_fail.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: "vestibule", %error,
                        "old password hashes stay in the users file; told once"
                    );
                }
                None
            }
        }
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

    use super::super::tests::{BCRYPT, Scene};
    use super::*;
    use crate::auth::users_file::edit;

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
            .current
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
        let mode = fs::metadata(&scene.users.file.path)
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
        scene.users.file.path = path;
        let user = scene.users.current.load().users.get("old").unwrap().clone();
        let verdict = scene.users.sign_in(&mut scene.hasher, &user, b"U*U");
        let Verdict::SignedIn(signed_in) = verdict else {
            panic!("refused");
        };
        assert_eq!(
            signed_in.account().fingerprint(),
            user.password().fingerprint()
        );
        assert!(scene.users.file.upgrades_fail.load(Ordering::Relaxed));
    }

    #[test]
    fn a_password_changed_while_the_old_one_was_verified_wins() {
        let mut scene = Scene::new();
        let user = scene.users.current.load().users.get("old").unwrap().clone();
        let path = scene.users.file.path.clone();
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
