//! The connections to one address: a bounded number, the last used first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UpstreamError;
use super::body::Upload;
use super::connect::{Connector, Sender};
use crate::clock::{Clock, Timestamp};

/// How long an address that could not be reached is asked last.
const DOWN_FOR: Duration = Duration::from_secs(5);

pub(super) struct Endpoint {
    connector: Connector,
    clock: Clock,
    idle: Mutex<Vec<Idle>>,
    idle_timeout: Duration,
    slots: Arc<Semaphore>,
    /// How long a request waits for a slot.
    patience: Duration,
    /// Milliseconds since the epoch; passive health: until then others are tried first.
    down_until: AtomicU64,
}

struct Idle {
    sender: Sender,
    since: Timestamp,
}

/// A connection in use by one request.
pub(super) struct Lease {
    endpoint: Arc<Endpoint>,
    sender: Sender,
    upload: Option<Arc<Upload>>,
    /// Whether it has served a request before: then it may have died unnoticed.
    pub(super) reused: bool,
    _slot: OwnedSemaphorePermit,
}

impl Endpoint {
    pub(super) fn new(
        connector: Connector,
        clock: Clock,
        idle_timeout: Duration,
        max_connections: usize,
        patience: Duration,
    ) -> Self {
        Self {
            connector,
            clock,
            idle: Mutex::default(),
            idle_timeout,
            slots: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            patience,
            down_until: AtomicU64::new(0),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.clock.now().as_millis() >= self.down_until.load(Ordering::Relaxed)
    }

    /// A connection for one request: the last one that came back, else a new one.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let slot = self.slot().await?;
        while let Some(mut idle) = self.pop() {
            // It was given back when its answer had ended; the task that drives it may still
            // have to notice. An error says that it closed meanwhile.
            if idle.sender.requests.is_ready() || idle.sender.requests.ready().await.is_ok() {
                return Ok(self.hand_out(idle.sender, true, slot));
            }
        }
        let sender = Box::pin(self.connect(false)).await?;
        Ok(self.hand_out(sender, false, slot))
    }

    /// A new connection: for a retry, whatever the pool holds.
    pub(super) async fn lease_fresh(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let slot = self.slot().await?;
        let sender = Box::pin(self.connect(false)).await?;
        Ok(self.hand_out(sender, false, slot))
    }

    /// A connection that becomes a tunnel: outside the pool and its bound.
    pub(super) async fn connect(&self, upgradable: bool) -> Result<Sender, UpstreamError> {
        let connected = self.connector.connect(upgradable).await;
        let down_until = match connected {
            Ok(_) => 0,
            Err(_) => self.clock.now().plus(DOWN_FOR).as_millis(),
        };
        self.down_until.store(down_until, Ordering::Relaxed);
        connected
    }

    /// Closes connections that nobody used for the idle timeout.
    pub(super) fn reap(&self) {
        let now = self.clock.now();
        self.idle()
            .retain(|idle| !idle.sender.requests.is_closed() && !self.is_stale(idle, now));
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let slot = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(self.patience, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(UpstreamError::Busy),
        }
    }

    fn pop(&self) -> Option<Idle> {
        let now = self.clock.now();
        let mut pool = self.idle();
        while let Some(idle) = pool.pop() {
            if !idle.sender.requests.is_closed() && !self.is_stale(&idle, now) {
                return Some(idle);
            }
        }
        None
    }

    fn is_stale(&self, idle: &Idle, now: Timestamp) -> bool {
        now.since(idle.since) >= self.idle_timeout
    }

    fn hand_out(
        self: &Arc<Self>,
        sender: Sender,
        reused: bool,
        slot: OwnedSemaphorePermit,
    ) -> Lease {
        sender.heard.listen();
        Lease {
            endpoint: Arc::clone(self),
            sender,
            upload: None,
            reused,
            _slot: slot,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Whether there is a byte of an answer to this lease's request.
    pub(super) fn has_heard(&self) -> bool {
        self.sender.heard.anything()
    }

    pub(super) fn set_upload(&mut self, upload: Option<Arc<Upload>>) {
        self.upload = upload;
    }

    /// Keeps the connection for the next request. Only after the whole answer, and not when the
    /// answer came before the request had been sent: what is left of that would be taken for the
    /// next one (SEC-05).
    pub(super) fn give_back(self) {
        if self
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.is_finished())
        {
            return;
        }
        let since = self.endpoint.clock.now();
        self.endpoint.idle().push(Idle {
            sender: self.sender,
            since,
        });
    }
}
