//! How a node keeps up with what the others change, and with what the store has lost.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::record::{Field, Record};
use super::{BATCH, Changes, Entry, Found, InStore, Stamp, StoreFault, records};
use crate::auth::users_file::{self, User, Users, UsersFileError};
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;

/// How often the store is asked what has changed, whether anything wakes this node or not.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// What the store does not take is put back again after this.
const PUT_AGAIN: Duration = Duration::from_mins(1);

/// At least so long passes between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// What is to be put into the store, each in the place of what has this stamp.
type ToPut = Vec<(Field, Stamp)>;

impl InStore {
    /// Keeps up with the other nodes; does not end.
    pub(in crate::auth) async fn follow(&self) {
        let mut wake_ups = self.records.wake_ups();
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_known = false;
        let (mut to_put, mut refused) = (ToPut::new(), None::<Timestamp>);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(()) = wake_ups.recv() => {}
                () = self.asked.notified() => {}
            }
            self.reads.send_modify(|reads| reads.begun += 1);
            let at = self.clock.now();
            let read = self.look(&mut to_put).await;
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
            // A part at a time, so that logins, which wait for a look, do not wait for all of them.
            if read.is_ok() && refused.is_none_or(|at| self.clock.now().since(at) >= PUT_AGAIN) {
                refused = match self.put_some_back(&mut to_put).await {
                    Ok(()) | Err(StoreFault::Away) => None,
                    Err(_) => Some(at),
                };
                if !to_put.is_empty() {
                    self.asked.notify_one();
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes over what has changed. What is to be put into the store is added to `to_put`, each with the
    /// stamp of what is there.
    async fn look(&self, to_put: &mut ToPut) -> Result<(), StoreFault> {
        let _turn = self.turn.lock().await;
        let read = self.read_changes(to_put).await;
        self.publish(); // what was read before something went wrong, too
        if let Some(seen) = read? {
            self.known().seen = Some(seen);
        }
        Ok(())
    }

    async fn read_changes(&self, to_put: &mut ToPut) -> Result<Option<Vec<u8>>, StoreFault> {
        let (seen, is_empty) = {
            let known = self.known();
            (known.seen.clone(), known.entries.is_empty())
        };
        let Some(mut changes) = self.records.changes(seen.as_deref()).await? else {
            return Ok(None);
        };
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
                self.merge(field, found, to_put);
            }
        }
        let pending: HashSet<_> = to_put.iter().map(|(field, _)| *field).collect();
        let missing = missing.into_iter().filter(|field| !pending.contains(field));
        to_put.extend(missing.map(|field| (field, Stamp::new())));
        Ok(Some(changes.seen))
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

    /// What is to be put into the store, because it is newer or to be sealed by the first key, is added
    /// to `to_put`.
    fn merge(&self, field: Field, found: Option<Found>, to_put: &mut ToPut) {
        let mut known = self.known();
        let Some(found) = found else {
            if known.entries.contains_key(&field) {
                to_put.push((field, Stamp::new()));
            }
            return;
        };
        let stamp = found.stamp;
        let entry = known.entries.get(&field);
        let own = entry.and_then(|entry| entry.last.as_ref());
        let before = entry.and_then(Entry::record).map(|record| &record.state);
        match found.record {
            Ok(record) if own.is_some_and(|own| own.outranks(&record)) => {
                to_put.push((field, stamp));
            }
            Ok(record) => {
                let differs = before != Some(&record.state);
                if found.is_of_old_key && known.sealed_anew.insert(field) {
                    to_put.push((field, stamp.clone()));
                }
                known.entries.insert(field, Entry::readable(stamp, record));
                known.is_news |= differs;
            }
            Err(error) => {
                if self.said_unreadable.is_due() {
                    tracing::warn!(
                        user = %field.short(), error,
                        "a user in the session store cannot be read: they cannot sign in, and what is \
                         there is left alone"
                    );
                }
                let differs = before.is_some();
                let unreadable = Entry {
                    stamp,
                    last: own.cloned(),
                    is_unreadable: true,
                };
                known.entries.insert(field, unreadable);
                known.is_news |= differs;
            }
        }
    }

    /// Puts what is known in the place of what is there, for some of them. An error says that the store
    /// takes none now.
    async fn put_some_back(&self, to_put: &mut ToPut) -> Result<(), StoreFault> {
        let _turn = self.turn.lock().await;
        let some: Vec<_> = {
            let known = self.known();
            let some = to_put.iter().take(BATCH).filter_map(|(field, there)| {
                let record = known.entries.get(field)?.last.clone()?;
                Some((*field, there.clone(), record))
            });
            some.collect()
        };
        if !some.is_empty() {
            let put = self.records.put_each(&some).await.inspect_err(|error| {
                if *error != StoreFault::Away && self.said_not_put_back.is_due() {
                    tracing::error!(
                        %error, users = to_put.len(),
                        "users that the session store has lost cannot be put back"
                    );
                }
            });
            let mut known = self.known();
            for ((field, _, record), stamp) in some.into_iter().zip(put?) {
                match stamp {
                    Some(stamp) => {
                        let entry = Entry::readable(stamp, record);
                        let was_unreadable = known.entries.insert(field, entry);
                        known.is_news |= was_unreadable.is_some_and(|entry| entry.is_unreadable);
                    }
                    None => known.seen = None, // another node was quicker: all are looked at again
                }
            }
        }
        to_put.drain(..to_put.len().min(BATCH));
        self.publish();
        Ok(())
    }

    /// Gives whether the users of the file are in the store now.
    async fn take_over_first(&self) -> Result<bool, StoreFault> {
        let Some(file) = &self.first else {
            return Ok(false);
        };
        let path = file.clone();
        let reading = tokio::task::spawn_blocking(move || users_file::read_trusted(&path)).await;
        let users = match reading {
            Ok(Ok(users)) => users,
            // Or the runtime ends.
            Ok(Err(UsersFileError::Missing { .. })) | Err(_) => return Ok(false),
            Ok(Err(error)) => {
                if self.said_not_taken_over.is_due() {
                    // One line an event, however many problems the file has (SEC-71).
                    let error = error.to_string().replace('\n', "; ");
                    tracing::error!(
                        error,
                        "the users file was not taken over into the session store"
                    );
                }
                return Ok(false);
            }
        };
        let first = |user: &User| Some((Field::of(user.name())?, Record::first(user.clone())));
        let records: Vec<_> = users.iter().filter_map(first).collect();
        if records.is_empty() {
            return Ok(false);
        }
        let begun = match self.records.begin_with(&records).await {
            Err(error) if error != StoreFault::Away => {
                if self.said_not_taken_over.is_due() {
                    tracing::error!(
                        %error, "the users file was not taken over into the session store"
                    );
                }
                return Ok(false);
            }
            begun => begun?,
        };
        if !begun {
            return Ok(false);
        }
        tracing::info!(
            target: "vestibule", users = records.len(), file = %file.display(),
            "the users file was taken over into the session store"
        );
        Ok(true)
    }
}

/// Everybody in the store, and how many there are that cannot be read; for a process that asks once.
pub(crate) async fn read_once(nodes: &Nodes, clock: &Clock) -> Result<(Users, usize), StoreFault> {
    let records = records(nodes, clock).ok_or(StoreFault::Unavailable)?;
    let changes = records.changes(None).await?;
    let fields = changes.map_or_else(Vec::new, |changes| changes.fields);
    let fields: Vec<_> = fields.into_iter().map(|(field, _)| field).collect();
    let (mut users, mut unreadable) = (Vec::new(), 0);
    for some in fields.chunks(BATCH) {
        for (_, found) in records.read(some).await? {
            match found.map(|found| found.record) {
                Some(Ok(record)) => users.extend(record.user().cloned()),
                Some(Err(_)) => unreadable += 1,
                None => {}
            }
        }
    }
    Ok((users.into_iter().collect(), unreadable))
}
