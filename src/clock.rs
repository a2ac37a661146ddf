//! The only place that asks the system for the time.
//!
//! Everything that expires (sessions, throttles, tokens) reads this clock, so that a test moves
//! time instead of sleeping, and so that a system clock that is set back revives nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else has to ask"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A time by its milliseconds since the Unix epoch.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time and `duration` more; stays at the end of time rather than wrap.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This time as the standard library writes it, for dates that people read.
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

/// Wall time at start plus what the monotonic clock says has passed since (SEC-50, REL-08).
///
/// Within one run time never goes back, whatever happens to the system clock, and goes on while
/// the machine is suspended. Clones share the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Since the machine was booted.
    started: Duration,
    wall_at_start: Timestamp,
    advanced_millis: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that starts at the wall time of now.
    pub fn system() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: since_boot(),
            wall_at_start: Timestamp::default().plus(wall),
            advanced_millis: Arc::default(),
        }
    }

    /// The time of now.
    pub fn now(&self) -> Timestamp {
        let advanced = Duration::from_millis(self.advanced_millis.load(Ordering::Relaxed));
        self.wall_at_start
            .plus(since_boot().saturating_sub(self.started))
            .plus(advanced)
    }

    /// Moves this clock and its clones forward: how tests let time pass.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.advanced_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Goes on from `earliest` where the system clock was set back behind it; gives by how much.
    pub(crate) fn catch_up(&self, earliest: Timestamp) -> Duration {
        let behind = earliest.since(self.now());
        self.advance(behind);
        behind
    }

    /// A mark for measuring how long something takes; tests do not move it.
    pub(crate) fn stopwatch() -> Instant {
        Instant::now()
    }
}

/// `Instant` stands still while the machine is suspended, and a session would sleep with it.
fn since_boot() -> Duration {
    clock_gettime(ClockId::Boottime)
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_for_every_clone_and_never_back() {
        let clock = Clock::system();
        let before = clock.now();
        clock.clone().advance(Duration::from_hours(1));
        let after = clock.now();
        assert!(after.since(before) >= Duration::from_hours(1));
        assert_eq!(before.since(after), Duration::ZERO);
    }
}
