//! Where local users live: can they be read, and can anybody sign in?

use std::io;
use std::path::Path;

use super::permission::Perspective;
use super::{Finding, Settings, shell};
use crate::auth::users_file::{User, Users, UsersFileError};
use crate::auth::{StoreFault, read_stored_users};
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::session::Backend;
use crate::source_text::Problem;

/// Those in the session store, as far as anybody asked.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) users: Option<Users>,
    /// How many cannot be read.
    unreadable: usize,
    error: Option<StoreFault>,
}

/// Asks the store for its users, for a person: the service has them.
pub(super) async fn stored(settings: &Settings) -> Stored {
    let is_asked = settings.users.is_store() && settings.files.perspective == Perspective::Person;
    let (true, Backend::Redis(redis)) = (is_asked, &settings.backend) else {
        return Stored::default();
    };
    let clock = Clock::system();
    let Ok(nodes) = Nodes::open(Some(redis), &clock) else {
        return Stored::default(); // what is wrong with its files is told where they are looked at
    };
    match read_stored_users(&nodes, &clock).await {
        Ok((users, unreadable)) => Stored {
            users: Some(users),
            unreadable,
            error: None,
        },
        Err(error) => Stored {
            error: Some(error),
            ..Stored::default()
        },
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
    match file {
        None | Some((_, Ok(_) | Err(UsersFileError::Missing { .. }))) => {}
        Some((file, users)) => findings.extend(examine(file, users, perspective)),
    }
    if stored.unreadable > 0 {
        findings.push(Finding::warning(
            STORE,
            format!(
                "{} of its users cannot be read, and so cannot sign in",
                stored.unreadable
            ),
            "see that all keys of the other nodes are in `key_file` of [session.redis]; the log of \
             the server has more",
        ));
    }
    if let Some(error) = stored.error {
        let help = "see what is said of it above or below; without it nobody can sign in";
        findings.push(Finding::warning(
            STORE,
            format!("its users cannot be read: {error}"),
            help,
        ));
    }
    let has_first = file.is_some_and(|(_, users)| users.as_ref().is_ok_and(|it| it.len() > 0));
    let Some(users) = &stored.users else {
        return findings;
    };
    if users.len() == 0 && stored.unreadable == 0 && !has_first {
        findings.push(Finding::warning(
            STORE,
            "there are no users: nobody can sign in",
            "start the server, and do `vestibule user add NAME` or `vestibule user import FILE`",
        ));
    } else if users.len() > 0 && users.iter().all(User::disabled) {
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
