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
use time::UtcDateTime;

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

    /// This time in UTC to the second, as RFC 3339 writes it: `2026-01-31T23:59:59Z`.
    pub fn to_rfc3339(self) -> String {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        // More than four digits are no year of RFC 3339.
        let time = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::MAX);
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = time.as_hms();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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
        Self {
            started: since_boot(),
            wall_at_start: Timestamp::default().plus(Self::wall()),
            advanced_millis: Arc::default(),
        }
    }

    /// A clock that stands still unless it is [moved](Self::advance): nothing that is tested with it depends
    /// on how fast the machine is.
    #[cfg(test)]
    pub(crate) fn still() -> Self {
        Self {
            started: Duration::MAX,
            ..Self::system()
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

    /// A clock that goes on from `earliest` where this one is behind it, because the system clock
    /// was set back; gives by how much. Tests that move one move the other.
    pub(crate) fn going_on_from(&self, earliest: Timestamp) -> (Self, Duration) {
        let behind = earliest.since(self.now());
        let mut ahead = self.clone();
        ahead.wall_at_start = ahead.wall_at_start.plus(behind);
        (ahead, behind)
    }

    /// What the system says it is, since the Unix epoch: for lines that are read beside those of
    /// other programs.
    pub(crate) fn wall() -> Duration {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default()
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
    fn a_time_is_written_in_utc_with_every_leap_day() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_078_012_800, "2004-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_769_903_999, "2026-01-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_000_000_000_000, "9999-12-31T23:59:59Z"),
        ] {
            let time = Timestamp::from_millis(seconds * 1000 + 999);
            assert_eq!(time.to_rfc3339(), written);
        }
    }

    #[test]
    fn time_moves_for_every_clone_and_never_back() {
        let clock = Clock::system();
        let before = clock.now();
        clock.clone().advance(Duration::from_hours(1));
        let after = clock.now();
        assert!(after.since(before) >= Duration::from_hours(1));
        assert_eq!(before.since(after), Duration::ZERO);
    }

    #[test]
    fn a_clock_can_go_on_from_a_later_time_and_leaves_the_others_behind() {
        let clock = Clock::system();
        let later = clock.now().plus(Duration::from_hours(2));
        let (ahead, behind) = clock.going_on_from(later);
        assert!(behind > Duration::from_mins(119) && ahead.now() >= later);
        assert!(clock.now() < later);
        clock.advance(Duration::from_hours(1));
        assert!(ahead.now() >= later.plus(Duration::from_hours(1)));
        let (same, behind) = clock.going_on_from(Timestamp::default());
        assert_eq!(behind, Duration::ZERO);
        assert!(same.now() < later);
    }
}
