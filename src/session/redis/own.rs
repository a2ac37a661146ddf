//! What this node has ended and written, as long as a store that loses it can be told again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::value::Epochs;
use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::user_key::UserKey;

/// Ends that are remembered; above it the oldest is forgotten.
const TOMBSTONES: usize = 50_000;

/// Ends of users, and writes, that are remembered.
const MAX: usize = 10_000;

/// How long a write is remembered: more than a failover takes.
const WRITES: Duration = Duration::from_mins(1);

/// Whom an end is of that goes by epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    User(UserKey),
    All,
}

/// A session as it was written.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) record: Arc<Record>,
    pub(super) epochs: Epochs,
    at: Timestamp,
}

#[derive(Default)]
pub(super) struct Own {
    tombstones: HashSet<SessionKey>,
    order: VecDeque<SessionKey>,
    /// Ended here and not written down yet.
    unwritten: HashSet<SessionKey>,
    /// The same by epochs, with how many calls are about to write it.
    ending: HashMap<Whose, usize>,
    unwritten_epochs: HashSet<Whose>,
    epochs: HashMap<Whose, u64>,
    writes: HashMap<SessionKey, Write>,
    written: VecDeque<(Timestamp, SessionKey)>,
}

impl Own {
    /// Whether a session is over, whatever the store says.
    pub(super) fn has_ended(&self, record: &Record) -> bool {
        let is_ending = |whose| self.ending.contains_key(&whose);
        self.tombstones.contains(&record.key)
            || !self.ending.is_empty()
                && (is_ending(Whose::All) || is_ending(Whose::User(UserKey::of(record.user()))))
    }

    /// Whether the session of a key has ended, as far as is remembered.
    pub(super) fn is_over(&self, key: &SessionKey) -> bool {
        self.tombstones.contains(key)
    }

    /// Remembers the end of a session, whoever ended it. Gives whether it was written here a short
    /// while ago, and so may be written again after the end.
    pub(super) fn bury(&mut self, key: SessionKey) -> bool {
        if self.tombstones.insert(key) {
            self.order.push_back(key);
            if self.order.len() > TOMBSTONES
                && let Some(oldest) = self.order.pop_front()
            {
                self.tombstones.remove(&oldest);
            }
        }
        self.writes.remove(&key).is_some()
    }

    /// A session begins: no end before is meant for it.
    pub(super) fn unbury(&mut self, key: &SessionKey) {
        if self.tombstones.remove(key) {
            self.order.retain(|other| other != key);
        }
        self.unwritten.remove(key);
    }

    pub(super) fn tombstones(&self) -> Vec<SessionKey> {
        self.tombstones.iter().copied().collect()
    }

    /// Whether these ends are written down; those that are not are tried again.
    pub(super) fn note_written(&mut self, keys: &[SessionKey], are_written: bool) {
        for key in keys {
            if are_written {
                self.unwritten.remove(key);
            } else if self.unwritten.len() < TOMBSTONES {
                self.unwritten.insert(*key);
            }
        }
    }

    pub(super) fn begin_end(&mut self, whose: Whose) {
        *self.ending.entry(whose).or_default() += 1;
        self.forget_writes(whose, u64::MAX);
    }

    /// Gives the end over to the epoch that is written by now, or to another try.
    pub(super) fn finish_end(&mut self, whose: Whose, epoch: Option<u64>) {
        if let Some(epoch) = epoch {
            self.unwritten_epochs.remove(&whose);
            self.note_epoch(whose, epoch);
        } else {
            self.unwritten_epochs.insert(whose);
        }
        let calls = self.ending.get_mut(&whose);
        let is_last = calls.is_some_and(|calls| {
            *calls -= 1;
            *calls == 0
        });
        // What is to be tried again is over until then.
        if is_last && epoch.is_some() {
            self.ending.remove(&whose);
        }
    }

    /// Remembers an epoch, whoever has set it.
    pub(super) fn note_epoch(&mut self, whose: Whose, epoch: u64) {
        if self.epochs.len() < MAX || self.epochs.contains_key(&whose) {
            let known = self.epochs.entry(whose).or_default();
            *known = epoch.max(*known);
        }
    }

    pub(super) fn unwritten(&self) -> (Vec<SessionKey>, Vec<Whose>) {
        let keys = self.unwritten.iter().copied().collect();
        (keys, self.unwritten_epochs.iter().copied().collect())
    }

    pub(super) fn epochs(&self) -> Vec<(Whose, u64)> {
        self.epochs
            .iter()
            .map(|(whose, epoch)| (*whose, *epoch))
            .collect()
    }

    pub(super) fn note_write(&mut self, record: &Arc<Record>, epochs: Epochs, now: Timestamp) {
        if self.tombstones.contains(&record.key) {
            return;
        }
        let (key, record, at) = (record.key, Arc::clone(record), now);
        self.writes.insert(key, Write { record, epochs, at });
        self.written.push_back((now, key));
        // The newest are those that a failover loses.
        while self.writes.len() > MAX || self.written.len() > 2 * MAX {
            self.forget_oldest_write();
        }
    }

    pub(super) fn writes(&mut self, now: Timestamp) -> Vec<Write> {
        self.forget_old_writes(now);
        self.writes.values().cloned().collect()
    }

    /// What has ended by this epoch is not to be written again.
    pub(super) fn forget_writes(&mut self, whose: Whose, epoch: u64) {
        self.writes.retain(|_, write| match whose {
            Whose::All => write.epochs.all >= epoch,
            Whose::User(user) => {
                write.epochs.user >= epoch || UserKey::of(write.record.user()) != user
            }
        });
    }

    pub(super) fn forget_old_writes(&mut self, now: Timestamp) {
        while self
            .written
            .front()
            .is_some_and(|(at, _)| now.since(*at) >= WRITES)
        {
            self.forget_oldest_write();
        }
    }

    fn forget_oldest_write(&mut self) {
        // What was written again since is to stay.
        if let Some((at, key)) = self.written.pop_front()
            && self.writes.get(&key).is_some_and(|write| write.at == at)
        {
            self.writes.remove(&key);
        }
    }
}
