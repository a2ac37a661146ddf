//! `vestibule serve`: runs the proxy.

use super::{ConfigFile, Failure};
use crate::server::{self, Signal, StartError, systemd::Sockets};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load()?;
    // Here there is one thread yet, and nobody else reads the environment.
    let sockets = Sockets::take().map_err(|error| Failure::Invalid(error.to_string()))?;
    let path = &args.config.path;
    server::run(config, path, Signal::Reload, sockets, |_| ()).map_err(Failure::from)
}

/// What has to be fixed in files is a configuration error (exit code 78), so that systemd does
/// not start the service again and again (SEC-80).
impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        if error.is_invalid() {
            Self::Invalid(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}
