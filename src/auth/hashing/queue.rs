//! The queue in front of the hashing threads: its places are shared among networks, and networks
//! take turns (SEC-60, SEC-87).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::network::{Network, Share, Shares};

pub(super) struct Queue<T> {
    places: Arc<Shares>,
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
            places: Shares::new(max as u64),
            max,
            state: Mutex::new(State {
                waiting: Turns::default(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// A place for one more of this network, unless the network has its share of them.
    pub(super) fn place(&self, network: Network) -> Option<Share> {
        self.places.take(network, 1)
    }

    pub(super) fn push(&self, network: Network, item: T) {
        let mut around: Vec<_> = network.levels().collect();
        around.reverse();
        self.lock().waiting.push(&around, item);
        self.changed.notify_one();
    }

    /// Waits for whatever is next; `None` when the queue is closed.
    pub(super) fn next(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.waiting.pop() {
                return Some(item);
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whatever still waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting = Turns::default();
        drop(state);
        self.changed.notify_all();
    }

    /// How many places are taken, and how many there are.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let taken = usize::try_from(self.places.total()).unwrap_or(usize::MAX);
        (taken, self.max)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of each network in turn, the first come first within a network: who comes alone waits for
/// one of each other network, and not for the sixty that one of them has sent. Networks within a
/// wider one share its turn.
struct Turns<T> {
    own: VecDeque<T>,
    within: VecDeque<(Network, Turns<T>)>,
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
    fn push(&mut self, around: &[Network], item: T) {
        let Some((first, narrower)) = around.split_first() else {
            self.own.push_back(item);
            return;
        };
        let at = self.within.iter().position(|(network, _)| network == first);
        let at = at.unwrap_or_else(|| {
            self.within.push_back((*first, Self::default()));
            self.within.len() - 1
        });
        self.within[at].1.push(narrower, item);
    }

    fn pop(&mut self) -> Option<T> {
        if let Some(item) = self.own.pop_front() {
            return Some(item);
        }
        let (network, mut turns) = self.within.pop_front()?;
        let item = turns.pop();
        if !turns.is_empty() {
            self.within.push_back((network, turns));
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

    fn order(arrivals: &[&'static str]) -> Vec<&'static str> {
        let queue = Queue::new(100);
        for &address in arrivals {
            queue.push(Network::of(address.parse().unwrap()), address);
        }
        arrivals.iter().map(|_| queue.next().unwrap()).collect()
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
        let network = |address: &str| Network::of(address.parse().unwrap());
        let one = || queue.place(network("192.0.2.1"));
        let held: Vec<_> = std::iter::from_fn(one).collect();
        assert_eq!((held.len(), queue.waiting()), (32, (32, 64)));
        assert!(queue.place(network("192.0.2.2")).is_some());
    }
}
