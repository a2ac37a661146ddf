//! The open connections, by whom they count for, and which of them can go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::load::place::{Place, Standing};
use crate::load::tuning::{KEPT_OF_USER, SILENT_AFTER};
use crate::load::{Consumer, Resource, Usage};

/// Connections that are looked at for one that can go, at most: it is done under one lock, for each
/// connection of a flood.
const LOOKS: usize = 64;

#[derive(Default)]
pub(super) struct Open {
    pub(super) total: usize,
    /// Of these, those of signed-in users.
    pub(super) of_users: usize,
    pub(super) next_number: u64,
    /// Those of each user and of each network at its widest, the oldest first. Connections of
    /// trusted proxies are in none.
    pub(super) groups: HashMap<Consumer, Group>,
    /// Connections of trusted proxies.
    pub(super) of_proxies: BTreeMap<u64, Arc<Place>>,
    pub(super) networks: Order,
    pub(super) users: Order,
    pub(super) refused: u64,
}

#[derive(Default)]
pub(super) struct Group {
    places: BTreeMap<u64, Arc<Place>>,
    /// Where the next look begins.
    next: u64,
}

/// Groups by size, the largest first.
#[derive(Default)]
pub(super) struct Order {
    sizes: BTreeSet<Size>,
    /// Where the next search begins, if the last one has found nothing.
    resume: Option<Bound<Size>>,
}

type Size = (Reverse<usize>, Consumer);

/// Whether a connection can go for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CanGo {
    First,
    /// Where there is none that goes first.
    Second,
    No,
}

/// What a look at a group has found.
#[derive(Default)]
struct Found {
    first: Option<Arc<Place>>,
    second: Option<Arc<Place>>,
    /// The look came to the end of the group.
    is_whole: bool,
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
        let sizes = match consumer {
            Consumer::Network(_) => &mut self.networks.sizes,
            Consumer::User(_) => &mut self.users.sizes,
        };
        sizes.remove(&(Reverse(group.places.len()), consumer.clone()));
        change(&mut group.places);
        if group.places.is_empty() {
            self.groups.remove(consumer);
        } else {
            sizes.insert((Reverse(group.places.len()), consumer.clone()));
        }
    }

    pub(super) fn size(&self, consumer: &Consumer) -> usize {
        let group = self.groups.get(consumer);
        group.map_or(0, |group| group.places.len())
    }

    /// Ends a connection. It does not count any more, though its task has still to notice.
    pub(super) fn evict(&mut self, place: &Place) {
        self.leave(place);
        place.evict();
    }

    /// Ends the connection of a consumer with most unread bytes of request bodies; `false` where
    /// none has any.
    pub(super) fn end_upload_of(&mut self, consumer: &Consumer) -> bool {
        let group = self.groups.get(consumer).into_iter();
        let places = group.flat_map(|group| group.places.values());
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
    pub(super) fn unused(&mut self, newcomers: usize) -> Option<Arc<Place>> {
        let judge = |size: usize, place: &Place| match place.standing() {
            Standing::Lingers => CanGo::First,
            Standing::Silent
                if size >= newcomers && place.age() >= SILENT_AFTER
                    || size > newcomers.saturating_add(1) =>
            {
                CanGo::First
            }
            Standing::Idle if size >= newcomers => CanGo::Second,
            _ => CanGo::No,
        };
        self.networks.search(&mut self.groups, 0, judge)
    }

    /// The same of one network.
    pub(super) fn unused_of(&mut self, network: &Arc<Usage>) -> Option<Arc<Place>> {
        let group = self.groups.get_mut(&widest(network))?;
        let judge = |place: &Place| match place.standing() {
            _ if !place.is_owned_by(network) => CanGo::No,
            Standing::Lingers => CanGo::First,
            Standing::Silent if place.age() >= SILENT_AFTER => CanGo::First,
            Standing::Idle => CanGo::Second,
            _ => CanGo::No,
        };
        let mut looks = LOOKS;
        let found = group.look(&mut looks, judge);
        let again = match found {
            Found {
                first: None,
                is_whole: true,
                ..
            } => group.look(&mut looks, judge), // what is before where it began
            _ => Found::default(),
        };
        found
            .first
            .or(again.first)
            .or(found.second)
            .or(again.second)
    }

    /// The newest connection of a network that has more than the newcomer's would have.
    pub(super) fn busy_of_larger(&self, newcomers: usize) -> Option<Arc<Place>> {
        let (Reverse(size), largest) = self.networks.sizes.first()?;
        let (_, newest) = self.groups.get(largest)?.places.last_key_value()?;
        (*size > newcomers.saturating_add(1)).then(|| Arc::clone(newest))
    }

    /// An idle connection of a user who has many.
    pub(super) fn idle_of_user(&mut self) -> Option<Arc<Place>> {
        let judge = |_, place: &Place| match place.standing() {
            Standing::Lingers | Standing::UserIdle => CanGo::First,
            _ => CanGo::No,
        };
        self.users.search(&mut self.groups, KEPT_OF_USER + 1, judge)
    }
}

impl Order {
    /// Looks for a connection that can go, of a group of at least so many, the largest group first.
    /// A search that finds nothing in so many looks is gone on with by the next one: what can go is
    /// found in the end, however many stay.
    fn search(
        &mut self,
        groups: &mut HashMap<Consumer, Group>,
        least: usize,
        judge: impl Fn(usize, &Place) -> CanGo,
    ) -> Option<Arc<Place>> {
        let resume = self.resume.take().unwrap_or(Bound::Unbounded);
        let is_enough = |(Reverse(size), _): &&Size| *size >= least;
        let from = |start: &Bound<Size>| {
            let sizes = self
                .sizes
                .range::<Size, _>((start.as_ref(), Bound::Unbounded));
            sizes.take_while(is_enough)
        };
        let mut looks = LOOKS;
        let (mut second, mut reached) = (None, Bound::Unbounded);
        // The second time, what is before where the first has begun.
        for of_size in from(&resume).chain(from(&Bound::Unbounded)) {
            let (Reverse(size), consumer) = of_size;
            let Some(group) = groups.get_mut(consumer) else {
                continue;
            };
            let found = group.look(&mut looks, |place| judge(*size, place));
            if found.first.is_some() {
                return found.first;
            }
            second = second.or(found.second);
            reached = if found.is_whole {
                Bound::Excluded(of_size)
            } else {
                Bound::Included(of_size)
            };
            if looks == 0 {
                break;
            }
        }
        if second.is_none() {
            self.resume = Some(reached.cloned());
        }
        second
    }
}

impl Group {
    /// Looks at connections from where the last look has ended, the oldest first.
    fn look(&mut self, looks: &mut usize, judge: impl Fn(&Place) -> CanGo) -> Found {
        let mut found = Found::default();
        let (mut next, mut after) = (None, self.next);
        let mut places = self.places.range(self.next..);
        loop {
            if *looks == 0 {
                break;
            }
            let Some((number, place)) = places.next() else {
                found.is_whole = true;
                break;
            };
            *looks -= 1;
            match judge(place) {
                CanGo::First => {
                    found.first = Some(Arc::clone(place));
                    next = Some(*number);
                    break;
                }
                CanGo::Second if found.second.is_none() => {
                    found.second = Some(Arc::clone(place));
                    next = Some(*number);
                }
                _ => {}
            }
            after = number + 1;
        }
        let end = if found.is_whole { 0 } else { after };
        self.next = next.unwrap_or(end);
        found
    }
}

/// Whose group a connection is in.
pub(super) fn widest(usage: &Usage) -> Consumer {
    match usage.consumer() {
        Consumer::Network(network) => Consumer::Network(network.widest()),
        user @ Consumer::User(_) => user.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::load::Usages;
    use crate::network::Network;

    /// So many networks with so many connections each, all of them in use.
    fn open(networks: u32, each: u64) -> (Open, Vec<Arc<Place>>) {
        let (mut open, usages) = (Open::default(), Arc::new(Usages::default()));
        let mut places = Vec::new();
        for n in 0..networks {
            let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
            let network = usages.of(Consumer::Network(Network::of(address)));
            for m in 0..each {
                let place = Arc::new(Place::new(u64::from(n) * each + m, Arc::default()));
                place.begin_request();
                open.total += 1;
                open.join(&place, Some(Arc::clone(&network)));
                places.push(place);
            }
        }
        (open, places)
    }

    #[test]
    fn sec_87_a_search_looks_at_few_connections_however_many_there_are() {
        for (networks, each) in [(1, 2000), (2000, 1), (40, 50)] {
            let (mut open, _places) = open(networks, each);
            for _ in 0..100 {
                let looks = Cell::new(0);
                let found = open.networks.search(&mut open.groups, 0, |_, _| {
                    looks.set(looks.get() + 1);
                    CanGo::No
                });
                assert!(found.is_none());
                assert_eq!(looks.get(), LOOKS, "{networks} networks");
            }
        }
    }

    #[test]
    fn sec_87_what_can_go_is_found_in_the_end_however_many_stay() {
        for (networks, each) in [(1, 2000), (2000, 1), (40, 50)] {
            let (mut open, places) = open(networks, each);
            assert!(open.unused(usize::MAX - 1).is_none());
            for idle in [1999, 0, 1000] {
                places[idle].end_request();
                let search = |_| open.unused(0);
                let found = (0..=2000 / LOOKS).find_map(search);
                let found = found.map(|place| place.number());
                assert_eq!(found, Some(places[idle].number()), "{networks} networks");
                places[idle].begin_request();
            }
        }
    }
}
