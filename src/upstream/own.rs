//! The upstream connection that belongs to one client connection and one session (SEC-92).
//!
//! Once NTLM or Negotiate has been seen on it, it serves nobody else, never goes back to the pool,
//! and ends with the client connection, with the session, when another session speaks, or when
//! nobody has used it for as long as an unused connection of the pool is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::pool::Lease;
use crate::clock::Clock;
use crate::session::{Session, SessionGuard};

/// How often an unused connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Of one client connection: its own upstream connection, while no request has it.
#[derive(Default)]
pub(crate) struct Own {
    /// Spares the lock for the many connections that never have one.
    has_any: AtomicBool,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    lease: Lease,
    since: Instant,
}

/// Ties an upstream connection to the client connection and the session that it belongs to.
pub(super) struct Tie {
    own: Weak<Own>,
    watch: SessionGuard,
    end: AbortHandle,
}

impl Own {
    /// The connection, if this session has one here to an address for which `serves` holds. That of
    /// another session is closed.
    pub(super) fn take(&self, session: &Session, serves: impl Fn(&Lease) -> bool) -> Option<Lease> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let Idle { lease, .. } = self.lock().take()?;
        (lease.is_of(session) && serves(&lease)).then_some(lease)
    }

    /// Keeps a connection that is tied to this one for the next request.
    pub(super) fn keep(&self, lease: Lease) {
        let mut idle = self.lock();
        // Ended before or after: either it is seen here, or the end finds the connection there.
        if lease.is_tied() {
            let since = Clock::stopwatch();
            *idle = Some(Idle { lease, since });
        }
    }

    /// Closes the connection if it has been unused for so long, or the application has closed it.
    fn close_unused(&self, limit: Duration) {
        let mut idle = self.lock();
        if let Some(unused) = &mut *idle
            && (unused.since.elapsed() >= limit || unused.lease.sender().is_closed())
        {
            *idle = None;
        }
    }

    fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tie {
    /// `watch` tells when the session has ended; unused, the connection is kept for `idle_timeout`.
    pub(super) fn new(own: &Arc<Own>, watch: SessionGuard, idle_timeout: Duration) -> Self {
        own.has_any.store(true, Ordering::Release);
        let own = Arc::downgrade(own);
        let (ended, closed) = (watch.ended().clone(), Weak::clone(&own));
        let end = tokio::spawn(async move {
            loop {
                let ended = tokio::select! {
                    () = ended.cancelled() => true,
                    () = sleep(LOOK.min(idle_timeout)) => false,
                };
                match closed.upgrade() {
                    None => return,
                    Some(own) if ended => return own.close(),
                    Some(own) => own.close_unused(idle_timeout),
                }
            }
        });
        Self {
            own,
            watch,
            end: end.abort_handle(),
        }
    }

    /// The client connection, while there is one and the session is good.
    pub(super) fn own(&self) -> Option<Arc<Own>> {
        self.own.upgrade().filter(|_| self.is_good())
    }

    pub(super) fn is_good(&self) -> bool {
        !self.watch.ended().is_cancelled()
    }

    pub(super) fn is_of(&self, session: &Session) -> bool {
        self.watch.session().key() == session.key()
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.end.abort();
    }
}
