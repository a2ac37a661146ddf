//! `vestibule hash-password`.

use std::io::{self, IsTerminal, Write};

use super::{Failure, prompt};
use crate::auth::password::{Hasher, weakness};

/// Asks on a terminal, else reads one line of standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    let password = prompt::new_password(!io::stdin().is_terminal())?;
    // It may be for something else than a user of ours: warn, but print.
    if let Some(weakness) = weakness(&password, None) {
        eprintln!("vestibule: warning: {weakness}");
    }
    let hash = Hasher::default()
        .hash(password.expose())
        .map_err(|error| Failure::Failed(error.to_string()))?;
    writeln!(io::stdout(), "{}", hash.as_str())
        .map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")))
}
