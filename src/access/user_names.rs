//! The users that a rule names.

use crate::principal::user_name;

/// Compared as names are everywhere (SEC-58).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserNames {
    spelled: Vec<String>,
    /// The same as they are compared.
    keys: Vec<String>,
}

impl UserNames {
    pub(crate) fn new(spelled: Vec<String>) -> Self {
        let keys = spelled.iter().map(|name| user_name::key(name)).collect();
        Self { spelled, keys }
    }

    /// As the configuration has them.
    pub(crate) fn spelled(&self) -> &[String] {
        &self.spelled
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.spelled.iter().map(String::as_str)
    }

    pub(crate) fn contain(&self, user: &str) -> bool {
        // Asked with each request; nearly all names are spelled alike everywhere.
        self.iter().any(|name| name == user)
            || user_name::canonical(user)
                .is_some_and(|user| self.keys.iter().any(|key| *key == user))
    }
}
