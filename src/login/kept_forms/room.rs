//! How much may be kept: in all, and from one address. What is still being read counts, too.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::listener::network;

/// Forms from one address (IPv6: one /64), whatever their size.
const FORMS_OF_ADDRESS: usize = 8;

/// Of the room for all, one address gets this part at most.
const PART_OF_ADDRESS: usize = 8;

/// The room for all forms, in bytes.
pub(super) struct Room {
    size: AtomicUsize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    /// Who takes room; nobody stays in it without a form.
    addresses: HashMap<IpAddr, Share>,
}

#[derive(Default)]
struct Share {
    forms: usize,
    bytes: usize,
}

/// The room that one form takes, as long as this lives.
pub(crate) struct Reservation {
    room: Arc<Room>,
    network: IpAddr,
    bytes: usize,
}

impl Room {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size: AtomicUsize::new(size),
            taken: Mutex::default(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Another size, for the forms that come; those that are kept stay.
    pub(super) fn set_size(&self, size: usize) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// Room for one more form, of no bytes yet. Nothing of others has to go for it.
    pub(super) fn reserve(self: &Arc<Self>, client: IpAddr) -> Option<Reservation> {
        let network = network(client);
        let mut taken = self.taken();
        let share = taken.addresses.entry(network).or_default();
        if share.forms >= FORMS_OF_ADDRESS {
            return None;
        }
        share.forms += 1;
        Some(Reservation {
            room: Arc::clone(self),
            network,
            bytes: 0,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Takes room for so many bytes more; `false` when there is none.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut taken = self.room.taken();
        let all = taken.bytes.saturating_add(bytes);
        let share = taken.addresses.entry(self.network).or_default();
        let own = share.bytes.saturating_add(bytes);
        if all > self.room.size() || own > self.room.size() / PART_OF_ADDRESS {
            return false;
        }
        share.bytes = own;
        taken.bytes = all;
        self.bytes += bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.bytes -= self.bytes;
        if let Some(share) = taken.addresses.get_mut(&self.network) {
            share.bytes -= self.bytes;
            share.forms -= 1;
            if share.forms == 0 {
                taken.addresses.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn one_address_takes_an_eighth_and_eight_forms_at_most() {
        let room = Arc::new(Room::new(800));
        let mut first = room.reserve(address(1)).unwrap();
        assert!(first.grow(60) && first.grow(40));
        assert!(!first.grow(1), "more than an eighth");
        let mut more: Vec<_> = (1..8).map(|_| room.reserve(address(1)).unwrap()).collect();
        assert!(room.reserve(address(1)).is_none(), "a ninth form");
        assert!(!more[0].grow(1), "the eighth is for all of its forms");
        drop(first);
        assert!(more[0].grow(100));
        assert!(room.reserve(address(1)).is_some());
    }

    #[test]
    fn an_ipv6_address_is_its_network() {
        let room = Arc::new(Room::new(800));
        let held: Vec<_> = (0..8)
            .map(|n| room.reserve(format!("2001:db8::{n}").parse().unwrap()))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(room.reserve("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(room.reserve("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn what_is_being_read_counts_and_nothing_of_others_goes_for_it() {
        let room = Arc::new(Room::new(800));
        let mut held: Vec<_> = (0..8).map(|n| room.reserve(address(n)).unwrap()).collect();
        assert!(held.iter_mut().all(|form| form.grow(100)));
        let mut late = room.reserve(address(9)).unwrap();
        assert!(!late.grow(1), "all is taken");
        held.pop();
        assert!(late.grow(100));
        drop((held, late));
        let taken = room.taken();
        assert_eq!((taken.bytes, taken.addresses.len()), (0, 0));
    }
}
