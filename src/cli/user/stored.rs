//! The same for the users that all nodes share: the running server changes them.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::{Action, Add, hash, import, say, show};
use crate::admin::protocol::{Done, HashText, NewUserRequest, NotImported, Request};
use crate::auth::users_file::User;
use crate::cli::admin_client::{Client, foreign};
use crate::cli::{Failure, prompt};
use crate::clock::Clock;
use crate::config::Config;

/// Bytes of users that are sent at once, far below what a request may have.
const AT_ONCE: usize = 32 * 1024;

/// Users that were not imported, each of which is told of with the reason.
const MOST_EXPLAINED: usize = 20;

/// How often a long import says how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Config, action: &Action) -> Result<(), Failure> {
    let client = &Client::new(config)?;
    let out = &mut io::stdout().lock();
    match action {
        Action::Add(args) => add(client, args),
        Action::List(args) => {
            let answer = client.ask(&Request::UserList {})?;
            let Done::Users { unreadable } = answer.done? else {
                return Err(foreign());
            };
            if unreadable > 0 {
                eprintln!(
                    "vestibule: warning: {unreadable} more in the session store cannot be read by \
                     this server, and so cannot sign in; its log says why"
                );
            }
            show(&answer.users, args.json, out)
        }
        Action::Import(args) => import(client, args, out),
        Action::Passwd(args) => {
            let name = &args.name;
            check(client, name, true)?;
            let password = prompt::new_password(args.password.stdin)?;
            let request = Request::UserPasswd {
                name: name.clone(),
                password: HashText(hash(&password, name)?.as_str().to_owned()),
            };
            change(client, &request)?;
            say(out, format_args!("{name} has a new password"))
        }
        Action::Disable(args) => set_disabled(client, &args.name, true),
        Action::Enable(args) => set_disabled(client, &args.name, false),
        Action::Remove(args) => {
            let name = args.name.clone();
            change(client, &Request::UserRemove { name })?;
            say(out, format_args!("removed {}", args.name))
        }
    }
}

/// In parts, each told as soon as it is done: the last users of a long file may meet what the first did
/// not. Who cannot be imported is told of at the end, where people read.
fn import(client: &Client, args: &import::Import, out: &mut impl Write) -> Result<(), Failure> {
    let users = import::users(args)?;
    let mut progress = Progress::of(users.len());
    let (mut left, mut not_imported) = (&users[..], Vec::new());
    while !left.is_empty() {
        let (some, rest) = left.split_at(part(left));
        let request = Request::UserImport {
            users: some.iter().map(NewUserRequest::from).collect(),
            replace: args.replace,
        };
        let Done::UsersImported {
            added,
            kept,
            replaced,
            failed,
            stopped,
        } = client.ask(&request)?.done?
        else {
            return Err(foreign());
        };
        import::say_imported((&added, &replaced, &kept), args, out)?;
        not_imported.extend(failed);
        if let Some(stopped) = stopped {
            explain(&not_imported);
            return Err(Failure::Failed(stopped));
        }
        left = rest;
        progress.tell(users.len() - left.len());
    }
    explain(&not_imported);
    match not_imported.len() {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!(
            "{failed} of {} users were not imported; do what is said of them above, and import the file \
             again",
            users.len()
        ))),
    }
}

fn explain(not_imported: &[NotImported]) {
    for NotImported { name, reason } in not_imported.iter().take(MOST_EXPLAINED) {
        eprintln!("vestibule: {name} was not imported: {reason}");
    }
    let more = not_imported.len().saturating_sub(MOST_EXPLAINED);
    if more > 0 {
        eprintln!("vestibule: nor were {more} others");
    }
}

/// How far a long import has come, for people who wait for it.
struct Progress {
    all: usize,
    told: Instant,
}

impl Progress {
    fn of(all: usize) -> Self {
        let told = Clock::stopwatch();
        Self { all, told }
    }

    fn tell(&mut self, done: usize) {
        if self.told.elapsed() >= TOLD_EVERY && done < self.all {
            eprintln!("vestibule: {done} of {} users so far", self.all);
            self.told = Clock::stopwatch();
        }
    }
}

fn add(client: &Client, args: &Add) -> Result<(), Failure> {
    args.check()?;
    check(client, &args.name, false)?;
    let password = prompt::new_password(args.password.stdin)?;
    let request = Request::UserAdd(NewUserRequest {
        name: args.name.clone(),
        password: HashText(hash(&password, &args.name)?.as_str().to_owned()),
        groups: args.groups.clone(),
        email: args.email.clone(),
        disabled: false,
        id: None,
    });
    change(client, &request)?;
    let out = &mut io::stdout().lock();
    say(
        out,
        format_args!("added {} to the session store", args.name),
    )
}

fn set_disabled(client: &Client, name: &str, is_disabled: bool) -> Result<(), Failure> {
    let request = Request::UserSetDisabled {
        name: name.to_owned(),
        disabled: is_disabled,
    };
    let changed = change(client, &request)?;
    let state = if is_disabled { "disabled" } else { "enabled" };
    let already = if changed { "" } else { "already " };
    let out = &mut io::stdout().lock();
    say(out, format_args!("{name} is {already}{state}"))
}

/// Before anybody is asked for a password.
fn check(client: &Client, name: &str, is_there: bool) -> Result<(), Failure> {
    let name = name.to_owned();
    change(client, &Request::UserCheck { name, is_there }).map(drop)
}

/// Says whether it was a change.
fn change(client: &Client, request: &Request) -> Result<bool, Failure> {
    match client.ask(request)?.done? {
        Done::UserChanged { changed } => Ok(changed),
        _ => Err(foreign()),
    }
}

/// How many of them are sent at once.
fn part(users: &[User]) -> usize {
    let mut bytes = 0;
    let fits = users.iter().take_while(|user| {
        bytes += serde_json::to_vec(&NewUserRequest::from(*user)).map_or(0, |text| text.len());
        bytes <= AT_ONCE
    });
    fits.count().max(1)
}
