//! Reads a new password from the terminal or from standard input, and judges it.
//!
//! Never from an argument: arguments are in the shell's history and in the process list.

use std::fmt;
use std::io::{self, Read};

use super::Failure;
use crate::auth::password::MAX_LENGTH;
use crate::secret::Secret;

/// Characters that a new password has at least (ASVS 5.0 6.2.1).
const MIN_CHARACTERS: usize = 8;

/// Characters that a password should have when nothing else is asked for (NIST 800-63B-4).
const GOOD_CHARACTERS: usize = 15;

/// The first that anybody tries, in lower case; shorter ones are too short anyway.
const COMMON: &str = include_str!("common_passwords.txt");

/// Asks twice on the terminal, or reads one line of standard input.
pub(super) fn new_password(from_stdin: bool) -> Result<Secret<Vec<u8>>, Failure> {
    if from_stdin {
        return first_line(&mut io::stdin().lock());
    }
    let password = ask("New password: ")?;
    if password != ask("The same again: ")? {
        return Err(Failure::Failed(
            "these were two different passwords; nothing was changed".to_owned(),
        ));
    }
    within_limits(password)
}

fn ask(prompt: &str) -> Result<Secret<Vec<u8>>, Failure> {
    rpassword::prompt_password(prompt)
        .map(|typed| Secret::new(typed.into_bytes()))
        .map_err(|error| {
            Failure::Failed(format!(
                "cannot ask for a password: {error}; without a terminal, give it on standard \
                 input (`vestibule user` takes --password-stdin)"
            ))
        })
}

/// Everything before the first line feed, byte for byte.
fn first_line(input: &mut impl Read) -> Result<Secret<Vec<u8>>, Failure> {
    // With its full capacity from the start no copy of a part is left behind in memory.
    let mut bytes = Vec::with_capacity(MAX_LENGTH + 2);
    let read = input.take(MAX_LENGTH as u64 + 2).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
    if let Some(end) = bytes.iter().position(|&b| b == b'\n') {
        bytes.truncate(end);
    }
    within_limits(Secret::new(bytes))
}

fn within_limits(password: Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, Failure> {
    match password.expose().len() {
        0 => Err(Failure::Failed("the password is empty".to_owned())),
        1..=MAX_LENGTH => Ok(password),
        _ => Err(Failure::Failed(format!(
            "the password is longer than {MAX_LENGTH} bytes"
        ))),
    }
}

/// What speaks against a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    Common,
    Name,
    /// Accepted, with a warning.
    Short,
    TooShort,
}

impl Weakness {
    /// Whether it may not be used for an account.
    pub(super) fn forbids(self) -> bool {
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
            Self::TooShort => write!(
                f,
                "the password has fewer than {MIN_CHARACTERS} characters; choose a longer one"
            ),
        }
    }
}

/// The worst weakness of a password; no rules on what characters it is made of (ASVS 6.2.5).
pub(super) fn weakness(password: &Secret<Vec<u8>>, user: Option<&str>) -> Option<Weakness> {
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
    fn one_line_is_read_and_one_line_feed_cut() {
        let longest = "x".repeat(MAX_LENGTH);
        for (input, expected) in [
            ("correct horse\n", Some("correct horse")),
            ("correct horse", Some("correct horse")),
            (" pad \t\n", Some(" pad \t")),
            ("one\ntwo\n", Some("one")),
            ("windows\r\n", Some("windows\r")),
            ("", None),
            ("\n", None),
            ("\nsecond\n", None),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}\n"), Some(&longest)),
            (&format!("{longest}x"), None),
            (&format!("{longest}x\n"), None),
        ] {
            let read = first_line(&mut input.as_bytes()).ok();
            let read = read.map(|password| password.expose().clone());
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{input:?}");
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
