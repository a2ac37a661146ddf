//! The users file: can it be used, and can anybody sign in?

use std::io;
use std::path::Path;

use super::permission::Perspective;
use super::{Finding, shell};
use crate::auth::users_file::{User, Users, UsersFileError};
use crate::source_text::Problem;

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
