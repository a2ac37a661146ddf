//! Reads a new password from the terminal or from standard input.
//!
//! Never from an argument: arguments are in the shell's history and in the process list.

use std::io::{self, Read};

use super::Failure;
use crate::auth::password::MAX_LENGTH;
use crate::secret::Secret;

/// Asks twice on the terminal, or reads one line of standard input.
pub(super) fn new_password(from_stdin: bool) -> Result<Secret<Vec<u8>>, Failure> {
    if from_stdin {
        return first_line(&mut io::stdin().lock());
    }
    let password = ask("New password: ")?;
    if password != ask("The same again: ")? {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".to_owned(),
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
}
