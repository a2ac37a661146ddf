//! What the store has lost, or has in an older form, is put there again by the nodes that know better.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::record::Field;
use super::{BATCH, Memory, Put, SharedUsers, Stamp, StoreFault, ToPut};
use crate::clock::Timestamp;

/// What the store does not take is put back again after this.
const AGAIN: Duration = Duration::from_mins(1);

/// What is to be put there, each in the place of what has this stamp.
#[derive(Default)]
pub(super) struct PutBack {
    left: VecDeque<(Field, Stamp)>,
    /// Those that wait there, each once: while the store takes none, every sweep finds them again.
    waiting: HashSet<Field>,
    /// When the store took none.
    refused: Option<Timestamp>,
}

impl PutBack {
    pub(super) fn add(&mut self, field: Field, there: Stamp) {
        if self.waiting.insert(field) {
            self.left.push_back((field, there));
        }
    }
}

impl SharedUsers {
    /// Some at a time, so that logins, which wait for a look, do not wait for all of them.
    pub(super) async fn put_some_back(&self, put_back: &mut PutBack) {
        let now = self.clock.now();
        if put_back.left.is_empty() || put_back.refused.is_some_and(|at| now.since(at) < AGAIN) {
            return;
        }
        let _turn = self.turn.lock().await;
        let done = self.put_batch_back(put_back).await;
        put_back.refused = match done {
            Ok(()) | Err(StoreFault::Away) => None,
            Err(error) => {
                if self.said_not_put_back.is_due() {
                    tracing::error!(
                        %error, users = put_back.left.len(),
                        "users that the session store has lost cannot be put back"
                    );
                }
                Some(now)
            }
        };
        self.publish();
        if done.is_ok() && !put_back.left.is_empty() {
            self.asked.notify_one();
        }
    }

    async fn put_batch_back(&self, put_back: &mut PutBack) -> Result<(), StoreFault> {
        let count = put_back.left.len().min(BATCH);
        let some: Vec<ToPut> = {
            let known = self.known();
            let some = put_back.left.iter().take(count);
            let to_put = some.filter_map(|(field, there)| {
                let entry = known.entries.get(field)?;
                // Where nothing was, another node may have put it by now.
                let is_back = there.is_empty() && !entry.stamp.is_empty();
                let record = entry.last.clone().filter(|_| !is_back)?;
                Some((*field, there.clone(), record))
            });
            to_put.collect()
        };
        let put = if some.is_empty() {
            Vec::new()
        } else {
            self.records.put(&some, Memory::AllOfIt).await?
        };
        for (field, _) in put_back.left.drain(..count) {
            put_back.waiting.remove(&field);
        }
        let (mut overtaken, mut refused) = (Vec::new(), None);
        for ((field, there, record), put) in some.into_iter().zip(put) {
            let fault = match put {
                Put::Done(stamp) => {
                    self.insert_own(field, stamp, record);
                    continue;
                }
                Put::Overtaken => {
                    overtaken.push(field);
                    continue;
                }
                Put::TooLarge => StoreFault::TooLarge,
                Put::TooMany => StoreFault::TooMany,
            };
            put_back.add(field, there);
            refused = Some(fault);
        }
        if !overtaken.is_empty() {
            // Another node was quicker, and may have put something older there.
            for (field, found) in self.records.read(&overtaken).await? {
                self.merge(field, found, put_back);
            }
        }
        refused.map_or(Ok(()), Err)
    }
}
