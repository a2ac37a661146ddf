//! What this node has ended and written, as long as a store that loses it can be told again.

mod writes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::epochs::Epoch;
use super::value::Epochs;
use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::user_key::UserKey;
pub(in crate::session) use writes::MAX_WRITTEN_BYTES;
pub(super) use writes::{Write, Writes};

/// Ends that are remembered; above it the oldest is forgotten.
const TOMBSTONES: usize = 50_000;

/// Ends of users that are remembered.
const MAX: usize = 10_000;

/// Whom an end is of that goes by epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    User(UserKey),
    All,
}

/// Of two times by the clocks of two nodes, each less than a second apart from that of the store, the
/// later one is later in any case where so much lies between them.
const IN_ANY_CASE: Duration = Duration::from_secs(2);

/// An end by an epoch that is not written yet. A later one takes the place of an earlier one if it ends
/// all that that one does: one that keeps a session does not take the place of one that keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingEnd {
    pub(super) whose: Whose,
    /// A session that is to go on.
    pub(super) keep: Option<SessionKey>,
    /// When it was asked for, by the clock of this node.
    pub(super) at: Timestamp,
    /// It could not be written at once: whoever asked for it was told that it will be.
    pub(super) has_waited: bool,
    is_being_written: bool,
    /// Tells it from one that takes its place.
    number: u64,
}

impl PendingEnd {
    /// Whether it is meant for a session of those that it is about. In doubt it is, but for sessions
    /// that have begun since it was asked for.
    pub(super) fn ends(&self, record: &Record) -> bool {
        let began_since = match self.whose {
            Whose::User(_) => record.created >= self.at.plus(IN_ANY_CASE),
            Whose::All => false,
        };
        self.keep != Some(record.key) && !began_since
    }
}

#[derive(Default)]
pub(super) struct Own {
    tombstones: HashSet<SessionKey>,
    order: VecDeque<SessionKey>,
    /// Ended here and not written down yet.
    unwritten: HashSet<SessionKey>,
    /// The same by epochs, being written or not written yet.
    pending: HashMap<Whose, Vec<PendingEnd>>,
    /// The number of the last one.
    last_pending: u64,
    epochs: HashMap<Whose, Epoch>,
    pub(super) writes: Writes,
}

impl Own {
    /// Whether a session is over, whatever the store says.
    pub(super) fn has_ended(&self, record: &Record) -> bool {
        let is_ending = |whose| {
            let mut pending = self.pending.get(&whose).into_iter().flatten();
            pending.any(|pending| pending.ends(record))
        };
        self.is_over(&record.key)
            || !self.pending.is_empty()
                && (is_ending(Whose::All) || is_ending(Whose::User(UserKey::of(record.user()))))
    }

    /// The epochs that are remembered, and later than those that a session of a user began in.
    pub(super) fn epochs_after(&self, user: UserKey, began_in: Epochs) -> Vec<(Whose, Epoch)> {
        let both = [
            (Whose::User(user), began_in.user),
            (Whose::All, began_in.all),
        ];
        let later = both.into_iter().filter_map(|(whose, began_in)| {
            let epoch = self.epochs.get(&whose)?;
            (epoch.number > began_in).then(|| (whose, epoch.clone()))
        });
        later.collect()
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
        self.writes.forget(&key)
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

    pub(super) fn begin_end(
        &mut self,
        whose: Whose,
        keep: Option<SessionKey>,
        at: Timestamp,
    ) -> PendingEnd {
        self.last_pending += 1;
        let end = PendingEnd {
            whose,
            keep,
            at,
            has_waited: false,
            is_being_written: true,
            number: self.last_pending,
        };
        let pending = self.pending.entry(whose).or_default();
        pending.retain(|earlier| keep.is_some() && earlier.keep.is_none());
        pending.push(end);
        let over = Epoch {
            number: u64::MAX,
            kept: keep.into_iter().collect(),
        };
        self.writes.forget_ended(whose, &over);
        end
    }

    /// Begins another try at the ends of these sessions that wait, the earliest first: those that nobody
    /// is about to write.
    pub(super) fn try_again(&mut self, whose: Whose) -> Vec<PendingEnd> {
        let pending = self.pending.get_mut(&whose).into_iter().flatten();
        let waiting = pending.filter(|end| !end.is_being_written);
        let tried = waiting.map(|end| {
            end.has_waited = true;
            end.is_being_written = true;
            *end
        });
        tried.collect()
    }

    /// Gives the end over to the epoch that is written by now, if any was to be, or to another try.
    pub(super) fn finish_end(&mut self, end: &PendingEnd, written: Option<&Option<Epoch>>) {
        if let Some(pending) = self.pending.get_mut(&end.whose) {
            if written.is_some() {
                pending.retain(|other| other.number != end.number);
            }
            // What is to be tried again is over until then.
            for other in pending
                .iter_mut()
                .filter(|other| other.number == end.number)
            {
                other.is_being_written = false;
            }
            if pending.is_empty() {
                self.pending.remove(&end.whose);
            }
        }
        if let Some(Some(epoch)) = written {
            self.note_epoch(end.whose, epoch.clone());
        }
    }

    /// Remembers an epoch, whoever has set it.
    pub(super) fn note_epoch(&mut self, whose: Whose, epoch: Epoch) {
        if self.epochs.len() >= MAX && !self.epochs.contains_key(&whose) {
            // The newest are those that a failover loses.
            let mut numbers: Vec<_> = self.epochs.values().map(|epoch| epoch.number).collect();
            let (_, median, _) = numbers.select_nth_unstable(MAX / 2);
            self.forget_epochs(|number| number <= *median);
        }
        let known = self.epochs.entry(whose).or_default();
        if epoch.number > known.number {
            *known = epoch;
        }
    }

    /// Forgets epochs of users that are that old.
    pub(super) fn forget_epochs(&mut self, is_old: impl Fn(u64) -> bool) {
        self.epochs
            .retain(|whose, epoch| *whose == Whose::All || !is_old(epoch.number));
    }

    /// What waits for another try; not what is just being written.
    pub(super) fn unwritten(&self) -> (Vec<SessionKey>, Vec<Whose>) {
        let keys = self.unwritten.iter().copied().collect();
        let waits = |pending: &[PendingEnd]| pending.iter().any(|end| !end.is_being_written);
        let pending = self.pending.iter().filter(|(_, pending)| waits(pending));
        (keys, pending.map(|(whose, _)| *whose).collect())
    }

    /// A session was written; see [`Writes::note`]. One that is over is not remembered.
    pub(super) fn note_write(
        &mut self,
        record: &Arc<Record>,
        epochs: Epochs,
        now: Timestamp,
    ) -> bool {
        self.is_over(&record.key) || self.writes.note(record, epochs, now)
    }

    pub(super) fn epochs(&self) -> Vec<(Whose, Epoch)> {
        self.epochs
            .iter()
            .map(|(whose, epoch)| (*whose, epoch.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_10_who_signs_in_after_a_revocation_that_waits_may_end_the_others() {
        let mut own = Own::default();
        let whose = Whose::User(UserKey::of("ada"));
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let begun = |seconds| Record {
            created: at(seconds),
            ..Arc::unwrap_or_clone(crate::session::test_record("ada"))
        };
        let (before, after, own_one) = (begun(50), begun(3600), begun(3600));
        let all = own.begin_end(whose, None, at(100));
        own.finish_end(&all, None);
        let others = own.begin_end(whose, Some(own_one.key), at(4000));
        own.finish_end(&others, None);
        assert!(own.has_ended(&before) && own.has_ended(&after));
        assert!(!own.has_ended(&own_one), "it is meant by neither");
        let again = own.try_again(whose);
        let order: Vec<_> = again.iter().map(|end| end.keep).collect();
        assert_eq!(order, [None, Some(own_one.key)]);
        assert_eq!(own.try_again(whose), [], "they are being written");
        for end in &again {
            own.finish_end(end, Some(&None));
        }
        assert!(!own.has_ended(&before) && own.unwritten().1.is_empty());
        // Whoever had begun before stays over, whatever is clicked.
        let all = own.begin_end(whose, None, at(100));
        own.begin_end(whose, Some(before.key), at(101));
        assert!(own.has_ended(&before));
        // And one that ends all is enough.
        let last = own.begin_end(whose, None, at(5000));
        own.finish_end(&all, None);
        own.finish_end(&last, None);
        assert_eq!(own.try_again(whose).len(), 1);
    }

    #[test]
    fn rel_18_of_too_many_ends_of_users_the_newest_are_remembered() {
        let mut own = Own::default();
        let epoch = |number| Epoch {
            number,
            kept: Vec::new(),
        };
        let user = |number: usize| Whose::User(UserKey::of(&number.to_string()));
        own.note_epoch(Whose::All, epoch(1));
        let numbers = (2..).take(2 * MAX);
        for (number, at) in numbers.zip(0..) {
            own.note_epoch(user(at), epoch(number));
        }
        let known = own.epochs();
        assert!(known.len() <= MAX, "{}", known.len());
        let has = |whose| known.iter().any(|(known, _)| *known == whose);
        assert!(has(Whose::All), "it is one alone");
        assert!((0..100).all(|at| has(user(2 * MAX - 1 - at))));
        assert!(!has(user(0)));
    }
}
