//! The connections to one address: a bounded number, the last used first.

mod slots;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body::SizeHint;
use tokio_util::sync::CancellationToken;

use super::balance::{Balance, InFlight};
use super::body::Upload;
use super::connect::Connector;
use super::health::Checks;
use super::own::{Own, Tie};
use super::reports::Reports;
use super::sender::Sender;
use super::{Address, Caller, Health, ResponseError, Settings, UpstreamError};
use crate::clock::{Clock, Timestamp};
use crate::metrics::Pool;
use crate::session::{Session, SessionGuard};
use slots::{Slot, Slots};

/// How long an address that could not be reached is asked last.
const DOWN_FOR: Duration = Duration::from_secs(5);

pub(super) struct Endpoint {
    connector: Connector,
    reports: Arc<Reports>,
    checks: Option<Checks>,
    clock: Clock,
    idle: Mutex<Vec<Idle>>,
    /// Whether unused connections are kept no more.
    is_retired: AtomicBool,
    idle_timeout: Duration,
    max_age: Duration,
    slots: Slots,
    /// Requests in flight, where somebody asks for it.
    in_flight: Option<Arc<AtomicUsize>>,
    /// Milliseconds since the epoch; passive health: until then others are tried first.
    down_until: AtomicU64,
}

/// One that was opened here.
struct Connection {
    sender: Sender,
    /// From then on it takes no request, so that a change of the name's addresses is followed
    /// while the old one still answers (REL-15).
    expires: Timestamp,
}

struct Idle {
    connection: Connection,
    until: Timestamp,
}

/// A connection in use by one request.
pub(super) struct Lease {
    endpoint: Arc<Endpoint>,
    connection: Connection,
    upload: Option<Arc<Upload>>,
    /// Whether the connection serves no request after this one.
    last: bool,
    /// Until when the application keeps it, where it says so.
    kept_until: Option<Timestamp>,
    /// Whether it has served a request before: then it may have died unnoticed.
    pub(super) reused: bool,
    /// To whom alone it belongs (SEC-92).
    tie: Option<Box<Tie>>,
    in_flight: Option<InFlight>,
    _slot: Slot,
}

impl Endpoint {
    pub(super) fn new(
        connector: Connector,
        clock: Clock,
        settings: &Settings,
        reports: &Arc<Reports>,
        checks: Option<Checks>,
    ) -> Self {
        Self {
            connector,
            reports: Arc::clone(reports),
            checks,
            clock,
            idle: Mutex::default(),
            is_retired: AtomicBool::new(false),
            idle_timeout: settings.idle_timeout,
            max_age: settings.max_age,
            slots: Slots::new(settings),
            in_flight: (settings.balance == Balance::Least).then(Arc::default),
            down_until: AtomicU64::new(0),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.clock.now().as_millis() >= self.down_until.load(Ordering::Relaxed)
            && !self.checks.as_ref().is_some_and(Checks::is_down)
    }

    /// For the metrics.
    pub(super) fn pool(&self) -> Pool {
        let up = self.is_up();
        Pool {
            idle: self.idle().len(),
            in_use: self.slots.in_use(),
            max: self.slots.max(),
            up: usize::from(up),
            down: usize::from(!up),
        }
    }

    pub(super) fn address(&self) -> &Address {
        self.connector.address()
    }

    pub(super) fn health(&self) -> Health {
        Health {
            address: self.connector.address().clone(),
            reachable: self.down_until.load(Ordering::Relaxed) == 0,
            checked: self.checks.as_ref().map(Checks::state),
        }
    }

    /// Asks whether the address is up, if it is time for that.
    pub(super) fn check(self: &Arc<Self>, stop: &CancellationToken) {
        let Some(checks) = &self.checks else { return };
        let Some(asking) = checks.is_due(&self.clock) else {
            return;
        };
        let (this, stop) = (Arc::clone(self), stop.clone());
        tokio::spawn(async move {
            if let Some(checks) = &this.checks {
                checks.ask(&this.connector, asking, stop).await;
            }
        });
    }

    /// A connection for one request: the last one that came back, else a new one.
    pub(super) async fn lease(
        self: &Arc<Self>,
        caller: Caller<'_>,
    ) -> Result<Lease, UpstreamError> {
        let in_flight = self.begin(); // so that it counts while it waits
        let slot = self.slots.take(caller).await?;
        while let Some(mut connection) = self.pop() {
            if connection.sender.settles().await {
                return Ok(self.hand_out(connection, true, slot, in_flight));
            }
        }
        let connection = Box::pin(self.connect(false)).await?;
        Ok(self.hand_out(connection, false, slot, in_flight))
    }

    /// A connection of its own for a handshake, which holds a slot as any request until it is
    /// answered.
    pub(super) async fn lease_for_upgrade(
        self: &Arc<Self>,
        caller: Caller<'_>,
    ) -> Result<Lease, UpstreamError> {
        let mut lease = self.lease_new(caller, true).await?;
        lease.set_last();
        Ok(lease)
    }

    /// A connection that has served no request.
    pub(super) async fn lease_new(
        self: &Arc<Self>,
        caller: Caller<'_>,
        upgradable: bool,
    ) -> Result<Lease, UpstreamError> {
        let in_flight = self.begin();
        let slot = self.slots.take(caller).await?;
        let connection = Box::pin(self.connect(upgradable)).await?;
        Ok(self.hand_out(connection, false, slot, in_flight))
    }

    async fn connect(&self, upgradable: bool) -> Result<Connection, UpstreamError> {
        let mut connected = self.connector.connect(upgradable).await;
        // What has come before a request is no answer to it, and each answer after that would be
        // somebody else's (SEC-15).
        if connected.as_mut().is_ok_and(Sender::is_closed) {
            connected = Err(UpstreamError::Send(ResponseError::Unasked));
        }
        let now = self.clock.now();
        let down_until = match connected {
            Ok(_) => 0,
            Err(_) => now.plus(DOWN_FOR).as_millis(),
        };
        self.down_until.store(down_until, Ordering::Relaxed);
        let expires = now.plus(self.max_age);
        connected.map(|sender| Connection { sender, expires })
    }

    /// Closes unused connections, now and from now on.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.idle().clear();
    }

    /// Closes connections that serve nobody any more.
    pub(super) fn reap(&self) {
        let now = self.clock.now();
        self.idle().retain_mut(|idle| idle.serves_at(now));
    }

    fn pop(&self) -> Option<Connection> {
        let now = self.clock.now();
        let mut pool = self.idle();
        while let Some(idle) = pool.pop() {
            if now < idle.until {
                return Some(idle.connection);
            }
        }
        None
    }

    /// How many requests are on their way to this address, where that is counted.
    pub(super) fn count_in_flight(&self) -> usize {
        let count = self.in_flight.as_ref();
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn begin(&self) -> Option<InFlight> {
        self.in_flight.as_ref().map(InFlight::begin)
    }

    fn hand_out(
        self: &Arc<Self>,
        connection: Connection,
        reused: bool,
        slot: Slot,
        in_flight: Option<InFlight>,
    ) -> Lease {
        connection.sender.listen();
        Lease {
            endpoint: Arc::clone(self),
            connection,
            upload: None,
            last: false,
            kept_until: None,
            reused,
            tie: None,
            in_flight,
            _slot: slot,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn serves_at(&mut self, now: Timestamp) -> bool {
        now < self.until && !self.connection.sender.is_closed()
    }
}

impl Lease {
    pub(super) fn address(&self) -> &Address {
        self.endpoint.address()
    }

    pub(super) fn sender(&mut self) -> &mut Sender {
        &mut self.connection.sender
    }

    /// Whether there is a byte of an answer to this lease's request.
    pub(super) fn has_heard(&self) -> bool {
        self.connection.sender.has_heard()
    }

    /// Ties it to a client connection, and to the session that is watched.
    pub(super) fn tie(&mut self, own: &Arc<Own>, watch: SessionGuard) {
        let idle_timeout = self.endpoint.idle_timeout;
        self.tie = Some(Box::new(Tie::new(own, watch, idle_timeout)));
    }

    /// Whether it is tied, however its session is by now.
    pub(super) fn has_tie(&self) -> bool {
        self.tie.is_some()
    }

    /// Whether it is tied, and to a session that is good.
    pub(super) fn is_tied(&self) -> bool {
        self.tie.as_ref().is_some_and(|tie| tie.is_good())
    }

    pub(super) fn is_of(&self, session: &Session) -> bool {
        self.tie.as_ref().is_some_and(|tie| tie.is_of(session))
    }

    /// Where it went; its place there is free.
    pub(super) fn into_endpoint(self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint)
    }

    pub(super) fn is_to(&self, endpoint: &Arc<Endpoint>) -> bool {
        Arc::ptr_eq(&self.endpoint, endpoint)
    }

    /// Makes it ready for one more request, if it can serve that.
    pub(super) async fn resume(mut self) -> Option<Self> {
        let until = self.kept_until.take();
        if until.is_some_and(|until| self.endpoint.clock.now() >= until)
            || !self.sender().settles().await
        {
            return None;
        }
        self.sender().listen();
        self.upload = None;
        self.reused = true;
        self.in_flight = self.endpoint.begin();
        Some(self)
    }

    /// The connection serves no other request, and nobody else.
    pub(super) fn set_last(&mut self) {
        self.last = true;
    }

    pub(super) fn set_upload(&mut self, upload: Option<Arc<Upload>>) {
        self.upload = upload;
    }

    /// Goes on over a new connection, for a retry, whatever the pool holds. The slot stays the
    /// same: with all slots in use, a second one would never come.
    pub(super) async fn reconnect(&mut self) -> Result<(), UpstreamError> {
        self.connection = Box::pin(self.endpoint.connect(false)).await?;
        self.reused = false;
        Ok(())
    }

    /// The head of the answer is there. When the request was not sent by then, what is left of it
    /// would be taken for the next one: the connection serves no other (SEC-05). Neither does one
    /// that brought lines of which nobody knows what they mean (SEC-15).
    pub(super) fn note_answer(&mut self) {
        self.last |= self
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.is_finished());
        if self.connection.sender.has_dropped_line() {
            self.last = true;
            self.endpoint.reports.dropped_line();
        }
    }

    /// Whether all of the answer's content has come.
    pub(super) fn content_is_at_end(&self) -> bool {
        self.connection.sender.is_at_end()
    }

    /// Of what there is yet to come of it.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.connection.sender.size_hint()
    }

    /// Says in the log which key lets an answer pass that was cut, if there is one.
    pub(super) fn report_cut(&self, error: &ResponseError) {
        if !self.connection.sender.is_framed() && self.address().is_https() {
            self.endpoint.reports.cut(error);
        }
    }

    /// Heeds for how long the application keeps the connection. That counts from the head of the
    /// answer: when the application is done with the rest, nobody here knows.
    pub(super) fn heed(&mut self, limit: Option<Duration>) {
        match limit {
            None => {}
            Some(Duration::ZERO) => self.last = true,
            Some(limit) => self.kept_until = Some(self.endpoint.clock.now().plus(limit)),
        }
    }

    /// What is to end with the tunnel that the connection has become.
    pub(super) fn take_in_flight(&mut self) -> Option<InFlight> {
        self.in_flight.take()
    }

    /// Keeps the connection for the next request, after the whole answer.
    pub(super) fn give_back(mut self) {
        if self.last || !self.sender().rest() {
            return;
        }
        if let Some(tie) = &self.tie {
            self.in_flight = None;
            if let Some(own) = tie.own() {
                own.keep(self);
            }
            return;
        }
        let now = self.endpoint.clock.now();
        let idle_end = now.plus(self.endpoint.idle_timeout);
        let until = idle_end.min(self.kept_until.unwrap_or(idle_end));
        let idle = Idle {
            until: until.min(self.connection.expires),
            connection: self.connection,
        };
        let mut pool = self.endpoint.idle();
        // Under the lock: what is kept now is closed by whoever retires the pool.
        if now < idle.until && !self.endpoint.is_retired.load(Ordering::Acquire) {
            pool.push(idle);
        }
    }
}
