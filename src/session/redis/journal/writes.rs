//! Sessions that this node has written a short while ago.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::epochs::Epoch;
use super::super::value::Epochs;
use super::EndScope;
use crate::clock::Timestamp;
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::user_key::UserKey;

/// How long a write is remembered: more than a failover takes.
const WRITES: Duration = Duration::from_mins(1);

/// Writes that are remembered, and their bytes, about: above it the oldest are forgotten. Of more than this,
/// the others would wait too long until a new server knows them.
const MAX_WRITES: usize = 20_000;
pub(in crate::session) const MAX_WRITTEN_BYTES: usize = 32 * 1024 * 1024;

/// A session as it was written.
#[derive(Clone)]
pub(in super::super) struct Write {
    pub(in super::super) record: Arc<Record>,
    pub(in super::super) epochs: Epochs,
    /// Of its user: to find it out takes a hash, and an end asks all that are remembered.
    user: UserKey,
    at: Timestamp,
}

#[derive(Default)]
pub(in super::super) struct Writes {
    by_key: HashMap<SessionKey, Write>,
    /// Of all of them.
    bytes: usize,
    order: VecDeque<(Timestamp, SessionKey)>,
}

impl Writes {
    /// Gives whether there was room: else an older one is forgotten, and a failover may lose it.
    pub(super) fn note(&mut self, record: &Arc<Record>, epochs: Epochs, now: Timestamp) -> bool {
        self.forget_old(now);
        let key = record.key;
        self.forget(&key);
        self.bytes += size(record);
        let write = Write {
            record: Arc::clone(record),
            epochs,
            user: UserKey::of(record.user()),
            at: now,
        };
        self.by_key.insert(key, write);
        self.order.push_back((now, key));
        let mut has_room = true;
        // The newest are those that a failover loses.
        while self.by_key.len() > MAX_WRITES || self.bytes > MAX_WRITTEN_BYTES {
            has_room &= !self.forget_oldest();
        }
        while self.order.len() > 2 * MAX_WRITES {
            has_room &= !self.forget_oldest();
        }
        has_room
    }

    pub(in super::super) fn all(&mut self, now: Timestamp) -> Vec<Write> {
        self.forget_old(now);
        self.by_key.values().cloned().collect()
    }

    /// What has ended by this epoch is not to be written again.
    pub(in super::super) fn forget_ended(&mut self, scope: EndScope, epoch: &Epoch) {
        let is_meant = |key: &SessionKey, write: &Write| match scope {
            EndScope::All => epoch.ends(key, write.epochs.all),
            EndScope::User(user) => write.user == user && epoch.ends(key, write.epochs.user),
        };
        let mut forgotten = 0;
        self.by_key.retain(|key, write| {
            let forgets = is_meant(key, write);
            forgotten += if forgets { size(&write.record) } else { 0 };
            !forgets
        });
        self.bytes -= forgotten;
    }

    pub(in super::super) fn forget_old(&mut self, now: Timestamp) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.since(*at) >= WRITES)
        {
            self.forget_oldest();
        }
    }

    /// Gives whether there was one that is not written again since.
    fn forget_oldest(&mut self) -> bool {
        let Some((at, key)) = self.order.pop_front() else {
            return false;
        };
        // What was written again since is to stay.
        let is_it = self.by_key.get(&key).is_some_and(|write| write.at == at);
        is_it && self.forget(&key)
    }

    /// Gives whether it was remembered.
    pub(super) fn forget(&mut self, key: &SessionKey) -> bool {
        let forgotten = self.by_key.remove(key);
        if let Some(write) = &forgotten {
            self.bytes -= size(&write.record);
        }
        forgotten.is_some()
    }
}

/// Bytes that a record takes here, about.
fn size(record: &Record) -> usize {
    let texts = record.groups.iter().map(String::len).sum::<usize>()
        + record.email.as_ref().map_or(0, String::len)
        + record.user().len()
        + record.user_agent.len();
    let ids = record
        .ids
        .iter()
        .map(|id| size_of_val(id) + id.host.as_str().len());
    size_of::<Write>() + size_of::<Record>() + texts + ids.sum::<usize>() + record.data.size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_18_of_too_many_writes_the_newest_are_remembered_and_no_byte_is_counted_twice() {
        let mut writes = Writes::default();
        let now = Timestamp::from_millis(1_000_000);
        let ada = crate::session::test_record("ada");
        let named = |number: u64| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            Arc::new(Record {
                key: SessionKey::from_bytes(key),
                ..Record::clone(&ada)
            })
        };
        let most = MAX_WRITES as u64;
        for number in 0..most {
            assert!(writes.note(&named(number), Epochs::default(), now));
        }
        assert!(
            writes.note(&named(most - 1), Epochs::default(), now),
            "it was there"
        );
        assert!(!writes.note(&named(most), Epochs::default(), now));
        assert_eq!(writes.by_key.len(), MAX_WRITES);
        let has = |number| writes.by_key.contains_key(&named(number).key);
        assert!(has(most) && has(1) && !has(0));
        // By what they take, too.
        let huge = |number| {
            Arc::new(Record {
                user_agent: "a".repeat(MAX_WRITTEN_BYTES / 2),
                ..Record::clone(&named(number))
            })
        };
        let mut writes = Writes::default();
        assert!(writes.note(&huge(1), Epochs::default(), now));
        assert!(!writes.note(&huge(2), Epochs::default(), now));
        assert_eq!(writes.by_key.keys().collect::<Vec<_>>(), [&named(2).key]);
        writes.note(&named(3), Epochs::default(), now);
        writes.forget(&named(2).key);
        assert_eq!(writes.bytes, size(&named(3)));
        let all = Epoch {
            number: 1,
            kept: Vec::new(),
        };
        writes.forget_ended(EndScope::All, &all);
        assert_eq!((writes.bytes, writes.by_key.len()), (0, 0));
        assert!(writes.note(&named(4), Epochs::default(), now));
        assert_eq!(writes.all(now.plus(WRITES)).len(), 0);
        assert_eq!(writes.bytes, 0);
    }
}
