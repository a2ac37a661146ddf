//! Epochs: ends of all sessions of a user, or of all, in one step.
//!
//! An epoch is a time by the store's clock; it only grows. A session carries those that it began in, and
//! is over when the store has a later one, unless that one keeps it: the session of a user who ends the
//! others, and where an end had to wait for the store, those that have begun since.

mod set;

use std::iter;

use ::redis::{Value, pipe};

use super::Shared;
use super::journal::EndScope;
use super::keys::{Names, Shard};
use super::removed::REMOVED;
use super::value::{Entry, Epochs, shift};
use crate::session::id::SessionKey;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;
pub(super) use set::MAX_KEPT_IN_ALL;

/// An epoch is at most this, which no clock says: what is above it is damaged, or somebody else's. Scripts
/// count in doubles, which are exact up to 2^53: above it no end would come after a session.
pub(super) const MOST_EPOCH: u64 = 1 << 52;

/// Bytes of a session key.
const KEY: usize = 32;

/// The last end of all sessions of a user, or of all sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) number: u64,
    /// Those that began before it and go on.
    pub(super) kept: Vec<SessionKey>,
}

impl Epoch {
    /// `None` for what is no epoch.
    pub(super) fn new(number: u64, kept: &[u8]) -> Option<Self> {
        let (kept, []) = kept.as_chunks::<KEY>() else {
            return None;
        };
        let kept = kept.iter().copied().map(SessionKey::from_bytes).collect();
        (number <= MOST_EPOCH).then_some(Self { number, kept })
    }

    /// As it stands in the store: the number, and the keys after a colon where there are any.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, kept) = text.split_at(digits);
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        match kept.split_first() {
            None => Self::new(number, b""),
            Some((b':', kept)) => Self::new(number, kept),
            Some(_) => None,
        }
    }

    /// Whether a session is over that began in another epoch.
    pub(super) fn ends(&self, key: &SessionKey, began_in: u64) -> bool {
        began_in < self.number && !self.kept.contains(key)
    }
}

/// The epochs that hold for the sessions of a user. `None` is one that cannot be read: it might end any of
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) user: Option<Epoch>,
    pub(super) all: Epoch,
}

impl Current {
    pub(super) fn state_of(&self, entry: &Entry) -> State {
        let (key, began_in) = (&entry.record.key, entry.epochs);
        match &self.user {
            _ if self.all.ends(key, began_in.all) => State::Over(self.all.number),
            None => State::Unknown,
            Some(user) if user.ends(key, began_in.user) => State::Over(user.number),
            Some(_) => State::Good,
        }
    }
}

/// What epochs say of a session.
pub(super) enum State {
    Good,
    /// Since this epoch.
    Over(u64),
    Unknown,
}

/// The name of the epoch of all, which no user has.
pub(super) const ALL: &str = "*";

impl Shared {
    /// The epochs that hold for sessions of each of these users. An error where the epoch of all cannot be
    /// read.
    pub(super) async fn epochs_of(&self, users: Vec<UserKey>) -> Result<Vec<Current>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut known: Vec<_> = users.clone();
        known.sort_unstable();
        known.dedup();
        let fields = known.iter().map(|user| {
            let epochs = self.names.epochs(Names::shard_of(*user));
            (epochs, user.to_string())
        });
        let mut epochs = self
            .read_epochs(iter::once(self.all()).chain(fields))
            .await?;
        let all = epochs.remove(0).ok_or(StoreError::Unavailable)?;
        let of = |user: &UserKey| Current {
            user: (known.binary_search(user).ok()).and_then(|at| epochs[at].clone()),
            all: all.clone(),
        };
        Ok(users.iter().map(of).collect())
    }

    /// The epochs of a session that begins: no node is to take it for one of those that an end before it
    /// was meant for, though a full server has thrown that away.
    pub(super) async fn epochs_to_begin_in(&self, user_key: UserKey) -> Result<Epochs, StoreError> {
        let shard = Names::shard_of(user_key);
        let epochs = self.names.epochs(shard);
        let of_user =
            [user_key.to_string(), REMOVED.to_owned()].map(|field| (epochs.clone(), field));
        let fields = iter::once(self.all()).chain(of_user);
        let epochs = self.read_epochs(fields).await?;
        let [Some(all), Some(user), removed] = epochs.as_slice() else {
            return Err(StoreError::Unavailable);
        };
        let removed = removed.as_ref().map(|removed| removed.number);
        let removed = self.last_removed(shard, removed).await?;
        for (scope, epoch) in [(EndScope::User(user_key), user), (EndScope::All, all)] {
            // If a clock that was ahead has set it and the store lost it, no end would come after this session.
            if self.is_in_the_future(epoch.number) {
                self.journal().learn_epoch(scope, epoch.clone());
            }
        }
        let mut epochs = Epochs {
            user: removed.max(user.number),
            all: all.number,
        };
        let thrown_away = self.journal().epochs_after(user_key, epochs);
        for (scope, epoch) in &thrown_away {
            self.set_again(*scope, epoch).await?;
            match scope {
                EndScope::User(_) => epochs.user = epoch.number,
                EndScope::All => epochs.all = epoch.number,
            }
        }
        Ok(epochs)
    }

    /// By the clock of the store.
    fn is_in_the_future(&self, epoch: u64) -> bool {
        epoch > shift(self.clock.now(), self.link.clock_offset()).as_millis()
    }

    /// Where the epoch of all sessions is.
    fn all(&self) -> (String, String) {
        self.field_of(EndScope::All)
    }

    /// The key of an epoch, and its field there.
    pub(super) fn field_of(&self, scope: EndScope) -> (String, String) {
        let field = match scope {
            EndScope::User(user) => user.to_string(),
            EndScope::All => ALL.to_owned(),
        };
        (self.names.epochs(Self::shard_of(scope)), field)
    }

    /// The epoch of each of these fields; where there is none, the first one of all. `None` for what is
    /// none, of which the log tells where it needs somebody to mend it.
    pub(super) async fn read_epochs(
        &self,
        fields: impl Iterator<Item = (String, String)>,
    ) -> Result<Vec<Option<Epoch>>, StoreError> {
        let fields: Vec<_> = fields.collect();
        let mut commands = pipe();
        for (key, field) in &fields {
            commands.cmd("HGET").arg(key).arg(field);
        }
        let answers = self.pipeline(&commands).await?;
        if answers.len() != fields.len() {
            return Err(StoreError::Unavailable);
        }
        let epochs = answers.iter().zip(&fields).map(|(answer, (key, field))| {
            let epoch = match answer {
                Value::Nil => Some(Epoch::default()),
                Value::BulkString(text) => Epoch::read(text),
                _ => None,
            };
            if epoch.is_none() && field != REMOVED && self.said_no_epoch.is_due() {
                let help = if field == ALL {
                    "end all sessions by `vestibule session revoke --all`, which writes it anew"
                } else {
                    "end the sessions of its user by `vestibule session revoke --user NAME`, which \
                     writes it anew: the access log has 503 for that user"
                };
                tracing::error!(
                    key, field, help,
                    "it cannot be read in the session store when sessions were ended last, so nobody \
                     can tell which of them are good"
                );
            }
            epoch
        });
        Ok(epochs.collect())
    }

    pub(super) fn shard_of(scope: EndScope) -> Shard {
        match scope {
            EndScope::User(user) => Names::shard_of(user),
            EndScope::All => Shard::OF_ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::id::SessionId;

    #[test]
    fn sec_46_what_is_no_epoch_is_taken_for_none() {
        let keys = [(); 2].map(|()| SessionId::generate().unwrap().key());
        let kept = [&b"7:"[..], keys[0].as_bytes(), keys[1].as_bytes()].concat();
        let epoch = Epoch::read(&kept).unwrap();
        assert_eq!((epoch.number, epoch.kept.as_slice()), (7, &keys[..]));
        assert!(epoch.ends(&SessionKey::LAST, 6) && !epoch.ends(&SessionKey::LAST, 7));
        assert!(!epoch.ends(&keys[1], 6));
        let alone = Epoch::read(b"4503599627370496").unwrap();
        assert_eq!((alone.number, alone.kept.len()), (MOST_EPOCH, 0));
        let cut = &kept[..kept.len() - 1];
        for wrong in [
            b"",
            &b"a"[..],
            b":",
            b"-1",
            b"7 ",
            b"7;",
            b"4503599627370497",
            b"9007199254740992",
            b"9223372036854775807",
            b"18446744073709551615",
            b"18446744073709551616",
            cut,
        ] {
            assert_eq!(Epoch::read(wrong), None, "{wrong:?}");
        }
    }
}
