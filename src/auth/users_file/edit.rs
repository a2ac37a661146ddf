//! Changes to the users file that keep its comments, its order, its mode and its owner.
//!
//! The server replaces old hashes while an operator runs `vestibule user`: both edit under one
//! lock, and what a reader sees is always a whole file, the old one or the new one.

mod document;
mod error;
mod import;

use std::path::Path;
use std::{fs, io};

use toml_edit::{DocumentMut, Item};

use self::document::{find, insert, remove_table, set, user_mut};
pub(crate) use self::error::EditError;
pub(crate) use self::import::import;
use super::problem::Cause;
use super::{User, UsersFileError, locked, text_of};
use crate::auth::incarnation::UserId;
use crate::auth::password::StoredHash;
use crate::random::NoRandomness;

/// Somebody to add.
pub(crate) struct NewUser<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: &'a StoredHash,
    pub(crate) groups: &'a [String],
    pub(crate) email: Option<&'a str>,
    pub(crate) disabled: bool,
    /// Without one, they get a new one.
    pub(crate) id: Option<&'a str>,
}

impl<'a> From<&'a User> for NewUser<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            name: user.name(),
            password: user.password(),
            groups: user.groups(),
            email: user.email(),
            disabled: user.disabled(),
            id: user.id().text(),
        }
    }
}

/// Adds a user, and makes the file when there is none.
pub(crate) fn add(path: &Path, user: &NewUser<'_>) -> Result<(), EditError> {
    locked::create_if_missing(path)?;
    edit(path, |document| {
        if let Some(taken) = find(document, user.name) {
            return Err(EditError::NameTaken(taken));
        }
        insert(document, user)?;
        Ok(true)
    })
    .map(|_| ())
}

/// Whether `add` would find the name free: asked before a password is.
pub(crate) fn check_free(path: &Path, name: &str) -> Result<(), EditError> {
    let free = edit(path, |document| match find(document, name) {
        Some(taken) => Err(EditError::NameTaken(taken)),
        None => Ok(false),
    });
    match free {
        Ok(_) | Err(EditError::File(UsersFileError::Missing { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether there is such a user: asked before a password is.
pub(crate) fn check_known(path: &Path, name: &str) -> Result<(), EditError> {
    edit(path, |document| user_mut(document, name).map(|_| false)).map(|_| ())
}

pub(crate) fn set_password(path: &Path, name: &str, hash: &StoredHash) -> Result<(), EditError> {
    edit(path, |document| {
        set(user_mut(document, name)?, "password", hash.as_str());
        Ok(true)
    })
    .map(|_| ())
}

/// Says whether that was a change. Who is disabled loses sessions and what programs have, and does not get
/// them back: has another id from then on. Who is enabled, too, for it may have been somebody else who
/// disabled them, and wrote no id.
pub(crate) fn set_disabled(path: &Path, name: &str, disabled: bool) -> Result<bool, EditError> {
    edit(path, |document| {
        let user = user_mut(document, name)?;
        let before = user.get("disabled").and_then(Item::as_bool);
        if before.unwrap_or(false) == disabled {
            return Ok(false);
        }
        set(user, "disabled", disabled);
        set(user, "id", new_id()?);
        Ok(true)
    })
}

pub(crate) fn remove(path: &Path, name: &str) -> Result<(), EditError> {
    edit(path, |document| {
        user_mut(document, name)?;
        if let Some(stored) = find(document, name) {
            remove_table(document, &stored);
        }
        Ok(true)
    })
    .map(|_| ())
}

/// Replaces a hash, unless it is no longer the one that was verified; says whether it did.
pub(crate) fn replace_password(
    path: &Path,
    name: &str,
    old: &StoredHash,
    new: &StoredHash,
) -> Result<bool, EditError> {
    edit(path, |document| {
        let user = user_mut(document, name)?;
        let unchanged = user.get("password").and_then(Item::as_str) == Some(old.as_str());
        if unchanged {
            set(user, "password", new.as_str());
        }
        Ok(unchanged)
    })
}

fn new_id() -> Result<String, EditError> {
    let id = UserId::generate().map_err(|NoRandomness| UsersFileError::NoRandomness)?;
    Ok(id.text().unwrap_or_default().to_owned())
}

/// Changes the file under its lock. `change` says whether there is something to write. Entries
/// that are invalid stay as they are, so that a bad hash can be fixed by `passwd`.
fn edit(
    path: &Path,
    change: impl FnOnce(&mut DocumentMut) -> Result<bool, EditError>,
) -> Result<bool, EditError> {
    // What a link points to is replaced, not the link.
    let path = fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => UsersFileError::Missing {
            path: path.to_owned(),
        },
        _ => super::cannot_read(path)(source),
    })?;
    let file = locked::lock(&path)?;
    let text = text_of(&file, &path)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let cause = Cause::Syntax(error.message().to_owned());
        let offset = error.span().unwrap_or_default().start;
        UsersFileError::Invalid {
            path: path.clone(),
            problems: vec![cause.of(None).at(&text, offset)],
        }
    })?;
    if document
        .get("user")
        .is_some_and(|users| !users.is_table_like())
    {
        let problems = vec![Cause::NoTable.of(None).at(&text, 0)];
        return Err(UsersFileError::Invalid { path, problems }.into());
    }
    let changed = change(&mut document)?;
    if changed {
        locked::replace(&file, &path, &document.to_string())
            .map_err(|source| UsersFileError::Write { path, source })?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::thread;

    use super::*;
    use crate::auth::password::Hasher;
    use crate::auth::users_file::read;

    fn hash() -> StoredHash {
        StoredHash::dummy().unwrap()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (folder, path)
    }

    fn user<'a>(name: &'a str, password: &'a StoredHash) -> NewUser<'a> {
        NewUser {
            name,
            password,
            groups: &[],
            email: None,
            disabled: false,
            id: Some("e-42"),
        }
    }

    #[test]
    fn the_first_user_makes_the_file_and_only_the_owner_can_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        let hash = hash();
        let groups = ["a".to_owned(), "b".to_owned()];
        let ada = NewUser {
            groups: &groups,
            email: Some("ada@example.org"),
            ..user("ada", &hash)
        };
        check_free(&path, "ada").unwrap();
        add(&path, &ada).unwrap();
        check_known(&path, "Ada").unwrap();
        check_free(&path, "bo").unwrap();
        add(&path, &user("bo@example.org", &hash)).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!(
                "[user.ada]\npassword = \"{0}\"\ngroups = [\"a\", \"b\"]\n\
                 email = \"ada@example.org\"\nid = \"e-42\"\n\n\
                 [user.\"bo@example.org\"]\npassword = \"{0}\"\nid = \"e-42\"\n",
                hash.as_str()
            )
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().len(), 2);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing left behind"
        );
        for taken in [add(&path, &user("ADA", &hash)), check_free(&path, "ADA")] {
            assert!(matches!(taken, Err(EditError::NameTaken(name)) if name == "ada"));
        }
    }

    type Edit = fn(&Path, &StoredHash) -> Result<(), EditError>;

    #[test]
    fn an_edit_changes_its_lines_and_no_others() {
        let (old, new) = (hash(), hash());
        let before = format!(
            "# Users of the wiki.\n\n# on leave\n[user.Ada] # first\npassword = '{0}' # changed in May\n\
             groups = [ \"a\",\n  \"b\" ]\n\n# the boss\n[user.bo]\npassword = \"{0}\"\n# end\n",
            old.as_str()
        );
        let ada_line = format!("password = '{}' # changed", old.as_str());
        let new_ada_line = format!("password = \"{}\" # changed", new.as_str());
        let ada_table =
            &before[before.find("# on leave").unwrap()..before.find("# the boss").unwrap()];
        let cases: [(Edit, String); 5] = [
            (
                |path, new| set_password(path, "ada", new),
                before.replace(&ada_line, &new_ada_line),
            ),
            (
                |path, _| set_disabled(path, "bo", true).map(|_| ()),
                before.replace("\n# end", "\ndisabled = true\nid = \"-\"\n# end"),
            ),
            (
                |path, _| {
                    set_disabled(path, "bo", true)?;
                    set_disabled(path, "bo", false).map(|_| ())
                },
                before.replace("\n# end", "\ndisabled = false\nid = \"-\"\n# end"),
            ),
            (|path, _| remove(path, "ada"), before.replace(ada_table, "")),
            (
                |path, _| remove(path, "bo"),
                before[..before.find("\n# the boss").unwrap()].to_owned() + "# end\n",
            ),
        ];
        for (n, (edit, expected)) in cases.iter().enumerate() {
            let (_folder, path) = file(&before);
            edit(&path, &new).unwrap();
            let mut text = fs::read_to_string(&path).unwrap();
            if let Some(id) = read(&path).unwrap().get("bo").and_then(|bo| bo.id().text()) {
                text = text.replace(id, "-");
            }
            assert_eq!(&text, expected, "case {n}");
        }
    }

    #[test]
    fn what_does_not_change_is_not_written() {
        let (old, other) = (hash(), hash());
        let (_folder, path) = file(&format!("[user.ada]\npassword = \"{}\"\n", old.as_str()));
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        assert!(!set_disabled(&path, "ada", false).unwrap());
        assert!(!replace_password(&path, "ada", &other, &hash()).unwrap());
        assert_eq!(inode(), before);
        assert!(replace_password(&path, "ada", &old, &other).unwrap());
        assert_ne!(inode(), before);
    }

    #[test]
    fn sec_96_another_id_says_that_it_is_another_user_or_one_who_was_disabled() {
        let (_folder, path) = file("");
        let id = || read(&path).unwrap().get("ada").unwrap().id().clone();
        let (hash, mut ids) = (hash(), Vec::new());
        let ada = NewUser {
            id: None,
            ..user("ada", &hash)
        };
        add(&path, &ada).unwrap();
        ids.push(id());
        set_password(&path, "ada", &hash).unwrap();
        assert!(!set_disabled(&path, "ada", false).unwrap());
        assert_eq!(id(), ids[0], "the same user");
        set_disabled(&path, "ada", true).unwrap();
        ids.push(id());
        set_disabled(&path, "ada", false).unwrap();
        ids.push(id());
        remove(&path, "ada").unwrap();
        add(&path, &ada).unwrap();
        ids.push(id());
        assert!(ids.iter().all(|id| matches!(id, UserId::Is(_))), "{ids:?}");
        let texts: std::collections::BTreeSet<_> = ids.iter().map(UserId::text).collect();
        assert_eq!(texts.len(), 4, "{ids:?}");
    }

    #[test]
    fn an_unknown_user_is_an_error_that_names_the_nearest() {
        let (_folder, path) = file(&format!(
            "[user.charlotte]\npassword = \"{}\"",
            hash().as_str()
        ));
        for (name, hint) in [
            ("charlote", "did you mean \"charlotte\"?"),
            ("zoe", "`vestibule user list`"),
            ("no name", "`vestibule user list`"),
        ] {
            for error in [
                check_known(&path, name).unwrap_err(),
                set_password(&path, name, &hash()).unwrap_err(),
                set_disabled(&path, name, true).unwrap_err(),
                remove(&path, name).unwrap_err(),
            ] {
                assert!(error.to_string().contains(hint), "{error}");
            }
        }
    }

    #[test]
    fn a_hash_that_is_not_accepted_can_be_mended_by_a_new_password() {
        let (_folder, path) = file("[user.ada]\npassword = \"plain\"\n[user.bo]\n");
        set_password(&path, "ada", &hash()).unwrap();
        set_password(&path, "bo", &hash()).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
        let (_folder, path) = file("user = 3");
        assert!(matches!(
            add(&path, &user("ada", &hash())),
            Err(EditError::File(UsersFileError::Invalid { .. }))
        ));
    }

    #[test]
    fn a_link_stays_a_link() {
        let (folder, path) = file("");
        let link = folder.path().join("link.toml");
        symlink(&path, &link).unwrap();
        add(&link, &user("ada", &hash())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&path).unwrap().len(), 1);
    }

    #[test]
    fn sec_79_a_file_that_others_can_open_is_not_edited() {
        let (_folder, path) = file("");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = add(&path, &user("ada", &hash()));
        assert!(matches!(
            refused,
            Err(EditError::File(UsersFileError::TooOpen { mode: 0o644, .. }))
        ));
    }

    #[test]
    fn edits_at_the_same_time_lose_nothing() {
        let (_folder, path) = file("");
        let password = Hasher::default().hash(b"x").unwrap();
        thread::scope(|scope| {
            for editor in 0..4 {
                let (path, password) = (&path, &password);
                scope.spawn(move || {
                    for n in 0..8 {
                        let name = format!("user-{editor}-{n}");
                        add(path, &user(&name, password)).unwrap();
                        set_disabled(path, &name, true).unwrap();
                    }
                });
            }
        });
        let users = read(&path).unwrap();
        assert_eq!(users.len(), 32);
        assert!(users.iter().all(super::super::User::disabled));
    }
}
