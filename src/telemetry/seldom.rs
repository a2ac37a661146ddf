//! Lines that would come with each of many requests, and are enough now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// How often the log hears of the same trouble.
const EVERY: Duration = Duration::from_mins(1);

/// When one such line was written last.
#[derive(Debug)]
pub(crate) struct Seldom {
    clock: Clock,
    last: Mutex<Option<Timestamp>>,
}

impl Seldom {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            last: Mutex::default(),
        }
    }

    /// Whether to write it now; whoever asks does.
    pub(crate) fn is_due(&self) -> bool {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.since(last) < EVERY) {
            return false;
        }
        *last = Some(now);
        true
    }

    /// Lets the next one be due; whether there was one since the last call.
    pub(crate) fn reset(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.take().is_some()
    }
}
