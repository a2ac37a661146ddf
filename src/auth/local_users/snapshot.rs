//! What the users file said when it was last read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::users_file::{User, Users};
use crate::auth::{self, Account, timing};
use crate::principal::user_name::canonical;

/// The users at one time.
pub(super) struct Snapshot {
    pub(super) users: Users,
    /// Those who are not disabled, by canonical name.
    pub(super) accounts: HashMap<String, Arc<Account>>,
    pub(super) timing: Option<Duration>,
    /// Bytes of all hashing threads.
    pub(super) hashing_memory: u64,
}

impl Snapshot {
    pub(super) fn of(users: Users) -> Self {
        let accounts = users
            .iter()
            .filter(|user| !user.disabled())
            .filter_map(|user| {
                let name = canonical(user.name())?.into_owned();
                Some((name, Arc::new(Account::of(user))))
            })
            .collect();
        Self {
            accounts,
            hashing_memory: auth::hashing_memory(&users),
            timing: timing::interval(users.iter().map(User::password)),
            users,
        }
    }

    /// Those who could be signed in before and now cannot, or not by the same password.
    pub(super) fn revoked_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = String> + 'a {
        let lost = before.accounts.iter().filter(|(name, account)| {
            let now = self.accounts.get(*name);
            now.is_none_or(|now| now.fingerprint() != account.fingerprint())
        });
        lost.map(|(name, _)| name.clone())
    }
}
