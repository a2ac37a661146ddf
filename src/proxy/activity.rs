//! What a client connection is doing, for the one timer that it has.
//!
//! Reads and writes only note things; the timer is set anew when it fires, not at each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Timeouts;
use crate::clock::Clock;
use crate::overload::{Cause, FEW, Load};

/// For a client that takes nothing, while what it was sent holds memory that others need.
pub(super) const PATIENCE_IN_NEED: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what was sent (SEC-27).
pub(super) fn time_to_read(write_timeout: Duration, load: &Load) -> Duration {
    if load.wants_memory() {
        write_timeout.min(PATIENCE_IN_NEED)
    } else {
        write_timeout
    }
}

/// Shared by a connection's socket, its requests and its timer.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Of all connections.
    load: Arc<Load>,
    /// Requests whose answer is not whole yet.
    active: AtomicUsize,
    served: AtomicBool,
    /// Whether the last request had a session.
    signed_in: AtomicBool,
    /// Milliseconds after `started`; 0 while it does not apply.
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    /// The connection is a tunnel now, and nobody's request.
    upgraded: AtomicBool,
    /// Whether somebody was signed in at any time.
    had_user: AtomicBool,
    /// After the requests that are under way.
    ends: AtomicBool,
}

/// Counts a request until its answer is gone.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    activity: Arc<Activity>,
    /// Among those of the whole service, too.
    admitted: AtomicBool,
}

/// What a connection has to do, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a request.
    Request(Instant),
    /// Send the rest of the head (SEC-25).
    Head(Instant),
    /// Take what was sent (SEC-27).
    Read(Instant),
}

impl Due {
    pub(super) fn at(self) -> Instant {
        let (Self::Request(at) | Self::Head(at) | Self::Read(at)) = self;
        at
    }
}

impl Activity {
    pub(super) fn new(load: Arc<Load>) -> Arc<Self> {
        Arc::new(Self {
            started: Clock::stopwatch(),
            load,
            active: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            signed_in: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            upgraded: AtomicBool::new(false),
            had_user: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) -> ActiveRequest {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
        ActiveRequest {
            activity: Arc::clone(self),
            admitted: AtomicBool::new(false),
        }
    }

    /// Whether more requests are under way on this connection than a crowded service grants.
    pub(super) fn is_greedy(&self) -> bool {
        self.active.load(Ordering::Relaxed) > FEW
    }

    /// Whether there was a request at all.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Notes whether the request that came last had a session.
    pub(super) fn note_session(&self, signed_in: bool) {
        if self.signed_in.load(Ordering::Relaxed) != signed_in {
            self.signed_in.store(signed_in, Ordering::Relaxed);
        }
    }

    /// Whether the connection had better go to make room: it has no request, and had none of who
    /// is signed in.
    pub(super) fn gives_way(&self) -> bool {
        self.load.wants_room()
            && self.has_served()
            && self.active.load(Ordering::Relaxed) == 0
            && !self.is_upgraded()
            && !self.signed_in.load(Ordering::Relaxed)
    }

    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Notes that a request had a session that is good.
    pub(super) fn note_user(&self) {
        if !self.had_user.load(Ordering::Relaxed) {
            self.had_user.store(true, Ordering::Relaxed);
        }
    }

    /// Takes no further request on this connection, unless it is, or was, one of who is signed in:
    /// a browser, or a proxy before us, has more than this one request on it.
    pub(super) fn end(&self) {
        if !self.had_user.load(Ordering::Relaxed) {
            self.ends.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    pub(super) fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Notes whether a head has begun and not ended.
    pub(super) fn note_head(&self, inside: bool) {
        self.note(&self.head_since, inside);
    }

    pub(super) fn note_write(&self, blocked: bool) {
        self.note(&self.write_blocked_since, blocked);
    }

    fn note(&self, since: &AtomicU64, applies: bool) {
        let noted = since.load(Ordering::Relaxed);
        if applies && noted == 0 {
            since.store(self.now(), Ordering::Relaxed);
        } else if !applies && noted != 0 {
            since.store(0, Ordering::Relaxed);
        }
    }

    /// What is due; `None` while it is our turn or the application's.
    /// `patience` is for a connection that has no request.
    pub(super) fn due(&self, timeouts: &Timeouts, patience: Duration) -> Option<Due> {
        let blocked = self.write_blocked_since.load(Ordering::Relaxed);
        if blocked != 0 {
            let time = time_to_read(timeouts.write, &self.load);
            return Some(Due::Read(self.after(blocked, time)));
        }
        if self.is_upgraded() {
            return None;
        }
        if !self.has_served() {
            return Some(Due::Head(self.started + timeouts.headers));
        }
        if self.active.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let head = self.head_since.load(Ordering::Relaxed);
        Some(match head {
            0 => Due::Request(self.idle_until(patience)),
            since => Due::Head(self.after(since, timeouts.headers)),
        })
    }

    /// When a connection without a request has waited for `patience`.
    pub(super) fn idle_until(&self, patience: Duration) -> Instant {
        self.after(self.idle_since.load(Ordering::Relaxed), patience)
    }

    fn after(&self, since: u64, timeout: Duration) -> Instant {
        self.started + Duration::from_millis(since) + timeout
    }

    /// Never 0, which means that nothing was noted.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

impl ActiveRequest {
    /// Goes on, unless there is too much to do and others come first (REL-13).
    pub(super) fn admit(&self, signed_in: bool) -> Result<(), Cause> {
        let on_connection = self.activity.active.load(Ordering::Relaxed);
        self.activity.load.begin(signed_in, on_connection)?;
        self.admitted.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let activity = &self.activity;
        if *self.admitted.get_mut() {
            activity.load.end();
        }
        let now = activity.now();
        activity.idle_since.store(now, Ordering::Relaxed);
        // hyper does not read while it answers: only now can the next head go on.
        if activity.head_since.load(Ordering::Relaxed) != 0 {
            activity.head_since.store(now, Ordering::Relaxed);
        }
        activity.active.fetch_sub(1, Ordering::Relaxed);
    }
}
