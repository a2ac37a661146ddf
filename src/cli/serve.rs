//! `vestibule serve`.

use std::net::SocketAddr;

use super::Failure;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::Failed("not here yet".to_owned()))
}

pub(crate) fn run_config(_config: Config, _ready: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    Err(Failure::Failed("not here yet".to_owned()))
}
