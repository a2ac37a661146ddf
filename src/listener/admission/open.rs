//! The open connections, by whom they count for, and which of them can go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::listener::place::{Place, Standing};
use crate::overload::{Consumer, Resource, Usage};

/// A handshake may take so long before the connection counts as one that asks nothing.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Networks that are searched for a connection that can go, the largest first: the search is
/// done for each connection of a flood.
const SEARCHED: usize = 64;

/// Connections of each of them that are looked at, the oldest first.
const SEARCHED_OF_NETWORK: usize = 512;

/// Connections that a user keeps, even idle ones: two browsers over HTTP/1.1 have no more.
pub(super) const KEPT_OF_USER: usize = 12;

#[derive(Default)]
pub(super) struct Open {
    pub(super) total: usize,
    /// Of these, those of signed-in users.
    pub(super) of_users: usize,
    pub(super) next_number: u64,
    /// Those of each user and of each network at its widest, the oldest first. Connections of
    /// trusted proxies are in none.
    pub(super) groups: HashMap<Consumer, BTreeMap<u64, Arc<Place>>>,
    /// Connections of trusted proxies.
    pub(super) of_proxies: BTreeMap<u64, Arc<Place>>,
    /// The groups by size, the largest first.
    pub(super) sizes: BTreeSet<(Reverse<usize>, Consumer)>,
    pub(super) refused: u64,
    pub(super) refusal_logged: Option<Timestamp>,
    pub(super) eviction_logged: Option<Timestamp>,
    pub(super) upload_logged: Option<Timestamp>,
    pub(super) failure_logged: Option<Timestamp>,
    pub(super) header_logged: Option<Timestamp>,
}

impl Open {
    pub(super) fn join(&mut self, place: &Arc<Place>, owner: Option<Arc<Usage>>) {
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

    pub(super) fn leave(&mut self, place: &Place) {
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
    pub(super) fn change_owner(&mut self, place: &Arc<Place>, user: &Arc<Usage>) -> bool {
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

    pub(super) fn size(&self, consumer: &Consumer) -> usize {
        self.groups.get(consumer).map_or(0, BTreeMap::len)
    }

    /// Ends a connection. It does not count any more, though its task has still to notice.
    pub(super) fn evict(&mut self, place: &Place) {
        self.leave(place);
        place.evict();
    }

    /// Ends the connection of a consumer with most unread bytes of request bodies; `false` where
    /// none has any.
    pub(super) fn end_upload_of(&mut self, consumer: &Consumer) -> bool {
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
    pub(super) fn largest_proxied(
        &self,
        are_meant: impl Fn(&Consumer) -> bool,
    ) -> Option<(Consumer, usize)> {
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
    pub(super) fn end_proxied_of(&mut self, consumer: &Consumer) {
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
    pub(super) fn unused(&self, newcomers: usize) -> Option<Arc<Place>> {
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
    pub(super) fn unused_of(&self, network: &Arc<Usage>) -> Option<Arc<Place>> {
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
    pub(super) fn busy_of_larger(&self, newcomers: usize) -> Option<Arc<Place>> {
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
    pub(super) fn idle_of_user(&self) -> Option<Arc<Place>> {
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
pub(super) fn widest(usage: &Usage) -> Consumer {
    match usage.consumer() {
        Consumer::Network(network) => Consumer::Network(network.widest()),
        user @ Consumer::User(_) => user.clone(),
    }
}
