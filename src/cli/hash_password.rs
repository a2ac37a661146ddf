//! `vestibule hash-password`.

use super::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::Failed("not here yet".to_owned()))
}
