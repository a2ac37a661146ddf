//! What one connection does, for the decision which one goes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::overload::Usage;

/// Shared by a connection's tasks and by [`super::Admission`].
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    opened: Instant,
    /// Whom it counts for; `None` for a trusted proxy, and once it is gone.
    owner: Mutex<Option<Arc<Usage>>>,
    served: AtomicBool,
    /// Requests whose answer is not whole yet.
    active: AtomicUsize,
    /// The connection is a tunnel now, and nobody's request.
    upgraded: AtomicBool,
    had_user: AtomicBool,
    /// Bytes of request bodies that wait for an application to take them.
    buffered: AtomicUsize,
    evicted: AtomicBool,
    gone: Notify,
}

/// How much a connection is needed, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There was no request yet.
    Silent,
    /// A stranger's, between two requests.
    Idle,
    /// A stranger's, with a request or a tunnel.
    Busy,
    /// Of somebody who is, or was, signed in, between two requests.
    UserIdle,
    UserBusy,
}

impl Place {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            opened: Clock::stopwatch(),
            owner: Mutex::default(),
            served: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            upgraded: AtomicBool::new(false),
            had_user: AtomicBool::new(false),
            buffered: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    /// For a connection that no limit counts.
    pub(crate) fn uncounted() -> Arc<Self> {
        Arc::new(Self::new(0))
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// One request more.
    pub(crate) fn begin_request(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
    }

    /// One request less.
    pub(crate) fn end_request(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests whose answer is not whole yet.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether there was a request at all.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Notes that a request had a session that was looked up and found.
    pub(super) fn note_user(&self) {
        self.had_user.store(true, Ordering::Relaxed);
    }

    /// Whether a request had a session that was looked up and found.
    pub(crate) fn had_user(&self) -> bool {
        self.had_user.load(Ordering::Relaxed)
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Resolves when the connection has to make room.
    pub(crate) async fn gone(&self) {
        let gone = self.gone.notified(); // before the look, so that nothing is missed between
        if !self.is_evicted() {
            gone.await;
        }
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.gone.notify_one();
    }

    pub(super) fn standing(&self) -> Standing {
        let busy = self.active() > 0 || self.is_upgraded();
        match (self.had_user(), busy) {
            (true, true) => Standing::UserBusy,
            (true, false) => Standing::UserIdle,
            (false, true) => Standing::Busy,
            (false, false) if self.has_served() => Standing::Idle,
            (false, false) => Standing::Silent,
        }
    }

    pub(super) fn set_owner(&self, owner: Option<Arc<Usage>>) {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = owner;
    }

    pub(super) fn take_owner(&self) -> Option<Arc<Usage>> {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        owner.take()
    }

    pub(super) fn is_owned(&self) -> bool {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        owner.is_some()
    }

    pub(super) fn is_owned_by(&self, usage: &Arc<Usage>) -> bool {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        owner
            .as_ref()
            .is_some_and(|owner| Arc::ptr_eq(owner, usage))
    }
}
