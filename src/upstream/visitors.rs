//! What visitors without a session may take of the connections to an address, shared among their
//! networks (SEC-87).
//!
//! A network that has its share already waits until one of these comes free, behind nobody but
//! those of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::network::{self, Network};

pub(super) struct Visitors {
    quotas: Arc<network::Quotas>,
    waiting: Mutex<Waiting>,
}

/// One connection's worth, until it is dropped.
pub(super) struct VisitorPermit {
    /// There until it is dropped, or was not wanted.
    held: Option<network::QuotaPermit>,
    visitors: Arc<Visitors>,
}

/// Who waits, by the widest network: within one, the first is served first.
#[derive(Default)]
struct Waiting {
    queues: HashMap<Network, VecDeque<oneshot::Sender<VisitorPermit>>>,
    /// The networks that have a queue; the one that was served last is at the end.
    turns: VecDeque<Network>,
}

impl Visitors {
    /// So many connections in all.
    pub(super) fn of(connections: usize) -> Arc<Self> {
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        Arc::new(Self {
            quotas: network::Quotas::new(connections),
            waiting: Mutex::default(),
        })
    }

    /// One more for the network, if it may have that and nobody of it waits.
    fn try_take(self: &Arc<Self>, network: Network) -> Option<VisitorPermit> {
        let network = network.widest();
        let mut waiting = self.lock();
        waiting.forget_the_gone(network);
        if waiting.queues.contains_key(&network) {
            return None;
        }
        let held = self.quotas.take(network, 1)?;
        Some(self.permit(held))
    }

    /// Waits until the network may have one more.
    pub(super) async fn take(self: &Arc<Self>, network: Network) -> Option<VisitorPermit> {
        if let Some(permit) = self.try_take(network) {
            return Some(permit);
        }
        let served = self.lock().join(network.widest());
        self.serve(); // of what has come free between the two
        served.await.ok()
    }

    fn permit(self: &Arc<Self>, held: network::QuotaPermit) -> VisitorPermit {
        VisitorPermit {
            held: Some(held),
            visitors: Arc::clone(self),
        }
    }

    /// Serves those that wait, as far as there is something for them.
    fn serve(self: &Arc<Self>) {
        loop {
            let served = self
                .lock()
                .serve_first(|network| self.quotas.take(network, 1));
            let Some((waits, held)) = served else { return };
            if let Err(mut permit) = waits.send(self.permit(held)) {
                drop(permit.held.take()); // it is gone; the next turn is for another
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VisitorPermit {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            drop(held);
            self.visitors.serve();
        }
    }
}

impl Waiting {
    fn join(&mut self, network: Network) -> oneshot::Receiver<VisitorPermit> {
        let (sender, receiver) = oneshot::channel();
        let queue = self.queues.entry(network).or_default();
        if queue.is_empty() {
            self.turns.push_back(network);
        }
        queue.push_back(sender);
        receiver
    }

    /// Takes the first of a network that may have one more, and what `take` gives for it.
    fn serve_first(
        &mut self,
        take: impl Fn(Network) -> Option<network::QuotaPermit>,
    ) -> Option<(oneshot::Sender<VisitorPermit>, network::QuotaPermit)> {
        let mut turns = self.turns.iter().enumerate();
        let (turn, network, permit) =
            turns.find_map(|(turn, network)| Some((turn, *network, take(*network)?)))?;
        self.turns.remove(turn);
        let queue = self.queues.get_mut(&network)?;
        let first = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&network);
        } else {
            self.turns.push_back(network);
        }
        Some((first, permit))
    }

    /// Whoever does not wait any more is in nobody's way.
    fn forget_the_gone(&mut self, network: Network) {
        let Some(queue) = self.queues.get_mut(&network) else {
            return;
        };
        queue.retain(|waits| !waits.is_closed());
        if queue.is_empty() {
            self.queues.remove(&network);
            self.turns.retain(|other| *other != network);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    fn taken(visitors: &Arc<Visitors>, address: &str) -> Option<VisitorPermit> {
        visitors.take(network(address)).now_or_never().flatten()
    }

    fn all(visitors: &Arc<Visitors>, address: &str) -> Vec<VisitorPermit> {
        std::iter::from_fn(|| taken(visitors, address)).collect()
    }

    #[test]
    fn sec_87_no_stranger_takes_what_is_for_all_of_them() {
        let visitors = Visitors::of(32);
        let first = all(&visitors, "2001:db8:0:1::1");
        assert_eq!(first.len(), 16, "half of them");
        assert!(taken(&visitors, "2001:db8:0:2::1").is_none(), "of its /48");
        assert!(taken(&visitors, "192.0.2.1").is_some());
    }

    #[tokio::test]
    async fn sec_87_who_waits_is_behind_nobody_of_another_network() {
        let visitors = Visitors::of(4);
        let mut first = all(&visitors, "192.0.2.1");
        let mut second = all(&visitors, "192.0.2.2");
        assert_eq!((first.len(), second.len()), (2, 1));
        let mut waits = [1, 1, 2].map(|n| {
            let address = format!("192.0.2.{n}");
            Box::pin(visitors.take(network(&address)))
        });
        for waits in &mut waits {
            assert!(waits.as_mut().now_or_never().is_none());
        }
        second.clear();
        let [one, other, of_second] = waits;
        let permit = of_second.await;
        assert!(permit.is_some(), "the first network has its share already");
        first.clear();
        assert!(one.await.is_some());
        assert!(other.await.is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let visitors = Visitors::of(1);
        let held = taken(&visitors, "192.0.2.1");
        for _ in 0..3 {
            let mut gone = Box::pin(visitors.take(network("192.0.2.1")));
            assert!(gone.as_mut().now_or_never().is_none());
        }
        let waits = visitors.take(network("192.0.2.1"));
        let mut waits = Box::pin(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(visitors.lock().queues[&network("192.0.2.1")].len(), 1);
        drop(held);
        assert!(waits.await.is_some());
        assert!(visitors.lock().queues.is_empty() && visitors.lock().turns.is_empty());
        assert_eq!(visitors.quotas.total(), 0);
    }
}
