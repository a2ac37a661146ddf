//! `vestibule reload`: has the running server read its configuration again.

use super::admin_client::foreign;
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, Request};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// A file with a mistake ends here already, with the place of each.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.config.client()?;
    let Done::Reloaded { need_restart } = client.ask(&Request::Reload {})?.done? else {
        return Err(foreign());
    };
    if !need_restart.is_empty() {
        eprintln!(
            "vestibule: these keys need a restart, all others are in effect: {}",
            need_restart.join(", ")
        );
    }
    print("the configuration was read again\n")
}
