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

    /// This time in UTC to the second, as RFC 3339 writes it: `2026-01-31T23:59:59Z`.
    pub fn to_rfc3339(self) -> String {
        let seconds = self.0 / 1000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March here, so that a leap day is the last of its year; 719468 days lie
        // between 0000-03-01 and 1970-01-01, 146097 are in 400 years.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = 400 * era + year + next;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
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
        ] {
            let time = Timestamp::from_millis(seconds * 1000 + 999);
            assert_eq!(time.to_rfc3339(), written);
        }
        // Day for day as another implementation has it.
        for day in 0..80_000 {
            let time = Timestamp::from_millis(day * 86_400_000 + 43_200_000);
            let date = httpdate::fmt_http_date(time.to_system_time());
            let (year, day_of_month) = (&date[12..16], &date[5..7]);
            let written = time.to_rfc3339();
            assert_eq!((&written[..4], &written[8..10]), (year, day_of_month));
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
}
