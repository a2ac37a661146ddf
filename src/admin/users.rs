//! Adds, lists and changes the users that all nodes share, for an operator.

use std::io;

use tokio::io::AsyncWrite;

use super::protocol::{Done, HashText, Line, NewUserRequest, NotImported, UserView};
use super::{Answer, Context, Peer};
use crate::auth::incarnation::UserId;
use crate::auth::password::StoredHash;
use crate::auth::users_file::{User, is_email, is_group};
use crate::auth::{ChangeError, Outcome, SharedUsers, StoreFault};
use crate::principal::user_name;
use crate::random::NoRandomness;
use crate::telemetry::printable;

/// Gives the last line of the answer, as all here do.
pub(super) async fn add(context: &Context, request: NewUserRequest, peer: Peer) -> Line {
    let (store, user) = match (store(context), parse(request)) {
        (Ok(store), Ok(user)) => (store, user),
        (Err(line), _) | (_, Err(line)) => return line,
    };
    let name = user.name().to_owned();
    match store.add(user).await {
        Ok(()) => {
            tracing::info!(
                target: "audit", by = peer.uid, pid = peer.pid, user = name, "user added"
            );
            changed(true)
        }
        Err(error) => unchanged(&error),
    }
}

pub(super) async fn check(context: &Context, name: &str, is_there: bool) -> Line {
    let store = match store(context) {
        Ok(store) => store,
        Err(line) => return line,
    };
    match store.check(name, is_there).await {
        Ok(()) => changed(false),
        Err(error) => unchanged(&error),
    }
}

pub(super) async fn list<W: AsyncWrite + Unpin>(
    context: &Context,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    let store = match store(context) {
        Ok(store) => store,
        Err(line) => return Ok(line),
    };
    let (users, unreadable) = match store.list().await {
        Ok(listed) => listed,
        Err(error) => return Ok(unchanged(&error.into())),
    };
    for user in users.iter() {
        let view = UserView::from(user);
        answer.line(&Line::User(Box::new(view))).await?;
    }
    Ok(Line::Done(Done::Users { unreadable }))
}

/// Who cannot be imported keeps nobody else out, and what was done before the store took none is done.
pub(super) async fn import(
    context: &Context,
    requests: Vec<NewUserRequest>,
    replace: bool,
    peer: Peer,
) -> Line {
    let users: Result<Vec<_>, _> = requests.into_iter().map(parse).collect();
    let (store, users) = match (store(context), users) {
        (Ok(store), Ok(users)) => (store, users),
        (Err(line), _) | (_, Err(line)) => return line,
    };
    let (mut added, mut kept, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
    let mut failed = Vec::new();
    let tell = |name: &str, became| {
        let whose = match became {
            Ok(Outcome::Added) => {
                tracing::info!(
                    target: "audit", by = peer.uid, pid = peer.pid, user = name, "user added"
                );
                &mut added
            }
            Ok(Outcome::Replaced) => {
                tracing::info!(
                    target: "audit", by = peer.uid, pid = peer.pid, user = name,
                    "password of a user set"
                );
                &mut replaced
            }
            Ok(Outcome::Kept) => &mut kept,
            Err(error) => {
                return failed.push(NotImported {
                    name: name.to_owned(),
                    reason: reason(&error),
                });
            }
        };
        whose.push(name.to_owned());
    };
    let imported = store.import(&users, replace, tell).await;
    let stopped = imported.err().map(|(name, error)| {
        format!(
            "the import has stopped at {name}: {}. Import the file again when that is mended, to go on",
            reason(&error)
        )
    });
    Line::Done(Done::UsersImported {
        added,
        kept,
        replaced,
        failed,
        stopped,
    })
}

pub(super) async fn passwd(context: &Context, name: &str, password: &HashText, peer: Peer) -> Line {
    let (store, hash) = match (store(context), StoredHash::parse(&password.0)) {
        (Ok(store), Ok(hash)) => (store, hash),
        (Err(line), _) => return line,
        (_, Err(error)) => return Line::Error(error.to_string()),
    };
    match store.set_password(name, &hash).await {
        Ok(()) => {
            let user = printable(name);
            tracing::info!(
                target: "audit", by = peer.uid, pid = peer.pid, %user, "password of a user set"
            );
            changed(true)
        }
        Err(error) => unchanged(&error),
    }
}

pub(super) async fn set_disabled(
    context: &Context,
    name: &str,
    disabled: bool,
    peer: Peer,
) -> Line {
    let store = match store(context) {
        Ok(store) => store,
        Err(line) => return line,
    };
    match store.set_disabled(name, disabled).await {
        Ok(is_change) => {
            let user = printable(name);
            if is_change && disabled {
                tracing::info!(
                    target: "audit", by = peer.uid, pid = peer.pid, %user, "user disabled"
                );
            } else if is_change {
                tracing::info!(
                    target: "audit", by = peer.uid, pid = peer.pid, %user, "user enabled"
                );
            }
            changed(is_change)
        }
        Err(error) => unchanged(&error),
    }
}

pub(super) async fn remove(context: &Context, name: &str, peer: Peer) -> Line {
    let store = match store(context) {
        Ok(store) => store,
        Err(line) => return line,
    };
    match store.remove(name).await {
        Ok(()) => {
            let user = printable(name);
            tracing::info!(
                target: "audit", by = peer.uid, pid = peer.pid, %user, "user removed"
            );
            changed(true)
        }
        Err(error) => unchanged(&error),
    }
}

fn store(context: &Context) -> Result<&SharedUsers, Line> {
    context.accounts.shared().ok_or_else(|| {
        Line::Error(
            "the running server has its users in the users file: a change of `users` in [login] \
             needs a restart"
                .to_owned(),
        )
    })
}

/// As strict as the users file.
fn parse(request: NewUserRequest) -> Result<User, Line> {
    let refuse = |what: String| Err(Line::Error(what));
    let Some(name) = user_name::spelling(&request.name) else {
        let name = printable(&request.name);
        return refuse(format!(
            "`{name}` is no name for a user: {}",
            user_name::RULE
        ));
    };
    let password = match StoredHash::parse(&request.password.0) {
        Ok(password) => password,
        Err(error) => return refuse(format!("user `{name}`: {error}")),
    };
    if let Some(group) = request.groups.iter().find(|group| !is_group(group)) {
        return refuse(format!("user `{name}`: `{}` is no group", printable(group)));
    }
    if let Some(email) = request.email.as_deref().filter(|email| !is_email(email)) {
        let email = printable(email);
        return refuse(format!("user `{name}`: `{email}` is no e-mail address"));
    }
    let id = match request.id {
        None => UserId::generate()
            .map_err(|NoRandomness| Line::Error("the system gives no random bytes".to_owned()))?,
        Some(id) => match UserId::of_field(Some(&id)) {
            Some(id) => id,
            None => return refuse(format!("user `{name}`: `{}` is no id", printable(&id))),
        },
    };
    let user = User::new(name.into_owned(), password).in_groups(request.groups);
    Ok(user
        .with_id(id)
        .with_email(request.email)
        .set_disabled(request.disabled))
}

fn changed(changed: bool) -> Line {
    Line::Done(Done::UserChanged { changed })
}

fn unchanged(error: &ChangeError) -> Line {
    Line::Error(reason(error))
}

/// With what to do next.
fn reason(error: &ChangeError) -> String {
    match error {
        ChangeError::Store(StoreFault::Away) => format!(
            "{error}; try again when `vestibule status` says that it is back, and see in `vestibule \
             user list` what was done"
        ),
        error => error.to_string(),
    }
}
