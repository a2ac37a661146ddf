//! Who may connect, and for how long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::{Asks, Dialers};

/// Who may connect now: not too many at once, and none for so long that others come too late.
#[derive(Clone)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    /// What one may take.
    each: Duration,
    deadline: Instant,
}

/// A place, until it is dropped.
pub(super) struct Turn {
    pub(super) deadline: Instant,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    /// Each address is dialled, and each app asked.
    pub(super) fn new(
        at_once: usize,
        dialers: &Dialers,
        asks: Option<Asks>,
        deadline: Instant,
    ) -> Self {
        let apps = dialers.iter().flatten();
        let turns = apps.map(|(dialers, _)| dialers.len() + asks.iter().len());
        let rounds = turns.sum::<usize>().div_ceil(at_once).max(1);
        let left = deadline.saturating_duration_since(Instant::now());
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            each: left / u32::try_from(rounds).unwrap_or(u32::MAX),
            deadline,
        }
    }

    /// `None` when there is no time left.
    pub(super) async fn next(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = timeout_at(self.deadline, place).await.ok()?.ok()?;
        let now = Instant::now();
        (now < self.deadline).then(|| Turn {
            deadline: self.deadline.min(now + self.each),
            _place: place,
        })
    }
}
