//! The commands: flags, exit codes, and one file for each command.

mod admin_client;
mod app;
mod check;
mod columns;
mod completions;
mod hash_password;
mod manpage;
mod node;
mod prompt;
mod quickstart;
mod reload;
mod serve;
mod session;
mod status;
mod token;
mod user;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use admin_client::Client;

/// A login for apps that have none.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Serve(serve::Args),
    /// Put a sample app, or your own, behind a login, without a configuration file
    Quickstart(quickstart::Args),
    /// Check a configuration, or show who may open an address and by which rule
    Check(check::Args),
    /// Add, list and change the local users
    User(user::Args),
    /// Close an app of the running server for maintenance, and open it again
    App(app::Args),
    /// List the nodes that share their sessions with the running server
    Node(node::Args),
    /// List and end the sessions of the running server
    Session(session::Args),
    /// Make, list and revoke the API tokens of the running server
    Token(token::Args),
    /// Make the running server read its configuration again
    Reload(reload::Args),
    /// Show the state of the running server, and what is wrong
    Status(status::Args),
    /// Print the hash of a password, for a users file written by hand
    HashPassword(hash_password::Args),
    /// Print shell completions
    Completions(completions::Args),
    /// Print the manual page, or write one for each command
    Manpage(manpage::Args),
}

/// `--config`, the same for every command that reads one.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file
    #[arg(
        long = "config",
        value_name = "FILE",
        default_value = "/etc/vestibule/config.toml"
    )]
    path: PathBuf,
}

impl ConfigFile {
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.path).map_err(Failure::Config)
    }

    /// What asks the server that runs with this configuration.
    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.load()?)
    }
}

/// Why a command did not do what it was asked; each has its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 78 (`EX_CONFIG`): the configuration is invalid.
    Config(ConfigError),
    /// Exit code 1: what happened and what to do about it.
    Failed(String),
    /// Exit code 78, too: what the configuration names cannot be used.
    Invalid(String),
    /// Exit code 2: wrong usage.
    Usage(String),
    /// Exit code 3: the server that was to be asked does not run.
    NoServer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Failed(message)
            | Self::Invalid(message)
            | Self::NoServer(message)
            | Self::Usage(message) => f.write_str(message),
        }
    }
}

impl Failure {
    fn report(&self) -> u8 {
        match self {
            Self::Config(error) => eprintln!("{error}"),
            Self::Failed(_) | Self::Invalid(_) | Self::NoServer(_) | Self::Usage(_) => {
                eprintln!("vestibule: {self}");
            }
        }
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoServer(_) => 3,
            Self::Config(_) | Self::Invalid(_) => 78,
        }
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Check(args) => check::run(&args),
        Command::User(args) => user::run(&args),
        Command::App(args) => app::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Session(args) => session::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Status(args) => status::run(&args),
        Command::HashPassword(args) => hash_password::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Manpage(args) => manpage::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}

/// Writes a result to standard output.
pub(crate) fn print(result: impl AsRef<[u8]>) -> Result<(), Failure> {
    match io::stdout().write_all(result.as_ref()) {
        // A reader like `head` that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}
