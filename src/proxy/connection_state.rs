//! What a client's connection is doing: for its requests, and for the one timer that it has.
//!
//! Reads and writes only note things; the timer is set anew when it fires, not at each of them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::early::EarlyAnswers;
use super::headers::Letters;
use super::in_flight::InFlight;
use crate::load::{Load, Place};

/// A connection with more requests than this in flight is no person's who reads each page.
const MANY_REQUESTS: usize = 8;

/// Shared by a connection's socket, its requests and its timer.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Of all connections.
    load: Arc<Load>,
    place: Arc<Place>,
    /// Milliseconds after it was opened; 0 while it does not apply.
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    /// No further requests are taken; those in flight go on.
    ends_since: AtomicU64,
    /// Requests since then.
    late_requests: AtomicU32,
    /// Those of them that were refused.
    refused_requests: AtomicU32,
    /// The end of the connection is the end of the response.
    ends_response: AtomicBool,
    /// Whether a request has begun since all that was written before had gone out.
    begun: AtomicBool,
    early: EarlyAnswers,
    /// For the head that is written next. Spares the lock for those that get no letters.
    has_letters: AtomicBool,
    letters: Mutex<Option<Letters>>,
}

impl ConnectionState {
    pub(super) fn new(load: Arc<Load>, place: Arc<Place>) -> Arc<Self> {
        Arc::new(Self {
            load,
            place,
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            ends_since: AtomicU64::new(0),
            late_requests: AtomicU32::new(0),
            refused_requests: AtomicU32::new(0),
            ends_response: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            early: EarlyAnswers::default(),
            has_letters: AtomicBool::new(false),
            letters: Mutex::default(),
        })
    }

    /// Counts a request from now on.
    pub(crate) fn begin(self: &Arc<Self>, has_body: bool) -> InFlight {
        if !has_body {
            self.place.forget_refused();
        }
        self.place.begin_request();
        self.begun.store(true, Ordering::Relaxed);
        InFlight::new(Arc::clone(self))
    }

    /// Notes that a request and its response are over.
    pub(super) fn end_request(&self) {
        let now = self.now();
        self.idle_since.store(now, Ordering::Relaxed);
        // hyper does not read while it answers: only now can the next head go on.
        if self.head_since.load(Ordering::Relaxed) != 0 {
            self.head_since.store(now, Ordering::Relaxed);
        }
        self.place.end_request();
    }

    /// Whether more requests are in flight on this connection than a person reads responses of.
    pub(super) fn has_many_requests(&self) -> bool {
        self.place.active() > MANY_REQUESTS
    }

    /// Whether there was a request at all.
    pub(crate) fn has_served(&self) -> bool {
        self.place.has_served()
    }

    pub(super) fn early(&self) -> &EarlyAnswers {
        &self.early
    }

    /// How many answers there were before the end of their request, errors over HTTP/2; `None` while
    /// a head of one may be without its content.
    pub(crate) fn settled_early_answers(&self) -> Option<u32> {
        self.early.settled()
    }

    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.place.is_evicted()
    }

    /// Resolves when the connection has to make room for others.
    pub(crate) async fn evicted(&self) {
        self.place.gone().await;
    }

    pub(super) fn upgrade(&self) {
        self.place.upgrade();
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.place.is_upgraded()
    }

    /// Takes no further request on this connection, unless it is, or was, one of a signed-in user:
    /// a browser, or a proxy before us, has more than this one request on it. `false` if it goes on, or
    /// was to end already.
    pub(super) fn end(&self) -> bool {
        let begin = || {
            self.ends_since
                .compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed)
        };
        !self.had_user() && begin().is_ok()
    }

    pub(crate) fn had_user(&self) -> bool {
        self.place.had_user()
    }

    /// Whether requests are in flight.
    pub(crate) fn is_answering(&self) -> bool {
        self.place.active() > 0
    }

    /// Notes that all that was written so far has gone out.
    pub(crate) fn note_flushed(&self) {
        if !self.is_answering() {
            self.begun.store(false, Ordering::Relaxed);
        }
    }

    /// Whether what is written now can be of a request: one has begun since all before it had gone
    /// out.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Notes that the head of a response over HTTP/1.1 is written next, with these letters. hyper
    /// asks for a response when all that it has to write are heads.
    pub(crate) fn note_letters(&self, letters: Letters) {
        *self.letters.lock().unwrap_or_else(PoisonError::into_inner) = Some(letters);
        self.has_letters.store(true, Ordering::Release);
    }

    /// Once for each time that they were noted.
    pub(crate) fn take_letters(&self) -> Option<Letters> {
        if !self.has_letters.load(Ordering::Acquire) {
            return None;
        }
        self.has_letters.store(false, Ordering::Relaxed);
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn ends(&self) -> bool {
        self.ends_since().is_some()
    }

    /// Since when the connection takes no further requests.
    pub(crate) fn ends_since(&self) -> Option<Instant> {
        self.noted(&self.ends_since)
    }

    /// Counts a request that comes although the connection ends, and returns how many there have been.
    pub(crate) fn count_late_request(&self) -> u32 {
        1 + self.late_requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts such a request that is refused.
    pub(crate) fn count_refused_request(&self) {
        self.refused_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many such requests have been refused.
    pub(crate) fn refused_requests(&self) -> u32 {
        self.refused_requests.load(Ordering::Relaxed)
    }

    /// Notes that its client knows no other end of a response: HTTP/1.0.
    pub(super) fn note_unframed(&self) {
        self.ends_response.store(true, Ordering::Relaxed);
    }

    /// Whether a response that is cut looks whole unless the connection is reset.
    pub(crate) fn is_unframed(&self) -> bool {
        self.ends_response.load(Ordering::Relaxed)
    }

    /// Notes whether a head has begun and not ended.
    pub(crate) fn note_head(&self, inside: bool) {
        self.note(&self.head_since, inside);
    }

    pub(crate) fn note_write(&self, blocked: bool) {
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

    pub(crate) fn opened(&self) -> Instant {
        self.place.opened()
    }

    /// When the last request ended, or the connection was opened.
    pub(crate) fn idle_since(&self) -> Instant {
        self.opened() + Duration::from_millis(self.idle_since.load(Ordering::Relaxed))
    }

    /// Since when the client owes the rest of a head.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        self.noted(&self.head_since)
    }

    /// Since when the client takes nothing of what was sent.
    pub(crate) fn write_blocked_since(&self) -> Option<Instant> {
        self.noted(&self.write_blocked_since)
    }

    fn noted(&self, since: &AtomicU64) -> Option<Instant> {
        let since = since.load(Ordering::Relaxed);
        (since != 0).then(|| self.opened() + Duration::from_millis(since))
    }

    /// Never 0, which means that nothing was noted.
    fn now(&self) -> u64 {
        u64::try_from(self.opened().elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}
