//! What is wrong in a users file, where, and how to mend it.

use std::fmt;

use crate::auth::password::HashError;

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
    /// `offset` counts bytes of `text`; people count lines and characters, from one.
    pub(super) fn new(text: &str, offset: usize, user: Option<&str>, cause: Cause) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            user: user.map(str::to_owned),
            cause,
        }
    }

    pub(super) fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        let user = self.user.as_deref().unwrap_or("NAME");
        if self.user.is_some() {
            write!(f, "user {user:?}: ")?;
        }
        match &self.cause {
            Cause::Email => f.write_str("no e-mail address; write it as \"name@example.org\""),
            Cause::Group => {
                f.write_str("a group is text without `,`, control characters and spaces around it")
            }
            Cause::Hash(error) => write!(f, "{error}; do `vestibule user passwd {user}`"),
            Cause::Name => f.write_str(
                "no valid name; a name is 1 to 64 letters and digits of ASCII, and any of `._@+-`",
            ),
            Cause::NoPassword => write!(
                f,
                "no `password`; do `vestibule user passwd {user}`, or paste what `vestibule hash-password` prints"
            ),
            Cause::NoTable => f.write_str("not a table; users are written as `[user.NAME]`"),
            Cause::SameName(other) => write!(
                f,
                "the same name as {other:?}, because upper and lower case count as equal; rename one"
            ),
            Cause::Syntax(message) => f.write_str(message.trim_end()),
            Cause::Type(expected) => write!(f, "has to be {expected}"),
            Cause::UnknownKey {
                key,
                nearest: Some(nearest),
            } => write!(f, "unknown key {key:?}; did you mean `{nearest}`?"),
            Cause::UnknownKey { key, nearest: None } => write!(
                f,
                "unknown key {key:?}; a user has {}",
                super::KEYS.map(|key| format!("`{key}`")).join(", ")
            ),
            Cause::UnknownTable(key) => {
                write!(f, "unknown key {key:?}; users are written as `[user.NAME]`")
            }
        }
    }
}

/// The candidate that `word` is most likely a misspelling of.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
