//! The first users of a store that has none.

use std::sync::atomic::Ordering;

use ::redis::Value;
use tokio::task::yield_now;

use super::super::BATCH;
use super::{Field, MOST, Record, Redis, StoreFault, scripts};
use crate::random::{NoRandomness, random};

/// Milliseconds that users that come in several steps are kept until the last.
const COMING: &str = "600000";

/// A user, and what the store keeps of it.
type Sealed = (Field, Vec<u8>);

impl Redis {
    /// In steps, none of which keeps the server from others: beside the users, and in their place at once
    /// when all are there. An attempt that fails leaves nothing: it may come again and again, with
    /// megabytes. What a node leaves that goes in the middle goes by itself. One attempt at a time.
    pub(in super::super) async fn begin_with(
        &self,
        records: &[(Field, Record)],
    ) -> Result<bool, StoreFault> {
        let users = self.sealed(records).await?;
        let attempt = self.next_attempt();
        let begun = match self.bring(attempt, &users).await {
            Ok(true) => self.begin(attempt, &users).await,
            refused => refused,
        };
        if begun != Ok(true) {
            // Where this fails too, the next attempt does it, or time.
            let _left = self.drop_coming(attempt).await;
        }
        begun
    }

    /// All of them, before the first is brought: one that is too large keeps all of them out.
    pub(in super::super) async fn sealed(
        &self,
        records: &[(Field, Record)],
    ) -> Result<Vec<Sealed>, StoreFault> {
        if records.len() > MOST {
            return Err(StoreFault::TooMany);
        }
        let mut users = Vec::with_capacity(records.len());
        for some in records.chunks(BATCH) {
            for (field, record) in some {
                users.push((*field, self.seal(field, record)?));
            }
            yield_now().await; // tens of thousands take a while
        }
        Ok(users)
    }

    /// Its number is greater than that of every earlier one of this process.
    pub(in super::super) fn next_attempt(&self) -> u64 {
        self.attempt.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives whether all are beside the users now; not where there is anybody.
    pub(in super::super) async fn bring(
        &self,
        attempt: u64,
        users: &[Sealed],
    ) -> Result<bool, StoreFault> {
        for (at, some) in users.chunks(BATCH).enumerate() {
            if !self.bring_some(attempt, at == 0, some).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One step of an attempt; not where a later one has begun.
    pub(in super::super) async fn bring_some(
        &self,
        attempt: u64,
        is_first: bool,
        some: &[Sealed],
    ) -> Result<bool, StoreFault> {
        let keys = [self.coming()?.as_bytes(), self.names.sealed.as_bytes()];
        let (attempt, is_first) = (attempt.to_string(), u8::from(is_first).to_string());
        let mut args = vec![COMING.as_bytes(), attempt.as_bytes(), is_first.as_bytes()];
        for (field, value) in some {
            args.extend([&field.as_bytes()[..], value]);
        }
        let answer = self.link.script(&scripts::BRING, &keys, &args).await;
        Ok(answer.map_err(|error| self.failed(&error))? == Value::Int(1))
    }

    /// Gives whether those that were brought are the users now.
    pub(in super::super) async fn begin(
        &self,
        attempt: u64,
        users: &[Sealed],
    ) -> Result<bool, StoreFault> {
        let keys = [
            self.coming()?.as_bytes(),
            self.names.sealed.as_bytes(),
            self.names.changes.as_bytes(),
        ];
        let (mark, count) = (self.link.mark(), users.len().to_string());
        let attempt = attempt.to_string();
        let channel = self.names.channel.as_bytes();
        let mut args = vec![channel, attempt.as_bytes(), count.as_bytes()];
        args.extend(users.first().map(|(field, _)| &field.as_bytes()[..]));
        let answer = self.link.script(&scripts::BEGIN, &keys, &args).await;
        let is_done = answer.map_err(|error| self.failed(&error))? == Value::Int(1);
        if is_done {
            self.wait_for_replicas(mark).await;
        }
        Ok(is_done)
    }

    /// Not what a later attempt has brought: a server that stood still may do this late.
    pub(in super::super) async fn drop_coming(&self, attempt: u64) -> Result<(), StoreFault> {
        let keys = [self.coming()?.as_bytes()];
        let attempt = attempt.to_string();
        let args = [attempt.as_bytes()];
        let dropped = self.link.script(&scripts::DROP, &keys, &args).await;
        dropped.map(drop).map_err(|error| self.failed(&error))
    }

    /// The same for all attempts of this process, and of no other.
    fn coming(&self) -> Result<&str, StoreFault> {
        if let Some(coming) = self.coming.get() {
            return Ok(coming);
        }
        let by = random().map_err(|NoRandomness| StoreFault::Unavailable)?;
        let coming = format!("{}{:032x}", self.names.coming, u128::from_ne_bytes(by));
        Ok(self.coming.get_or_init(|| coming))
    }
}
