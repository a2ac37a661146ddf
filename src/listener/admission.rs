//! Which connections may be open, and which one goes when there are too many (SEC-28, SEC-87).
//!
//! Whoever connects is let in as long as there is a connection that is of less use: one that has
//! asked nothing goes first, then one that idles, each time of the network that has most; then
//! one in use, of a network that has more than the newcomer's. Connections of signed-in users
//! stay.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::place::{Place, Standing};
use super::{Settings, proxy_protocol};
use crate::clock::{Clock, Timestamp};
use crate::overload::memory::Budget;
use crate::overload::{Consumer, Resource, Usage, Usages};

/// One line a minute says it, not one a connection (SEC-28).
const LOG_EVERY: Duration = Duration::from_mins(1);

/// A handshake may take so long before the connection counts as one that asks nothing.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Networks that are searched for a connection that can go, the largest first: the search is
/// done for each connection of a flood.
const SEARCHED: usize = 64;

/// Connections of each of them that are looked at, the oldest first.
const SEARCHED_OF_NETWORK: usize = 512;

/// Connections that a user keeps, even idle ones: two browsers over HTTP/1.1 have no more.
const KEPT_OF_USER: usize = 12;

/// Connections that are ended in one go when memory is short.
const ENDED_FOR_MEMORY: usize = 64;

/// How many connections are open, in all and of each consumer.
pub(crate) struct Admission {
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    /// Proxies that stand for many clients are bound by the total alone.
    is_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    clock: Clock,
    usages: Arc<Usages>,
    uploads: Arc<Budget>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    /// Of these, those of signed-in users.
    of_users: usize,
    next_number: u64,
    /// Those of each user and of each network at its widest, the oldest first. Connections of
    /// trusted proxies are in none.
    groups: HashMap<Consumer, BTreeMap<u64, Arc<Place>>>,
    /// Connections of trusted proxies.
    of_proxies: BTreeMap<u64, Arc<Place>>,
    /// The groups by size, the largest first.
    sizes: BTreeSet<(Reverse<usize>, Consumer)>,
    refused: u64,
    refusal_logged: Option<Timestamp>,
    eviction_logged: Option<Timestamp>,
    upload_logged: Option<Timestamp>,
    failure_logged: Option<Timestamp>,
    header_logged: Option<Timestamp>,
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
        settings: &Settings,
        is_proxy: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        usages: Arc<Usages>,
        clock: Clock,
    ) -> Arc<Self> {
        let admission = Self {
            max: AtomicUsize::new(0),
            max_per_address: AtomicUsize::new(0),
            is_proxy: Box::new(is_proxy),
            clock,
            usages,
            uploads: Arc::default(),
            open: Mutex::default(),
        };
        admission.set(settings);
        Arc::new(admission)
    }

    /// Other limits, for the connections that come; those that are open stay.
    pub(crate) fn set(&self, settings: &Settings) {
        let (max, max_per_address) = (
            settings.max_connections,
            settings.max_connections_per_address,
        );
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address
            .store(max_per_address, Ordering::Relaxed);
        self.uploads.set(Budget::for_connections(max));
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
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let network = self.usages.of_address(address);
        let counted = (!(self.is_proxy)(address)).then(|| Arc::clone(&network));
        let mut open = self.lock();
        if !self.makes_room(&mut open, counted.as_ref()) {
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
                self.report_upload(&mut open, &consumer);
            }
            return;
        }
    }

    /// Whether there is a place for one more connection, if need be that of another. `network` is
    /// that of the newcomer; `None` for a proxy.
    fn makes_room(&self, open: &mut Open, network: Option<&Arc<Usage>>) -> bool {
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
        if is_time(&mut open.refusal_logged, self.clock.now()) {
            tracing::warn!(
                client = %address, open = open.total,
                of_address = network.held(Resource::Connections), refused = open.refused,
                "too many connections: closing new ones; see max_connections and max_connections_per_address"
            );
        }
    }

    /// Says in the log, now and then, that connections have to make room for others.
    fn report_eviction(&self, open: &mut Open) {
        if is_time(&mut open.eviction_logged, self.clock.now()) {
            tracing::warn!(
                open = open.total,
                "all connections are in use: unused ones make room for new ones; see max_connections"
            );
        }
    }

    /// Says in the log, now and then, that an upload has to make room for others.
    fn report_upload(&self, open: &mut Open, consumer: &Consumer) {
        if is_time(&mut open.upload_logged, self.clock.now()) {
            tracing::warn!(
                client = %consumer,
                "too many bytes of uploads wait for applications: ending those of the client with most of them; see max_connections and upstream_max_connections"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the log, now and then, that nobody can be accepted.
    pub(super) fn report(&self, error: &io::Error) {
        let mut open = self.lock();
        if is_time(&mut open.failure_logged, self.clock.now()) {
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
    pub(crate) fn report(&self, peer: IpAddr, error: &proxy_protocol::HeaderError) {
        let mut open = self.admission.lock();
        if is_time(&mut open.header_logged, self.admission.clock.now()) {
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

impl Open {
    fn join(&mut self, place: &Arc<Place>, owner: Option<Arc<Usage>>) {
        if let Some(owner) = &owner {
            owner.add(Resource::Connections, 1);
            self.of_users += usize::from(owner.is_of_user());
            self.resize(&widest(owner), |group| {
                group.insert(place.number(), Arc::clone(place));
            });
        } else {
            self.of_proxies.insert(place.number(), Arc::clone(place));
        }
        place.set_owner(owner);
    }

    fn leave(&mut self, place: &Place) {
        self.total -= 1;
        if let Some(owner) = place.take_owner() {
            owner.remove(Resource::Connections, 1);
            self.of_users -= usize::from(owner.is_of_user());
            self.resize(&widest(&owner), |group| {
                group.remove(&place.number());
            });
        } else {
            self.of_proxies.remove(&place.number());
        }
    }

    /// Whether the connection counts for this user now; one of a trusted proxy counts for nobody.
    fn change_owner(&mut self, place: &Arc<Place>, user: &Arc<Usage>) -> bool {
        if place.is_evicted() || !place.is_owned() {
            return false;
        }
        self.leave(place);
        self.total += 1;
        self.join(place, Some(Arc::clone(user)));
        true
    }

    fn resize(&mut self, consumer: &Consumer, change: impl FnOnce(&mut BTreeMap<u64, Arc<Place>>)) {
        let group = self.groups.entry(consumer.clone()).or_default();
        self.sizes.remove(&(Reverse(group.len()), consumer.clone()));
        change(group);
        if group.is_empty() {
            self.groups.remove(consumer);
        } else {
            self.sizes.insert((Reverse(group.len()), consumer.clone()));
        }
    }

    fn size(&self, consumer: &Consumer) -> usize {
        self.groups.get(consumer).map_or(0, BTreeMap::len)
    }

    /// Ends a connection. It does not count any more, though its task has still to notice.
    fn evict(&mut self, place: &Place) {
        self.leave(place);
        place.evict();
    }

    /// Ends the connection of a consumer with most unread bytes of request bodies; `false` where
    /// none has any.
    fn end_upload_of(&mut self, consumer: &Consumer) -> bool {
        let places = self
            .groups
            .get(consumer)
            .into_iter()
            .flat_map(BTreeMap::values);
        let place = places.max_by_key(|place| place.buffered());
        let Some(place) = place.filter(|place| place.buffered() > 0).cloned() else {
            return false;
        };
        self.evict(&place);
        true
    }

    /// The client of trusted proxies with most unread bytes of request bodies, among those that
    /// `are_meant`, and how many these are.
    fn largest_proxied(&self, are_meant: impl Fn(&Consumer) -> bool) -> Option<(Consumer, usize)> {
        let mut held: HashMap<Consumer, usize> = HashMap::new();
        for place in self.of_proxies.values() {
            let (uploads, each) = place.waiting();
            for upload in uploads {
                *held.entry(widest(upload.client())).or_default() += each;
            }
        }
        let held = held.into_iter();
        let held = held.filter(|(consumer, bytes)| *bytes > 0 && are_meant(consumer));
        held.max_by_key(|(_, bytes)| *bytes)
    }

    /// Ends the uploads of such a client on the connection where it has most.
    fn end_proxied_of(&mut self, consumer: &Consumer) {
        let waiting = |place: &Arc<Place>| {
            let (mut uploads, each) = place.waiting();
            uploads.retain(|upload| widest(upload.client()) == *consumer);
            (uploads, each)
        };
        let places = self.of_proxies.values();
        let places = places.map(|place| (place, waiting(place)));
        let most = places.max_by_key(|(_, (uploads, each))| uploads.len() * each);
        if let Some((place, (uploads, each))) = most {
            for upload in uploads {
                place.end_upload(&upload, each);
            }
        }
    }

    /// A connection of strangers without a request, of the largest network that has one, which has
    /// no fewer than the newcomer's. While there may still be a first request, it has to have more.
    fn unused(&self, newcomers: usize) -> Option<Arc<Place>> {
        let silent = |size: usize, place: &Place| match place.standing() {
            Standing::Lingers => true,
            Standing::Silent => {
                size >= newcomers && place.age() >= SILENT_AFTER
                    || size > newcomers.saturating_add(1)
            }
            _ => false,
        };
        let idle =
            |size: usize, place: &Place| size >= newcomers && place.standing() == Standing::Idle;
        self.search(silent).or_else(|| self.search(idle))
    }

    /// The same of one network.
    fn unused_of(&self, network: &Arc<Usage>) -> Option<Arc<Place>> {
        let group = self.groups.get(&widest(network))?;
        let of_network = |place: &&Arc<Place>| place.is_owned_by(network);
        let silent = |place: &&Arc<Place>| match place.standing() {
            Standing::Lingers => true,
            Standing::Silent => place.age() >= SILENT_AFTER,
            _ => false,
        };
        let silent = group.values().filter(of_network).find(silent);
        let idle = || {
            let mut places = group.values().filter(of_network);
            places.find(|place| place.standing() == Standing::Idle)
        };
        silent.or_else(idle).cloned()
    }

    /// The newest connection in use of a network that has more than the newcomer's would have.
    fn busy_of_larger(&self, newcomers: usize) -> Option<Arc<Place>> {
        let (_, consumer) = self
            .sizes
            .iter()
            .take_while(|(Reverse(size), _)| *size > newcomers.saturating_add(1))
            .find(|(_, consumer)| matches!(consumer, Consumer::Network(_)))?;
        let mut places = self.groups.get(consumer)?.values().rev();
        places
            .find(|place| place.standing() == Standing::Busy)
            .cloned()
    }

    /// An idle connection of a user who has many.
    fn idle_of_user(&self) -> Option<Arc<Place>> {
        let users = self
            .sizes
            .iter()
            .take_while(|(Reverse(size), _)| *size > KEPT_OF_USER)
            .filter(|(_, consumer)| matches!(consumer, Consumer::User(_)));
        users
            .take(SEARCHED)
            .filter_map(|(_, consumer)| self.groups.get(consumer))
            .find_map(|group| {
                let mut places = group.values();
                places.find(|place| {
                    matches!(place.standing(), Standing::Lingers | Standing::UserIdle)
                })
            })
            .cloned()
    }

    fn search(&self, can_go: impl Fn(usize, &Place) -> bool) -> Option<Arc<Place>> {
        let networks = self
            .sizes
            .iter()
            .filter(|(_, consumer)| matches!(consumer, Consumer::Network(_)));
        networks
            .take(SEARCHED)
            .filter_map(|(Reverse(size), consumer)| Some((*size, self.groups.get(consumer)?)))
            .find_map(|(size, group)| {
                let mut places = group.values().take(SEARCHED_OF_NETWORK);
                places.find(|place| can_go(size, place))
            })
            .cloned()
    }
}

/// Whose group a connection is in.
fn widest(usage: &Usage) -> Consumer {
    match usage.consumer() {
        Consumer::Network(network) => Consumer::Network(network.widest()),
        user @ Consumer::User(_) => user.clone(),
    }
}

/// Whether a line that was written at `last` may be written again; if so, notes it.
fn is_time(last: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let due = last.is_none_or(|last| now.since(last) >= LOG_EVERY);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max: usize, max_per_address: usize) -> Arc<Admission> {
        let settings = Settings {
            listen: vec![],
            redirect_http: vec![],
            max_connections: max,
            max_connections_per_address: max_per_address,
        };
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let is_proxy = move |address| address == proxy;
        Admission::new(&settings, is_proxy, Arc::default(), Clock::system())
    }

    fn admit(admission: &Arc<Admission>, address: &str) -> Option<Admitted> {
        admission.admit(address.parse().unwrap())
    }

    /// A connection of a stranger with a request in flight.
    fn busy(admission: &Arc<Admission>, address: &str) -> Admitted {
        let admitted = admit(admission, address).unwrap();
        admitted.place().begin_request();
        admitted
    }

    fn idle(admission: &Arc<Admission>, address: &str) -> Admitted {
        let admitted = busy(admission, address);
        admitted.place().end_request();
        admitted
    }

    fn user(admission: &Arc<Admission>, name: &str) -> Arc<Usage> {
        admission.usages.of(Consumer::User(name.into()))
    }

    fn evicted(admitted: &[Admitted]) -> Vec<bool> {
        let evicted = |admitted: &Admitted| admitted.place().is_evicted();
        admitted.iter().map(evicted).collect()
    }

    #[test]
    fn sec_28_connections_are_bounded_in_all_and_for_each_address() {
        let admission = admission(3, 2);
        let first = busy(&admission, "192.0.2.1");
        let second = busy(&admission, "192.0.2.1");
        assert!(admit(&admission, "192.0.2.1").is_none(), "two of one");
        let other = busy(&admission, "192.0.2.2");
        assert_eq!((admission.open(), admission.max()), (3, 3));
        assert!(!first.place().is_evicted());
        drop(second);
        assert!(admit(&admission, "192.0.2.3").is_some());
        drop((first, other));
        assert_eq!((admission.open(), admission.refused()), (0, 1));
    }

    #[test]
    fn sec_28_one_ipv6_network_is_one_address() {
        let admission = admission(10, 1);
        let _first = busy(&admission, "2001:db8:1:2::3");
        assert!(admit(&admission, "2001:db8:1:2:ffff::9").is_none());
        assert!(admit(&admission, "2001:db8:1:3::3").is_some());
    }

    #[test]
    fn a_trusted_proxy_is_bound_by_the_total_alone() {
        let admission = admission(3, 1);
        let open: Vec<_> = (0..3).map(|_| busy(&admission, "10.0.0.1")).collect();
        assert!(admit(&admission, "10.0.0.1").is_none());
        assert!(admit(&admission, "192.0.2.1").is_none(), "proxies stay");
        assert_eq!(evicted(&open), [false; 3]);
    }

    #[test]
    fn sec_28_a_client_that_a_load_balancer_names_counts_for_itself() {
        let admission = admission(9, 1);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let [mut first, mut second, mut third] = [0; 3].map(|_| busy(&admission, "10.0.0.1"));
        assert!(first.reassign(client, false));
        assert!(!second.reassign(client, false), "two of one client");
        assert_eq!((admission.open(), admission.refused()), (3, 1));
        assert!(second.reassign("192.0.2.2".parse().unwrap(), false));
        assert!(third.reassign(client, true), "for many others");
        drop((first, third));
        assert!(admit(&admission, "192.0.2.1").is_some(), "free again");
        drop(second);
        assert_eq!(admission.open(), 0);
        assert!(admission.lock().groups.is_empty() && admission.lock().sizes.is_empty());
        assert!(
            admission
                .usages
                .largest(Resource::Connections, 1, |_| true)
                .is_empty()
        );
    }

    #[test]
    fn sec_87_connections_without_a_request_make_room_the_largest_network_first() {
        let admission = admission(5, 5);
        let silent: Vec<_> = (0..3)
            .map(|_| admit(&admission, "192.0.2.1").unwrap())
            .collect();
        let others = [idle(&admission, "192.0.2.2"), busy(&admission, "192.0.2.3")];
        let newcomer = admit(&admission, "198.51.100.1");
        assert!(newcomer.is_some());
        assert_eq!(evicted(&silent), [true, false, false], "the oldest");
        assert_eq!(evicted(&others), [false, false]);
        assert_eq!(admission.open(), 5);
        drop(silent);
        assert_eq!(admission.open(), 3);
    }

    #[test]
    fn sec_87_then_idle_ones_and_then_those_of_a_larger_network() {
        let admission = admission(4, 4);
        let held: Vec<_> = (0..3).map(|_| busy(&admission, "192.0.2.1")).collect();
        let waits = idle(&admission, "192.0.2.2");
        let first = busy(&admission, "198.51.100.1");
        assert!(waits.place().is_evicted());
        let second = busy(&admission, "198.51.100.2");
        assert_eq!(evicted(&held), [false, false, true], "the newest");
        assert!(admit(&admission, "192.0.2.1").is_none(), "it has most");
        assert!(
            admit(&admission, "198.51.100.1").is_none(),
            "one more than it"
        );
        drop((first, second));
    }

    #[test]
    fn sec_87_a_network_with_more_ends_none_of_one_with_less() {
        let admission = admission(3, 3);
        let _busy = [busy(&admission, "192.0.2.1"), busy(&admission, "192.0.2.1")];
        let waits = idle(&admission, "192.0.2.2");
        assert!(admit(&admission, "192.0.2.1").is_none());
        assert!(!waits.place().is_evicted());
    }

    #[test]
    fn sec_87_silent_strangers_take_no_connection_of_a_user() {
        let admission = admission(100, 20);
        let _strangers: Vec<_> = (0..80)
            .map(|n| admit(&admission, &format!("192.0.2.{}", n / 20)).unwrap())
            .collect();
        let ada = user(&admission, "ada");
        let hers: Vec<_> = (0..30)
            .map(|n| busy(&admission, &format!("198.51.100.{}", n % 2)))
            .collect();
        assert!(hers.iter().all(|one| one.belongs_to(&ada)));
        assert_eq!(admission.open(), 100);
    }

    #[test]
    fn sec_87_users_stay_and_strangers_of_their_network_go() {
        let admission = admission(10, 2);
        let hers = busy(&admission, "192.0.2.1");
        assert!(hers.belongs_to(&user(&admission, "ada")));
        hers.place().end_request();
        let strangers = [idle(&admission, "192.0.2.1"), idle(&admission, "192.0.2.1")];
        let newcomer = admit(&admission, "192.0.2.1");
        assert!(newcomer.is_some(), "who may be a user behind the same NAT");
        assert_eq!(evicted(&strangers), [true, false]);
        assert!(!hers.place().is_evicted());
    }

    #[test]
    fn sec_87_idle_connections_of_a_user_with_many_make_room_last() {
        let max = KEPT_OF_USER + 2;
        let admission = admission(max, max);
        let ada = user(&admission, "ada");
        let hers: Vec<_> = (0..max)
            .map(|_| {
                let admitted = idle(&admission, "192.0.2.1");
                admitted.belongs_to(&ada);
                admitted
            })
            .collect();
        let first = admit(&admission, "198.51.100.1");
        assert!(first.is_some() && hers[0].place().is_evicted());
        drop(first);
        assert_eq!(admission.open(), max - 1);
        assert_eq!(ada.held(Resource::Connections), max - 1);
    }

    #[test]
    fn sec_87_a_whole_ipv6_site_is_one() {
        let admission = admission(20, 10);
        let _of_site: Vec<_> = (0..10)
            .map(|n| busy(&admission, &format!("2001:db8:0:{n:x}::1")))
            .collect();
        let _others: Vec<_> = (0..10)
            .map(|n| busy(&admission, &format!("192.0.2.{n}")))
            .collect();
        assert!(admit(&admission, "2001:db8:0:ff::1").is_none());
        assert!(admit(&admission, "198.51.100.1").is_some());
    }
}
