//! `vestibule manpage`.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::{Cli, Failure, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each command into this folder, which has to exist
    #[arg(long, value_name = "FOLDER")]
    all_to: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Some(folder) = &args.all_to else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(cannot_write(Path::new("standard output")))?;
        return print(&page);
    };
    clap_mangen::generate_to(Cli::command(), folder).map_err(cannot_write(folder))
}

fn cannot_write(to: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| {
        Failure::Failed(format!(
            "cannot write manual pages to {}: {error}",
            to.display()
        ))
    }
}
