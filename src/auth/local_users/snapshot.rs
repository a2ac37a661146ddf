//! The users at one time.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::footprint;
use crate::auth::incarnation::{Incarnation, UserId};
use crate::auth::password::StoredHash;
use crate::auth::users_file::{User, Users};
use crate::auth::{self, Account, timing};
use crate::principal::user_name::canonical;

/// A change copies the part that it is in: of 50,000 users, about 25.
const PARTS: usize = 2048;

/// The next one shares with it what has not changed.
pub(super) struct Snapshot {
    parts: Box<[Arc<Part>]>,
    len: usize,
    pub(super) timing: Option<Duration>,
    /// Bytes of all hashing threads.
    pub(super) hashing_memory: u64,
    /// Bytes of what has no small bound.
    pub(super) long: u64,
}

/// Users by canonical name.
#[derive(Clone, Default)]
struct Part {
    rows: HashMap<Arc<str>, Arc<Row>>,
    /// Users whose records cannot be read, and who may come back as they were.
    unreadable: HashMap<Arc<str>, Incarnation>,
    timing: Option<Duration>,
    /// Bytes that verifying takes where it costs most.
    memory: u64,
    long: u64,
}

struct Row {
    user: User,
    /// Unless the user is disabled.
    account: Option<Arc<Account>>,
}

/// What has become of a user.
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a node that is alone reads all of them")
)]
pub(super) enum Change {
    Here(User),
    Gone,
    /// Nobody can say.
    Unreadable,
}

impl Snapshot {
    pub(super) fn of(users: Users) -> Self {
        Self::none().replaced_by(users, 0)
    }

    fn none() -> Self {
        Self::new(vec![Arc::default(); PARTS].into())
    }

    /// These and no others. Who was not among them before comes with the `since` of this change.
    pub(super) fn replaced_by(&self, users: Users, since: u64) -> Self {
        let users = users.into_iter();
        let changes = users.map(|(name, user)| (name, Change::Here(user)));
        self.changed(Self::none().parts, changes, since)
    }

    /// With others in the place of those that have these canonical names, or with none. Takes time for
    /// each that has changed, and not for all that there are.
    pub(super) fn with(
        &self,
        changes: impl IntoIterator<Item = (String, Change)>,
        since: u64,
    ) -> Self {
        self.changed(self.parts.clone(), changes, since)
    }

    fn changed(
        &self,
        mut parts: Box<[Arc<Part>]>,
        changes: impl IntoIterator<Item = (String, Change)>,
        since: u64,
    ) -> Self {
        let mut touched = BTreeSet::new();
        for (name, change) in changes {
            let at = place(&name);
            touched.insert(at);
            let known = self.parts[at].incarnation(&name);
            Arc::make_mut(&mut parts[at]).change(name, change, known, since);
        }
        for at in touched {
            Arc::make_mut(&mut parts[at]).measure();
        }
        Self::new(parts)
    }

    fn new(parts: Box<[Arc<Part>]>) -> Self {
        let memory = parts.iter().map(|part| part.memory).max();
        Self {
            len: parts.iter().map(|part| part.rows.len()).sum(),
            timing: parts.iter().filter_map(|part| part.timing).max(),
            hashing_memory: auth::hashing_memory_of(memory.unwrap_or_default()),
            long: parts.iter().map(|part| part.long).sum(),
            parts,
        }
    }

    /// Whoever `name` names, in any case.
    pub(super) fn get(&self, name: &str) -> Option<&User> {
        self.row(name).map(|row| &row.user)
    }

    /// The same for somebody who may sign in.
    pub(super) fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.row(name)?.account.as_ref()
    }

    fn row(&self, name: &str) -> Option<&Row> {
        let name = canonical(name)?;
        let row = self.parts[place(&name)].rows.get(&*name)?;
        Some(row)
    }

    /// Whether these, and no others, are in it.
    pub(super) fn is_of(&self, users: &Users) -> bool {
        users.len() == self.len && users.iter().all(|user| self.get(user.name()) == Some(user))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &User> {
        let rows = self.parts.iter().flat_map(|part| part.rows.values());
        rows.map(|row| &row.user)
    }

    /// Those who could be signed in before and now cannot, or not as the same user or by the same password.
    pub(super) fn revoked_since(&self, before: &Self) -> Vec<String> {
        let parts = self.parts.iter().zip(&before.parts);
        let changed = parts.filter(|(now, before)| !Arc::ptr_eq(now, before));
        let revoked = changed.flat_map(|(now, before)| {
            let fingerprint = |row: &Row| Some(row.account.as_ref()?.fingerprint());
            before.rows.iter().filter(move |(name, row)| {
                let now = now.rows.get(*name).and_then(|row| fingerprint(row));
                row.account.is_some() && now != fingerprint(row)
            })
        });
        revoked.map(|(name, _)| name.to_string()).collect()
    }
}

impl Part {
    /// Of whoever may sign in, or could as long as that could be read.
    fn incarnation(&self, name: &str) -> Option<&Incarnation> {
        let account = self.rows.get(name).and_then(|row| row.account.as_ref());
        let known = account.map(|account| &account.incarnation);
        known.or_else(|| self.unreadable.get(name))
    }

    fn change(&mut self, name: String, change: Change, known: Option<&Incarnation>, since: u64) {
        self.rows.remove(&*name);
        self.unreadable.remove(&*name);
        match change {
            Change::Here(user) => {
                // Nothing gives an id to a user who was known without: this one is another.
                let has_got_one = |known: &Incarnation| {
                    known.id == UserId::Unknown && *user.id() != UserId::Unknown
                };
                let same =
                    known.filter(|known| !known.id.differs_from(user.id()) && !has_got_one(known));
                let since = same.map_or(since, |same| same.since);
                let row = Row::of(user, since);
                self.rows.insert(name.into(), Arc::new(row));
            }
            Change::Gone => {}
            Change::Unreadable => {
                let known = known.cloned().map(|known| (name.into(), known));
                self.unreadable.extend(known);
            }
        }
    }

    fn measure(&mut self) {
        let hashes = || self.rows.values().map(|row| row.user.password());
        self.timing = timing::interval(hashes());
        self.memory = hashes().map(StoredHash::memory).max().unwrap_or_default();
        self.long = self
            .rows
            .values()
            .map(|row| footprint::long(&row.user))
            .sum();
    }
}

impl Row {
    fn of(user: User, since: u64) -> Self {
        let account = (!user.disabled()).then(|| Arc::new(Account::of(&user).since(since)));
        Self { user, account }
    }
}

/// The part that a canonical name belongs to.
fn place(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % PARTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn user(name: &str, hash: &StoredHash) -> User {
        User::new(name.to_owned(), hash.clone())
    }

    #[test]
    fn a_change_is_as_if_all_had_been_read_again_and_copies_its_part_only() {
        let (usual, old) = (
            StoredHash::dummy().unwrap(),
            StoredHash::parse(BCRYPT).unwrap(),
        );
        let name = |n: usize| format!("user{n}");
        let crowd = (0..5000).map(|n| user(&name(n), &usual)).collect();
        let before = Snapshot::of(crowd);
        assert_eq!((before.len(), before.timing), (5000, None));
        let disabled = user("user9", &usual).set_disabled(true);
        let changes = [
            ("user7".to_owned(), Change::Gone),
            ("ada".to_owned(), Change::Here(user("Ada", &old))),
            ("user9".to_owned(), Change::Here(disabled)),
        ];
        let now = before.with(changes, 1);
        assert_eq!(now.len(), 5000);
        assert!(now.get("USER7").is_none() && before.get("user7").is_some());
        assert!(now.account("user9").is_none() && now.get("user9").is_some());
        assert_eq!(now.account("aDA").unwrap().identity().user(), "Ada");
        assert!(now.timing.is_some(), "bcrypt");
        let mut revoked = now.revoked_since(&before);
        revoked.sort();
        assert_eq!(revoked, ["user7", "user9"]);
        let parts = now.parts.iter().zip(&before.parts);
        let copied = parts.filter(|(now, before)| !Arc::ptr_eq(now, before));
        assert!(copied.count() <= 3);
        let users: Users = now.iter().cloned().collect();
        let again = Snapshot::of(users.clone());
        assert_eq!(again.iter().cloned().collect::<Users>(), users);
        assert_eq!(
            (again.len(), again.timing, again.hashing_memory),
            (now.len(), now.timing, now.hashing_memory)
        );
        assert_eq!(again.revoked_since(&now), Vec::<String>::new());
        assert!(again.is_of(&users) && !before.is_of(&users));
        let without = now.with([("ada".to_owned(), Change::Gone)], 2);
        assert_eq!(without.timing, None);
        assert_eq!(without.hashing_memory, before.hashing_memory);
    }
}
