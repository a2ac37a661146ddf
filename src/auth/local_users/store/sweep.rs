//! Reads, little by little, what is known already: nobody tells of a value that was damaged where it lies.

use std::time::Duration;

use super::put_back::PutBack;
use super::record::Field;
use super::{BATCH, SharedUsers};
use crate::clock::Timestamp;

/// From the beginning of one sweep to that of the next.
const ROUND: Duration = Duration::from_mins(1);

/// Between two batches of one.
const PAUSE: Duration = Duration::from_secs(1);

/// How far it has come.
pub(super) struct Sweep {
    left: Vec<Field>,
    begun: Timestamp,
    read: Timestamp,
}

impl Sweep {
    /// The first begins after a while: a node that starts has just read all of them.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self {
            left: Vec::new(),
            begun: now,
            read: now,
        }
    }

    /// What is to be read next.
    fn next(&mut self, now: Timestamp, all: impl FnOnce() -> Vec<Field>) -> Vec<Field> {
        if self.left.is_empty() && now.since(self.begun) >= ROUND {
            self.begun = now;
            self.left = all();
        } else if now.since(self.read) < PAUSE {
            return Vec::new();
        }
        self.read = now;
        self.left.split_off(self.left.len().saturating_sub(BATCH))
    }
}

impl SharedUsers {
    /// Reads some of them again, if it is time.
    pub(super) async fn sweep(&self, sweep: &mut Sweep, put_back: &mut PutBack) {
        let all = || self.known().entries.keys().copied().collect();
        let some = sweep.next(self.clock.now(), all);
        if some.is_empty() {
            return;
        }
        let _turn = self.turn.lock().await;
        match self.records.read(&some).await {
            Ok(read) => {
                for (field, found) in read {
                    self.merge(field, found, put_back);
                }
                self.publish();
            }
            Err(error) => tracing::debug!(%error, "the local users cannot be read again"),
        }
    }
}
