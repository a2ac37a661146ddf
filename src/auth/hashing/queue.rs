//! The queue in front of the hashing threads: its places are shared among networks, and networks
//! and users take turns (SEC-60, SEC-87).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::network::{Network, QuotaPermit, Quotas};

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Do(T),
    /// There is nothing to do for now.
    Rest,
    /// The queue is closed.
    Stop,
}

/// Who waits for a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Waiter {
    /// A login.
    Network(Network),
    /// A signed-in user, whatever the strangers of the same network do.
    User(Arc<str>),
}

impl From<Network> for Waiter {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

impl Waiter {
    /// With the networks around it, the widest first.
    fn around(self) -> Vec<Self> {
        match self {
            Self::Network(network) => {
                let mut around: Vec<_> = network.levels().map(Self::Network).collect();
                around.reverse();
                around
            }
            Self::User(_) => vec![self],
        }
    }
}

/// Users who wait: each has one place, which is none of the networks'.
type Users = Arc<Mutex<HashSet<Arc<str>>>>;

/// A place in the queue, until it is dropped.
pub(super) enum Place {
    Network { _permit: QuotaPermit },
    User { users: Users, name: Arc<str> },
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::User { users, name } = self {
            locked(users).remove(name);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Queue<T> {
    places: Arc<Quotas>,
    users: Users,
    max: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Turns<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            places: Quotas::new(max as u64),
            users: Users::default(),
            max,
            state: Mutex::new(State {
                waiting: Turns::default(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// A place for one more, unless its network has its share of them, or the user waits already.
    pub(super) fn place(&self, waiter: &Waiter) -> Option<Place> {
        match waiter {
            Waiter::Network(network) => {
                let permit = self.places.take(*network, 1)?;
                Some(Place::Network { _permit: permit })
            }
            Waiter::User(name) => {
                let mut users = locked(&self.users);
                let is_free = users.len() < self.max && users.insert(Arc::clone(name));
                is_free.then(|| Place::User {
                    users: Arc::clone(&self.users),
                    name: Arc::clone(name),
                })
            }
        }
    }

    pub(super) fn push(&self, waiter: Waiter, item: T) {
        self.lock().waiting.push(&waiter.around(), item);
        self.changed.notify_one();
    }

    /// Waits for whatever is next, for as long as `patience` lasts.
    pub(super) fn next(&self, patience: Option<Duration>) -> Next<T> {
        let nothing = |state: &mut State<T>| !state.closed && state.waiting.is_empty();
        let state = self.lock();
        let mut state = if let Some(patience) = patience {
            let woken = self.changed.wait_timeout_while(state, patience, nothing);
            woken.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let woken = self.changed.wait_while(state, nothing);
            woken.unwrap_or_else(PoisonError::into_inner)
        };
        if state.closed {
            return Next::Stop;
        }
        state.waiting.pop().map_or(Next::Rest, Next::Do)
    }

    /// Whatever still waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting = Turns::default();
        drop(state);
        self.changed.notify_all();
    }

    /// How many places of networks are taken, and how many there are.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let taken = usize::try_from(self.places.total()).unwrap_or(usize::MAX);
        (taken, self.max)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        locked(&self.state)
    }
}

/// One of each network and each user in turn, the first come first within a network: a login that
/// comes alone waits for one of each other network, and not for the sixty that one of them has
/// sent. Networks within a wider one share its turn.
struct Turns<T> {
    own: VecDeque<T>,
    within: VecDeque<(Waiter, Turns<T>)>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            own: VecDeque::new(),
            within: VecDeque::new(),
        }
    }
}

impl<T> Turns<T> {
    /// `around` are the networks of the item, the widest first.
    fn push(&mut self, around: &[Waiter], item: T) {
        let Some((first, narrower)) = around.split_first() else {
            self.own.push_back(item);
            return;
        };
        let at = self.within.iter().position(|(waiter, _)| waiter == first);
        let at = at.unwrap_or_else(|| {
            self.within.push_back((first.clone(), Self::default()));
            self.within.len() - 1
        });
        self.within[at].1.push(narrower, item);
    }

    fn pop(&mut self) -> Option<T> {
        if let Some(item) = self.own.pop_front() {
            return Some(item);
        }
        let (waiter, mut turns) = self.within.pop_front()?;
        let item = turns.pop();
        if !turns.is_empty() {
            self.within.push_back((waiter, turns));
        }
        item
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.within.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(address: &str) -> Waiter {
        Network::of(address.parse().unwrap()).into()
    }

    fn order(arrivals: &[&'static str]) -> Vec<&'static str> {
        let queue = Queue::new(100);
        for &address in arrivals {
            queue.push(waiter(address), address);
        }
        let next = |_| match queue.next(None) {
            Next::Do(address) => address,
            other => panic!("{other:?}"),
        };
        arrivals.iter().map(next).collect()
    }

    #[test]
    fn sec_87_a_newcomer_waits_for_one_of_each_network() {
        let (many, few, new) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        assert_eq!(
            order(&[many, many, many, many, few, few, new]),
            [many, few, new, many, few, many, many]
        );
    }

    #[test]
    fn sec_87_the_networks_of_one_customer_share_a_turn() {
        let (a, b, c) = ("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:100::1");
        let other = "192.0.2.1";
        assert_eq!(
            order(&[a, a, b, c, other, other]),
            [a, other, c, other, b, a],
            "a /48 is one, and so is a /56 within it"
        );
    }

    #[test]
    fn sec_87_half_of_the_places_are_left_to_others() {
        let queue = Queue::<()>::new(64);
        let one = || queue.place(&waiter("192.0.2.1"));
        let held: Vec<_> = std::iter::from_fn(one).collect();
        assert_eq!((held.len(), queue.waiting()), (32, (32, 64)));
        assert!(queue.place(&waiter("192.0.2.2")).is_some());
    }

    #[test]
    fn sec_87_a_user_has_a_place_and_a_turn_beside_the_own_network() {
        let queue = Queue::new(4);
        let (network, user) = (waiter("192.0.2.1"), Waiter::User("ada".into()));
        let held: Vec<_> = std::iter::from_fn(|| queue.place(&network)).collect();
        for _ in &held {
            queue.push(network.clone(), "login");
        }
        let place = queue.place(&user).unwrap();
        queue.push(user.clone(), "password change");
        assert!(queue.place(&user).is_none(), "one at a time");
        assert_eq!(queue.next(None), Next::Do("login"));
        assert_eq!(queue.next(None), Next::Do("password change"));
        drop(place);
        assert!(queue.place(&user).is_some());
    }

    #[test]
    fn a_thread_rests_when_nothing_comes_and_stops_with_the_queue() {
        let queue = Queue::new(4);
        queue.push(waiter("192.0.2.1"), "login");
        assert_eq!(queue.next(Some(Duration::ZERO)), Next::Do("login"));
        assert_eq!(queue.next(Some(Duration::ZERO)), Next::Rest);
        queue.close();
        assert_eq!(queue.next(Some(Duration::ZERO)), Next::Stop);
        assert_eq!(queue.next(None), Next::Stop);
    }
}
