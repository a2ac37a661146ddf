//! What one connection does, for the decision which one goes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::memory::Budget;
use super::{Resource, Usage};
use crate::clock::Clock;

/// Shared by a connection's tasks and by [`super::Admission`].
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    opened: Instant,
    owned: Mutex<Owned>,
    served: AtomicBool,
    /// Requests whose answer is not whole yet.
    active: AtomicUsize,
    /// The connection is a tunnel now, and nobody's request.
    upgraded: AtomicBool,
    had_user: AtomicBool,
    /// Requests whose body goes to an application.
    uploads: AtomicUsize,
    /// Of these, those that came by way of a trusted proxy.
    proxied: Mutex<Vec<Arc<Proxied>>>,
    /// Bytes of request bodies that were read and not taken yet.
    buffered: AtomicUsize,
    budget: Arc<Budget>,
    /// It was answered early, and what it still sends is thrown away.
    lingers: AtomicBool,
    evicted: AtomicBool,
    gone: Notify,
}

#[derive(Debug, Default)]
struct Owned {
    /// Whom it counts for; `None` for a trusted proxy, and once it is gone.
    by: Option<Arc<Usage>>,
    /// Bytes that its owner and the budget were charged for; a multiple of [`STEP`].
    charged: usize,
}

/// Bytes are charged in steps, so that small bodies touch nothing that others share.
const STEP: usize = 32 * 1024;

/// More cannot wait: the HTTP/2 windows of a connection are smaller. What was refused unread may
/// have been counted, and is gone.
const MOST: usize = 2 * 1024 * 1024;

/// What of one request body can wait: the window of its stream (HTTP/2).
const MOST_OF_UPLOAD: usize = 256 * 1024;

/// An upload of which nothing was taken for so long waits; see [`Place::waiting`].
const WAITS_AFTER: Duration = Duration::from_secs(1);

/// A request body on its way to an application, until it is dropped.
#[derive(Debug)]
pub(crate) struct Uploading {
    place: Arc<Place>,
    proxied: Option<Arc<Proxied>>,
}

/// An upload that came by way of a trusted proxy, which has those of many clients on a connection.
#[derive(Debug)]
pub(super) struct Proxied {
    /// Whose it is: a user or a network, as the proxy named it.
    client: Arc<Usage>,
    /// Milliseconds after the connection was opened.
    taken_at: AtomicU64,
    ended: CancellationToken,
}

/// How much a connection is needed, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was answered early, and what it still sends is thrown away.
    Lingers,
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
    pub(super) fn new(number: u64, budget: Arc<Budget>) -> Self {
        Self {
            number,
            opened: Clock::stopwatch(),
            owned: Mutex::default(),
            served: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            upgraded: AtomicBool::new(false),
            had_user: AtomicBool::new(false),
            uploads: AtomicUsize::new(0),
            proxied: Mutex::default(),
            buffered: AtomicUsize::new(0),
            budget,
            lingers: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    /// For a connection that no limit counts.
    #[cfg(test)]
    pub(crate) fn uncounted() -> Arc<Self> {
        Arc::new(Self::new(0, Arc::default()))
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
        if self.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.forget_refused();
        }
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

    /// Notes that all that is left to do is to throw away what the client still sends.
    pub(crate) fn begin_lingering(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Notes that a request had a session that was looked up and found.
    pub(super) fn note_user(&self) {
        self.had_user.store(true, Ordering::Relaxed);
    }

    /// Whether a request had a session that was looked up and found.
    pub(crate) fn had_user(&self) -> bool {
        self.had_user.load(Ordering::Relaxed)
    }

    /// Bytes of request bodies that wait for an application to take them.
    pub(super) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// So many bytes of request bodies were read; `false` when all connections together hold more
    /// than there is memory for.
    pub(crate) fn receive(&self, bytes: usize) -> bool {
        self.buffered.fetch_add(bytes, Ordering::Relaxed);
        self.charge();
        !self.budget.is_exceeded()
    }

    /// A request body of `client` goes to an application from now on.
    pub(crate) fn begin_upload(self: &Arc<Self>, client: Option<&Arc<Usage>>) -> Uploading {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        let proxied = client.filter(|_| !self.is_owned()).map(|client| {
            let proxied = Arc::new(Proxied {
                client: Arc::clone(client),
                taken_at: AtomicU64::new(self.now()),
                ended: CancellationToken::new(),
            });
            self.proxied().push(Arc::clone(&proxied));
            proxied
        });
        Uploading {
            place: Arc::clone(self),
            proxied,
        }
    }

    /// The uploads here that came by way of a trusted proxy and wait for an application, and what
    /// each of them holds at most. HTTP/2 does not tell whose the bytes are: they are the uploads'
    /// that do not move, as long as there are any.
    pub(super) fn waiting(&self) -> (Vec<Arc<Proxied>>, usize) {
        let since = u64::try_from(WAITS_AFTER.as_millis()).unwrap_or(u64::MAX);
        let since = self.now().saturating_sub(since);
        let mut uploads = self.proxied().clone();
        uploads.retain(|upload| !upload.ended.is_cancelled());
        let stands = |upload: &Arc<Proxied>| upload.taken_at.load(Ordering::Relaxed) <= since;
        if uploads.iter().any(stands) {
            uploads.retain(stands);
        }
        let each = self.buffered().checked_div(uploads.len()).unwrap_or(0);
        (uploads, each.min(MOST_OF_UPLOAD))
    }

    /// Ends an upload that holds so many bytes, which count no more from now on.
    pub(super) fn end_upload(&self, upload: &Proxied, bytes: usize) {
        upload.ended.cancel();
        self.take(bytes);
    }

    fn take(&self, bytes: usize) {
        let less = |buffered: usize| Some(buffered.saturating_sub(bytes));
        let _always = self
            .buffered
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.charge();
    }

    /// Milliseconds since it was opened.
    fn now(&self) -> u64 {
        u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX)
    }

    fn proxied(&self) -> MutexGuard<'_, Vec<Arc<Proxied>>> {
        self.proxied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bodies that were refused or broken off are never taken, and gone with their requests.
    pub(crate) fn forget_refused(&self) {
        let uploads = self.uploads.load(Ordering::Relaxed);
        let most = uploads.saturating_mul(MOST_OF_UPLOAD);
        let buffered = self.buffered();
        if buffered > most {
            self.take(buffered - most);
        }
    }

    fn charge(&self) {
        let due = |place: &Self| place.buffered().min(MOST) / STEP * STEP;
        let mut owned = self.owned();
        if due(self) == owned.charged {
            return;
        }
        owned.settle(due(self), &self.budget);
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
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
        if self.lingers.load(Ordering::Relaxed) {
            return Standing::Lingers;
        }
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
        self.owned().by = owner;
        self.charge();
    }

    pub(super) fn take_owner(&self) -> Option<Arc<Usage>> {
        let mut owned = self.owned();
        owned.settle(0, &self.budget);
        owned.by.take()
    }

    /// Whether it counts for somebody, and not for a trusted proxy.
    pub(crate) fn is_owned(&self) -> bool {
        self.owned().by.is_some()
    }

    pub(super) fn is_owned_by(&self, usage: &Arc<Usage>) -> bool {
        let owned = self.owned();
        owned.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, usage))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.owned().settle(0, &self.budget);
    }
}

impl Owned {
    fn settle(&mut self, due: usize, budget: &Budget) {
        let (more, less) = (
            due.saturating_sub(self.charged),
            self.charged.saturating_sub(due),
        );
        if let Some(by) = &self.by {
            by.add(Resource::Buffered, more);
            by.remove(Resource::Buffered, less);
        }
        budget.add(more);
        budget.remove(less);
        self.charged = due;
    }
}

impl Proxied {
    pub(super) fn client(&self) -> &Arc<Usage> {
        &self.client
    }
}

impl Uploading {
    /// An application has taken so many bytes.
    pub(crate) fn take(&self, bytes: usize) {
        self.place.take(bytes);
        if let Some(proxied) = &self.proxied {
            proxied.taken_at.store(self.place.now(), Ordering::Relaxed);
        }
    }

    /// Fires when the upload has to make room for others; `None` where its whole connection would.
    pub(crate) fn ended(&self) -> Option<&CancellationToken> {
        self.proxied.as_ref().map(|proxied| &proxied.ended)
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(proxied) = &self.proxied {
            let mut all = self.place.proxied();
            all.retain(|upload| !Arc::ptr_eq(upload, proxied));
        }
        self.place.uploads.fetch_sub(1, Ordering::Relaxed);
        self.place.forget_refused();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Consumer, Usages};
    use super::*;

    #[test]
    fn rel_06_what_was_read_and_not_taken_is_charged_to_its_owner() {
        let (budget, usages) = (Arc::new(Budget::default()), Arc::new(Usages::default()));
        budget.set(4 * STEP);
        let owner = |name: &str| usages.of(Consumer::User(name.into()));
        let (ada, bob) = (owner("ada"), owner("bob"));
        let place = Arc::new(Place::new(1, Arc::clone(&budget)));
        let held = |usage: &Usage| usage.held(Resource::Buffered);
        place.set_owner(Some(Arc::clone(&ada)));
        assert!(place.receive(STEP - 1), "small ones are free");
        assert_eq!((held(&ada), budget.used()), (0, 0));
        let upload = place.begin_upload(Some(&ada));
        assert!(place.receive(3 * STEP));
        assert_eq!((held(&ada), budget.used()), (3 * STEP, 3 * STEP));
        place.take_owner();
        assert_eq!((held(&ada), budget.used()), (0, 0));
        place.set_owner(Some(Arc::clone(&bob)));
        assert_eq!(held(&bob), 3 * STEP);
        assert!(!place.receive(2 * STEP), "more than there is");
        upload.take(4 * STEP);
        assert_eq!(held(&bob), STEP);
        drop(upload);
        assert_eq!((held(&bob), place.buffered()), (0, 0), "the rest is gone");
        place.begin_request();
        assert!(place.receive(STEP));
        place.end_request();
        assert_eq!(budget.used(), 0, "a body that was refused");
    }

    #[test]
    fn a_connection_that_goes_takes_its_charge_along() {
        let budget = Arc::new(Budget::default());
        let place = Arc::new(Place::new(1, Arc::clone(&budget)));
        let upload = place.begin_upload(None);
        place.receive(MOST + STEP);
        assert_eq!(budget.used(), MOST, "no more can wait");
        drop((upload, place));
        assert_eq!(budget.used(), 0);
    }
}
