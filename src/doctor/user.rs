//! Where local users live: can they be read, and can anybody sign in?

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::permission::Perspective;
use super::{Finding, Progress, Settings, shell};
use crate::auth::users_file::{User, Users, UsersFileError};
use crate::auth::{StoreFault, StoredUsers, read_stored_users};
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::session::Backend;
use crate::source_text::Problem;

/// For all that the session store has of users: after it, what is left is not looked at.
const LIMIT: Duration = Duration::from_secs(30);

/// How often it is told how many were looked at.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Those in the session store, as far as anybody asked.
pub(super) enum Stored {
    NotAsked,
    Read(StoredUsers),
    Unread(StoreFault),
}

impl Stored {
    pub(super) fn into_users(self) -> Option<Users> {
        match self {
            Self::Read(stored) if stored.is_whole() => Some(stored.users),
            Self::Read(_) | Self::NotAsked | Self::Unread(_) => None,
        }
    }
}

/// Asks the store for its users, for a person: the service has them. Now and then tells how many of how
/// many were looked at.
pub(super) async fn stored(settings: &Settings, tell: Progress) -> Stored {
    let is_asked = settings.users.is_store() && settings.files.perspective == Perspective::Person;
    let (true, Backend::Redis(redis)) = (is_asked, &settings.backend) else {
        return Stored::NotAsked;
    };
    let clock = Clock::system();
    let Ok(nodes) = Nodes::open(Some(redis), &clock) else {
        return Stored::NotAsked; // what is wrong with its files is told where they are looked at
    };
    let mut told = Clock::stopwatch();
    let tell = |looked_at, all| {
        if told.elapsed() >= TOLD_EVERY && looked_at < all {
            tell(looked_at, all);
            told = Clock::stopwatch();
        }
    };
    let read = read_stored_users(&nodes, &clock, LIMIT, tell);
    // The first and the last answer may take as long as `timeout` lets them.
    match timeout(2 * LIMIT, read).await {
        Ok(Ok(stored)) => Stored::Read(stored),
        Ok(Err(fault)) => Stored::Unread(fault),
        Err(_) => Stored::Unread(StoreFault::Slow),
    }
}

const STORE: &str = "the session store";

/// With the file that the store takes over while it has no users.
pub(super) fn examine_stored(
    stored: &Stored,
    file: Option<(&Path, &Result<Users, UsersFileError>)>,
    perspective: Perspective,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_there = |users: &Result<_, _>| !matches!(users, Err(UsersFileError::Missing { .. }));
    let file = file.filter(|(_, users)| is_there(users));
    let has_users = match stored {
        Stored::Read(stored) => stored.users.len() + stored.unreadable() > 0 || !stored.is_whole(),
        Stored::NotAsked | Stored::Unread(_) => false,
    };
    match file {
        Some((file, _)) if has_users => findings.push(Finding::warning(
            file.display().to_string(),
            "nobody reads this users file any more, as the session store has users: changes in it do \
             nothing, until the store loses everything and old users and passwords come back from it",
            "take `users_file` out of [login], and change users by `vestibule user`; `vestibule user \
             import` adds those of a file",
        )),
        Some((file, users)) if users.is_err() => {
            findings.extend(examine(file, users, perspective));
        }
        _ => {}
    }
    let stored = match stored {
        Stored::Read(stored) => stored,
        Stored::NotAsked => return findings,
        Stored::Unread(fault) => {
            findings.push(Finding::warning(
                STORE,
                format!("its users cannot be read: {fault}"),
                "see what is said of it above or below; without it nobody can sign in",
            ));
            return findings;
        }
    };
    if !stored.is_whole() {
        findings.push(Finding::warning(
            STORE,
            format!(
                "{} of {} records of its users were looked at: the others could not be read within {} \
                 seconds",
                stored.looked_at,
                stored.all,
                LIMIT.as_secs()
            ),
            "see that the store is not overloaded, and check again",
        ));
    }
    if stored.unreadable() > 0 {
        findings.push(Finding::warning(
            STORE,
            format!(
                "{} of its users cannot be read, and so cannot sign in",
                stored.unreadable()
            ),
            "see that all keys of the other nodes are in `key_file` of [session.redis]; the log of \
             the server has more",
        ));
    }
    let has_first = file.is_some_and(|(_, users)| users.as_ref().is_ok_and(|it| it.len() > 0));
    let users = &stored.users;
    if !has_users && !has_first {
        findings.push(Finding::warning(
            STORE,
            "there are no users: nobody can sign in",
            "start the server, and do `vestibule user add NAME` or `vestibule user import FILE`",
        ));
    } else if stored.is_whole() && users.len() > 0 && users.iter().all(User::disabled) {
        findings.push(Finding::warning(
            STORE,
            "every user is disabled: nobody can sign in",
            "vestibule user enable NAME",
        ));
    }
    findings
}

pub(super) fn examine(
    file: &Path,
    users: &Result<Users, UsersFileError>,
    perspective: Perspective,
) -> Vec<Finding> {
    let subject = || file.display().to_string();
    let finding = match users {
        Ok(users) if users.len() == 0 => Finding::warning(
            subject(),
            "there are no users: nobody can sign in",
            "vestibule user add NAME",
        ),
        Ok(users) if users.iter().all(User::disabled) => Finding::warning(
            subject(),
            "every user is disabled: nobody can sign in",
            "vestibule user enable NAME",
        ),
        Ok(_) => return Vec::new(),
        Err(UsersFileError::Invalid { problems, .. }) => {
            return problems
                .iter()
                .map(|problem| wrong(file, problem))
                .collect();
        }
        Err(error) => unusable(file, error, perspective),
    };
    vec![finding]
}

fn wrong(file: &Path, problem: &Problem) -> Finding {
    let mut subject = file.display().to_string();
    if let Some(position) = problem.position() {
        subject = format!("{subject}:{position}");
    }
    let help = problem.help.as_deref();
    Finding::error(
        subject,
        problem.message.clone(),
        help.unwrap_or("correct it there"),
    )
}

fn unusable(file: &Path, error: &UsersFileError, perspective: Perspective) -> Finding {
    let (message, help) = match error {
        UsersFileError::Missing { .. } => (
            "there is no users file".to_owned(),
            "vestibule user add NAME".to_owned(),
        ),
        UsersFileError::TooOpen { mode, .. } => (
            format!("others can read or change it (mode {mode:04o})"),
            format!("chmod 600 {}", shell(file)),
        ),
        UsersFileError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            (
                format!("{perspective} may not read it"),
                perspective.to_own(file),
            )
        }
        UsersFileError::Untrusted(distrust) => return Finding::untrusted(distrust),
        other => (other.to_string(), "see `users_file` in [login]".to_owned()),
    };
    Finding::error(file.display().to_string(), message, help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::StoredHash;

    #[test]
    fn of_users_who_were_not_looked_at_nothing_is_said_but_how_many() {
        let disabled = || {
            let hash = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
            let user = User::new("ada".to_owned(), StoredHash::parse(hash).unwrap());
            [user.set_disabled(true)].into_iter().collect::<Users>()
        };
        let examine = |stored| examine_stored(&stored, None, Perspective::Person);
        let whole = Stored::Read(StoredUsers::some(disabled(), 2, 2));
        let [of_whole] = examine(whole).try_into().unwrap();
        assert!(of_whole.message.contains("every user is disabled"));
        let part = || Stored::Read(StoredUsers::some(disabled(), 500, 50_000));
        let [of_part] = examine(part()).try_into().unwrap();
        assert!(
            of_part.message.starts_with("500 of 50000 records"),
            "{of_part:?}"
        );
        assert_eq!(part().into_users(), None, "others may be meant by a rule");
        // Nor that there is nobody, as whoever was looked at may have been removed.
        let none = Stored::Read(StoredUsers::some(Users::default(), 500, 50_000));
        assert_eq!(examine(none).len(), 1);
    }
}
