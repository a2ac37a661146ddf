//! What proves each request of a program that has no session.

use std::sync::Arc;

use super::api_token::Token;

/// What proves each request of a program that has no session.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    Token(Arc<Token>),
}

impl Credential {
    pub(crate) fn user(&self) -> &str {
        let Self::Token(token) = self;
        token.user()
    }

    /// What people see of it.
    pub(crate) fn short(&self) -> impl std::fmt::Display + use<> {
        let Self::Token(token) = self;
        token.key().short()
    }
}

/// Why a credential proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The time of the token is over.
    Expired,
    /// It came with another user's name, by HTTP Basic.
    OtherUser,
    /// There is no such token, or no more.
    Unknown,
    /// The user is gone or disabled.
    User,
}

impl Refusal {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Expired => "the API token has expired",
            Self::OtherUser => "the API token is not of the user whose name came with it",
            Self::Unknown => "there is no such API token",
            Self::User => "the user of the API token is gone or disabled",
        }
    }
}
