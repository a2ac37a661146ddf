//! Many users at once.

use std::collections::HashMap;
use std::path::Path;

use toml_edit::{DocumentMut, Item, TableLike};

use super::{EditError, NewUser, edit, insert, locked, set};
use crate::principal::user_name;

/// What became of whom, by the names that were given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported<'a> {
    pub(crate) added: Vec<&'a str>,
    /// They have another password now, and are as they were otherwise.
    pub(crate) replaced: Vec<&'a str>,
    /// They were there, and are as they were.
    pub(crate) kept: Vec<&'a str>,
}

/// Adds all of `users`, or nobody; makes the file when there is none. Who is there already is
/// kept, or gets the new password when `replace` says so. Each name is given once, in any case.
pub(crate) fn import<'a>(
    path: &Path,
    users: &[NewUser<'a>],
    replace: bool,
) -> Result<Imported<'a>, EditError> {
    locked::create_if_missing(path)?;
    let mut imported = Imported::default();
    edit(path, |document| {
        let there = names(document);
        for user in users {
            let stored = there.get(&user_name::key(user.name));
            let table = stored.and_then(|stored| {
                let user = document.get_mut("user")?.get_mut(stored);
                user?.as_table_like_mut()
            });
            match (stored, table) {
                (None, _) => {
                    insert(document, user)?;
                    imported.added.push(user.name);
                }
                (Some(_), Some(table)) if replace => {
                    set(table, "password", user.password.as_str());
                    imported.replaced.push(user.name);
                }
                (Some(_), _) => imported.kept.push(user.name),
            }
        }
        Ok(!imported.added.is_empty() || !imported.replaced.is_empty())
    })?;
    Ok(imported)
}

/// The names in the file by the form in which they are compared.
fn names(document: &DocumentMut) -> HashMap<String, String> {
    let users = document.get("user").and_then(Item::as_table_like);
    (users.into_iter().flat_map(TableLike::iter))
        .map(|(name, _)| (user_name::key(name), name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::auth::password::StoredHash;

    #[test]
    fn who_is_there_is_kept_or_gets_the_new_password_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        let (old, new) = (StoredHash::dummy().unwrap(), StoredHash::dummy().unwrap());
        let groups = ["staff".to_owned()];
        let user = |name| NewUser {
            name,
            password: &new,
            groups: &groups,
            email: None,
            disabled: false,
            id: Some("e-42"),
        };
        let first = NewUser {
            password: &old,
            groups: &[],
            email: Some("ada@example.org"),
            ..user("Ada")
        };
        import(&path, &[first], false).unwrap();
        let before = fs::read_to_string(&path).unwrap();

        let imported = import(&path, &[user("ada")], false).unwrap();
        assert_eq!(imported.kept, ["ada"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), before);

        let imported = import(&path, &[user("bo"), user("ada"), user("cy")], true).unwrap();
        let expected = Imported {
            added: vec!["bo", "cy"],
            replaced: vec!["ada"],
            kept: vec![],
        };
        assert_eq!(imported, expected);
        let table = |name| {
            format!(
                "\n[user.{name}]\npassword = \"{}\"\ngroups = [\"staff\"]\nid = \"e-42\"\n",
                new.as_str()
            )
        };
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            before.replace(old.as_str(), new.as_str()) + &table("bo") + &table("cy")
        );
    }
}
