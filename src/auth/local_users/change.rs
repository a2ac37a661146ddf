//! A new password, set by the user: what was proven a moment ago has to be true when it is written.

use std::sync::Arc;

use super::store::SharedUsers;
use super::{Home, LocalUsers};
use crate::auth::password::{Hasher, NewPassword, StoredHash};
use crate::auth::users_file::edit::EditError;
use crate::auth::users_file::{User, UsersFileError};
use crate::auth::{Account, PasswordChange, SignedIn};
use crate::principal::Method;

impl LocalUsers {
    /// Puts a hash of `new` in the place of the one in the users file that `proof` was given for.
    pub(in crate::auth) fn change_in_file(
        &self,
        hasher: &mut Hasher,
        proof: &SignedIn,
        new: &NewPassword,
    ) -> PasswordChange {
        let name = proof.account().identity().user();
        let Home::File(file) = &self.home else {
            return not_written(name, &UsersFileError::NoStore);
        };
        // From the file, and not from memory: what is written into a file that is not taken as it
        // is would hold from whenever somebody fixes it.
        let users = match file.users() {
            Ok(users) => users,
            Err(error) => return not_written(name, &error),
        };
        let verified = users.get(name).filter(|user| is_of(proof, user));
        let Some(user) = verified else {
            return PasswordChange::Overtaken;
        };
        let hash = match hasher.hash(new.expose()) {
            Ok(hash) => hash,
            Err(error) => return not_written(name, &error),
        };
        let replaced = file.replace_password(&self.current, name, user.password(), &hash);
        match replaced {
            Ok(true) => PasswordChange::Done(signed_in(user, &hash)),
            Ok(false) | Err(EditError::NoSuchUser { .. }) => PasswordChange::Overtaken,
            Err(error @ (EditError::File(_) | EditError::NameTaken(_))) => {
                not_written(name, &error)
            }
        }
    }
}

impl SharedUsers {
    /// Puts this hash in the place of the one that `proof` was given for, for all nodes.
    pub(in crate::auth) async fn change_password(
        &self,
        proof: &SignedIn,
        hash: &StoredHash,
    ) -> PasswordChange {
        let name = proof.account().identity().user();
        let user = match self.find(name).await {
            Ok(Some(user)) if is_of(proof, &user) => user,
            Ok(_) => return PasswordChange::Overtaken,
            Err(error) => return not_written(name, &error),
        };
        match self.replace_password(name, user.password(), hash).await {
            Ok(true) => PasswordChange::Done(signed_in(&user, hash)),
            Ok(false) => PasswordChange::Overtaken,
            Err(error) => not_written(name, &error),
        }
    }
}

/// Whether the proof was given for the user as it is now.
fn is_of(proof: &SignedIn, user: &User) -> bool {
    !user.disabled() && user.fingerprint() == proof.account().fingerprint()
}

fn signed_in(user: &User, hash: &StoredHash) -> SignedIn {
    SignedIn {
        account: Arc::new(Account::of(&user.clone().with_password(hash.clone()))),
        methods: Method::NewPassword.into(),
    }
}

pub(in crate::auth) fn not_written(user: &str, error: &dyn std::error::Error) -> PasswordChange {
    // One line an event, however many problems the file has (SEC-71).
    let error = error.to_string().replace('\n', "; ");
    tracing::error!(target: "vestibule", user, error, "a user's new password was not written");
    PasswordChange::NotWritten
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::auth::Verdict;
    use crate::auth::users_file::{self, edit};
    use crate::secret::Secret;

    const NEW: &str = "quiet otters hum";

    struct Scene {
        _folder: tempfile::TempDir,
        path: PathBuf,
        users: LocalUsers,
        hasher: Hasher,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("users.toml");
            let mut hasher = Hasher::default();
            let (ada, bo) = (hasher.hash(b"ada's"), hasher.hash(b"bo's"));
            let text = format!(
                "# everybody\n[user.Ada]\npassword = \"{}\" # since May\ngroups = [\"admins\"]\n\n\
                 [user.bo]\npassword = \"{}\"\n# end\n",
                ada.unwrap().as_str(),
                bo.unwrap().as_str()
            );
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Self {
                users: LocalUsers::of_file(&path),
                _folder: folder,
                path,
                hasher,
            }
        }

        fn authenticate(&mut self, password: &str) -> Option<SignedIn> {
            let password = password.as_bytes();
            let attempt = self.users.authenticate(&mut self.hasher, "ada", password);
            match attempt.verdict() {
                Verdict::SignedIn(signed_in) => Some(signed_in),
                Verdict::Refused => None,
            }
        }

        fn change(&mut self, proof: &SignedIn) -> PasswordChange {
            let new = Secret::new(NEW.as_bytes().to_vec());
            let new = NewPassword::accept(new, "ada").unwrap();
            self.users.change_in_file(&mut self.hasher, proof, &new)
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.path).unwrap()
        }
    }

    #[test]
    fn a_new_password_takes_the_place_of_the_old_and_of_nothing_else() {
        let mut scene = Scene::new();
        let before = scene.text();
        let proof = scene.authenticate("ada's").unwrap();
        let old = users_file::read(&scene.path).unwrap();
        let PasswordChange::Done(signed_in) = scene.change(&proof) else {
            panic!("not changed");
        };
        let now = users_file::read(&scene.path).unwrap();
        let [old, new] = [&old, &now].map(|users| users.get("ada").unwrap().password().as_str());
        assert_eq!(scene.text(), before.replace(old, new));
        assert_eq!(signed_in.methods().names(), "new password");
        assert_eq!(
            scene.users.active("ada").as_ref(),
            Some(signed_in.account()),
            "at once"
        );
        assert!(scene.authenticate("ada's").is_none());
        assert!(scene.authenticate(NEW).is_some());
    }

    #[test]
    fn what_somebody_else_changed_after_the_proof_stays() {
        let changes: [fn(&Scene); 3] = [
            |scene| {
                let hash = Hasher::default().hash(b"another").unwrap();
                edit::set_password(&scene.path, "ada", &hash).unwrap();
            },
            |scene| {
                edit::set_disabled(&scene.path, "ada", true).unwrap();
            },
            |scene| edit::remove(&scene.path, "ada").unwrap(),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut scene = Scene::new();
            let proof = scene.authenticate("ada's").unwrap();
            change(&scene);
            let before = scene.text();
            let outcome = scene.change(&proof);
            assert!(matches!(outcome, PasswordChange::Overtaken), "case {n}");
            assert_eq!(scene.text(), before, "case {n}");
        }
    }

    #[test]
    fn a_file_that_is_broken_open_to_others_or_gone_is_not_written() {
        let spoils: [fn(&Scene); 3] = [
            |scene| {
                let spoilt = scene.text() + "[user.eve]\npassword = \"plain\"\n";
                fs::write(&scene.path, spoilt).unwrap();
            },
            |scene| {
                fs::set_permissions(&scene.path, fs::Permissions::from_mode(0o640)).unwrap();
            },
            |scene| fs::remove_file(&scene.path).unwrap(),
        ];
        for (n, spoil) in spoils.iter().enumerate() {
            let mut scene = Scene::new();
            let proof = scene.authenticate("ada's").unwrap();
            spoil(&scene);
            let before = fs::read_to_string(&scene.path).ok();
            let outcome = scene.change(&proof);
            assert!(matches!(outcome, PasswordChange::NotWritten), "case {n}");
            assert_eq!(fs::read_to_string(&scene.path).ok(), before, "case {n}");
            assert!(scene.authenticate("ada's").is_some(), "case {n}");
        }
    }
}
