//! Groups that no user has, and users that do not exist, where the configuration names them.

use crate::access::UserNames;
use crate::auth::users_file::{User, Users};
use crate::principal::user_name;
use crate::regular_file::operand;
use crate::source_text::nearest;

/// What a key names.
#[derive(Clone, Copy)]
pub(super) enum Named<'a> {
    Groups(&'a [String]),
    Users(&'a UserNames),
}

/// What of it there is not.
pub(super) struct Unknown {
    pub(super) message: String,
    /// Whether it is all that is named.
    pub(super) is_all: bool,
    help: Help,
}

enum Help {
    /// Written almost like that.
    DidYouMean(String),
    /// A way to make it be.
    Make(String),
}

/// All that are named, all that there are, and how they are compared.
type Names<'a> = (&'a [String], Vec<&'a str>, fn(&str, &str) -> bool);

impl Named<'_> {
    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Groups(groups) => groups.is_empty(),
            Self::Users(names) => names.spelled().is_empty(),
        }
    }

    /// `None` when all of it is there.
    pub(super) fn unknown(self, users: &Users) -> Option<Unknown> {
        let (named, known, is_same): Names<'_> = match self {
            Self::Groups(groups) => {
                let known = users.iter().flat_map(User::groups);
                let known = known.map(String::as_str).collect();
                (groups, known, |one, other| one == other)
            }
            Self::Users(names) => {
                let known = users.iter().map(User::name).collect();
                (names.spelled(), known, user_name::is_same)
            }
        };
        let missing: Vec<&str> = (named.iter().map(String::as_str))
            .filter(|name| !known.iter().any(|known| is_same(known, name)))
            .collect();
        let first = *missing.first()?;
        let quoted = format!("\"{}\"", missing.join("\", \""));
        let message = match (self, missing.len()) {
            (Self::Groups(_), 1) => format!("no user is in the group {quoted}"),
            (Self::Groups(_), _) => format!("no user is in the groups {quoted}"),
            (Self::Users(_), 1) => format!("there is no user {quoted}"),
            (Self::Users(_), _) => format!("there are no users {quoted}"),
        };
        let same = known.iter().find(|known| user_name::is_same(known, first));
        let near = nearest(first, known.iter().copied());
        let help = match (same, near) {
            (Some(same), _) => Help::DidYouMean(format!(
                "did you mean \"{same}\"? Upper and lower case count here"
            )),
            (None, Some(near)) => Help::DidYouMean(format!("did you mean \"{near}\"?")),
            (None, None) => Help::Make(match self {
                Self::Groups(_) => {
                    format!("add \"{first}\" to the `groups` of somebody in the users file")
                }
                Self::Users(_) => format!("do `vestibule user add {}`", operand(first)),
            }),
        };
        Some(Unknown {
            message,
            is_all: missing.len() == named.len(),
            help,
        })
    }
}

impl Unknown {
    /// What to do, where `place` names it.
    pub(super) fn help(&self, place: &str) -> String {
        match &self.help {
            Help::DidYouMean(help) => help.clone(),
            Help::Make(help) => format!("{help}, or correct {place}"),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Users with these groups, the last of them disabled.
    pub(in crate::doctor) fn users(folder: &tempfile::TempDir) -> Users {
        use std::os::unix::fs::PermissionsExt;
        const HASH: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let path = folder.path().join("users.toml");
        let user =
            |name: &str, rest: &str| format!("[user.{name}]\npassword = \"{HASH}\"\n{rest}\n");
        let text = [
            user("ada", "groups = [\"admins\"]"),
            user("\"Jürgen\"", "groups = [\"Gäste\"]"),
            user("eve", "groups = [\"guests\"]\ndisabled = true"),
        ];
        std::fs::write(&path, text.concat()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        crate::auth::users_file::read(&path).unwrap()
    }
}
