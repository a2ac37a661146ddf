//! Finds the session of a key, or of another id of it.

use std::collections::HashMap;
use std::sync::Arc;

use ::redis::{Value, cmd};

use super::epochs::State;
use super::keys::Short;
use super::peers::Trust;
use super::value::{Entry, Unreadable};
use super::{Shared, all};
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// Sessions by whether they are good.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) good: Vec<Arc<Record>>,
    /// Those that an epoch has ended, with that epoch.
    pub(super) over: Vec<(SessionKey, u64)>,
    /// Of how many nobody can tell: the epoch of their user cannot be read.
    pub(super) unknown: usize,
}

impl Shared {
    pub(super) fn opened(
        &self,
        opened: Result<Entry, Unreadable>,
    ) -> Result<Option<Entry>, StoreError> {
        match opened {
            Ok(entry) => Ok(Some(entry)),
            Err(error) => {
                if self.said_unreadable.is_due() {
                    tracing::warn!(
                        %error, "a session in the store cannot be read and is left alone; told once \
                        a minute"
                    );
                }
                // It is good for nodes that understand it: nobody is to sign in once more.
                if error.is_newer() {
                    Err(StoreError::Unavailable)
                } else {
                    Ok(None)
                }
            }
        }
    }

    /// The session of a key, whether it is over or not. An error where there is none, and a server that
    /// has just taken the place of another one may have lost it.
    pub(super) async fn entry(&self, key: &SessionKey) -> Result<Option<Entry>, StoreError> {
        let found = self.entry_there(key).await?;
        if found.is_none() && self.met().trust(&self.link.run_id()) < Trust::All {
            return Err(StoreError::Unavailable);
        }
        Ok(found)
    }

    /// The same of what the server has, whatever it may have lost.
    pub(super) async fn entry_there(&self, key: &SessionKey) -> Result<Option<Entry>, StoreError> {
        // Which gives nothing for a value of another type, where GET fails.
        let get = cmd("MGET").arg(self.names.record(Short::of(key))).take();
        match self.query(&get).await? {
            Value::Array(values) => match values.as_slice() {
                [Value::BulkString(value)] => self.opened(self.values().decode(key, value)),
                _ => Ok(None),
            },
            _ => Err(StoreError::Unavailable),
        }
    }

    pub(super) async fn load(&self, key: SessionKey) -> Result<Option<Arc<Record>>, StoreError> {
        if self.journal().is_over(&key) {
            return Ok(None); // whatever the store has, or has lost
        }
        self.wait_for_first_read().await;
        let before = self.trust();
        let mut command = cmd("MGET");
        command
            .arg(self.names.record(Short::of(&key)))
            .arg(self.names.other_id(&key));
        let Value::Array(values) = self.query(&command).await? else {
            return Err(StoreError::Unavailable);
        };
        let found = match values.as_slice() {
            [Value::BulkString(record), _] => self.opened(self.values().decode(&key, record))?,
            _ => None,
        };
        let found = match (found, values.as_slice()) {
            (None, [_, Value::BulkString(id)]) => self.entry_of_id(&key, id).await?,
            (found, _) => found,
        };
        // A server that has just taken the place of another one may not have been told again of all
        // that it has lost.
        let trust = before.min(self.trust());
        match found {
            None if trust < Trust::All => Err(StoreError::Unavailable),
            None => Ok(None),
            Some(_) if trust < Trust::Found => Err(StoreError::Unavailable),
            Some(entry) => self.if_good(entry).await,
        }
    }

    fn trust(&self) -> Trust {
        self.met().trust(&self.link.run_id())
    }

    /// The session that another id opens, if it says so, too.
    pub(super) async fn entry_of_id(
        &self,
        id: &SessionKey,
        value: &[u8],
    ) -> Result<Option<Entry>, StoreError> {
        let key = match self.values().decode_id(id, value) {
            Ok(key) => key,
            Err(error) if error.is_newer() => return Err(StoreError::Unavailable),
            Err(_) => return Ok(None),
        };
        let entry = self.entry_there(&key).await?;
        Ok(entry.filter(|entry| entry.record.host_of(id).is_some()))
    }

    /// The record, if it is good as far as the store and this node know.
    pub(super) async fn if_good(&self, entry: Entry) -> Result<Option<Arc<Record>>, StoreError> {
        let mut sorted = self.sorted(vec![entry]).await?;
        if sorted.unknown > 0 {
            return Err(StoreError::Unavailable);
        }
        Ok(sorted.good.pop())
    }

    /// Which of these are good as far as the store and this node know.
    pub(super) async fn sorted(&self, entries: Vec<Entry>) -> Result<Sorted, StoreError> {
        let users = entries.iter().map(|entry| UserKey::of(entry.record.user()));
        let users: Vec<_> = users.collect();
        let now = self.epochs_of(users.clone()).await?;
        let (mut sorted, mut thrown_away) = (Sorted::default(), HashMap::new());
        for ((entry, user), now) in entries.into_iter().zip(users).zip(now) {
            match now.state_of(&entry) {
                State::Unknown => sorted.unknown += 1,
                State::Over(epoch) => sorted.over.push((entry.record.key, epoch)),
                State::Good => {
                    let mut later = self.journal().epochs_after(user, entry.epochs);
                    later.retain(|(_, epoch)| !epoch.kept.contains(&entry.record.key));
                    if later.is_empty() {
                        sorted.good.extend(self.unless_ended_here(entry));
                    }
                    thrown_away.extend(later);
                }
            }
        }
        // A full server has thrown these away: other nodes, which may not have heard of them, need them.
        // Where it does not take them, the next look tries again; the list is right in any case.
        let again = thrown_away.iter();
        let again = again.map(|(scope, epoch)| self.set_again(*scope, epoch));
        let _ = all(again.collect()).await;
        Ok(sorted)
    }

    /// The record, unless this node has ended it.
    fn unless_ended_here(&self, mut entry: Entry) -> Option<Arc<Record>> {
        if self.journal().has_ended(&entry.record) {
            return None;
        }
        self.accesses.apply(&mut entry.record);
        Some(Arc::new(entry.record))
    }
}
