//! Judges a new password, wherever it is set.

use std::fmt;

use super::MAX_LENGTH;
use crate::secret::Secret;

/// Characters that a new password has at least (ASVS 5.0 6.2.1).
pub(crate) const MIN_CHARACTERS: usize = 8;

/// Characters that a password should have when nothing else is asked for (NIST 800-63B-4).
const GOOD_CHARACTERS: usize = 15;

/// The first that anybody tries, in lower case; shorter ones are too short anyway.
const COMMON: &str = include_str!("common_passwords.txt");

/// A password that an account may be given.
#[derive(Debug)]
pub(crate) struct NewPassword(Secret<Vec<u8>>);

impl NewPassword {
    pub(crate) fn accept(password: Secret<Vec<u8>>, user: &str) -> Result<Self, Weakness> {
        match weakness(&password, Some(user)) {
            Some(weakness) if weakness.forbids() => Err(weakness),
            _ => Ok(Self(password)),
        }
    }

    pub(in crate::auth) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// What speaks against a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    Common,
    Name,
    /// Accepted, with a warning.
    Short,
    TooLong,
    TooShort,
}

impl Weakness {
    /// Whether it may not be used for an account.
    pub(crate) fn forbids(self) -> bool {
        !matches!(self, Self::Short)
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common => {
                f.write_str("the password is one of those that are tried first; choose another")
            }
            Self::Name => f.write_str("the password is the user's name; choose another"),
            Self::Short => write!(
                f,
                "the password has fewer than {GOOD_CHARACTERS} characters; a few words in a row \
                 are longer and easier to remember"
            ),
            Self::TooLong => write!(f, "the password is longer than {MAX_LENGTH} bytes"),
            Self::TooShort => write!(
                f,
                "the password has fewer than {MIN_CHARACTERS} characters; choose a longer one"
            ),
        }
    }
}

/// The worst weakness of a password; no rules on what characters it is made of (ASVS 6.2.5).
pub(crate) fn weakness(password: &Secret<Vec<u8>>, user: Option<&str>) -> Option<Weakness> {
    if password.expose().len() > MAX_LENGTH {
        return Some(Weakness::TooLong);
    }
    let lower = Secret::new(password.expose().to_ascii_lowercase());
    let lower = lower.expose().as_slice();
    let characters = std::str::from_utf8(lower).map_or(lower.len(), |text| text.chars().count());
    if characters < MIN_CHARACTERS {
        Some(Weakness::TooShort)
    } else if COMMON.lines().any(|common| common.as_bytes() == lower) {
        Some(Weakness::Common)
    } else if user.is_some_and(|user| user.as_bytes().eq_ignore_ascii_case(lower)) {
        Some(Weakness::Name)
    } else if characters < GOOD_CHARACTERS {
        Some(Weakness::Short)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_57_no_account_is_given_a_password_that_could_not_sign_in() {
        let accept = |length| {
            let password = Secret::new(vec![b'x'; length]);
            NewPassword::accept(password, "ada").err()
        };
        for (length, expected) in [
            (0, Some(Weakness::TooShort)),
            (MIN_CHARACTERS - 1, Some(Weakness::TooShort)),
            (MIN_CHARACTERS, None),
            (MAX_LENGTH, None),
            (MAX_LENGTH + 1, Some(Weakness::TooLong)),
        ] {
            assert_eq!(accept(length), expected, "{length}");
        }
    }

    #[test]
    fn weak_passwords_are_told_from_good_ones() {
        for (password, expected) in [
            ("short", Some(Weakness::TooShort)),
            ("äöüäöüä", Some(Weakness::TooShort)),
            ("äöüäöüäö", Some(Weakness::Short)),
            ("Password123", Some(Weakness::Common)),
            ("CorrectHorseBatteryStaple", Some(Weakness::Common)),
            ("Ada.Lovelace", Some(Weakness::Name)),
            ("quiet otters", Some(Weakness::Short)),
            ("quiet otters hum", None),
        ] {
            let secret = Secret::new(password.as_bytes().to_vec());
            let found = weakness(&secret, Some("ada.lovelace"));
            assert_eq!(found, expected, "{password}");
            assert_eq!(
                found.is_some_and(Weakness::forbids),
                !matches!(expected, None | Some(Weakness::Short))
            );
        }
    }

    #[test]
    fn the_list_of_common_passwords_holds_only_what_could_be_chosen() {
        assert!(COMMON.lines().count() >= 100);
        for line in COMMON.lines() {
            assert_eq!(line, line.to_ascii_lowercase());
            assert!(line.len() >= MIN_CHARACTERS, "{line}");
        }
    }
}
