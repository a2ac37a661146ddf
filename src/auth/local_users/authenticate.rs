//! The verdict on one login.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::InFile;
use super::store::{ChangeError, StoreFault};
use super::{Home, LocalUsers};
use crate::auth::password::{Hasher, StoredHash};
use crate::auth::users_file::User;
use crate::auth::users_file::edit::EditError;
use crate::auth::{Account, SignedIn, Verdict};
use crate::principal::Method;

/// The outcome of verifying a password.
pub(in crate::auth) enum Attempt {
    Decided(Verdict),
    /// Nobody can say: what the session store has of the user cannot be read. A password that may be
    /// right is not called wrong.
    Unreadable,
    /// It was right, and its weak hash is to be replaced by a new one in the session store.
    Upgrade(Box<Upgrade>),
}

/// The user who proved a password, and a new hash of it.
pub(in crate::auth) struct Upgrade {
    user: User,
    new: StoredHash,
}

impl LocalUsers {
    /// By the users as they are known here; those of a file are refreshed.
    pub(in crate::auth) fn authenticate(
        &self,
        hasher: &mut Hasher,
        name: &str,
        password: &[u8],
    ) -> Attempt {
        if let Home::File(file) = &self.home {
            file.refresh_now(&self.current);
        }
        let snapshot = self.current.load_full();
        let user = snapshot.get(name);
        let stored = user.map_or(&self.dummy_hash, User::password);
        let right = hasher.verify(stored, password);
        match user {
            Some(user) if right && !user.disabled() => self.sign_in(hasher, user, password),
            None if self.is_unreadable(name) => Attempt::Unreadable,
            Some(_) | None => Attempt::Decided(Verdict::Refused),
        }
    }

    /// Unless it is known that they may not sign in, whatever stands there.
    fn is_unreadable(&self, name: &str) -> bool {
        let store = self.shared();
        store.is_some_and(|store| store.is_unreadable(name) && !store.is_gone(name))
    }

    fn sign_in(&self, hasher: &mut Hasher, user: &User, password: &[u8]) -> Attempt {
        if !user.password().is_weak() {
            return Attempt::Decided(signed_in(Account::of(user)));
        }
        let new = hasher.hash(password).inspect_err(
            |error| tracing::warn!(target: "vestibule", %error, "password not hashed again"),
        );
        let Ok(new) = new else {
            return Attempt::Decided(signed_in(Account::of(user)));
        };
        match &self.home {
            Home::File(file) => {
                Attempt::Decided(self.upgrade_in(file, hasher, (user, password), &new))
            }
            Home::Store(_) => Attempt::Upgrade(Box::new(Upgrade {
                user: user.clone(),
                new,
            })),
        }
    }

    /// Puts an argon2id hash in the place of a weak one. Where that is impossible the old one
    /// goes on to work.
    fn upgrade_in(
        &self,
        file: &InFile,
        hasher: &mut Hasher,
        (user, password): (&User, &[u8]),
        new: &StoredHash,
    ) -> Verdict {
        let old = user.password();
        let replaced = file.replace_password(&self.current, user.name(), old, new);
        match replaced {
            Ok(true) => upgraded(user, new),
            // Another login of the same user was quicker, or somebody set a new password.
            Ok(false) | Err(EditError::NoSuchUser { .. }) => {
                let snapshot = self.current.load_full();
                match snapshot.get(user.name()) {
                    Some(now) if !now.disabled() && hasher.verify(now.password(), password) => {
                        signed_in(Account::of(now))
                    }
                    Some(_) | None => Verdict::Refused,
                }
            }
            Err(error @ (EditError::File(_) | EditError::NameTaken(_))) => {
                if !file.upgrades_fail.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: "vestibule", %error,
                        "old password hashes stay in the users file; told once"
                    );
                }
                signed_in(Account::of(user))
            }
        }
    }

    /// The same in the store. `None` where the user is another one by now than the one that was
    /// verified: the password is to be verified again.
    pub(in crate::auth) async fn upgrade(&self, upgrade: &Upgrade) -> Option<Verdict> {
        let Upgrade { user, new } = upgrade;
        let store = self.shared()?;
        let replaced = store.replace_password(user.name(), user.password(), new);
        match replaced.await {
            Ok(true) => Some(upgraded(user, new)),
            // Or nobody can say whether it has the new hash by now.
            Ok(false)
            | Err(
                ChangeError::Store(StoreFault::Away)
                | ChangeError::OtherKey { .. }
                | ChangeError::Unreadable { .. },
            ) => None,
            Err(error) => {
                tracing::warn!(target: "vestibule", %error, "password not hashed again");
                Some(signed_in(Account::of(user)))
            }
        }
    }
}

fn signed_in(account: Account) -> Verdict {
    Verdict::SignedIn(SignedIn {
        account: Arc::new(account),
        methods: Method::Password.into(),
    })
}

fn upgraded(user: &User, new: &StoredHash) -> Verdict {
    tracing::info!(
        target: "vestibule", user = user.name(), from = user.password().scheme_name(),
        "password hash replaced by argon2id"
    );
    signed_in(Account::of(&user.clone().with_password(new.clone())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::{BCRYPT, Scene};
    use super::*;

    impl Attempt {
        pub(in crate::auth::local_users) fn verdict(self) -> Verdict {
            match self {
                Self::Decided(verdict) => verdict,
                Self::Unreadable | Self::Upgrade(_) => panic!("nothing is in a store"),
            }
        }
    }

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
        let mode = fs::metadata(&scene.users.in_file().path)
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
        scene.users.in_file_mut().path = path;
        let user = scene.users.current.load().get("old").unwrap().clone();
        let verdict = scene
            .users
            .sign_in(&mut scene.hasher, &user, b"U*U")
            .verdict();
        let Verdict::SignedIn(signed_in) = verdict else {
            panic!("refused");
        };
        assert_eq!(signed_in.account().fingerprint(), user.fingerprint());
        assert!(scene.users.in_file().upgrades_fail.load(Ordering::Relaxed));
    }

    #[test]
    fn a_password_changed_while_the_old_one_was_verified_wins() {
        let mut scene = Scene::new();
        let user = scene.users.current.load().get("old").unwrap().clone();
        let path = scene.users.in_file().path.clone();
        let mut changed_to = |password: &[u8]| {
            edit::set_password(&path, "old", &Hasher::default().hash(password).unwrap()).unwrap();
            let attempt = scene.users.sign_in(&mut scene.hasher, &user, b"U*U");
            attempt.verdict()
        };
        assert!(matches!(changed_to(b"another"), Verdict::Refused));
        let Verdict::SignedIn(signed_in) = changed_to(b"U*U") else {
            panic!("the same password, hashed by a login that was quicker");
        };
        let now = scene.users.active("old").unwrap();
        assert_eq!(signed_in.account().fingerprint(), now.fingerprint());
        edit::remove(&path, "old").unwrap();
        let verdict = scene
            .users
            .sign_in(&mut scene.hasher, &user, b"U*U")
            .verdict();
        assert!(matches!(verdict, Verdict::Refused), "removed meanwhile");
    }
}
