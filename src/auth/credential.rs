//! What proves each request of a program that has no session.

use std::sync::Arc;

use super::api_token::{Token, TokenKey};
use super::known_passwords::ProvenPassword;

/// What proves each request of a program that has no session.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// By HTTP Basic.
    Password(Arc<ProvenPassword>),
    Token(Arc<Token>),
}

impl Credential {
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Password(proven) => proven.account.subject(),
            Self::Token(token) => token.user(),
        }
    }

    /// The token, if it is one.
    pub(crate) fn token(&self) -> Option<TokenKey> {
        match self {
            Self::Password(_) => None,
            Self::Token(token) => Some(token.key()),
        }
    }
}

/// Why a credential proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The time of the token is over.
    Expired,
    /// It came with another user's name, by HTTP Basic.
    OtherUser,
    /// It is wrong, or there is no such user, or not any more.
    Password,
    /// Nobody knows for now: the store that nodes share cannot be read.
    Unavailable,
    /// There is no such token, or no more.
    Unknown,
    /// The user is gone or disabled, or was, and somebody else has the name.
    User,
}

impl Refusal {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Expired => "the API token has expired",
            Self::OtherUser => "the API token is not of the user whose name came with it",
            Self::Password => "the password of HTTP Basic is wrong",
            Self::Unavailable => "the API tokens cannot be looked up",
            Self::Unknown => "there is no such API token",
            Self::User => "the user of the API token is gone or disabled",
        }
    }
}
