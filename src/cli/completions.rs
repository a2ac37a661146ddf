//! `vestibule completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vestibule", &mut script);
    print(&script)
}
