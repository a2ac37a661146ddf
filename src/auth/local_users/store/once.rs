//! The users of the store for a process that asks once.

use std::collections::HashSet;
use std::time::Duration;

use super::record::Field;
use super::{Found, StoreFault, records};
use crate::auth::users_file::{User, Users};
use crate::clock::Clock;
use crate::nodes::Nodes;

/// Records that are read at a time: nobody else waits for this process.
pub(super) const AT_ONCE: usize = 500;

/// Those in the store, as far as they were looked at.
#[derive(Default)]
pub(crate) struct StoredUsers {
    pub(crate) users: Users,
    /// How many records there are, those of removed users included, and how many of them were looked at.
    pub(crate) all: usize,
    pub(crate) looked_at: usize,
    unreadable: HashSet<Field>,
}

impl StoredUsers {
    /// Whether these are all that there are.
    pub(crate) fn is_whole(&self) -> bool {
        self.looked_at == self.all
    }

    /// How many there are besides that cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Whether somebody of this name is one of them.
    pub(crate) fn is_unreadable(&self, name: &str) -> bool {
        Field::of(name).is_some_and(|field| self.unreadable.contains(&field))
    }

    fn look_at(&mut self, found: Vec<(Field, Option<Found>)>, users: &mut Vec<User>) {
        self.looked_at += found.len();
        for (field, found) in found {
            match found.map(|found| found.record) {
                Some(Ok(record)) => users.extend(record.user().cloned()),
                Some(Err(_)) => _ = self.unreadable.insert(field),
                None => {}
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn some(users: Users, looked_at: usize, all: usize) -> Self {
        Self {
            users,
            all,
            looked_at,
            unreadable: HashSet::new(),
        }
    }
}

/// Reads some at a time, each within the `timeout` of the store, and begins no more after `within`. Tells how
/// many of how many were looked at.
pub(crate) async fn read_once(
    nodes: &Nodes,
    clock: &Clock,
    within: Duration,
    mut tell: impl FnMut(usize, usize) + Send,
) -> Result<StoredUsers, StoreFault> {
    let begun = Clock::stopwatch();
    let records = records(nodes, clock).ok_or(StoreFault::Unavailable)?;
    let changes = records.changes(None).await?;
    let fields = changes.map_or_else(Vec::new, |changes| changes.fields);
    let fields: Vec<_> = fields.into_iter().map(|(field, _)| field).collect();
    let mut stored = StoredUsers {
        all: fields.len(),
        ..StoredUsers::default()
    };
    let mut users = Vec::new();
    for some in fields.chunks(AT_ONCE) {
        if stored.looked_at > 0 && begun.elapsed() >= within {
            break;
        }
        stored.look_at(records.read(some).await?, &mut users);
        tell(stored.looked_at, stored.all);
    }
    stored.users = users.into_iter().collect();
    Ok(stored)
}

/// The one of this name, if there is any.
pub(crate) async fn read_one(
    nodes: &Nodes,
    clock: &Clock,
    name: &str,
) -> Result<StoredUsers, StoreFault> {
    let records = records(nodes, clock).ok_or(StoreFault::Unavailable)?;
    let fields: Vec<_> = Field::of(name).into_iter().collect();
    let mut stored = StoredUsers {
        all: fields.len(),
        ..StoredUsers::default()
    };
    if !fields.is_empty() {
        let mut users = Vec::new();
        stored.look_at(records.read(&fields).await?, &mut users);
        stored.users = users.into_iter().collect();
    }
    Ok(stored)
}
