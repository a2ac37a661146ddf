//! The users at one time.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

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
}

/// Users by canonical name.
#[derive(Clone, Default)]
struct Part {
    rows: HashMap<Arc<str>, Arc<Row>>,
    timing: Option<Duration>,
    /// Bytes that verifying takes where it costs most.
    memory: u64,
}

struct Row {
    user: User,
    /// Unless the user is disabled.
    account: Option<Arc<Account>>,
}

impl Snapshot {
    pub(super) fn of(users: Users) -> Self {
        let none = Self::new(vec![Arc::default(); PARTS].into());
        none.with(users.into_iter().map(|(name, user)| (name, Some(user))))
    }

    /// With others in the place of those that have these canonical names, or with none. Takes time for
    /// each that has changed, and not for all that there are.
    pub(super) fn with(&self, changes: impl IntoIterator<Item = (String, Option<User>)>) -> Self {
        let mut parts = self.parts.clone();
        let mut touched = BTreeSet::new();
        for (name, user) in changes {
            let at = place(&name);
            touched.insert(at);
            let rows = &mut Arc::make_mut(&mut parts[at]).rows;
            match user {
                Some(user) => rows.insert(name.into(), Arc::new(Row::of(user))),
                None => rows.remove(&*name),
            };
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

    /// Those who could be signed in before and now cannot, or not by the same password.
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
    fn measure(&mut self) {
        let hashes = || self.rows.values().map(|row| row.user.password());
        self.timing = timing::interval(hashes());
        self.memory = hashes().map(StoredHash::memory).max().unwrap_or_default();
    }
}

impl Row {
    fn of(user: User) -> Self {
        let account = (!user.disabled()).then(|| Arc::new(Account::of(&user)));
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
        let now = before.with([
            ("user7".to_owned(), None),
            ("ada".to_owned(), Some(user("Ada", &old))),
            (
                "user9".to_owned(),
                Some(user("user9", &usual).set_disabled(true)),
            ),
        ]);
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
        let without = now.with([("ada".to_owned(), None)]);
        assert_eq!(without.timing, None);
        assert_eq!(without.hashing_memory, before.hashing_memory);
    }
}
