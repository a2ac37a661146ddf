//! Targets in the memory of this process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{KEPT_FOR, OF_ONE_BROWSER, Owner, ReturnTo, SessionKey, Timestamp};
use crate::network::{Network, QuotaPermit, Quotas};

/// Bytes of all targets, shared among networks (SEC-87).
pub(super) const ROOM: u64 = 4 * 1024 * 1024;

/// What a target takes besides its text, well rounded up.
const OVERHEAD: usize = 256;

/// What is shared is good for so long at least; then it is shared once more.
const SHARED_FOR: Duration = KEPT_FOR.saturating_sub(Duration::from_mins(15));

type Targets = HashMap<Owner, Vec<Kept>>;

pub(super) struct LocalTargets {
    room: Arc<Quotas>,
    kept: Mutex<Targets>,
}

struct Kept {
    name: String,
    target: ReturnTo,
    since: Timestamp,
    /// Since when the other nodes have it, too.
    shared: Option<Timestamp>,
    _room: QuotaPermit,
}

impl LocalTargets {
    pub(super) fn new() -> Self {
        Self {
            room: Quotas::new(ROOM),
            kept: Mutex::default(),
        }
    }

    /// The name of a target that is kept already, for as long as if it came now; and whether the
    /// other nodes have it for long enough.
    pub(super) fn again(
        &self,
        owner: Owner,
        target: &ReturnTo,
        now: Timestamp,
    ) -> Option<(String, bool)> {
        let mut kept = self.kept();
        let mut of_owner = kept.get_mut(&owner)?.iter_mut();
        let same = of_owner.find(|kept| kept.target == *target)?;
        same.since = now;
        let shared = same.shared;
        let is_shared = shared.is_some_and(|since| now.since(since) < SHARED_FOR);
        Some((same.name.clone(), is_shared))
    }

    /// `false` where there is no room.
    pub(super) fn keep(
        &self,
        owner: Owner,
        (client, name): (IpAddr, &str),
        target: &ReturnTo,
        now: Timestamp,
    ) -> bool {
        let mut kept = self.kept();
        let of_owner = kept.entry(owner).or_default();
        if of_owner.len() == OF_ONE_BROWSER {
            of_owner.remove(0);
        }
        let bytes = OVERHEAD + target.as_str().len();
        let room = self.room.take(Network::of(client), bytes as u64);
        let has_room = room.is_some();
        of_owner.extend(room.map(|room| Kept {
            name: name.to_owned(),
            target: target.clone(),
            since: now,
            shared: None,
            _room: room,
        }));
        if of_owner.is_empty() {
            kept.remove(&owner);
        }
        has_room
    }

    /// The other nodes have it.
    pub(super) fn is_shared(&self, owner: Owner, name: &str, now: Timestamp) {
        let mut kept = self.kept();
        let mut of_owner = kept.get_mut(&owner).into_iter().flatten();
        if let Some(kept) = of_owner.find(|kept| kept.name == name) {
            kept.shared = Some(now);
        }
    }

    pub(super) fn find(&self, owners: &[Owner], name: &str, now: Timestamp) -> Option<ReturnTo> {
        let kept = self.kept();
        let mut all = owners.iter().filter_map(|owner| kept.get(owner)).flatten();
        let found = all.find(|kept| kept.name == name && kept.is_fresh(now))?;
        Some(found.target.clone())
    }

    pub(super) fn hand_over(&self, owners: &[Owner], key: SessionKey) {
        let mut kept = self.kept();
        let all: Vec<_> = owners
            .iter()
            .filter_map(|owner| kept.remove(owner))
            .collect();
        let mut all: Vec<_> = all.into_iter().flatten().collect();
        all.drain(..all.len().saturating_sub(OF_ONE_BROWSER));
        if !all.is_empty() {
            kept.insert(Owner::Session(key), all);
        }
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        self.kept().retain(|_, of_owner| {
            of_owner.retain(|kept| kept.is_fresh(now));
            !of_owner.is_empty()
        });
    }

    /// Bytes of all.
    #[cfg(test)]
    pub(super) fn total(&self) -> u64 {
        self.room.total()
    }

    /// How many an owner has.
    #[cfg(test)]
    pub(super) fn count(&self, owner: Owner) -> usize {
        self.kept().get(&owner).map_or(0, Vec::len)
    }

    /// No code that holds the lock can leave the targets half changed (REL-11).
    fn kept(&self) -> MutexGuard<'_, Targets> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.since) < KEPT_FOR
    }
}
