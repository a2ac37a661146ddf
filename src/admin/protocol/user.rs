//! What is said of users.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::auth::users_file::User;

/// A user as operators see it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserView {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    pub(crate) disabled: bool,
    /// How the password is hashed.
    pub(crate) scheme: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            name: user.name().to_owned(),
            groups: user.groups().to_vec(),
            email: user.email().map(str::to_owned),
            disabled: user.disabled(),
            scheme: user.password().scheme_name().to_owned(),
        }
    }
}

/// Somebody who was not imported, where others were.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotImported {
    pub(crate) name: String,
    /// With what to do.
    pub(crate) reason: String,
}

/// The hash of a password, which nobody is shown.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct HashText(pub(crate) String);

impl fmt::Debug for HashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashText")
    }
}

/// A new user.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserRequest {
    pub(crate) name: String,
    pub(crate) password: HashText,
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    pub(crate) disabled: bool,
    /// Empty for one of a users file without ids; the server makes one where none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

impl From<&User> for NewUserRequest {
    fn from(user: &User) -> Self {
        Self {
            name: user.name().to_owned(),
            password: HashText(user.password().as_str().to_owned()),
            groups: user.groups().to_vec(),
            email: user.email().map(str::to_owned),
            disabled: user.disabled(),
            id: user.id().field().map(str::to_owned),
        }
    }
}
