//! Changes of users, for all nodes: each in the place of what it was decided upon, and of nothing else.

use std::fmt;

use super::record::{Field, Record, State};
use super::{Entry, InStore, Stamp, StoreFault};
use crate::auth::password::StoredHash;
use crate::auth::users_file::edit::EditError;
use crate::auth::users_file::{User, Users};
use crate::source_text::nearest;

/// Several nodes may change one user at the same moment: that often, another one is quicker.
const TRIES: usize = 8;

/// Why a user was not changed.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// There is no such user, or there is one already.
    Name(EditError),
    /// Others have changed the user each time.
    Overtaken,
    Store(StoreFault),
    /// What the store has of the user cannot be read here, and is left alone.
    Unreadable,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Overtaken => f.write_str("others are changing the same user; try again"),
            Self::Store(error) => error.fmt(f),
            Self::Unreadable => f.write_str(
                "what the session store has of this user cannot be read, and is left alone: it is \
                 damaged, sealed by a key that this node does not have, or of a later version; the \
                 server's log says which",
            ),
        }
    }
}

impl std::error::Error for ChangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Overtaken | Self::Unreadable => None,
        }
    }
}

impl From<StoreFault> for ChangeError {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

/// What became of somebody who was to be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    /// Was there, and is as before.
    Kept,
    /// Was there, and has the password of the other one now.
    Replaced,
}

/// What a user is to be from now on, unless nothing is to change, and what to say of it.
type Decision<T> = Result<(Option<State>, T), ChangeError>;

impl InStore {
    /// Everybody, as the store has them now, and how many there are that cannot be read.
    pub(crate) async fn list(&self) -> Result<(Users, usize), StoreFault> {
        self.catch_up().await?;
        let known = self.known();
        let unreadable = known.entries.values().filter(|entry| entry.is_unreadable());
        Ok((known.users(), unreadable.count()))
    }

    /// Whether there is a user of this name, as the store has it now.
    pub(in crate::auth) async fn find(&self, name: &str) -> Result<Option<User>, ChangeError> {
        self.catch_up().await?;
        Ok(self.looked_up(name)?.and_then(|place| place.user))
    }

    /// An error unless there is such a user, or there is none, as is expected.
    pub(crate) async fn check(&self, name: &str, is_there: bool) -> Result<(), ChangeError> {
        match self.find(name).await? {
            Some(user) if !is_there => Err(name_taken(&user)),
            None if is_there => Err(self.no_such_user(name)),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) async fn add(&self, user: User) -> Result<(), ChangeError> {
        let add = |there: Option<&User>| match there {
            Some(there) => Err(name_taken(there)),
            None => Ok((Some(State::Here(user.clone())), ())),
        };
        self.change(user.name(), add).await
    }

    pub(crate) async fn set_password(
        &self,
        name: &str,
        hash: &StoredHash,
    ) -> Result<(), ChangeError> {
        let set = |there: Option<&User>| {
            let user = there.ok_or_else(|| self.no_such_user(name))?.clone();
            Ok((Some(State::Here(user.with_password(hash.clone()))), ()))
        };
        self.change(name, set).await
    }

    /// Says whether that was a change.
    pub(crate) async fn set_disabled(
        &self,
        name: &str,
        disabled: bool,
    ) -> Result<bool, ChangeError> {
        let set = |there: Option<&User>| {
            let user = there.ok_or_else(|| self.no_such_user(name))?;
            let differs = user.disabled() != disabled;
            let state = differs.then(|| State::Here(user.clone().set_disabled(disabled)));
            Ok((state, differs))
        };
        self.change(name, set).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), ChangeError> {
        let remove = |there: Option<&User>| {
            let user = there.ok_or_else(|| self.no_such_user(name))?;
            Ok((Some(State::Removed(user.name().to_owned())), ()))
        };
        self.change(name, remove).await
    }

    /// Replaces a hash, unless the user has another one by now, or is disabled; says whether it did.
    pub(in crate::auth) async fn replace_password(
        &self,
        name: &str,
        old: &StoredHash,
        new: &StoredHash,
    ) -> Result<bool, ChangeError> {
        let replace = |there: Option<&User>| {
            let verified = there.filter(|user| !user.disabled() && user.password() == old);
            let state = verified.map(|user| State::Here(user.clone().with_password(new.clone())));
            let is_replaced = state.is_some();
            Ok((state, is_replaced))
        };
        self.change(name, replace).await
    }

    /// Adds somebody of another file; who is there is kept, or gets the password when `replace` says so.
    pub(crate) async fn import(&self, user: &User, replace: bool) -> Result<Outcome, ChangeError> {
        let import = |there: Option<&User>| {
            Ok(match there {
                None => (Some(State::Here(user.clone())), Outcome::Added),
                Some(there) if replace => {
                    let there = there.clone().with_password(user.password().clone());
                    (Some(State::Here(there)), Outcome::Replaced)
                }
                Some(_) => (None, Outcome::Kept),
            })
        };
        self.change(user.name(), import).await
    }

    /// Puts what `decide` makes of the user in its place, and decides again where another node was
    /// quicker.
    async fn change<T>(
        &self,
        name: &str,
        decide: impl Fn(Option<&User>) -> Decision<T>,
    ) -> Result<T, ChangeError> {
        let field = Field::of(name).ok_or_else(|| self.no_such_user(name))?;
        for _ in 0..TRIES {
            self.catch_up().await?;
            let _turn = self.turn.lock().await;
            let before = self.looked_up(name)?.unwrap_or_default();
            let (state, said) = decide(before.user.as_ref())?;
            let Some(state) = state else {
                return Ok(said);
            };
            let revision = before.revision.saturating_add(1);
            let record = Record { revision, state };
            if let Some(stamp) = self.records.put(&field, &before.stamp, &record).await? {
                {
                    let mut known = self.known();
                    known.entries.insert(field, Entry::readable(stamp, record));
                    known.is_news = true;
                }
                self.publish();
                return Ok(said);
            }
        }
        Err(ChangeError::Overtaken)
    }

    /// What is known of this name.
    fn looked_up(&self, name: &str) -> Result<Option<Place>, ChangeError> {
        let known = self.known();
        let entry = Field::of(name).and_then(|field| known.entries.get(&field));
        let Some(entry) = entry else {
            return Ok(None);
        };
        let record = entry.record().ok_or(ChangeError::Unreadable)?;
        Ok(Some(Place {
            stamp: entry.stamp.clone(),
            revision: record.revision,
            user: record.user().cloned(),
        }))
    }

    fn no_such_user(&self, name: &str) -> ChangeError {
        let users = self.known().users();
        let names = users.iter().map(User::name);
        ChangeError::Name(EditError::NoSuchUser {
            name: name.to_owned(),
            nearest: nearest(name, names).map(str::to_owned),
        })
    }
}

/// What there is of a name.
#[derive(Default)]
struct Place {
    stamp: Stamp,
    revision: u64,
    /// Unless it was removed.
    user: Option<User>,
}

fn name_taken(there: &User) -> ChangeError {
    ChangeError::Name(EditError::NameTaken(there.name().to_owned()))
}
