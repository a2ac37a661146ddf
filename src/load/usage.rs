//! Who holds how much: networks of strangers, and signed-in users (SEC-87).
//!
//! Limits that are met here are max-min fair: nobody may hold more than what is left for all
//! others. See [`crate::network::Quotas`] for why that is enough.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::per_second::{LastCounts, PerSecond};
use crate::network::Network;

/// Whom something is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Consumer {
    /// Strangers, by where they come from.
    Network(Network),
    /// A signed-in user, wherever the requests come from.
    User(Arc<str>),
}

impl Consumer {
    pub(crate) fn is_user(&self) -> bool {
        matches!(self, Self::User(_))
    }

    fn enclosing(&self) -> Option<Self> {
        match self {
            Self::Network(network) => network.enclosing().map(Self::Network),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::User(name) => f.write_str(name),
        }
    }
}

/// What can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Connections,
    /// Requests in flight.
    Requests,
    /// Our own answers that clients have not read yet.
    Unread,
    /// Bytes of request bodies that wait for an application to take them.
    Buffered,
    /// Bytes of request bodies that are read whole before their application gets them.
    Bodies,
}

impl Resource {
    pub(crate) const ALL: [Self; 5] = [
        Self::Connections,
        Self::Requests,
        Self::Unread,
        Self::Buffered,
        Self::Bodies,
    ];
}

/// What a consumer holds; a network's counts for those around it, too.
pub(crate) struct Usage {
    consumer: Consumer,
    around: Option<Arc<Usage>>,
    held: [AtomicUsize; Resource::ALL.len()],
    /// Requests, while some are turned away.
    turns: PerSecond,
    /// Vestibule's own answers.
    answers: PerSecond,
    all: Weak<Usages>,
}

/// What all consumers hold that hold anything.
#[derive(Default)]
pub(crate) struct Usages(Mutex<All>);

#[derive(Default)]
struct All {
    usages: HashMap<Consumer, Weak<Usage>>,
    /// Counts of those that hold nothing any more: a client of a load balancer holds nothing between two
    /// requests, and a flood may open a connection for each request.
    turns: LastCounts,
    answers: LastCounts,
}

impl Usages {
    /// The usage of a consumer, shared with all who ask for it.
    pub(crate) fn of(self: &Arc<Self>, consumer: Consumer) -> Arc<Usage> {
        let mut all = self.lock();
        let All {
            usages,
            turns,
            answers,
        } = &mut *all;
        if let Some(usage) = usages.get(&consumer).and_then(Weak::upgrade) {
            return usage;
        }
        let mut missing = vec![consumer];
        let mut around = None;
        while let Some(wider) = missing.last().and_then(Consumer::enclosing) {
            around = usages.get(&wider).and_then(Weak::upgrade);
            if around.is_some() {
                break;
            }
            missing.push(wider);
        }
        let mut usage = around;
        for consumer in missing.into_iter().rev() {
            let made = Arc::new(Usage {
                consumer: consumer.clone(),
                around: usage.take(),
                held: Default::default(),
                turns: turns.of(&consumer),
                answers: answers.of(&consumer),
                all: Arc::downgrade(self),
            });
            usages.insert(consumer, Arc::downgrade(&made));
            usage = Some(made);
        }
        usage.expect("there is at least the consumer itself")
    }

    /// The usage of the narrowest network of an address.
    pub(crate) fn of_address(self: &Arc<Self>, address: std::net::IpAddr) -> Arc<Usage> {
        self.of(Consumer::Network(Network::of(address)))
    }

    /// The consumers that hold most of a resource, the largest first: those that `are_meant`
    /// among users and networks at their widest.
    pub(crate) fn largest(
        &self,
        resource: Resource,
        count: usize,
        are_meant: impl Fn(&Consumer) -> bool,
    ) -> Vec<(Consumer, usize)> {
        let usages = |all: &All| all.usages.values().filter_map(Weak::upgrade).collect();
        let usages: Vec<_> = usages(&self.lock());
        let mut held: Vec<_> = usages
            .iter()
            .filter(|usage| usage.around.is_none() && are_meant(&usage.consumer))
            .map(|usage| (usage.consumer.clone(), usage.held(resource)))
            .filter(|(_, held)| *held > 0)
            .collect();
        held.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        held.truncate(count);
        held
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Usages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Usages")
            .field(&self.lock().usages.len())
            .finish()
    }
}

impl Usage {
    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Whether it is what this user holds.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        matches!(&self.consumer, Consumer::User(name) if **name == *user)
    }

    pub(crate) fn is_of_user(&self) -> bool {
        self.consumer.is_user()
    }

    pub(crate) fn held(&self, resource: Resource) -> usize {
        self.held[resource as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, resource: Resource, amount: usize) {
        self.each_level(|level| {
            level.held[resource as usize].fetch_add(amount, Ordering::Relaxed);
        });
    }

    pub(crate) fn remove(&self, resource: Resource, amount: usize) {
        self.each_level(|level| {
            level.held[resource as usize].fetch_sub(amount, Ordering::Relaxed);
        });
    }

    /// What the widest network around it holds.
    pub(crate) fn held_widest(&self, resource: Resource) -> usize {
        self.widest().held(resource)
    }

    /// Whether it holds, what it asks for included, at most `times` what is `left` for others. One
    /// piece is never too much.
    pub(crate) fn is_within(&self, resource: Resource, left: usize, times: usize) -> bool {
        self.left_within(resource, left, times).is_some()
    }

    /// What a level leaves to the others within it.
    fn left_within(&self, resource: Resource, left: usize, times: usize) -> Option<usize> {
        let left = match &self.around {
            Some(around) => around.left_within(resource, left, times)?,
            None => left,
        };
        let held = self.held(resource);
        (held <= 1 || held <= left.saturating_mul(times)).then(|| left.saturating_sub(held))
    }

    /// Counts a request of the widest network around it; whether it is among the first `limit` of
    /// this second.
    pub(crate) fn takes_turn(&self, second: u32, limit: u32) -> bool {
        self.widest().turns.count(second) <= limit
    }

    /// Counts one of Vestibule's own answers for the widest network around it, and returns how many there
    /// have been in this second.
    pub(super) fn count_answer(&self, second: u32) -> u32 {
        self.widest().answers.count(second)
    }

    fn widest(&self) -> &Self {
        let mut widest = self;
        while let Some(around) = &widest.around {
            widest = around;
        }
        widest
    }

    fn each_level(&self, act: impl Fn(&Self)) {
        let mut level = self;
        loop {
            act(level);
            let Some(around) = &level.around else { return };
            level = around;
        }
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage")
            .field("consumer", &self.consumer)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else {
            return;
        };
        let mut all = all.lock();
        all.turns.keep(&self.consumer, &mut self.turns);
        all.answers.keep(&self.consumer, &mut self.answers);
        // Somebody may have asked for a new one meanwhile.
        let usages = &mut all.usages;
        if usages
            .get(&self.consumer)
            .is_some_and(|usage| usage.strong_count() == 0)
        {
            usages.remove(&self.consumer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::per_second::REMEMBERED;
    use super::*;

    fn network(address: &str) -> Consumer {
        Consumer::Network(Network::of(address.parse().unwrap()))
    }

    #[test]
    fn sec_87_what_a_network_holds_counts_for_those_around_it() {
        let usages = Arc::new(Usages::default());
        let first = usages.of(network("2001:db8:0:1::1"));
        let second = usages.of(network("2001:db8:0:2::1"));
        first.add(Resource::Connections, 3);
        second.add(Resource::Connections, 2);
        let largest = usages.largest(Resource::Connections, 3, |_| true);
        assert_eq!(
            largest,
            [(
                Consumer::Network(Network::of("2001:db8::".parse().unwrap()).widest()),
                5
            )]
        );
        assert!(first.is_within(Resource::Connections, 13, 1), "5, 5, 3");
        assert!(!first.is_within(Resource::Connections, 12, 1));
        second.remove(Resource::Connections, 2);
        assert!(first.is_within(Resource::Connections, 9, 1), "3, 3, 3");
    }

    #[test]
    fn a_consumer_that_holds_nothing_is_forgotten() {
        let usages = Arc::new(Usages::default());
        let one = usages.of(network("2001:db8::1"));
        let same = usages.of(network("2001:db8::2"));
        assert!(Arc::ptr_eq(&one, &same));
        drop(one);
        assert_eq!(usages.lock().usages.len(), 3);
        drop(same);
        assert!(usages.lock().usages.is_empty());
        drop(usages.of(Consumer::User("ada".into())));
        assert!(usages.lock().usages.is_empty());
    }

    #[test]
    fn sec_87_the_largest_are_told_first() {
        let usages = Arc::new(Usages::default());
        let held: Vec<_> = [("192.0.2.1", 1), ("192.0.2.2", 5), ("192.0.2.3", 3)]
            .map(|(address, requests)| {
                let usage = usages.of(network(address));
                usage.add(Resource::Requests, requests);
                usage
            })
            .into();
        let largest = usages.largest(Resource::Requests, 2, |_| true);
        let shown: Vec<_> = largest
            .iter()
            .map(|(who, held)| format!("{who} {held}"))
            .collect();
        assert_eq!(shown, ["192.0.2.2 5", "192.0.2.3 3"]);
        drop(held);
    }

    #[test]
    fn sec_87_turns_are_counted_for_a_second_and_the_widest_network() {
        let usages = Arc::new(Usages::default());
        let one = usages.of(network("2001:db8:0:1::1"));
        let neighbour = usages.of(network("2001:db8:0:2::1"));
        assert!(one.takes_turn(7, 2) && neighbour.takes_turn(7, 2));
        assert!(!one.takes_turn(7, 2), "the third in this second");
        assert!(one.takes_turn(8, 2));
        assert!(usages.of(network("192.0.2.1")).takes_turn(8, 2));
    }

    #[test]
    fn sec_87_turns_outlive_a_usage_that_nobody_has() {
        let usages = Arc::new(Usages::default());
        let takes = |address: &str, second| usages.of(network(address)).takes_turn(second, 2);
        assert!(takes("192.0.2.1", 7) && takes("192.0.2.1", 7));
        assert!(!takes("192.0.2.1", 7), "the third in this second");
        assert!(takes("192.0.2.2", 7), "another network");
        assert!(takes("192.0.2.1", 8), "another second");
        assert!(takes("2001:db8:0:1::1", 8) && takes("2001:db8:0:2::1", 8));
        assert!(!takes("2001:db8:0:3::1", 8), "the third of a /48");
        for n in 0..2 * REMEMBERED {
            let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
            assert!(takes(&format!("10.0.{high}.{low}"), 9));
        }
        let all = usages.lock();
        assert!(all.usages.is_empty());
        assert_eq!(all.turns.places.len(), REMEMBERED);
    }

    #[test]
    fn sec_87_answers_outlive_a_usage_that_nobody_has() {
        let usages = Arc::new(Usages::default());
        let count = |address: &str, second| usages.of(network(address)).count_answer(second);
        assert_eq!((count("192.0.2.1", 7), count("192.0.2.1", 7)), (1, 2));
        assert_eq!(count("192.0.2.2", 7), 1, "another network");
        assert_eq!(count("192.0.2.1", 8), 1, "another second");
        let of_site = ["2001:db8:0:1::1", "2001:db8:0:2::1"].map(|address| count(address, 8));
        assert_eq!(of_site, [1, 2], "one /48");
        // Turns are counted by a different clock.
        assert!(usages.of(network("192.0.2.1")).takes_turn(7_000, 1));
        assert_eq!(count("192.0.2.1", 8), 2);
        assert!(!usages.of(network("192.0.2.1")).takes_turn(7_000, 1));
    }
}
