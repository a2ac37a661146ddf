//! The users of the store for a process that asks once.

use std::collections::HashSet;

use super::record::Field;
use super::{StoreFault, records};
use crate::auth::users_file::Users;
use crate::clock::Clock;
use crate::nodes::Nodes;

/// Records that are read at a time: nobody else waits for this process.
const AT_ONCE: usize = 500;

/// Everybody in the store.
#[derive(Default)]
pub(crate) struct StoredUsers {
    pub(crate) users: Users,
    unreadable: HashSet<Field>,
}

impl StoredUsers {
    /// How many there are besides that cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Whether somebody of this name is one of them.
    pub(crate) fn is_unreadable(&self, name: &str) -> bool {
        Field::of(name).is_some_and(|field| self.unreadable.contains(&field))
    }
}

pub(crate) async fn read_once(nodes: &Nodes, clock: &Clock) -> Result<StoredUsers, StoreFault> {
    let records = records(nodes, clock).ok_or(StoreFault::Unavailable)?;
    let changes = records.changes(None).await?;
    let fields = changes.map_or_else(Vec::new, |changes| changes.fields);
    let fields: Vec<_> = fields.into_iter().map(|(field, _)| field).collect();
    let (mut users, mut unreadable) = (Vec::new(), HashSet::new());
    for some in fields.chunks(AT_ONCE) {
        for (field, found) in records.read(some).await? {
            match found.map(|found| found.record) {
                Some(Ok(record)) => users.extend(record.user().cloned()),
                Some(Err(_)) => _ = unreadable.insert(field),
                None => {}
            }
        }
    }
    Ok(StoredUsers {
        users: users.into_iter().collect(),
        unreadable,
    })
}
