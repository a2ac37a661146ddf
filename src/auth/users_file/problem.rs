//! What can be wrong in a users file, and how to fix it.

use crate::auth::password::HashError;
use crate::principal::user_name;
use crate::regular_file::operand;
use crate::source_text::Fault;

pub(super) enum Cause {
    Email,
    Group,
    Hash(HashError),
    Id,
    Name,
    NoPassword,
    NoTable,
    /// Two names that differ in case only; this is the first of them.
    SameName(String),
    /// What the TOML parser says.
    Syntax(String),
    Type(&'static str),
    UnknownKey {
        key: String,
        nearest: Option<&'static str>,
    },
    UnknownTable(String),
}

impl Cause {
    /// `user` is whom it is about.
    pub(super) fn of(self, user: Option<&str>) -> Fault {
        let fault = Fault::new(self.message());
        let fault = match self.fix(user.unwrap_or("NAME")) {
            Some(help) => fault.help(help),
            None => fault,
        };
        match user {
            Some(user) => fault.of(format_args!("user {user:?}")),
            None => fault,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Email => "no e-mail address".to_owned(),
            Self::Group => {
                "a group is text without `,`, control characters and spaces around it".to_owned()
            }
            Self::Hash(error) => error.to_string(),
            Self::Id => "an id has 1 to 64 letters, digits and any of `-._`".to_owned(),
            Self::Name => "no valid name".to_owned(),
            Self::NoPassword => "no `password`".to_owned(),
            Self::NoTable => "not a table".to_owned(),
            Self::SameName(other) => {
                format!("the same name as {other:?}, because upper and lower case count as equal")
            }
            Self::Syntax(message) => message.trim_end().to_owned(),
            Self::Type(expected) => format!("has to be {expected}"),
            Self::UnknownKey { key, .. } | Self::UnknownTable(key) => {
                format!("unknown key {key:?}")
            }
        }
    }

    /// What to do about it, where the message does not say that by itself.
    fn fix(&self, user: &str) -> Option<String> {
        Some(match self {
            Self::Email => "write it as \"name@example.org\"".to_owned(),
            Self::Hash(_) => format!("do `vestibule user passwd {}`", operand(user)),
            Self::Name => user_name::RULE.to_owned(),
            Self::NoPassword => format!(
                "do `vestibule user passwd {}`, or paste what `vestibule hash-password` prints",
                operand(user)
            ),
            Self::NoTable | Self::UnknownTable(_) => {
                "users are written as `[user.NAME]`".to_owned()
            }
            Self::SameName(_) => "rename one".to_owned(),
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { nearest: None, .. } => {
                let keys = super::KEYS.map(|key| format!("`{key}`"));
                format!("a user has {}", keys.join(", "))
            }
            Self::Group | Self::Id | Self::Syntax(_) | Self::Type(_) => return None,
        })
    }
}
