//! `vestibule session`: lists and ends the sessions of the running server.

mod table;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};

use clap::Subcommand;

use self::table::Table;
pub(super) use self::table::safe;
use super::admin_client::{Client, foreign};
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, Request, SessionView};
use crate::session::KeyPrefix;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sessions; times are in UTC, and idle sessions may end before ENDS
    List(List),
    /// End one session, those of a user, or all, and close their open streams
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print JSON: an array with one session on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The key of a session, as `session list` shows it, or at least its first 8 digits
    key: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions of all users
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::List(args) => {
            let client = args.config.client()?;
            let out = BufWriter::new(io::stdout().lock());
            match list(&client, args.user.as_deref(), args.json, out) {
                // A reader like `head` that has seen enough is no failure.
                Err(ListError::Write(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(
                    Failure::Failed(format!("cannot write to standard output: {error}")),
                ),
                Err(ListError::Ask(failure)) => Err(failure),
                _ => Ok(()),
            }
        }
        Action::Revoke(args) => revoke(&args.config.client()?, &args.which),
    }
}

/// Why a list has no end.
enum ListError {
    Ask(Failure),
    Write(io::Error),
}

impl From<Failure> for ListError {
    fn from(failure: Failure) -> Self {
        Self::Ask(failure)
    }
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Prints page by page; there may be a million.
fn list(
    client: &Client,
    user: Option<&str>,
    json: bool,
    mut out: impl Write,
) -> Result<(), ListError> {
    let form = if json {
        Form::Json
    } else {
        Form::Table(Table::new())
    };
    let mut count = 0_usize;
    let mut unknown_of = BTreeSet::new();
    let mut request = match user {
        Some(user) => Request::SessionListOfUser {
            user: user.to_owned(),
        },
        None => Request::SessionList { after: None },
    };
    loop {
        let answer = client.ask(&request)?;
        for session in &answer.sessions {
            form.write(session, count == 0, &mut out)?;
            count += 1;
        }
        let Done::Listed {
            next,
            streams_unknown_of,
        } = answer.done?
        else {
            return Err(foreign().into());
        };
        unknown_of.extend(streams_unknown_of);
        let Some(after) = next else { break };
        request = Request::SessionList { after: Some(after) };
    }
    match (json, user) {
        // Without its end an array is none: nobody takes half a list for a whole one.
        (true, _) if count == 0 => out.write_all(b"[]\n")?,
        (true, _) => out.write_all(b"\n]\n")?,
        (false, Some(user)) if count == 0 => eprintln!("vestibule: {user} has no sessions"),
        (false, None) if count == 0 => eprintln!("vestibule: there are no sessions"),
        _ => {}
    }
    if !unknown_of.is_empty() {
        let nodes: Vec<_> = unknown_of.iter().map(|node| safe(node)).collect();
        eprintln!(
            "vestibule: sessions may have more open streams on {}: see `vestibule node list`",
            nodes.join(", ")
        );
    }
    Ok(out.flush()?)
}

enum Form {
    Json,
    Table(Table),
}

impl Form {
    fn write(&self, session: &SessionView, first: bool, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                Ok(serde_json::to_writer(out, session)?)
            }
            Self::Table(table) => {
                if first {
                    writeln!(out, "{}", table.header(session.streams.is_some()))?;
                }
                writeln!(out, "{}", table.row(session))
            }
        }
    }
}

fn revoke(client: &Client, which: &Which) -> Result<(), Failure> {
    let request = match which {
        Which { key: Some(key), .. } if KeyPrefix::parse(key).is_none() => {
            return Err(Failure::Usage(format!(
                "`{key}` is no session key: write 8 to 64 hexadecimal digits, as `vestibule \
                 session list` shows them"
            )));
        }
        Which { key: Some(key), .. } => Request::SessionRevoke { key: key.clone() },
        Which {
            user: Some(user), ..
        } => Request::SessionRevokeOfUser { user: user.clone() },
        Which { .. } => Request::SessionRevokeAll {},
    };
    let answer = client.ask(&request)?;
    for several in &answer.sessions {
        let user = safe(&several.user);
        let SessionView {
            key,
            created,
            client,
            ..
        } = several;
        eprintln!("{key}  {user}  {created}  {client}");
    }
    let Done::Ended {
        sessions,
        or_more,
        user,
    } = answer.done?
    else {
        return Err(foreign());
    };
    let noun = if sessions == 1 { "session" } else { "sessions" };
    print(match user.as_ref().or(which.user.as_ref()) {
        user if or_more => {
            let whose = user.map_or_else(String::new, |user| format!(" of {user}"));
            format!("ended all sessions{whose}: {sessions} or more, for not all could be counted\n")
        }
        Some(user) if sessions == 0 => format!("{user} has no sessions: none ended\n"),
        Some(user) => format!("ended {sessions} {noun} of {user}\n"),
        None => format!("ended {sessions} {noun}\n"),
    })
}
