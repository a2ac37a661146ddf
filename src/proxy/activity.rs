//! What a client connection is doing, for the one timer that it has.
//!
//! Reads and writes only note things; the timer is set anew when it fires, not at each of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::Timeouts;
use crate::load::{Cause, Load, Place, Uploading, Usage};

/// For a client that takes nothing, while what it was sent holds memory or requests that others
/// need.
pub(super) const PATIENCE_IN_NEED: Duration = Duration::from_secs(5);

/// A connection with more requests than this in flight is no person's who reads each page.
const MANY_REQUESTS: usize = 8;

/// How long a client may take nothing of what was sent (SEC-27). `ours` says that it is an answer
/// of our own, or nothing that a user waits for: it has to make room for other requests, too
/// (SEC-87).
pub(super) fn time_to_read(write_timeout: Duration, load: &Load, ours: bool) -> Duration {
    if load.wants_memory() || (ours && load.is_crowded()) {
        write_timeout.min(PATIENCE_IN_NEED)
    } else {
        write_timeout
    }
}

/// Shared by a connection's socket, its requests and its timer.
#[derive(Debug)]
pub(super) struct Activity {
    /// Of all connections.
    load: Arc<Load>,
    place: Arc<Place>,
    /// Milliseconds after it was opened; 0 while it does not apply.
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    /// After the requests in flight.
    ends: AtomicBool,
}

/// Counts a request until its answer is gone.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    activity: Arc<Activity>,
    /// For whom it counts among those of the whole service, once it was admitted.
    counted: OnceLock<Arc<Usage>>,
    /// For whom an answer of ours waits, in place of the request.
    answer: Option<Arc<Usage>>,
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
    pub(super) fn new(load: Arc<Load>, place: Arc<Place>) -> Arc<Self> {
        Arc::new(Self {
            load,
            place,
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        })
    }

    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> ActiveRequest {
        if !has_body {
            self.place.forget_refused();
        }
        self.place.begin_request();
        ActiveRequest {
            activity: Arc::clone(self),
            counted: OnceLock::new(),
            answer: None,
        }
    }

    /// Whether more requests are in flight on this connection than a person reads answers of.
    pub(super) fn has_many_requests(&self) -> bool {
        self.place.active() > MANY_REQUESTS
    }

    /// Whether there was a request at all.
    pub(super) fn has_served(&self) -> bool {
        self.place.has_served()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Resolves when the connection has to make room for others.
    pub(super) async fn evicted(&self) {
        self.place.gone().await;
    }

    pub(super) fn upgrade(&self) {
        self.place.upgrade();
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.place.is_upgraded()
    }

    /// Takes no further request on this connection, unless it is, or was, one of a signed-in user:
    /// a browser, or a proxy before us, has more than this one request on it.
    pub(super) fn end(&self) {
        if !self.place.had_user() {
            self.ends.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.place.active() > 0
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
            let time = time_to_read(timeouts.write, &self.load, !self.place.had_user());
            return Some(Due::Read(self.after(blocked, time)));
        }
        if self.is_upgraded() {
            return None;
        }
        if !self.has_served() {
            return Some(Due::Head(self.place.opened() + timeouts.headers));
        }
        if self.is_answering() {
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
        self.place.opened() + Duration::from_millis(since) + timeout
    }

    /// Never 0, which means that nothing was noted.
    fn now(&self) -> u64 {
        u64::try_from(self.place.opened().elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

impl ActiveRequest {
    /// Goes on, unless there is too much to do and others come first (REL-13). It counts for
    /// `usage`; see [`Load::begin`].
    pub(super) fn admit(
        &self,
        usage: &Arc<Usage>,
        has_few_connections: impl FnOnce() -> bool,
    ) -> Result<(), Cause> {
        self.activity.load.begin(usage, has_few_connections)?;
        let counted = self.counted.set(Arc::clone(usage));
        debug_assert!(counted.is_ok(), "a request is admitted once");
        Ok(())
    }

    /// A request body goes to an application from now on.
    pub(super) fn begin_upload(&self) -> Uploading {
        self.activity.place.begin_upload(self.counted.get())
    }

    /// The request is done but for its client, who has an answer of ours to take: from now on it
    /// holds no request that others could have (SEC-87). `false` when its client leaves too many
    /// of them. Who was not admitted counts for `otherwise`, if that is anybody.
    pub(super) fn hold_answer(&mut self, otherwise: Option<&Arc<Usage>>) -> bool {
        let usage = match self.counted.take() {
            Some(usage) => {
                self.activity.load.end(&usage);
                usage
            }
            None => match otherwise {
                Some(usage) => Arc::clone(usage),
                None => return true,
            },
        };
        let granted = self.activity.load.begin_answer(&usage);
        self.answer = granted.then_some(usage);
        granted
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let activity = &self.activity;
        if let Some(usage) = self.counted.get() {
            activity.load.end(usage);
        }
        if let Some(usage) = &self.answer {
            activity.load.end_answer(usage);
        }
        let now = activity.now();
        activity.idle_since.store(now, Ordering::Relaxed);
        // hyper does not read while it answers: only now can the next head go on.
        if activity.head_since.load(Ordering::Relaxed) != 0 {
            activity.head_since.store(now, Ordering::Relaxed);
        }
        activity.place.end_request();
    }
}
