//! Which server has which keys.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::durable::Asked;
use super::node::Node;
use super::slots::{SLOTS, slot};
use crate::redis::Address;

/// A node and what keeps it; that ends with this value.
pub(super) struct Member {
    /// Of a cluster, as it names it.
    pub(super) address: Option<Address>,
    pub(super) node: Arc<Node>,
    /// For who waits until a write is on replicas.
    pub(super) durable: mpsc::Sender<Asked>,
    pub(super) tasks: Vec<AbortHandle>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Slots that one server has, first and last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) address: Address,
}

/// All servers, each once.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) members: Vec<Arc<Member>>,
    /// By their first slot, each with the number of its member. `None`: the first has all keys.
    slots: Option<Vec<(u16, u16, usize)>>,
}

impl Routes {
    pub(super) fn one(member: Member) -> Self {
        Self {
            members: vec![Arc::new(member)],
            slots: None,
        }
    }

    /// `member` gives the one at an address, of those there were or a new one.
    pub(super) fn cluster(
        mut ranges: Vec<Range>,
        member: impl Fn(&Address) -> Arc<Member>,
    ) -> Self {
        ranges.sort_by_key(|range| range.first);
        let mut members: Vec<Arc<Member>> = Vec::new();
        let mut slots = Vec::new();
        for range in ranges {
            let known =
                (members.iter()).position(|member| member.address.as_ref() == Some(&range.address));
            let number = known.unwrap_or_else(|| {
                members.push(member(&range.address));
                members.len() - 1
            });
            slots.push((range.first, range.last, number));
        }
        Self {
            members,
            slots: Some(slots),
        }
    }

    /// Of all servers, in an order that is always the same.
    pub(super) fn run_id(&self) -> String {
        let mut run_ids: Vec<_> = self.members.iter().map(|it| it.node.run_id()).collect();
        run_ids.sort_unstable();
        run_ids.join(",")
    }

    /// The one with this key. Without a key, one that can be asked.
    pub(super) fn of(&self, key: Option<&[u8]>) -> Option<&Arc<Member>> {
        let Some(slots) = &self.slots else {
            return self.members.first();
        };
        let Some(key) = key else {
            let mut members = self.members.iter();
            return members.find(|member| member.node.current().is_some());
        };
        let slot = slot(key);
        let after = slots.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, number) = slots.get(after.checked_sub(1)?)?;
        self.members.get(*number).filter(|_| slot <= *last)
    }

    /// The one at the address that a server has named, as in `10.0.0.5:6379`.
    pub(super) fn at(&self, named: &str) -> Option<&Arc<Member>> {
        let (name, number) = named.rsplit_once(':')?;
        let name = name.trim_matches(['[', ']']);
        let number = number.parse::<u16>().ok()?;
        self.members.iter().find(|member| {
            matches!(&member.address, Some(Address::Tcp { host, port, .. })
                if host == name && *port == number)
        })
    }

    /// Whether each key has a server, and each server a connection.
    pub(super) fn are_whole(&self) -> bool {
        let has_all = |slots: &Vec<(u16, u16, usize)>| {
            let mut slots = slots.iter();
            let end = slots.try_fold(0, |begin, (first, last, _)| {
                (*first == begin && *last < SLOTS).then_some(*last + 1)
            });
            end == Some(SLOTS)
        };
        let mut members = self.members.iter();
        self.slots.as_ref().is_none_or(has_all)
            && !self.members.is_empty()
            && members.all(|member| member.node.current().is_some())
    }
}
