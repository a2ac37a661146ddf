//! The first users of a store that has none: those of a users file.

use std::time::Duration;

use super::record::{Field, Record};
use super::{SharedUsers, StoreFault};
use crate::auth::users_file::{self, User, UsersFileError};

/// What the store does not take is brought again after this, and not with each look and each login.
pub(super) const AGAIN: Duration = Duration::from_mins(1);

impl SharedUsers {
    /// Gives whether the users of the file are in the store now.
    pub(super) async fn take_over_first(&self) -> Result<bool, StoreFault> {
        let Some(file) = &self.first else {
            return Ok(false);
        };
        let (now, refused) = (self.clock.now(), self.known().first_refused);
        if refused.is_some_and(|at| now.since(at) < AGAIN) {
            return Ok(false);
        }
        let path = file.clone();
        let reading = tokio::task::spawn_blocking(move || users_file::read_trusted(&path)).await;
        let users = match reading {
            Ok(Ok(users)) => users,
            // Or the runtime ends.
            Ok(Err(UsersFileError::Missing { .. })) | Err(_) => return Ok(false),
            Ok(Err(error)) => {
                if self.said_not_taken_over.is_due() {
                    // One line an event, however many problems the file has (SEC-71).
                    let error = error.to_string().replace('\n', "; ");
                    tracing::error!(
                        error,
                        "the users file was not taken over into the session store"
                    );
                }
                return Ok(false);
            }
        };
        let first = |user: &User| Some((Field::of(user.name())?, Record::first(user.clone())));
        let records: Vec<_> = users.iter().filter_map(first).collect();
        if records.is_empty() {
            return Ok(false);
        }
        let begun = match self.records.begin_with(&records).await {
            Err(error) if error != StoreFault::Away => {
                self.known().first_refused = Some(now);
                if self.said_not_taken_over.is_due() {
                    let user = (error == StoreFault::TooLarge).then(|| largest(&records));
                    tracing::error!(
                        %error, user = user.flatten(),
                        "the users file was not taken over into the session store"
                    );
                }
                return Ok(false);
            }
            begun => begun?,
        };
        if !begun {
            // There is somebody by now, or the store has thrown some of them away.
            self.known().first_refused = Some(now);
            return Ok(false);
        }
        tracing::info!(
            target: "vestibule", users = records.len(), file = %file.display(),
            "the users file was taken over into the session store"
        );
        Ok(true)
    }
}

/// The user of the largest record, of several that are too large.
fn largest(records: &[(Field, Record)]) -> Option<&str> {
    let record = records
        .iter()
        .max_by_key(|(_, record)| record.encode().len());
    record.map(|(_, record)| record.name())
}
