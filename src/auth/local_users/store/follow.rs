//! How a node keeps up with what the others change.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::put_back::PutBack;
use super::record::Field;
use super::sweep::Sweep;
use super::{BATCH, Changes, Entry, Found, SharedUsers, StoreFault};

/// How often the store is asked what has changed, whether anything wakes this node or not.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// At least so long passes between two questions.
const PAUSE: Duration = Duration::from_millis(5);

impl SharedUsers {
    /// Keeps up with the other nodes; does not end.
    pub(in crate::auth) async fn follow(&self) {
        let mut wake_ups = self.records.wake_ups();
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_known = false;
        let (mut put_back, mut sweep) = (PutBack::default(), Sweep::begin(self.clock.now()));
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(()) = wake_ups.recv() => {}
                () = self.asked.notified() => {}
            }
            self.reads.send_modify(|reads| reads.begun += 1);
            let at = self.clock.now();
            let read = self.look(&mut put_back).await;
            match &read {
                Ok(()) => _ = self.read.fetch_max(at.as_millis(), Ordering::Release),
                Err(error) => tracing::debug!(%error, "the local users cannot be read"),
            }
            self.reads.send_modify(|reads| {
                reads.ended = reads.begun;
                reads.fault = read.err();
            });
            let is_known = self.is_known();
            if was_known && !is_known {
                self.changed.notify_one();
            }
            was_known = is_known;
            if read.is_ok() {
                self.sweep(&mut sweep, &mut put_back).await;
                self.put_some_back(&mut put_back).await;
            }
            self.say_unreadable();
            sleep(PAUSE).await;
        }
    }

    /// Takes over what has changed. What is to be put into the store is added to `put_back`.
    async fn look(&self, put_back: &mut PutBack) -> Result<(), StoreFault> {
        let _turn = self.turn.lock().await;
        let read = self.read_changes(put_back).await;
        self.publish(); // what was read before something went wrong, too
        if let Some(seen) = read? {
            self.known().seen = Some(seen);
        }
        self.settle();
        Ok(())
    }

    async fn read_changes(&self, put_back: &mut PutBack) -> Result<Option<Vec<u8>>, StoreFault> {
        let (seen, is_empty) = {
            let known = self.known();
            (known.seen.clone(), known.entries.is_empty())
        };
        let Some(mut changes) = self.records.changes(seen.as_deref()).await? else {
            return Ok(None);
        };
        if changes.of_other_server {
            self.known().doubt(self.clock.now());
        }
        if is_empty
            && changes.are_all
            && changes.fields.is_empty()
            && self.take_over_first().await?
            && let Some(again) = self.records.changes(None).await?
        {
            changes = again;
        }
        let (others, missing) = self.compare(&changes);
        for some in others.chunks(BATCH) {
            for (field, found) in self.records.read(some).await? {
                self.merge(field, found, put_back);
            }
            self.publish(); // in parts: nobody waits while thousands are brought to logins
        }
        for field in missing {
            self.is_missing(field, put_back);
        }
        let is_whole = self.known().counts(&changes);
        Ok(Some(if is_whole { changes.seen } else { Vec::new() }))
    }

    /// Where something else is than is known, and where nothing is any more.
    fn compare(&self, changes: &Changes) -> (Vec<Field>, Vec<Field>) {
        let known = self.known();
        let (mut others, mut missing) = (Vec::new(), Vec::new());
        for (field, stamp) in &changes.fields {
            match known.entries.get(field) {
                Some(entry) if entry.stamp == *stamp => {}
                Some(_) if stamp.is_empty() => missing.push(*field),
                _ => others.push(*field),
            }
        }
        if changes.are_all {
            let there: HashSet<_> = changes.fields.iter().map(|(field, _)| field).collect();
            let gone = known.entries.keys().filter(|field| !there.contains(field));
            missing.extend(gone);
        }
        (others, missing)
    }

    /// Takes over what was found of a user. What is to be put into the store, because it is newer or to be
    /// sealed by the first key, is added to `put_back`.
    pub(super) fn merge(&self, field: Field, found: Option<Found>, put_back: &mut PutBack) {
        let Some(found) = found else {
            return self.is_missing(field, put_back);
        };
        let (now, mut known) = (self.clock.now(), self.known());
        let stamp = found.stamp;
        let entry = known.entries.get(&field);
        let own = entry.and_then(|entry| entry.last.as_ref());
        let before = entry.and_then(Entry::record);
        let is_same = before.is_some() && entry.is_some_and(|entry| entry.stamp == stamp);
        match found.record {
            Ok(record) if own.is_some_and(|own| own.outranks(&record)) => {
                put_back.add(field, stamp);
                known.doubt(now); // it is not alone
            }
            Ok(record) => {
                let differs = before.map(|before| &before.state) != Some(&record.state);
                if found.is_of_old_key && known.sealed_anew.insert(field) {
                    put_back.add(field, stamp.clone());
                }
                known.insert(field, Entry::readable(stamp, record), now);
                if differs {
                    known.news.insert(field);
                }
            }
            // No two seals begin alike: this is what was read before, and was changed since.
            Err(error) if is_same => {
                if self.said_damaged.is_due() {
                    tracing::warn!(
                        user = %field.short(), error,
                        "a user in the session store was damaged, and is put there again as this node \
                         has read it"
                    );
                }
                put_back.add(field, stamp);
            }
            Err(error) => {
                let unreadable = Entry {
                    stamp,
                    last: own.cloned(),
                    is_unreadable: true,
                };
                known.insert(field, unreadable, now);
                known.news.insert(field);
                known.untold = Some((field, error));
            }
        }
    }

    /// What is known of somebody is not there any more.
    fn is_missing(&self, field: Field, put_back: &mut PutBack) {
        let mut known = self.known();
        known.doubt(self.clock.now()); // nor, perhaps, are others
        if let Some(entry) = known.entries.get_mut(&field)
            && !entry.stamp.is_empty()
        {
            entry.stamp.clear();
            if entry.last.is_some() {
                put_back.add(field, Vec::new());
            } else {
                known.forget(&field); // whoever removed it may add the user again
            }
        }
    }

    /// After a while without doubt, a user of whom there is no record is none.
    fn settle(&self) {
        let (now, mut known) = (self.clock.now(), self.known());
        if known.entries.is_empty() {
            return known.doubt(now); // nobody has brought any users there yet
        }
        if known.is_whole || now.since(known.doubted) < self.records.stale_for() {
            return;
        }
        known.is_whole = true;
        drop(known);
        self.current.have_to_be_judged();
        self.changed.notify_one();
    }

    fn say_unreadable(&self) {
        let (untold, users, is_other_key) = {
            let mut known = self.known();
            (known.untold.take(), known.unreadable, known.has_other_key())
        };
        let Some((field, error)) = untold else {
            return;
        };
        if is_other_key {
            if self.said_none_readable.is_due() {
                tracing::error!(
                    users,
                    error,
                    "no user in the session store can be read, and so nobody can sign in; see that \
                     `key_file` of [session.redis] has the key of the other nodes"
                );
            }
        } else if self.said_unreadable.is_due() {
            tracing::warn!(
                user = %field.short(), users, error,
                "users in the session store cannot be read: they cannot sign in, and what is there is \
                 left alone"
            );
        }
    }
}
