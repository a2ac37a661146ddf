//! What the proxies of all configurations share.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Proxy;
use super::live::LiveStreams;
use super::maintenance::Pauses;
use super::shutdown::Shutdown;
use crate::clock::Clock;
use crate::forwarded::Unreadable;
use crate::metrics::{AnswerCounts, Metrics};
use crate::probe::Probes;
use crate::random::NoRandomness;
use crate::session::Sessions;
use crate::telemetry::{RequestIds, Seldom};
use crate::upstream::{health, tunnels};

/// One for the process, whatever is configured.
pub(super) struct Shared {
    pub(super) request_ids: RequestIds,
    pub(super) shutdown: Shutdown,
    pub(super) live: Arc<LiveStreams>,
    /// How many configurations there were before.
    configurations: AtomicU64,
    /// The proxy of the latest one, for requests that began with one before, and its number.
    latest: Mutex<Weak<Proxy>>,
    latest_number: AtomicU64,
    pub(super) open_tunnels: tunnels::Registry,
    pub(super) health_checks: health::Registry,
    /// Apps that commands have closed.
    pub(super) pauses: Pauses,
    pub(super) probes: Probes,
    pub(super) metrics: Arc<Metrics>,
    /// For requests that are for no app.
    pub(super) no_app: AnswerCounts,
    unreadable: Seldom,
}

impl Shared {
    pub(super) fn new(
        sessions: &Arc<Sessions>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            request_ids: RequestIds::new()?,
            shutdown: Shutdown::default(),
            live: Arc::new(LiveStreams::new(Arc::clone(sessions))),
            configurations: AtomicU64::new(0),
            latest: Mutex::default(),
            latest_number: AtomicU64::new(0),
            open_tunnels: tunnels::Registry::default(),
            health_checks: health::Registry::new(clock.clone()),
            pauses: Pauses::default(),
            probes: Probes::new(clock.clone()),
            no_app: metrics.no_app(),
            metrics,
            unreadable: Seldom::new(clock),
        })
    }

    /// Says that a trusted proxy names a client, and that it cannot be read whom.
    pub(super) fn report_unreadable(&self, peer: IpAddr, unreadable: &Unreadable) {
        if self.unreadable.is_due() {
            let (header, element) = (&unreadable.field, &unreadable.element);
            tracing::warn!(
                %peer, %header, element,
                "the client that a trusted proxy names is no address: all such clients count as one"
            );
        }
    }

    /// The number of one more configuration.
    pub(super) fn count_configuration(&self) -> u64 {
        self.configurations.fetch_add(1, Ordering::Relaxed)
    }

    /// The proxy of the latest configuration, as long as there is a service.
    pub(super) fn latest(&self) -> Option<Arc<Proxy>> {
        let latest = self.latest.lock();
        latest.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The number of the latest configuration.
    pub(super) fn latest_number(&self) -> u64 {
        self.latest_number.load(Ordering::Acquire)
    }

    pub(super) fn set_latest(&self, proxy: &Arc<Proxy>) {
        let latest = self.latest.lock();
        *latest.unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(proxy);
        let number = proxy.number.load(Ordering::Relaxed);
        self.latest_number.store(number, Ordering::Release);
    }

    /// Makes a proxy another one than before for whatever is judged again, and the latest. One at a
    /// time: numbers only grow.
    pub(super) fn renumber(&self, proxy: &Arc<Proxy>) {
        let number = self.count_configuration();
        proxy.number.store(number, Ordering::Relaxed);
        self.set_latest(proxy);
    }
}
