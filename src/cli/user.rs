//! `vestibule user`: adds, lists and changes the users of the users file, or those that all nodes share.

mod import;
mod stored;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use clap::Subcommand;

use super::{ConfigFile, Failure, prompt};
use crate::admin::protocol::UserView;
use crate::auth::UsersHome;
use crate::auth::password::{Hasher, StoredHash, weakness};
use crate::auth::users_file;
use crate::auth::users_file::edit::{self, EditError, NewUser};
use crate::principal::user_name;
use crate::secret::Secret;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; makes the users file if there is none
    Add(Add),
    /// List the users
    List(List),
    /// Import the users of an htpasswd file, or of a users file; makes the users file if there is none
    Import(import::Import),
    /// Set a new password, and end the sessions of the user
    Passwd(Passwd),
    /// Disable a user, and end the sessions of the user
    Disable(Named),
    /// Enable a disabled user
    Enable(Named),
    /// Remove a user, and end the sessions of the user
    Remove(Named),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// 1 to 64 letters, digits, single spaces and any of `._@+-\'!#$&()~`
    name: String,
    /// A group of the user; can be given more than once
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The e-mail address that apps receive
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Passwd {
    name: String,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Named {
    name: String,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct PasswordSource {
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long = "password-stdin")]
    stdin: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.action.config().load()?;
    match &config.users {
        UsersHome::File(file) => in_file(file, &args.action),
        UsersHome::Store { .. } => stored::run(&config, &args.action),
    }
}

impl Action {
    fn config(&self) -> &ConfigFile {
        match self {
            Self::Add(args) => &args.config,
            Self::List(args) => &args.config,
            Self::Import(args) => &args.config,
            Self::Passwd(args) => &args.config,
            Self::Disable(args) | Self::Enable(args) | Self::Remove(args) => &args.config,
        }
    }
}

fn in_file(file: &Path, action: &Action) -> Result<(), Failure> {
    let out = &mut io::stdout().lock();
    match action {
        Action::Add(args) => {
            args.check()?;
            edit::check_free(file, &args.name)?;
            let password = prompt::new_password(args.password.stdin)?;
            add(file, args, &password, out)
        }
        Action::List(args) => list(file, args.json, out),
        Action::Import(args) => import::into_file(file, args, out),
        Action::Passwd(args) => {
            edit::check_known(file, &args.name)?;
            let password = prompt::new_password(args.password.stdin)?;
            passwd(file, &args.name, &password, out)
        }
        Action::Disable(args) => set_disabled(file, &args.name, true, out),
        Action::Enable(args) => set_disabled(file, &args.name, false, out),
        Action::Remove(args) => remove(file, &args.name, out),
    }
}

impl Add {
    /// Before anybody is asked for a password.
    fn check(&self) -> Result<(), Failure> {
        let usage = |message: String| Err(Failure::Usage(message));
        if user_name::spelling(&self.name).is_none() {
            let rule = user_name::RULE;
            return usage(format!("{:?} is no name for a user: {rule}", self.name));
        }
        check_groups(&self.groups)?;
        match &self.email {
            Some(email) if !users_file::is_email(email) => {
                usage(format!("{email:?} is no e-mail address"))
            }
            _ => Ok(()),
        }
    }
}

fn check_groups(groups: &[String]) -> Result<(), Failure> {
    match groups.iter().find(|group| !users_file::is_group(group)) {
        Some(group) => Err(Failure::Usage(format!(
            "{group:?} is no group: text without `,`, control characters and spaces around it"
        ))),
        None => Ok(()),
    }
}

fn add(
    file: &Path,
    args: &Add,
    password: &Secret<Vec<u8>>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let hash = hash(password, &args.name)?;
    let user = NewUser {
        name: &args.name,
        password: &hash,
        groups: &args.groups,
        email: args.email.as_deref(),
        disabled: false,
        id: None,
    };
    edit::add(file, &user)?;
    say(
        out,
        format_args!("added {} to {}", args.name, file.display()),
    )?;
    warn_of_problems(file);
    Ok(())
}

fn passwd(
    file: &Path,
    name: &str,
    password: &Secret<Vec<u8>>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    edit::set_password(file, name, &hash(password, name)?)?;
    say(out, format_args!("{name} has a new password"))?;
    warn_of_problems(file);
    Ok(())
}

fn set_disabled(
    file: &Path,
    name: &str,
    disabled: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let changed = edit::set_disabled(file, name, disabled)?;
    let state = if disabled { "disabled" } else { "enabled" };
    let already = if changed { "" } else { "already " };
    say(out, format_args!("{name} is {already}{state}"))?;
    warn_of_problems(file);
    Ok(())
}

fn remove(file: &Path, name: &str, out: &mut impl Write) -> Result<(), Failure> {
    edit::remove(file, name)?;
    say(out, format_args!("removed {name}"))?;
    warn_of_problems(file);
    Ok(())
}

fn list(file: &Path, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let users = users_file::read(file).map_err(|error| Failure::Failed(error.to_string()))?;
    let users: Vec<_> = users.iter().map(UserView::from).collect();
    show(&users, json, out)
}

fn show(users: &[UserView], json: bool, out: &mut impl Write) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(users)
            .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
        return say(out, format_args!("{text}"));
    }
    if users.is_empty() {
        eprintln!("vestibule: no users yet; `vestibule user add NAME` adds one");
        return Ok(());
    }
    let header = ["NAME", "STATE", "PASSWORD", "GROUPS", "EMAIL"].map(str::to_owned);
    let rows = users.iter().map(|user| {
        let state = if user.disabled { "disabled" } else { "enabled" };
        let groups = match user.groups.as_slice() {
            [] => "-".to_owned(),
            groups => groups.join(","),
        };
        [
            &user.name,
            state,
            &user.scheme,
            &groups,
            user.email.as_deref().unwrap_or("-"),
        ]
        .map(str::to_owned)
    });
    let table: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        let cells = table.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    for row in &table {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String never fails.
            let _ = write!(line, "{cell:width$}  ");
        }
        say(out, format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}

fn hash(password: &Secret<Vec<u8>>, name: &str) -> Result<StoredHash, Failure> {
    match weakness(password, Some(name)) {
        Some(weakness) if weakness.forbids() => return Err(Failure::Failed(weakness.to_string())),
        Some(weakness) => eprintln!("vestibule: warning: {weakness}"),
        None => {}
    }
    Hasher::default()
        .hash(password.expose())
        .map_err(|error| Failure::Failed(error.to_string()))
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A running server keeps to the users it had as long as anything in the file is invalid.
fn warn_of_problems(file: &Path) {
    if let Err(error) = users_file::read(file) {
        eprintln!("vestibule: warning: the server does not accept this file yet:\n{error}");
    }
}

fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(out, "{line}") {
        // A reader like `head` that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
