//! Changes of users, for all nodes: each in the place of what it was decided upon, and of nothing else.

use std::fmt;

use tokio::task::spawn_blocking;

use super::record::{Field, Record, State};
use super::{Memory, Put, SharedUsers, Stamp, StoreFault};
use crate::auth::incarnation::UserId;
use crate::auth::password::StoredHash;
use crate::auth::users_file::edit::EditError;
use crate::auth::users_file::{User, Users};
use crate::random::NoRandomness;
use crate::source_text::nearest;

/// Several nodes may change one user at the same moment: that often, another one is quicker.
pub(super) const TRIES: usize = 8;

/// Up to this many unreadable records may simply be damaged; if there are more, the key is wrong, and nobody is
/// told how to remove them.
const FEW: usize = 3;

/// Why a user was not changed.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// There is no such user, or there is one already.
    Name(EditError),
    /// No user in the store can be read here. Whatever this node wrote, the others could not read.
    OtherKey {
        /// The command that removes their records from the store, where they are few enough to be damaged.
        removal: Option<String>,
    },
    /// Others have changed the user each time.
    Overtaken,
    Store(StoreFault),
    /// What the store has of the user cannot be read here, and is left alone.
    Unreadable {
        /// The command that removes it from the store.
        removal: String,
    },
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::OtherKey { removal } => {
                f.write_str(
                    "this node can read none of the users in the session store, and changes none: its \
                     `key_file` in [session.redis] needs the key of the other nodes, and then a restart",
                )?;
                match removal {
                    None => Ok(()),
                    Some(removal) => write!(
                        f,
                        ". If it has that key, these records are damaged: do `{removal}` on the server of \
                         the store, and add or import the users again"
                    ),
                }
            }
            Self::Overtaken => f.write_str("others are changing the same user; try again"),
            Self::Store(error) => error.fmt(f),
            Self::Unreadable { removal } => write!(
                f,
                "what the session store has of this user cannot be read, and is left alone: it is \
                 damaged, sealed by a key that this node does not have, or of a later version; the \
                 server's log says which. If it is damaged, do `{removal}` on the server of the store, \
                 and add or import the user again"
            ),
        }
    }
}

impl std::error::Error for ChangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::OtherKey { .. } | Self::Overtaken | Self::Unreadable { .. } => None,
        }
    }
}

impl From<StoreFault> for ChangeError {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

/// What a user is to be from now on, unless nothing is to change, and what to say of it.
type Decision<T> = Result<(Option<State>, T), ChangeError>;

impl SharedUsers {
    /// Everybody, as the store has them now, and how many there are that cannot be read.
    pub(crate) async fn list(&self) -> Result<(Users, usize), StoreFault> {
        self.catch_up().await?;
        let unreadable = self.known().unreadable;
        let snapshot = self.current.load_full();
        // Apart: of 50,000 it takes a while.
        let copied = spawn_blocking(move || snapshot.iter().cloned().collect());
        let users = copied.await.map_err(|_| StoreFault::Away)?; // the runtime ends
        Ok((users, unreadable))
    }

    /// Whether there is a user of this name, as the store has it now.
    pub(in crate::auth) async fn find(&self, name: &str) -> Result<Option<User>, ChangeError> {
        self.catch_up().await?;
        self.check_key()?;
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

    /// Says whether that was a change. Each gives another id: neither tokens nor sessions come back.
    pub(crate) async fn set_disabled(
        &self,
        name: &str,
        disabled: bool,
    ) -> Result<bool, ChangeError> {
        let new_id = UserId::generate().map_err(|NoRandomness| StoreFault::Unavailable)?;
        let set = |there: Option<&User>| {
            let user = there.ok_or_else(|| self.no_such_user(name))?;
            if user.disabled() == disabled {
                return Ok((None, false));
            }
            let user = user.clone().set_disabled(disabled).with_id(new_id.clone());
            Ok((Some(State::Here(user)), true))
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
            self.check_key()?;
            let before = self.looked_up(name)?;
            // Where there was nobody before, nobody is kept out by it.
            let memory = if before.is_some() {
                Memory::AllOfIt
            } else {
                Memory::WhatIsFree
            };
            let before = before.unwrap_or_default();
            let (state, said) = decide(before.user.as_ref())?;
            let Some(state) = state else {
                return Ok(said);
            };
            let record = before.next(state);
            let to_put = [(field, before.stamp, record.clone())];
            match self.records.put(&to_put, memory).await?.pop() {
                Some(Put::Done(stamp)) => {
                    self.insert_own(field, stamp, record);
                    self.publish();
                    return Ok(said);
                }
                Some(Put::Overtaken) | None => {}
                Some(Put::TooLarge) => return Err(StoreFault::TooLarge.into()),
                Some(Put::TooMany) => return Err(StoreFault::TooMany.into()),
            }
        }
        Err(ChangeError::Overtaken)
    }

    /// An error where whatever this node wrote would be lost on the others.
    pub(super) fn check_key(&self) -> Result<(), ChangeError> {
        let known = self.known();
        if !known.has_other_key() {
            return Ok(());
        }
        let mut fields: Vec<_> = known.entries.keys().copied().collect();
        fields.sort_unstable();
        let removal = (fields.len() <= FEW).then(|| self.records.removal(&fields));
        Err(ChangeError::OtherKey { removal })
    }

    /// What is known of this name.
    pub(super) fn looked_up(&self, name: &str) -> Result<Option<Place>, ChangeError> {
        let known = self.known();
        let entry = Field::of(name).and_then(|field| known.entries.get(&field));
        let Some(entry) = entry else {
            return Ok(None);
        };
        let record = entry.record().ok_or_else(|| self.unreadable(name))?;
        Ok(Some(Place {
            stamp: entry.stamp.clone(),
            revision: record.revision,
            user: record.user().cloned(),
        }))
    }

    fn unreadable(&self, name: &str) -> ChangeError {
        let removal = Field::of(name).map(|field| self.records.removal(&[field]));
        ChangeError::Unreadable {
            removal: removal.unwrap_or_default(),
        }
    }

    pub(super) fn no_such_user(&self, name: &str) -> ChangeError {
        let users = self.current.load();
        let names = users.iter().map(User::name);
        ChangeError::Name(EditError::NoSuchUser {
            name: name.to_owned(),
            nearest: nearest(name, names).map(str::to_owned),
        })
    }
}

/// What there is of a name.
#[derive(Default)]
pub(super) struct Place {
    pub(super) stamp: Stamp,
    revision: u64,
    /// Unless it was removed.
    pub(super) user: Option<User>,
}

impl Place {
    /// What is to take its place.
    pub(super) fn next(&self, state: State) -> Record {
        let revision = self.revision.saturating_add(1);
        Record { revision, state }
    }
}

fn name_taken(there: &User) -> ChangeError {
    ChangeError::Name(EditError::NameTaken(there.name().to_owned()))
}
