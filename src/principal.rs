//! Who somebody is and how they proved it. Knows nothing of the ways to prove it, nor of sessions:
//! `auth`, `session`, `access` and `identity` all speak of the people that are described here.

mod identity_cache;
mod scope;
pub(crate) mod user_name;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
pub(crate) use identity_cache::IdentityCache;
pub(crate) use scope::Scope;

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

impl SourceName {
    /// Reads what [`name`](Self::name) writes.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        (name == "users file").then_some(Self::UsersFile)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UsersFile => "users file",
        }
    }
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

/// A way to prove who one is. Sessions are kept, logged and shown with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Password,
    /// A password that the user has just set, after a proof of the old one.
    NewPassword,
    /// A code of an authenticator app (RFC 6238).
    Totp,
    /// One of the codes that stand in for a lost device.
    RecoveryCode,
    /// A key of a device that verifies its user (Web Authentication).
    Passkey,
    /// A secret of a program, which proves neither who sits in front of it nor that anybody does
    /// (SEC-96).
    ApiToken,
    /// A session of another version names it.
    Unknown(Box<str>),
}

/// Kinds of proof, of which a login with a second factor has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factor {
    Knowledge,
    Possession,
}

impl Method {
    fn parse(name: &str) -> Self {
        match name {
            "password" => Self::Password,
            "new password" => Self::NewPassword,
            "totp" => Self::Totp,
            "recovery code" => Self::RecoveryCode,
            "passkey" => Self::Passkey,
            "API token" => Self::ApiToken,
            unknown => Self::Unknown(unknown.into()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Password => "password",
            Self::NewPassword => "new password",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery code",
            Self::Passkey => "passkey",
            Self::ApiToken => "API token",
            Self::Unknown(name) => name,
        }
    }

    /// What tokens call it (RFC 8176 §2); `None` for what has no name there.
    fn reference(&self) -> Option<&'static str> {
        match self {
            Self::Password | Self::NewPassword => Some("pwd"),
            Self::Totp | Self::RecoveryCode => Some("otp"),
            Self::Passkey => Some("pop"),
            Self::ApiToken | Self::Unknown(_) => None,
        }
    }

    fn factors(&self) -> &'static [Factor] {
        match self {
            Self::Password | Self::NewPassword => &[Factor::Knowledge],
            Self::Totp | Self::RecoveryCode => &[Factor::Possession],
            Self::Passkey => &[Factor::Knowledge, Factor::Possession],
            Self::ApiToken | Self::Unknown(_) => &[],
        }
    }
}

/// Joins the names of the methods of one login.
const SEPARATOR: &str = "+";

/// The ways by which somebody proved who they are, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Methods(Box<[Method]>);

impl Methods {
    /// Reads what [`names`](Self::names) writes.
    pub(crate) fn parse(names: &str) -> Self {
        Self(names.split(SEPARATOR).map(Method::parse).collect())
    }

    /// `password`, or with a second factor `password+totp`.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(Method::name).collect();
        names.join(SEPARATOR)
    }

    pub(crate) fn include(&self, method: &Method) -> bool {
        self.0.contains(method)
    }

    /// With one more, unless it is among them.
    #[must_use]
    pub(crate) fn and(self, method: Method) -> Self {
        if self.include(&method) {
            return self;
        }
        Self(self.0.into_iter().chain([method]).collect())
    }

    /// The authentication method references (RFC 8176 §2), each once; `mfa` with two factors.
    pub(crate) fn references(&self) -> Vec<&'static str> {
        let mut references = Vec::with_capacity(self.0.len() + 1);
        let named = self.0.iter().filter_map(Method::reference);
        let mfa = self.are_two_factors().then_some("mfa");
        for reference in named.chain(mfa) {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
        references
    }

    /// Whether they prove two factors of different kinds.
    pub(crate) fn are_two_factors(&self) -> bool {
        let has = |factor| {
            self.0
                .iter()
                .any(|method| method.factors().contains(factor))
        };
        has(&Factor::Knowledge) && has(&Factor::Possession)
    }
}

impl From<Method> for Methods {
    fn from(method: Method) -> Self {
        Self([method].into())
    }
}

/// How somebody proved who they are, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthContext {
    methods: Methods,
    at: Timestamp,
}

impl AuthContext {
    pub(crate) fn new(methods: Methods, at: Timestamp) -> Self {
        Self { methods, at }
    }

    pub(crate) fn methods(&self) -> &Methods {
        &self.methods
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
    /// What the proof is good for; `None` for all that the user may do.
    scope: Option<Arc<Scope>>,
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
            scope: None,
        }
    }

    /// The same, for no more than this.
    #[must_use]
    pub(crate) fn within(mut self, scope: Arc<Scope>) -> Self {
        self.scope = Some(scope);
        self
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    pub(crate) fn account(&self) -> &AccountRef {
        &self.account
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For what outlives the request.
    pub(crate) fn to_identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    pub(crate) fn context(&self) -> &AuthContext {
        &self.context
    }
}

/// Eight bytes of the SHA-256 of a stored hash and of the id of its user. A session keeps it and ends
/// when the account's own is another: the password was changed, the user was disabled meanwhile, or
/// somebody else has the name (SEC-51).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CredentialFingerprint([u8; 8]);

impl CredentialFingerprint {
    /// Of a user without an id, as an earlier version has it for everybody.
    pub(crate) fn of(stored_hash: &str) -> Self {
        Self::of_digest(Sha256::digest(stored_hash).into())
    }

    pub(crate) fn of_user(stored_hash: &str, id: &str) -> Self {
        let parts = [stored_hash, id].map(str::as_bytes);
        // No hash has a NUL, and so no two pairs are the same bytes.
        Self::of_digest(Sha256::digest(parts.join(&0)).into())
    }

    fn of_digest(digest: [u8; 32]) -> Self {
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&digest[..8]);
        Self(fingerprint)
    }
}

#[cfg(test)]
mod tests;
