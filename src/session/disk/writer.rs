//! The one thread that writes the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use redb::Durability;

use super::command::{Command, Outcome};
use super::tables::Tables;
use super::{PendingDeletes, Shared, file};
use crate::clock::{Clock, Timestamp};
use crate::session::id::SessionKey;
use crate::session::store::StoreError;
use crate::telemetry::Seldom;

/// How often to look for what is due when nobody asks for anything.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Accesses wait this long for others to be written with.
const GATHER_ACCESSES: Duration = Duration::from_secs(10);

/// Most commands, or accesses, in one transaction: who asks next does not wait longer than for
/// this.
const BATCH: usize = 1000;

/// What is left of the disk for logouts when logins are refused already: a removal needs room,
/// too, because pages are copied before they are changed.
const RESERVE: u64 = 16 * 1024 * 1024;

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    /// Pending deletes that could not be written; they are tried again.
    retry: Vec<SessionKey>,
    retry_all: bool,
    /// Since when something is committed that a crash would lose.
    undurable: Option<Instant>,
    /// When accesses were last written.
    accesses_written: Instant,
    /// Tells the log that the disk is full.
    said_full: Seldom,
    /// Tells the log that it cannot be written.
    said_unwritable: Seldom,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, queue: Receiver<Command>) -> io::Result<()> {
        let writer = Self {
            shared,
            queue,
            retry: Vec::new(),
            retry_all: false,
            undurable: None,
            accesses_written: Clock::stopwatch(),
            said_full: Seldom::new(Clock::system()),
            said_unwritable: Seldom::new(Clock::system()),
        };
        thread::Builder::new()
            .name("sessions-disk".to_owned())
            .spawn(|| writer.run())?;
        Ok(())
    }

    fn run(mut self) {
        loop {
            match self.queue.recv_timeout(HEARTBEAT) {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(self.queue.try_iter().take(BATCH - 1));
                    let close = batch.iter().position(|c| matches!(c, Command::Close(_)));
                    let close = close.map(|at| batch.remove(at));
                    self.write(batch);
                    if let Some(close) = close {
                        self.finish();
                        return close.succeed(Outcome::Closed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.do_what_is_due();
        }
    }

    fn finish(&mut self) {
        self.write_accesses();
        if self.undurable.is_some() || self.must_retry() {
            self.write(Vec::new());
        }
        *self
            .shared
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn do_what_is_due(&mut self) {
        if self.accesses_written.elapsed() >= GATHER_ACCESSES {
            self.accesses_written = Clock::stopwatch();
            self.write_accesses();
        }
        let undurable = self.undurable.is_some_and(|t| t.elapsed() >= HEARTBEAT);
        if undurable || self.must_retry() || self.is_closed() {
            self.write(Vec::new());
        }
    }

    fn must_retry(&self) -> bool {
        self.retry_all || !self.retry.is_empty()
    }

    fn is_closed(&self) -> bool {
        let database = self.shared.database.read();
        database.unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn write_accesses(&mut self) {
        let touched: Vec<_> = mem::take(&mut *self.shared.touched()).into_iter().collect();
        for batch in touched.chunks(BATCH) {
            match self.attempt(&[], batch, false) {
                Ok(_) => {
                    self.undurable.get_or_insert_with(Clock::stopwatch);
                }
                Err(error) => {
                    self.recover(&error);
                    // Whoever touched it again meanwhile did so later.
                    let mut touched = self.shared.touched();
                    for (key, at) in batch {
                        touched.entry(*key).or_insert(*at);
                    }
                }
            }
        }
    }

    /// Carries out a batch in one transaction and answers it. Without commands it makes durable
    /// what is committed, and tries pending deletes again.
    fn write(&mut self, batch: Vec<Command>) {
        let mut batch = self.refuse_what_has_no_room(batch);
        let durable =
            batch.is_empty() || self.must_retry() || batch.iter().any(Command::is_durable);
        match self.attempt(&batch, &[], durable) {
            Ok(outcomes) => self.answer(batch, outcomes, durable),
            Err(error) => {
                let fault = self.recover(&error);
                let (removals, others): (Vec<_>, Vec<_>) =
                    batch.drain(..).partition(Command::removes);
                for command in others {
                    command.fail(fault);
                }
                self.write_removals(removals, fault);
            }
        }
    }

    /// Once more, on their own: a logout needs less room than a login, and is worth more.
    fn write_removals(&mut self, removals: Vec<Command>, fault: StoreError) {
        if removals.is_empty() {
            return;
        }
        match self.attempt(&removals, &[], true) {
            Ok(outcomes) => self.answer(removals, outcomes, true),
            Err(error) => {
                self.recover(&error);
                for command in removals {
                    match &command {
                        Command::Remove(keys, _) => self.retry.extend(keys),
                        _ => self.retry_all = true,
                    }
                    command.fail(fault);
                }
            }
        }
    }

    fn answer(&mut self, batch: Vec<Command>, outcomes: Vec<Outcome>, durable: bool) {
        if durable {
            self.undurable = None;
            self.forget_retried();
        } else {
            self.undurable.get_or_insert_with(Clock::stopwatch);
        }
        if self.said_unwritable.reset() {
            tracing::info!("the sessions file can be written again");
        }
        let mut pending = self.shared.pending_deletes();
        for command in &batch {
            match command {
                Command::Remove(keys, _) => keys.iter().for_each(|key| {
                    pending.keys.remove(key);
                }),
                Command::Clear(_) => *pending = PendingDeletes::default(),
                _ => {}
            }
        }
        drop(pending);
        for (command, outcome) in batch.into_iter().zip(outcomes) {
            command.succeed(outcome);
        }
    }

    fn forget_retried(&mut self) {
        if self.must_retry() {
            let mut pending = self.shared.pending_deletes();
            for key in self.retry.drain(..) {
                pending.keys.remove(&key);
            }
            if mem::take(&mut self.retry_all) {
                pending.all = false;
            }
        }
    }

    /// One transaction; on an error none of it has happened.
    fn attempt(
        &self,
        batch: &[Command],
        accesses: &[(SessionKey, Timestamp)],
        durable: bool,
    ) -> Result<Vec<Outcome>, redb::Error> {
        let database = self.shared.database.read();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let work = || {
            let mut transaction = database.begin_write()?;
            if !durable {
                transaction.set_durability(Durability::None)?;
            }
            let mut tables = Tables::of(&transaction)?;
            if durable && self.retry_all {
                tables = tables.clear(&transaction)?.0;
            }
            if durable {
                tables.remove_each(&self.retry)?;
            }
            for (key, at) in accesses {
                tables.touch(key, *at)?;
            }
            let mut outcomes = Vec::with_capacity(batch.len());
            for command in batch {
                let (next, outcome) = command.apply(tables, &transaction)?;
                tables = next;
                outcomes.push(outcome);
            }
            let (count, latest) = (tables.count()?, tables.latest()?);
            drop(tables);
            transaction.commit()?;
            self.shared.count.store(count, Ordering::Relaxed);
            self.shared
                .latest
                .store(latest.as_millis(), Ordering::Relaxed);
            Ok(outcomes)
        };
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("writing it panicked".into())))
    }

    /// After an error the file has to be opened anew. Gives what to tell whoever waits.
    fn recover(&mut self, error: &redb::Error) -> StoreError {
        let full = matches!(error, redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
        if self.said_unwritable.is_due() {
            tracing::error!(
                %error, file = %self.shared.path.display(),
                "cannot write the sessions file: sessions go on, new logins are refused"
            );
        }
        let mut database = self
            .shared
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *database = None;
        match file::open(&self.shared.path) {
            Ok((opened, contents)) => {
                *database = Some(opened);
                self.shared.count.store(contents.count, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(%error, "the sessions file stays closed"),
        }
        if full {
            StoreError::Full
        } else {
            StoreError::Unavailable
        }
    }

    /// Refuses logins while the rest of the disk is kept for logouts.
    fn refuse_what_has_no_room(&mut self, batch: Vec<Command>) -> Vec<Command> {
        let grows = |command: &Command| {
            matches!(
                command,
                Command::Insert(..) | Command::Bind(..) | Command::AddId(..) | Command::Change(..)
            )
        };
        if !batch.iter().any(grows) || self.has_room() {
            return batch;
        }
        let (refused, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(grows);
        for command in refused {
            command.fail(StoreError::Full);
        }
        rest
    }

    fn has_room(&mut self) -> bool {
        let free = free(&self.shared.path);
        if free >= RESERVE {
            if self.said_full.reset() {
                tracing::info!("there is room on the disk again: logins are kept");
            }
            return true;
        }
        if self.said_full.is_due() {
            tracing::error!(
                free, needed = RESERVE, file = %self.shared.path.display(),
                "the disk is full: sessions go on, new logins are refused; make room"
            );
        }
        false
    }
}

/// Whether the disk of this file has room for logins; else they are refused.
pub(crate) fn has_room(path: &Path) -> bool {
    free(path) >= RESERVE
}

/// Bytes that are free where the file is; as many as one likes where nobody can tell.
fn free(path: &Path) -> u64 {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    rustix::fs::statvfs(folder.unwrap_or(Path::new(".")))
        .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}
