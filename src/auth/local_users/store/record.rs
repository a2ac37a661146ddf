//! A local user as it is written down: a [row] with short names. A field that keeps somebody out raises
//! the version: readers that do not know it would let them in.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::auth::incarnation::UserId;
use crate::auth::password::StoredHash;
use crate::auth::users_file::{self, User};
use crate::principal::user_name::{canonical, spelling};
use crate::storage::row::{self, Unreadable, Versioned};

const VERSION: u32 = 1;

/// Where a user stands: a hash of the name, the same for each spelling of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Field([u8; 32]);

impl Field {
    /// `None` for what is no name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = canonical(name)?;
        Some(Self(Sha256::digest(name.as_bytes()).into()))
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first digits, for the log.
    pub(super) fn short(&self) -> String {
        self.0[..4].iter().fold(String::new(), |mut digits, byte| {
            // Writing to a String never fails.
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }
}

/// A user at one time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Goes up with each change, and on where a user is removed and added again.
    pub(super) revision: u64,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Here(User),
    /// The name that the user had.
    Removed(String),
}

impl Record {
    /// Of a file that is taken over: whatever was ever set in the store counts before it.
    pub(super) fn first(user: User) -> Self {
        Self {
            revision: 0,
            state: State::Here(user),
        }
    }

    /// The user, if it was not removed.
    pub(super) fn user(&self) -> Option<&User> {
        match &self.state {
            State::Here(user) => Some(user),
            State::Removed(_) => None,
        }
    }

    pub(super) fn name(&self) -> &str {
        match &self.state {
            State::Here(user) => user.name(),
            State::Removed(name) => name,
        }
    }

    /// Whether it is the newer of two. Two of one revision were written to two servers, of which one
    /// took over from the other: of those, all nodes take the same, and one that lets nobody in first.
    pub(super) fn outranks(&self, other: &Self) -> bool {
        let closed = |record: &Self| record.user().map_or(2, |user| u8::from(user.disabled()));
        let by_state = || closed(self).cmp(&closed(other));
        let by_bytes = || self.encode().cmp(&other.encode());
        let order = self.revision.cmp(&other.revision);
        order.then_with(by_state).then_with(by_bytes) == Ordering::Greater
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let user = self.user();
        let row = Row {
            version: VERSION,
            revision: self.revision,
            name: self.name().into(),
            password: user.map(|user| user.password().as_str().into()),
            groups: user.map_or_else(Cow::default, |user| user.groups().into()),
            email: user.and_then(User::email).map(Cow::Borrowed),
            disabled: user.is_some_and(User::disabled),
            id: user.and_then(|user| user.id().field()).map(Cow::Borrowed),
        };
        serde_json::to_vec(&row).expect("a row of text and numbers can be written")
    }

    /// As strict as the users file: what is here came from a node, and not every node is ours.
    pub(super) fn decode(field: &Field, row: &[u8]) -> Result<Self, Unreadable> {
        let row: Row<'_> = row::decode(row)?;
        let name = spelling(&row.name).filter(|name| *name == row.name);
        let name = name.ok_or(Unreadable::Value("n"))?.into_owned();
        if Field::of(&name) != Some(*field) {
            return Err(Unreadable::Value("n"));
        }
        let revision = row.revision;
        let Some(password) = row.password else {
            let state = State::Removed(name);
            return Ok(Self { revision, state });
        };
        let password = StoredHash::parse(&password).map_err(|_| Unreadable::Value("p"))?;
        if !row.groups.iter().all(|group| users_file::is_group(group)) {
            return Err(Unreadable::Value("g"));
        }
        let email = row.email.map(Cow::into_owned);
        if !email.as_deref().is_none_or(users_file::is_email) {
            return Err(Unreadable::Value("e"));
        }
        let id = UserId::of_field(row.id.as_deref()).ok_or(Unreadable::Value("i"))?;
        let user = User::new(name, password).in_groups(row.groups.into_owned());
        let user = user
            .with_email(email)
            .set_disabled(row.disabled)
            .with_id(id);
        let state = State::Here(user);
        Ok(Self { revision, state })
    }
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "r")]
    revision: u64,
    #[serde(rename = "n")]
    name: Cow<'a, str>,
    /// None of one who was removed.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    password: Option<Cow<'a, str>>,
    #[serde(rename = "g", default, skip_serializing_if = "slice_is_empty")]
    groups: Cow<'a, [String]>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'a, str>>,
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    disabled: bool,
    /// Nodes of an earlier version leave it out when they write a user.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
}

impl Versioned for Row<'_> {
    const NEWEST: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

fn slice_is_empty(slice: &[String]) -> bool {
    slice.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn user() -> User {
        let user = User::new("Ada".to_owned(), StoredHash::parse(HASH).unwrap());
        user.in_groups(vec!["admins".to_owned(), "Büro 3".to_owned()])
            .with_email(Some("ada@example.org".to_owned()))
    }

    fn record(revision: u64, state: State) -> Record {
        Record { revision, state }
    }

    #[test]
    fn a_user_is_read_back_as_it_was() {
        let field = Field::of("ADA").unwrap();
        for record in [
            Record::first(user()),
            record(7, State::Here(user().set_disabled(true))),
            record(8, State::Here(user().with_id(UserId::generate().unwrap()))),
            record(u64::MAX, State::Removed("Ada".to_owned())),
            Record::first(User::new(
                "ada".to_owned(),
                StoredHash::parse(HASH).unwrap(),
            )),
        ] {
            let row = record.encode();
            assert_eq!(Record::decode(&field, &row).unwrap(), record);
            assert!(Record::decode(&Field::of("bo").unwrap(), &row).is_err());
        }
        assert_eq!(Field::of("Ada"), Field::of("ada"));
        assert_eq!(Field::of("no  name"), None);
    }

    #[test]
    fn rel_19_what_a_later_version_wrote_or_nobody_could_have_written_is_not_guessed_at() {
        let field = Field::of("ada").unwrap();
        let row = Record::first(user().set_disabled(true)).encode();
        let row = String::from_utf8(row).unwrap();
        for (from, to, expected) in [
            ("\"v\":1", "\"v\":2", "a later version"),
            ("\"v\":1,", "", "missing field"),
            ("\"r\":0", "\"r\":-1", "invalid value"),
            ("\"n\":\"Ada\"", "\"n\":\"bo\"", "field `n`"),
            ("\"n\":\"Ada\"", "\"n\":\" Ada\"", "field `n`"),
            ("$2b$05$", "$9z$05$", "field `p`"),
            ("Büro 3", "a,b", "field `g`"),
            ("ada@example.org", "ada", "field `e`"),
            ("\"d\":true", "\"d\":1", "invalid type"),
            ("\"i\":\"\"", "\"i\":\"a b\"", "field `i`"),
        ] {
            assert!(row.contains(from), "{row}");
            let row = row.replace(from, to);
            let error = Record::decode(&field, row.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{to}: {error}");
        }
        // What a reader may leave out.
        let more = row.replace("\"v\":1", "\"v\":1,\"new\":[7]");
        assert!(Record::decode(&field, more.as_bytes()).is_ok());
        // What an earlier version leaves out.
        let less = row.replace(",\"i\":\"\"", "");
        assert_ne!(less, row);
        let read = Record::decode(&field, less.as_bytes()).unwrap();
        assert_eq!(read.user().unwrap().id(), &UserId::Unknown);
        assert_eq!(read.encode(), less.as_bytes());
    }

    #[test]
    fn of_two_the_later_revision_counts_and_of_the_same_one_all_nodes_take_the_same() {
        let (here, disabled) = (State::Here(user()), State::Here(user().set_disabled(true)));
        let other = State::Here(user().with_email(None));
        let removed = State::Removed("Ada".to_owned());
        let ascending = [
            record(1, removed.clone()),
            record(2, here.clone()),
            record(2, disabled),
            record(2, removed),
            record(3, here.clone()),
        ];
        for (at, lower) in ascending.iter().enumerate() {
            assert!(!lower.outranks(lower));
            for higher in &ascending[at + 1..] {
                assert!(higher.outranks(lower) && !lower.outranks(higher), "{at}");
            }
        }
        let (one, two) = (record(1, here), record(1, other));
        assert!(one.outranks(&two) != two.outranks(&one));
    }
}
