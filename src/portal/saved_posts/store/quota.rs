//! How much may be kept. One half is for forms that show a session which has ended, because only
//! users have those: strangers cannot take it. Each half is shared among networks (SEC-87), and
//! what is still being read counts, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::network::{Network, QuotaPermit, Quotas};

/// The bytes that all saved POSTs may take.
pub(super) struct Quota {
    size: AtomicUsize,
    of_users: Arc<Quotas>,
    of_strangers: Arc<Quotas>,
}

/// What one of them takes, as long as this lives.
pub(crate) struct Slot(QuotaPermit);

impl Quota {
    pub(super) fn new(size: usize) -> Self {
        let (users, strangers) = halves(size);
        Self {
            size: AtomicUsize::new(size),
            of_users: Quotas::new(users),
            of_strangers: Quotas::new(strangers),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Another size, for the forms that come; those that are kept stay.
    pub(super) fn set_size(&self, size: usize) {
        let (users, strangers) = halves(size);
        self.size.store(size, Ordering::Relaxed);
        self.of_users.set_capacity(users);
        self.of_strangers.set_capacity(strangers);
    }

    /// Room for one more form, of so many bytes yet. Nothing of others has to go for it.
    pub(super) fn reserve(&self, client: IpAddr, bytes: usize, is_users: bool) -> Option<Slot> {
        let half = if is_users {
            &self.of_users
        } else {
            &self.of_strangers
        };
        let permit = half.take(Network::of(client), bytes as u64)?;
        Some(Slot(permit))
    }
}

fn halves(size: usize) -> (u64, u64) {
    let of_users = size / 2;
    (of_users as u64, (size - of_users) as u64)
}

impl Slot {
    /// Takes room for so many bytes more; `false` when there is none.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.0.grow(bytes as u64)
    }

    /// How many bytes it has.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.0.amount()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn sec_87_strangers_take_no_room_from_users() {
        let quota = Quota::new(801);
        let take = |n: u8, is_users| quota.reserve(address(n), 10, is_users);
        let mut held = Vec::new();
        for n in 0..100 {
            held.extend(take(n, false));
        }
        assert_eq!(held.len(), 40);
        assert!(take(200, false).is_none(), "all of their half is taken");
        let mut of_users = take(1, true).unwrap();
        assert!(of_users.grow(190) && !of_users.grow(1), "a network alone");
        assert_eq!(of_users.bytes(), 200);
        assert!(take(2, true).is_some());
        drop((held, of_users));
        assert_eq!((quota.of_users.total(), quota.of_strangers.total()), (0, 0));
    }

    #[test]
    fn another_size_is_for_those_who_come() {
        let quota = Quota::new(80);
        let held = quota.reserve(address(1), 40, false).unwrap();
        assert!(quota.reserve(address(2), 1, false).is_none());
        quota.set_size(160);
        assert!(quota.reserve(address(2), 1, false).is_some());
        quota.set_size(0);
        assert_eq!((quota.size(), held.bytes()), (0, 40));
        assert!(quota.reserve(address(2), 1, true).is_none());
    }
}
