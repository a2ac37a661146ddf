//! The first users of a store that has none: those of a users file.

use super::record::{Field, Record};
use super::{SharedUsers, StoreFault};
use crate::auth::users_file::{self, User, UsersFileError};

impl SharedUsers {
    /// Gives whether the users of the file are in the store now.
    pub(super) async fn take_over_first(&self) -> Result<bool, StoreFault> {
        let Some(file) = &self.first else {
            return Ok(false);
        };
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
                if self.said_not_taken_over.is_due() {
                    tracing::error!(
                        %error, "the users file was not taken over into the session store"
                    );
                }
                return Ok(false);
            }
            begun => begun?,
        };
        if !begun {
            return Ok(false);
        }
        tracing::info!(
            target: "vestibule", users = records.len(), file = %file.display(),
            "the users file was taken over into the session store"
        );
        Ok(true)
    }
}
