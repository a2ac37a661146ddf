//! The same for the users that all nodes share: the running server changes them.

use std::io;

use super::{Action, Add, hash, import, say, show};
use crate::admin::protocol::{Done, HashText, NewUserRequest, Request};
use crate::auth::users_file::User;
use crate::cli::admin_client::{Client, foreign};
use crate::cli::{Failure, prompt};
use crate::config::Config;

/// Bytes of users that are sent at once, far below what a request may have.
const AT_ONCE: usize = 32 * 1024;

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
        Action::Import(args) => {
            let users = import::users(args)?;
            let (mut added, mut replaced, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            let mut failed = None;
            for some in in_parts(&users) {
                let request = Request::UserImport {
                    users: some,
                    replace: args.replace,
                };
                let done = client.ask(&request).and_then(|answer| answer.done);
                match done {
                    Ok(Done::UsersImported {
                        added: a,
                        kept: k,
                        replaced: r,
                    }) => {
                        added.extend(a);
                        kept.extend(k);
                        replaced.extend(r);
                    }
                    Ok(_) => return Err(foreign()),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            import::say_imported((&added, &replaced, &kept), args, out)?;
            failed.map_or(Ok(()), Err)
        }
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

fn in_parts(users: &[User]) -> Vec<Vec<NewUserRequest>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for user in users {
        let user = NewUserRequest::from(user);
        let size = serde_json::to_vec(&user).map_or(0, |text| text.len());
        if bytes + size > AT_ONCE && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(user);
        }
    }
    parts
}
