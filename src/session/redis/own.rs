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

/// An end by an epoch that is not written yet.
#[derive(Clone, Copy)]
struct Ending {
    /// Calls that are about to write it.
    calls: usize,
    /// A session that is to go on; `None` where one of the calls ends it, too.
    keep: Option<SessionKey>,
}

#[derive(Default)]
pub(super) struct Own {
    tombstones: HashSet<SessionKey>,
    order: VecDeque<SessionKey>,
    /// Ended here and not written down yet.
    unwritten: HashSet<SessionKey>,
    /// The same by epochs, being written or not written yet.
    ending: HashMap<Whose, Ending>,
    /// With the one session that is to go on.
    unwritten_epochs: HashMap<Whose, Option<SessionKey>>,
    epochs: HashMap<Whose, u64>,
    writes: HashMap<SessionKey, Write>,
    written: VecDeque<(Timestamp, SessionKey)>,
}

impl Own {
    /// Whether a session is over, whatever the store says.
    pub(super) fn has_ended(&self, record: &Record) -> bool {
        let is_ending = |whose| {
            let ending = self.ending.get(&whose);
            ending.is_some_and(|ending| ending.keep != Some(record.key))
        };
        self.is_over(&record.key)
            || !self.ending.is_empty()
                && (is_ending(Whose::All) || is_ending(Whose::User(UserKey::of(record.user()))))
    }

    /// Whether the session of a key has ended, as far as is remembered.
    pub(super) fn is_over(&self, key: &SessionKey) -> bool {
        self.tombstones.contains(key) || self.unwritten.contains(key)
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

    /// Whether these ends are written down; those that are not are tried again. Gives for how many of
    /// them there is no room.
    pub(super) fn note_written(&mut self, keys: &[SessionKey], are_written: bool) -> usize {
        let mut dropped = 0;
        for key in keys {
            if are_written {
                self.unwritten.remove(key);
            } else if self.unwritten.len() < TOMBSTONES || self.unwritten.contains(key) {
                self.unwritten.insert(*key);
            } else {
                dropped += 1;
            }
        }
        dropped
    }

    pub(super) fn begin_end(&mut self, whose: Whose, keep: Option<SessionKey>) {
        let ending = self.ending.entry(whose);
        let ending = ending.or_insert(Ending { calls: 0, keep });
        ending.calls += 1;
        ending.keep = ending.keep.filter(|kept| Some(*kept) == keep);
        let kept = ending.keep.and_then(|key| self.writes.remove(&key));
        self.forget_writes(whose, u64::MAX);
        if let Some(write) = kept {
            self.writes.insert(write.record.key, write);
        }
    }

    /// Gives the end over to the epoch that is written by now, or to another try.
    pub(super) fn finish_end(
        &mut self,
        whose: Whose,
        keep: Option<SessionKey>,
        epoch: Option<u64>,
    ) {
        if let Some(epoch) = epoch {
            // What was to end the kept one, too, is still to be written.
            if keep.is_none() || self.unwritten_epochs.get(&whose) == Some(&keep) {
                self.unwritten_epochs.remove(&whose);
            }
            self.note_epoch(whose, epoch);
        } else {
            let kept = self.unwritten_epochs.entry(whose).or_insert(keep);
            *kept = kept.filter(|kept| Some(*kept) == keep);
        }
        let ending = self.ending.get_mut(&whose);
        let is_last = ending.is_some_and(|ending| {
            ending.calls -= 1;
            ending.calls == 0
        });
        // What is to be tried again is over until then.
        if is_last && !self.unwritten_epochs.contains_key(&whose) {
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

    pub(super) fn unwritten(&self) -> (Vec<SessionKey>, Vec<(Whose, Option<SessionKey>)>) {
        let keys = self.unwritten.iter().copied().collect();
        let epochs = self.unwritten_epochs.iter();
        (keys, epochs.map(|(whose, keep)| (*whose, *keep)).collect())
    }

    pub(super) fn epochs(&self) -> Vec<(Whose, u64)> {
        self.epochs
            .iter()
            .map(|(whose, epoch)| (*whose, *epoch))
            .collect()
    }

    pub(super) fn note_write(&mut self, record: &Arc<Record>, epochs: Epochs, now: Timestamp) {
        if self.is_over(&record.key) {
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
