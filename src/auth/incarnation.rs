//! Which one a user is of those who have had the same name, one after another. What outlives a login,
//! as an API token does, must not pass to the next one (SEC-51, SEC-96).

use crate::random::{NoRandomness, random};

/// Of an id, in characters.
const MOST: usize = 64;

/// What stands beside a user and does not change for as long as the user is the same. The commands write
/// it, and another one when they disable a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum UserId {
    Is(Box<str>),
    /// Nobody has written one.
    #[default]
    Unset,
    /// It was written down by a version that knows no ids, and says nothing of them.
    Unknown,
}

impl UserId {
    /// One that nobody has had.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let number = u128::from_be_bytes(random()?);
        Ok(Self::Is(format!("{number:032x}").into()))
    }

    /// As it stands in a users file; `None` for what is no id.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_id = (1..=MOST).contains(&id.len()) && id.bytes().all(is_plain);
        is_id.then(|| Self::Is(id.into()))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Is(id) => Some(id),
            Self::Unset | Self::Unknown => None,
        }
    }

    /// As it is written down: an empty one says that there is none.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Is(id) => Some(id),
            Self::Unset => Some(""),
            Self::Unknown => None,
        }
    }

    /// Reads what [`field`](Self::field) writes.
    pub(crate) fn of_field(field: Option<&str>) -> Option<Self> {
        match field {
            None => Some(Self::Unknown),
            Some("") => Some(Self::Unset),
            Some(id) => Self::parse(id),
        }
    }

    /// Whether they are certainly of two users.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        *self != Self::Unknown && *other != Self::Unknown && self != other
    }
}

/// A user, from when they came until they are removed or disabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) id: UserId,
    /// With which change of the accounts they came, in this process: users without an id are told
    /// apart as well where this process has seen that one was gone.
    pub(crate) since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_no_two_are_the_same() {
        let [one, other] = [(), ()].map(|()| UserId::generate().unwrap());
        assert!(one.differs_from(&other) && !one.differs_from(&one.clone()));
        for id in [one.clone(), UserId::Unset, UserId::Unknown] {
            assert_eq!(UserId::of_field(id.field()), Some(id));
        }
        assert_eq!(UserId::parse(one.text().unwrap()), Some(one.clone()));
        assert!(one.differs_from(&UserId::Unset), "another without one");
        assert!(!one.differs_from(&UserId::Unknown), "an earlier version");
        assert!(!UserId::Unset.differs_from(&UserId::Unset));
        for text in ["7", "e-42.b_C", &"x".repeat(64)] {
            assert_eq!(UserId::parse(text), Some(UserId::Is(text.into())));
        }
        for text in ["", " ", "a b", "a\n", "\u{e4}", "a/b", &"x".repeat(65)] {
            assert_eq!(UserId::parse(text), None, "{text:?}");
        }
        assert_eq!(UserId::of_field(Some("a b")), None);
    }
}
