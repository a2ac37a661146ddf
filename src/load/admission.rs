//! Which connections may be open, and which one goes when there are too many (SEC-28, SEC-87).
//!
//! Whoever connects is let in as long as there is a connection that is of less use: one that has
//! asked nothing goes first, then one that idles, each time of the network that has most; then
//! one in use, of a network that has more than the newcomer's. Connections of signed-in users
//! stay.

mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Budget;
use super::place::Place;
use super::tuning::ENDED_FOR_MEMORY;
use super::{Consumer, Resource, Usage, Usages};
use crate::clock::Clock;
use crate::telemetry::Seldom;
use open::{Open, widest};

/// Client connections that may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// In total.
    pub(crate) max: usize,
    /// Of one address (IPv6: of one /64).
    pub(crate) max_per_address: usize,
}

/// How many connections are open, in all and of each consumer.
pub(crate) struct Admission {
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    /// Proxies that stand for many clients are bound by the total alone.
    is_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    usages: Arc<Usages>,
    uploads: Arc<Budget>,
    open: Mutex<Open>,
    said: Said,
}

/// Lines for the log that would come with each connection of a flood (SEC-28).
struct Said {
    refusal: Seldom,
    eviction: Seldom,
    upload: Seldom,
    failure: Seldom,
    header: Seldom,
    stranger: Seldom,
}

impl Said {
    fn new(clock: &Clock) -> Self {
        let seldom = || Seldom::new(clock.clone());
        Self {
            refusal: seldom(),
            eviction: seldom(),
            upload: seldom(),
            failure: seldom(),
            header: seldom(),
            stranger: seldom(),
        }
    }
}

/// One open connection; counts until it is dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    place: Arc<Place>,
    /// The network of its client.
    network: Arc<Usage>,
}

impl Admission {
    pub(crate) fn new(
        limits: ConnectionLimits,
        is_proxy: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        usages: Arc<Usages>,
        clock: &Clock,
    ) -> Arc<Self> {
        let admission = Self {
            max: AtomicUsize::new(0),
            max_per_address: AtomicUsize::new(0),
            is_proxy: Box::new(is_proxy),
            usages,
            uploads: Arc::default(),
            open: Mutex::default(),
            said: Said::new(clock),
        };
        admission.set(limits);
        Arc::new(admission)
    }

    /// Other limits, for the connections that come; those that are open stay.
    pub(crate) fn set(&self, limits: ConnectionLimits) {
        self.max.store(limits.max, Ordering::Relaxed);
        self.max_per_address
            .store(limits.max_per_address, Ordering::Relaxed);
        self.uploads.set(Budget::for_connections(limits.max));
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().total
    }

    /// How many may be.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// How many have been closed at once because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Counts a connection, or refuses it and says so in the log now and then.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        self.admit_one(address, (self.is_proxy)(address))
    }

    /// The same of a proxy that stands for many clients, whatever its address.
    pub(crate) fn admit_proxy(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        self.admit_one(address, true)
    }

    fn admit_one(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Admitted> {
        let network = self.usages.of_address(address);
        let counted = (!is_proxy).then(|| Arc::clone(&network));
        let mut open = self.lock();
        if !self.closes_for(&mut open, counted.as_ref()) {
            self.refuse(&mut open, address, &network);
            return None;
        }
        let number = open.next_number;
        open.next_number += 1;
        open.total += 1;
        let place = Arc::new(Place::new(number, Arc::clone(&self.uploads)));
        open.join(&place, counted);
        drop(open);
        Some(Admitted {
            admission: Arc::clone(self),
            place,
            network,
        })
    }

    /// Ends connections that are of no use at the moment, for the memory that they hold.
    pub(crate) fn end_unused(&self) {
        let mut open = self.lock();
        for _ in 0..ENDED_FOR_MEMORY {
            let Some(place) = open.unused(0) else {
                return;
            };
            open.evict(&place);
        }
    }

    /// Ends what the network, else the user, with most unread bytes of request bodies has of them:
    /// its connection with most, or its uploads on that of a trusted proxy, where others go on.
    fn end_largest_upload(&self) {
        let mut open = self.lock();
        // Nothing that strangers do ends an upload of a user.
        for users in [false, true] {
            let is_meant = |who: &Consumer| who.is_user() == users;
            let direct = self.usages.largest(Resource::Buffered, 1, is_meant).pop();
            let (proxied, bytes) = open.largest_proxied(is_meant).unzip();
            let bytes = bytes.unwrap_or(0);
            let (consumer, ended) = match (direct, proxied) {
                (Some((consumer, held)), _) if held >= bytes => {
                    let ended = open.end_upload_of(&consumer);
                    (consumer, ended)
                }
                (_, Some(consumer)) => {
                    open.end_proxied_of(&consumer);
                    (consumer, true)
                }
                _ => continue,
            };
            if ended {
                self.report_upload(&consumer);
            }
            return;
        }
    }

    /// Whether there is a place for one more connection, if need be that of another. `network` is
    /// that of the newcomer; `None` for a proxy.
    fn closes_for(&self, open: &mut Open, network: Option<&Arc<Usage>>) -> bool {
        let max_per_address = self.max_per_address.load(Ordering::Relaxed);
        if let Some(network) = network
            && network.held(Resource::Connections) >= max_per_address
        {
            // Its own network has too many: the newcomer may be a user behind the same NAT.
            let Some(place) = open.unused_of(network) else {
                return false;
            };
            open.evict(&place);
        }
        if open.total < self.max() {
            return true;
        }
        let newcomers = network.map_or(0, |network| open.size(&widest(network)));
        let place = open
            .unused(newcomers)
            .or_else(|| open.busy_of_larger(newcomers))
            .or_else(|| open.idle_of_user());
        let Some(place) = place else { return false };
        open.evict(&place);
        self.report_eviction(open);
        true
    }

    fn refuse(&self, open: &mut Open, address: IpAddr, network: &Usage) {
        open.refused += 1;
        if self.said.refusal.is_due() {
            tracing::warn!(
                client = %address, open = open.total,
                of_address = network.held(Resource::Connections), refused = open.refused,
                "too many connections: closing new ones; see max_connections and max_connections_per_address"
            );
        }
    }

    /// Says in the log, now and then, that connections have to make room for others.
    fn report_eviction(&self, open: &mut Open) {
        if self.said.eviction.is_due() {
            tracing::warn!(
                open = open.total,
                "all connections are in use: unused ones make room for new ones; see max_connections"
            );
        }
    }

    /// Says in the log, now and then, that an upload has to make room for others.
    fn report_upload(&self, consumer: &Consumer) {
        if self.said.upload.is_due() {
            tracing::warn!(
                client = %consumer,
                "too many bytes of uploads wait for applications: ending those of the client with most of them; see max_connections and upstream_max_connections"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the log, now and then, that somebody asks who may not (SEC-95).
    pub(crate) fn report_stranger(&self, peer: IpAddr) {
        if self.said.stranger.is_due() {
            tracing::warn!(
                %peer,
                "a connection to auth_listen is not from auth_from: closing it"
            );
        }
    }

    /// Says in the log, now and then, that nobody can be accepted.
    pub(crate) fn report(&self, error: &io::Error) {
        if self.said.failure.is_due() {
            tracing::error!(%error, "cannot accept connections for now; raise LimitNOFILE if descriptors have run out");
        }
    }
}

impl Admitted {
    /// What the connection does, as far as it matters here.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// What the network of its client holds.
    pub(crate) fn network(&self) -> &Arc<Usage> {
        &self.network
    }

    /// Counts the connection for the client that a load balancer named, from now on; `false` when
    /// that one has too many. `proxy` says that it stands for many itself.
    pub(crate) fn reassign(&mut self, client: IpAddr, proxy: bool) -> bool {
        let network = self.admission.usages.of_address(client);
        let mut open = self.admission.lock();
        if self.place.is_evicted() {
            return false; // it does not count any more
        }
        open.leave(&self.place);
        open.total += 1;
        let max_per_address = self.admission.max_per_address.load(Ordering::Relaxed);
        let is_full = !proxy && network.held(Resource::Connections) >= max_per_address;
        if is_full && let Some(place) = open.unused_of(&network) {
            open.evict(&place);
        } else if is_full {
            self.admission.refuse(&mut open, client, &network);
            open.join(&self.place, None);
            return false;
        }
        open.join(&self.place, (!proxy).then(|| Arc::clone(&network)));
        drop(open);
        self.network = network;
        true
    }

    /// So many bytes of request bodies were read. When there are too many that no application has
    /// taken, the connection with most of them goes.
    pub(crate) fn receive(&self, bytes: usize) {
        if !self.place.receive(bytes) {
            self.admission.end_largest_upload();
        }
    }

    /// Counts the connection for a signed-in user from now on; `false` when that is more than a
    /// user's share, whatever others have open.
    pub(crate) fn belongs_to(&self, user: &Arc<Usage>) -> bool {
        let mut open = self.admission.lock();
        if open.change_owner(&self.place, user) {
            self.place.note_user();
        }
        let left = self.admission.max().saturating_sub(open.of_users);
        let held = user.held(Resource::Connections);
        held <= self.admission.max_per_address.load(Ordering::Relaxed)
            || user.is_within(Resource::Connections, left, 1)
    }

    /// Whether a stranger's request may go on although only the last tenth of the connections is
    /// left, which is for signed-in users: its network has no more than is free.
    pub(crate) fn is_within_share(&self) -> bool {
        let (open, max) = (self.admission.open(), self.admission.max());
        let left = max.saturating_sub(open);
        open <= max - max / 10 || self.network.is_within(Resource::Connections, left, 1)
    }

    /// Says in the log, now and then, that a load balancer does not say who its clients are.
    pub(crate) fn report(&self, peer: IpAddr, error: &impl fmt::Display) {
        if self.admission.said.header.is_due() {
            tracing::warn!(
                %peer, %error,
                "a connection from proxy_protocol_from has no PROXY header that can be used: closing it"
            );
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        if !self.place.is_evicted() {
            open.leave(&self.place);
        }
    }
}
