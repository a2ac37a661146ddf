//! Who somebody is. Knows nothing of the ways to prove it, nor of sessions: `auth`, `session`,
//! `access` and `identity` all speak of the people that are described here.

/// A person as the app is to see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    user: String,
    groups: Vec<String>,
    email: Option<String>,
}

impl Identity {
    pub(crate) fn new(user: String, groups: Vec<String>, email: Option<String>) -> Self {
        Self {
            user,
            groups,
            email,
        }
    }

    /// The stored name, not what was typed (SEC-58).
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    pub(crate) fn is_in_any(&self, groups: &[String]) -> bool {
        self.groups.iter().any(|group| groups.contains(group))
    }
}
