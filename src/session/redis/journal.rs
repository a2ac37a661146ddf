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

/// Ends of users that are remembered; above it the older half is forgotten.
pub(super) const MAX_EPOCHS: usize = 10_000;

/// Which sessions an end by an epoch is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EndScope {
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
    pub(super) scope: EndScope,
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
        let began_since = match self.scope {
            EndScope::User(_) => record.created >= self.at.plus(IN_ANY_CASE),
            EndScope::All => false,
        };
        self.keep != Some(record.key) && !began_since
    }
}

#[derive(Default)]
pub(super) struct Journal {
    tombstones: HashSet<SessionKey>,
    order: VecDeque<SessionKey>,
    /// Ended here and not written down yet.
    unwritten: HashSet<SessionKey>,
    /// The same by epochs, being written or not written yet.
    pending: HashMap<EndScope, Vec<PendingEnd>>,
    /// The number of the last one.
    last_pending: u64,
    epochs: HashMap<EndScope, Epoch>,
    pub(super) writes: Writes,
}

impl Journal {
    /// Whether a session is over, whatever the store says.
    pub(super) fn has_ended(&self, record: &Record) -> bool {
        let is_ending = |scope| {
            let mut pending = self.pending.get(&scope).into_iter().flatten();
            pending.any(|pending| pending.ends(record))
        };
        self.is_over(&record.key)
            || !self.pending.is_empty()
                && (is_ending(EndScope::All)
                    || is_ending(EndScope::User(UserKey::of(record.user()))))
    }

    /// The epochs that are remembered, and later than those that a session of a user began in.
    pub(super) fn epochs_after(&self, user: UserKey, began_in: Epochs) -> Vec<(EndScope, Epoch)> {
        let both = [
            (EndScope::User(user), began_in.user),
            (EndScope::All, began_in.all),
        ];
        let later = both.into_iter().filter_map(|(scope, began_in)| {
            let epoch = self.epochs.get(&scope)?;
            (epoch.number > began_in).then(|| (scope, epoch.clone()))
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
        scope: EndScope,
        keep: Option<SessionKey>,
        at: Timestamp,
    ) -> PendingEnd {
        self.last_pending += 1;
        let end = PendingEnd {
            scope,
            keep,
            at,
            has_waited: false,
            is_being_written: true,
            number: self.last_pending,
        };
        let pending = self.pending.entry(scope).or_default();
        pending.retain(|earlier| keep.is_some() && earlier.keep.is_none());
        pending.push(end);
        let over = Epoch {
            number: u64::MAX,
            kept: keep.into_iter().collect(),
        };
        self.writes.forget_ended(scope, &over);
        end
    }

    /// Begins another try at the ends of these sessions that wait, the earliest first: those that nobody
    /// is about to write.
    pub(super) fn try_again(&mut self, scope: EndScope) -> Vec<PendingEnd> {
        let pending = self.pending.get_mut(&scope).into_iter().flatten();
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
        if let Some(pending) = self.pending.get_mut(&end.scope) {
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
                self.pending.remove(&end.scope);
            }
        }
        if let Some(Some(epoch)) = written {
            self.note_epoch(end.scope, epoch.clone());
        }
    }

    /// Remembers an epoch that was found in the store, as long as there is room for it: the store has it, and
    /// what is new is not to be forgotten for it. However far ahead the clock was that has set it: if the
    /// store lost it, no end would come after the sessions that have begun in it.
    pub(super) fn learn_epoch(&mut self, scope: EndScope, epoch: Epoch) {
        if self.has_room_for(scope) {
            self.note_epoch(scope, epoch);
        }
    }

    /// Remembers an epoch that was just set, whoever has set it.
    pub(super) fn note_epoch(&mut self, scope: EndScope, epoch: Epoch) {
        if !self.has_room_for(scope) {
            // The newest are those that a failover loses.
            let mut numbers: Vec<_> = self.epochs.values().map(|epoch| epoch.number).collect();
            let (_, median, _) = numbers.select_nth_unstable(MAX_EPOCHS / 2);
            self.forget_epochs(|number| number <= *median);
        }
        let known = self.epochs.entry(scope).or_default();
        if epoch.number > known.number {
            *known = epoch;
        }
    }

    /// There is always room for that of all: it is one alone.
    fn has_room_for(&self, scope: EndScope) -> bool {
        let has_all = self.epochs.contains_key(&EndScope::All);
        let users = self.epochs.len() - usize::from(has_all);
        scope == EndScope::All || users < MAX_EPOCHS || self.epochs.contains_key(&scope)
    }

    /// Forgets epochs of users that are that old.
    pub(super) fn forget_epochs(&mut self, is_old: impl Fn(u64) -> bool) {
        self.epochs
            .retain(|scope, epoch| *scope == EndScope::All || !is_old(epoch.number));
    }

    /// What waits for another try; not what is just being written.
    pub(super) fn unwritten(&self) -> (Vec<SessionKey>, Vec<EndScope>) {
        let keys = self.unwritten.iter().copied().collect();
        let waits = |pending: &[PendingEnd]| pending.iter().any(|end| !end.is_being_written);
        let pending = self.pending.iter().filter(|(_, pending)| waits(pending));
        (keys, pending.map(|(scope, _)| *scope).collect())
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

    pub(super) fn epochs(&self) -> Vec<(EndScope, Epoch)> {
        self.epochs
            .iter()
            .map(|(scope, epoch)| (*scope, epoch.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_10_who_signs_in_after_a_revocation_that_waits_may_end_the_others() {
        let mut journal = Journal::default();
        let scope = EndScope::User(UserKey::of("ada"));
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let begun = |seconds| Record {
            created: at(seconds),
            ..Arc::unwrap_or_clone(crate::session::test_record("ada"))
        };
        let (before, after, own_one) = (begun(50), begun(3600), begun(3600));
        let all = journal.begin_end(scope, None, at(100));
        journal.finish_end(&all, None);
        let others = journal.begin_end(scope, Some(own_one.key), at(4000));
        journal.finish_end(&others, None);
        assert!(journal.has_ended(&before) && journal.has_ended(&after));
        assert!(!journal.has_ended(&own_one), "it is meant by neither");
        let again = journal.try_again(scope);
        let order: Vec<_> = again.iter().map(|end| end.keep).collect();
        assert_eq!(order, [None, Some(own_one.key)]);
        assert_eq!(journal.try_again(scope), [], "they are being written");
        for end in &again {
            journal.finish_end(end, Some(&None));
        }
        assert!(!journal.has_ended(&before) && journal.unwritten().1.is_empty());
        // Whoever had begun before stays over, whatever is clicked.
        let all = journal.begin_end(scope, None, at(100));
        journal.begin_end(scope, Some(before.key), at(101));
        assert!(journal.has_ended(&before));
        // And one that ends all is enough.
        let last = journal.begin_end(scope, None, at(5000));
        journal.finish_end(&all, None);
        journal.finish_end(&last, None);
        assert_eq!(journal.try_again(scope).len(), 1);
    }

    #[test]
    fn rel_18_of_too_many_ends_of_users_the_newest_are_remembered() {
        let mut journal = Journal::default();
        let epoch = |number| Epoch {
            number,
            kept: Vec::new(),
        };
        let user = |number: usize| EndScope::User(UserKey::of(&number.to_string()));
        journal.note_epoch(EndScope::All, epoch(1));
        let numbers = (2..).take(2 * MAX_EPOCHS);
        for (number, at) in numbers.zip(0..) {
            journal.note_epoch(user(at), epoch(number));
        }
        let known = journal.epochs();
        assert!(known.len() <= MAX_EPOCHS + 1, "{}", known.len());
        let has = |scope| known.iter().any(|(known, _)| *known == scope);
        assert!(has(EndScope::All), "it is one alone");
        assert!((0..100).all(|at| has(user(2 * MAX_EPOCHS - 1 - at))));
        assert!(!has(user(0)));
    }

    #[test]
    fn rel_18_what_is_found_in_the_store_takes_the_place_of_nothing_that_was_heard_of() {
        let mut journal = Journal::default();
        let epoch = |number| Epoch {
            number,
            kept: Vec::new(),
        };
        let user = |number: usize| EndScope::User(UserKey::of(&number.to_string()));
        for at in 0..MAX_EPOCHS {
            journal.note_epoch(user(at), epoch(1000));
        }
        journal.learn_epoch(user(MAX_EPOCHS), epoch(2000));
        let known = journal.epochs();
        assert_eq!(known.len(), MAX_EPOCHS);
        assert!(known.iter().all(|(_, epoch)| epoch.number == 1000));
        // Of the users who are remembered, and of all, there is no other.
        journal.learn_epoch(user(7), epoch(2000));
        journal.learn_epoch(EndScope::All, epoch(2000));
        let known = journal.epochs();
        let has = |scope| known.contains(&(scope, epoch(2000)));
        assert!(has(user(7)) && has(EndScope::All));
        assert_eq!(known.len(), MAX_EPOCHS + 1);
    }
}
