//! What is wrong in a users file, where, and how to mend it.

use std::fmt;

use crate::auth::password::HashError;
use crate::source_text::position;

/// One thing to mend.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    line: usize,
    column: usize,
    user: Option<String>,
    cause: Cause,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Email,
    Group,
    Hash(HashError),
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

impl Problem {
    /// `offset` counts bytes of `text`.
    pub(super) fn new(text: &str, offset: usize, user: Option<&str>, cause: Cause) -> Self {
        let (line, column) = position(text, offset);
        Self {
            line,
            column,
            user: user.map(str::to_owned),
            cause,
        }
    }

    /// Line and column.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl Problem {
    /// What is wrong, and with whom.
    pub(crate) fn message(&self) -> String {
        let what = match &self.cause {
            Cause::Email => "no e-mail address".to_owned(),
            Cause::Group => {
                "a group is text without `,`, control characters and spaces around it".to_owned()
            }
            Cause::Hash(error) => error.to_string(),
            Cause::Name => "no valid name".to_owned(),
            Cause::NoPassword => "no `password`".to_owned(),
            Cause::NoTable => "not a table".to_owned(),
            Cause::SameName(other) => {
                format!("the same name as {other:?}, because upper and lower case count as equal")
            }
            Cause::Syntax(message) => message.trim_end().to_owned(),
            Cause::Type(expected) => format!("has to be {expected}"),
            Cause::UnknownKey { key, .. } | Cause::UnknownTable(key) => {
                format!("unknown key {key:?}")
            }
        };
        match &self.user {
            Some(user) => format!("user {user:?}: {what}"),
            None => what,
        }
    }

    /// What to do about it, where the message does not say that by itself.
    pub(crate) fn mend(&self) -> Option<String> {
        let user = self.user.as_deref().unwrap_or("NAME");
        Some(match &self.cause {
            Cause::Email => "write it as \"name@example.org\"".to_owned(),
            Cause::Hash(_) => format!("do `vestibule user passwd {user}`"),
            Cause::Name => {
                "a name is 1 to 64 letters and digits of ASCII, and any of `._@+-`".to_owned()
            }
            Cause::NoPassword => format!(
                "do `vestibule user passwd {user}`, or paste what `vestibule hash-password` prints"
            ),
            Cause::NoTable | Cause::UnknownTable(_) => {
                "users are written as `[user.NAME]`".to_owned()
            }
            Cause::SameName(_) => "rename one".to_owned(),
            Cause::UnknownKey {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Cause::UnknownKey { nearest: None, .. } => {
                let keys = super::KEYS.map(|key| format!("`{key}`"));
                format!("a user has {}", keys.join(", "))
            }
            Cause::Group | Cause::Syntax(_) | Cause::Type(_) => return None,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message())?;
        match self.mend() {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}
