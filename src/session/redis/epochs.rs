//! Epochs: ends of all sessions of a user, or of all, in one step.
//!
//! An epoch is a time by the store's clock; it only grows. A session carries those that it began in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{Value, cmd, pipe};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::keys::{Names, Shard};
use super::own::Whose;
use super::value::{Epochs, shift};
use super::write::MAX_ATTEMPTS;
use super::{LOOK_UP, Shared, number, scripts};
use crate::session::id::SessionKey;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// How long whoever ends all sessions waits for the count of those that are deleted: they are over by
/// then.
const ALL_COUNTED_FOR: Duration = Duration::from_secs(30);

/// What is left of sessions that an epoch has ended; deleted in any case.
pub(super) struct Left {
    dropping: JoinHandle<()>,
    dropped: Arc<AtomicUsize>,
    counted_for: Duration,
}

impl Left {
    /// How many are deleted, within a bounded time.
    pub(super) async fn count(self) -> usize {
        let _slow = timeout(self.counted_for, self.dropping).await;
        self.dropped.load(Ordering::Acquire)
    }
}

/// The name of the epoch of all, which no user has.
const ALL: &str = "*";

impl Shared {
    /// The epochs that hold for sessions of each of these users.
    pub(super) async fn epochs_of(&self, users: Vec<UserKey>) -> Result<Vec<Epochs>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut known: Vec<_> = users.clone();
        known.sort_unstable();
        known.dedup();
        let mut commands = pipe();
        let all = self.names.epochs(Shard::OF_ALL);
        commands.add_command(cmd("HGET").arg(all).arg(ALL).clone());
        for user in &known {
            let epochs = self.names.epochs(Names::shard_of(*user));
            commands.add_command(cmd("HGET").arg(epochs).arg(user.to_string()).clone());
        }
        let answers = self.pipeline(&commands).await?;
        let epoch = |value: &Value| match value {
            Value::Nil => Some(0),
            value => number(value),
        };
        // An epoch that cannot be read might end the session.
        let epochs: Option<Vec<_>> = answers.iter().map(epoch).collect();
        let epochs = epochs.filter(|epochs| epochs.len() == known.len() + 1);
        let epochs = epochs.ok_or(StoreError::Unavailable)?;
        let of = |user: &UserKey| Epochs {
            user: known.binary_search(user).map_or(0, |at| epochs[at + 1]),
            all: epochs[0],
        };
        Ok(users.iter().map(of).collect())
    }

    /// Ends all sessions that began before now, but for one.
    pub(super) async fn end_all_of(
        self: &Arc<Self>,
        whose: Whose,
        keep: Option<SessionKey>,
    ) -> Result<Left, StoreError> {
        let mark = self.link.mark();
        let epoch = async {
            let mut epoch = shift(self.clock.now(), self.ahead()).as_millis();
            if let Some(key) = keep {
                epoch = self.carry_over(&key, epoch).await?;
            }
            self.advance(whose, epoch, false).await
        };
        let epoch = epoch.await;
        self.own().finish_end(whose, keep, epoch.ok());
        epoch.map_err(|error| self.not_everywhere(error))?;
        self.wait_for_replicas(mark, [self.names.ends(Self::shard_of(whose))])
            .await;
        Ok(self.drop_left(whose))
    }

    /// They are over; what is left of them is garbage, which can wait.
    fn drop_left(self: &Arc<Self>, whose: Whose) -> Left {
        let (shared, dropped) = (Arc::clone(self), Arc::<AtomicUsize>::default());
        let counted_for = match whose {
            Whose::User(_) => shared.limit(LOOK_UP),
            Whose::All => ALL_COUNTED_FOR,
        };
        let count = Arc::clone(&dropped);
        let dropping = tokio::spawn(async move {
            // Whoever meets the rest deletes it.
            let _all = match whose {
                Whose::User(user) => shared.drop_of_user(user, &count).await,
                Whose::All => shared.drop_all(&count).await,
            };
        });
        Left {
            dropping,
            dropped,
            counted_for,
        }
    }

    /// Has a session outlive an epoch of its user that is about to be set: it gets that epoch before,
    /// so that no node finds it over in between. Gives the epoch, which is `epoch` or later.
    async fn carry_over(&self, key: &SessionKey, mut epoch: u64) -> Result<u64, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(entry) = self.entry(key).await? else {
                return Ok(epoch);
            };
            let user = UserKey::of(entry.record.user());
            let now = self.epochs_of(vec![user]).await?;
            let now = now.first().copied().unwrap_or_default();
            if entry.epochs.are_over(now) {
                return Ok(epoch);
            }
            epoch = epoch.max(now.user + 1).max(entry.epochs.user);
            let epochs = Epochs {
                user: epoch,
                ..entry.epochs
            };
            if self
                .swap(&Arc::new(entry.record), epochs, &entry.stamp)
                .await?
            {
                return Ok(epoch);
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Sets an epoch: a later one than there is, or `again` one that the store may have lost.
    pub(super) async fn advance(
        &self,
        whose: Whose,
        epoch: u64,
        again: bool,
    ) -> Result<u64, StoreError> {
        let shard = Self::shard_of(whose);
        let keys = [self.names.epochs(shard), self.names.ends(shard)];
        let (field, kind): (_, &[u8]) = match whose {
            Whose::User(user) => (user.to_string(), b"u"),
            Whose::All => (ALL.to_owned(), b"a"),
        };
        let (epoch, channel) = (epoch.to_string(), self.names.channel());
        let args: [&[u8]; 6] = [
            &self.node,
            field.as_bytes(),
            kind,
            epoch.as_bytes(),
            channel.as_bytes(),
            if again { b"1" } else { b"0" },
        ];
        self.script(&scripts::ADVANCE, &keys, &args).await
    }

    fn shard_of(whose: Whose) -> Shard {
        match whose {
            Whose::User(user) => Names::shard_of(user),
            Whose::All => Shard::OF_ALL,
        }
    }
}
