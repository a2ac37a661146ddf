//! What a client has to do, and until when.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::proxy::{ConnectionState, Timeouts};

/// For a client that takes nothing, while what it was sent holds memory or requests that others
/// need.
pub(super) const SHORT_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what was sent (SEC-27). `ours` says that it is a response
/// of our own, or nothing that a user waits for: it has to make room for other requests, too
/// (SEC-87).
pub(super) fn write_timeout(configured: Duration, load: &Load, ours: bool) -> Duration {
    if load.wants_memory() || (ours && load.is_crowded()) {
        configured.min(SHORT_WRITE_TIMEOUT)
    } else {
        configured
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Send a request.
    Request(Instant),
    /// Send the rest of the head (SEC-25).
    Head(Instant),
    /// Take what was sent (SEC-27).
    Read(Instant),
}

impl Deadline {
    /// `None` while it is our turn or the application's. `idle_timeout` is for a connection that
    /// has no request.
    pub(super) fn of(
        connection: &ConnectionState,
        timeouts: &Timeouts,
        idle_timeout: Duration,
    ) -> Option<Self> {
        if let Some(since) = connection.write_blocked_since() {
            let ours = !connection.had_user();
            let timeout = write_timeout(timeouts.write, connection.load(), ours);
            return Some(Self::Read(since + timeout));
        }
        if connection.is_upgraded() {
            return None;
        }
        if !connection.has_served() {
            return Some(Self::Head(connection.opened() + timeouts.headers));
        }
        if connection.is_answering() {
            return None;
        }
        Some(match connection.head_since() {
            None => Self::Request(connection.idle_since() + idle_timeout),
            Some(since) => Self::Head(since + timeouts.headers),
        })
    }

    pub(super) fn at(self) -> Instant {
        let (Self::Request(at) | Self::Head(at) | Self::Read(at)) = self;
        at
    }
}
