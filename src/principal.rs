//! Who somebody is and how they proved it. Knows nothing of the ways to prove it, nor of sessions:
//! `auth`, `session`, `access` and `identity` all speak of the people that are described here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

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

/// Where an account is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceName {
    UsersFile,
}

/// Names an account for as long as it exists, whatever its groups and e-mail become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountRef {
    source: SourceName,
    /// What the source calls it. Shared, because each request of a session has one.
    subject: Arc<str>,
}

impl AccountRef {
    /// The user of this name in the users file.
    pub(crate) fn of_users_file(user: &str) -> Self {
        Self {
            source: SourceName::UsersFile,
            subject: user.into(),
        }
    }

    pub(crate) fn source(&self) -> SourceName {
        self.source
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }
}

/// Joins the names of the methods of one login.
const METHOD_SEPARATOR: char = '+';

/// A way to prove who one is. Sessions are kept, logged and shown with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Password,
    /// A password that the user has just set, after a proof of the old one.
    NewPassword,
    /// A session of another version names it.
    Unknown(Box<str>),
}

impl Method {
    fn parse(name: &str) -> Self {
        match name {
            "password" => Self::Password,
            "new password" => Self::NewPassword,
            unknown => Self::Unknown(unknown.into()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Password => "password",
            Self::NewPassword => "new password",
            Self::Unknown(name) => name,
        }
    }
}

/// How somebody proved who they are, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthContext {
    methods: Box<[Method]>,
    at: Timestamp,
}

impl AuthContext {
    pub(crate) fn new(method: Method, at: Timestamp) -> Self {
        Self {
            methods: [method].into(),
            at,
        }
    }

    /// Reads what [`methods`](Self::methods) writes.
    pub(crate) fn parse(methods: &str, at: Timestamp) -> Self {
        Self {
            methods: methods.split(METHOD_SEPARATOR).map(Method::parse).collect(),
            at,
        }
    }

    /// The names of all methods: `password`.
    pub(crate) fn methods(&self) -> String {
        let names: Vec<_> = self.methods.iter().map(Method::name).collect();
        names.join(METHOD_SEPARATOR.encode_utf8(&mut [0; 4]))
    }

    pub(crate) fn includes(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }

    /// When the last proof was given.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }
}

/// Somebody whose account is active, and how they signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    account: AccountRef,
    identity: Arc<Identity>,
    context: Arc<AuthContext>,
}

impl Principal {
    pub(crate) fn new(
        account: AccountRef,
        identity: Arc<Identity>,
        context: Arc<AuthContext>,
    ) -> Self {
        Self {
            account,
            identity,
            context,
        }
    }

    pub(crate) fn account(&self) -> &AccountRef {
        &self.account
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn context(&self) -> &AuthContext {
        &self.context
    }
}

/// Eight bytes of the SHA-256 of a stored hash. A session keeps it and ends when the account's
/// own is another: the password was changed (SEC-51).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CredentialFingerprint([u8; 8]);

impl CredentialFingerprint {
    pub(crate) fn of(stored_hash: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(stored_hash).into();
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&digest[..8]);
        Self(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_back_by_name_and_unknown_ones_stay_as_they_are() {
        let at = Timestamp::from_millis(7);
        for (text, methods) in [
            ("password", vec![Method::Password]),
            ("new password", vec![Method::NewPassword]),
            ("Password", vec![Method::Unknown("Password".into())]),
            ("", vec![Method::Unknown("".into())]),
            (
                "password+pigeon",
                vec![Method::Password, Method::Unknown("pigeon".into())],
            ),
        ] {
            let context = AuthContext::parse(text, at);
            assert_eq!(*context.methods, *methods, "{text}");
            assert_eq!(context.methods(), text);
        }
        let context = AuthContext::new(Method::Password, at);
        assert_eq!(context, AuthContext::parse("password", at));
        assert!(context.includes(&Method::Password) && !context.includes(&Method::NewPassword));
    }

    #[test]
    fn a_fingerprint_tells_one_stored_hash_from_another() {
        let of = CredentialFingerprint::of;
        assert_eq!(of("hash"), of("hash"));
        assert_ne!(of("hash"), of("Hash"));
    }
}
