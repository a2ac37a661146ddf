//! How much memory local users take on a node (REL-06).

use super::snapshot::Snapshot;
use crate::auth::UsersHome;
use crate::auth::users_file::{User, Users};

/// Bytes of a user of the users file, as logins and requests look it up: as measured with 20,000 of them.
const OF_FILE: u64 = 1024;

/// The same of one in the session store, with the record that is compared with what is there, as measured
/// with 20,000 of them.
const OF_STORE: u64 = 5 * 1024;

/// Bytes of one who was removed from the session store.
const REMOVED: u64 = 512;

/// How often groups and e-mail addresses, which have no small bound, are in memory.
const COPIES: u64 = 4;

/// Bytes of all these users.
pub(crate) fn users_memory(home: &UsersHome, users: &Users) -> u64 {
    let long = users.iter().map(long).sum();
    memory(home.is_store(), users.len(), long)
}

/// Bytes of a user besides what each has.
pub(super) fn long(user: &User) -> u64 {
    let groups = user
        .groups()
        .iter()
        .map(|group| size_of::<String>() + group.len());
    let email = user.email().map_or(0, str::len);
    bytes(groups.sum::<usize>() + email)
}

pub(super) fn of(snapshot: &Snapshot, is_store: bool, removed: usize) -> u64 {
    let users = memory(is_store, snapshot.len(), snapshot.long);
    users.saturating_add(bytes(removed).saturating_mul(REMOVED))
}

fn memory(is_store: bool, users: usize, long: u64) -> u64 {
    let each = if is_store { OF_STORE } else { OF_FILE };
    let short = bytes(users).saturating_mul(each);
    short.saturating_add(long.saturating_mul(COPIES))
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::StoredHash;

    #[test]
    fn rel_06_each_user_counts_and_long_lists_of_groups_do() {
        let user = |n: usize| User::new(format!("user{n}"), StoredHash::dummy().unwrap());
        let users: Users = (0..1000).map(user).collect();
        let file = UsersHome::File("users.toml".into());
        let store = UsersHome::Store { first: None };
        assert_eq!(users_memory(&file, &users), 1000 * 1024);
        assert_eq!(users_memory(&store, &users), 1000 * 5120);
        let groups = vec!["g".repeat(76); 100];
        let long = user(7)
            .in_groups(groups)
            .with_email(Some("a@b.test".to_owned()));
        let users: Users = (0..7).map(user).chain([long]).collect();
        let expected = 8 * 1024 + 4 * (100 * (24 + 76) + 8);
        assert_eq!(users_memory(&file, &users), expected);
        let snapshot = Snapshot::of(users);
        assert_eq!(of(&snapshot, false, 0), expected);
        assert_eq!(of(&snapshot, true, 3), expected + 8 * 4096 + 3 * 512);
    }
}
