//! Local users in the users file, which this process follows and writes to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::current::Current;
use crate::auth::password::StoredHash;
use crate::auth::users_file::edit::{self, EditError};
use crate::auth::users_file::{self, Users, UsersFileError};
use crate::auth::watch::Watch;
use crate::clock::Clock;

/// How often requests refresh the users.
const REFRESH_EVERY: Duration = Duration::from_millis(20);

pub(super) struct InFile {
    /// Milliseconds after `started`.
    pub(super) next_refresh: AtomicU64,
    pub(super) path: PathBuf,
    started: Instant,
    /// The log has said so.
    pub(super) upgrades_fail: AtomicBool,
    watch: Watch,
}

impl InFile {
    /// With the users that are in it.
    pub(super) fn open(path: &Path, clock: Clock) -> Result<(Self, Users), UsersFileError> {
        let watch = Watch::new(path, clock);
        let users = users_file::read_trusted(path)?;
        let file = Self {
            next_refresh: AtomicU64::new(0),
            path: path.to_owned(),
            started: Clock::stopwatch(),
            upgrades_fail: AtomicBool::new(false),
            watch,
        };
        Ok((file, users))
    }

    /// Looks at most every 20 ms, and waits for nobody.
    pub(super) fn refresh(&self, current: &Current) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.started.elapsed());
        let due = self.next_refresh.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now + millis(REFRESH_EVERY);
        // Of the requests that come at this moment one refreshes.
        let claim =
            self.next_refresh
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if claim.is_ok() {
            self.watch.try_refresh(|| self.read(current));
        }
    }

    pub(super) fn refresh_now(&self, current: &Current) {
        self.watch.refresh(|| self.read(current));
    }

    /// From the file, and not from memory.
    pub(super) fn users(&self) -> Result<Users, UsersFileError> {
        users_file::read_trusted(&self.path)
    }

    /// Replaces a hash, unless it is no longer the one that was verified; says whether it did.
    pub(super) fn replace_password(
        &self,
        current: &Current,
        name: &str,
        old: &StoredHash,
        new: &StoredHash,
    ) -> Result<bool, EditError> {
        let replaced = edit::replace_password(&self.path, name, old, new);
        // Now and not at the next refresh: the session that starts bears the new fingerprint.
        self.refresh_now(current);
        replaced
    }

    fn read(&self, current: &Current) {
        match self.users() {
            Ok(users) => {
                if !current.load().is_of(&users) {
                    tracing::info!(target: "vestibule", users = users.len(), "users file read again");
                    current.replace(users);
                }
            }
            Err(error) => {
                // One line an event, however many problems the file has (SEC-71).
                let error = error.to_string().replace('\n', "; ");
                tracing::error!(
                    target: "vestibule", error,
                    "users file not read again; the users stay as they were"
                );
            }
        }
    }
}
