//! The last places below `max_sessions`: however many nodes begin sessions at the same moment, there
//! are never more.
//!
//! The sessions are counted in sixteen shards, which no step can look at together. So whoever begins
//! one says so first, in one place, and is told how many others are about to; only then it counts. A
//! session that is just beginning may be counted twice by that, and none is missed.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{Value, cmd};
use tokio::time::Instant;

use super::{Shared, number, scripts};
use crate::session::id::SessionKey;
use crate::session::record::Record;
use crate::session::store::StoreError;

/// With more free places than this, a login reserves none: so many logins are never in flight at once.
fn is_near(count: usize, most: usize) -> bool {
    most.saturating_sub(count) <= (most / 8).max(8192)
}

/// How long a count is good enough to see that it is far from the limit: no server takes as many logins in
/// that time as lie between.
const COUNTED_FOR: Duration = Duration::from_millis(250);

/// After so many times `timeout`, whoever has said so has begun its session, or never will.
const TIMES: u32 = 10;

impl Shared {
    /// Begins a session unless there are `most`; gives whether it has.
    pub(super) async fn begin_session_below(
        self: &Arc<Self>,
        record: Arc<Record>,
        most: usize,
    ) -> Result<bool, StoreError> {
        if most == usize::MAX {
            return self.begin_session(record).await.map(|()| true);
        }
        if !is_near(self.counted_lately().await?, most) {
            return self.begin_session(record).await.map(|()| true);
        }
        if self.count().await? >= most {
            return Ok(false);
        }
        let (others, place) = self.take_place(&record.key).await?;
        let beginning = async {
            if self.count().await?.saturating_add(others) >= most {
                return Ok(false);
            }
            self.begin_session(record).await.map(|()| true)
        };
        let begun = beginning.await;
        let mut give_back = cmd("SREM");
        give_back.arg(self.names.beginning()).arg(place);
        // Without an answer it ends by itself.
        let _answer = self.query(&give_back).await;
        begun
    }

    /// How many sessions there were a moment ago.
    async fn counted_lately(&self) -> Result<usize, StoreError> {
        let known = *self.counted();
        if let Some((at, count)) = known
            && at.elapsed() < COUNTED_FOR
        {
            return Ok(count);
        }
        let at = Instant::now();
        let count = self.count().await?;
        *self.counted() = Some((at, count));
        Ok(count)
    }

    pub(super) fn counted(&self) -> MutexGuard<'_, Option<(Instant, usize)>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives how many others are about to begin a session, and what to give back afterwards.
    async fn take_place(&self, key: &SessionKey) -> Result<(usize, Vec<u8>), StoreError> {
        let kept_for = self.link.settings().timeout * TIMES;
        let kept_for = kept_for.as_millis().to_string();
        let keys = [self.names.beginning()];
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let args: [&[u8]; 2] = [&key.as_bytes()[..16], kept_for.as_bytes()];
        let answer = self.link.script(&scripts::TAKE_PLACE, &keys, &args).await;
        let Value::Array(parts) = answer.map_err(|error| super::failed(&error))? else {
            return Err(StoreError::Unavailable);
        };
        match parts.as_slice() {
            [others, Value::BulkString(place)] => {
                let others = number(others).ok_or(StoreError::Unavailable)?;
                let others = usize::try_from(others).unwrap_or(usize::MAX);
                Ok((others, place.clone()))
            }
            _ => Err(StoreError::Unavailable),
        }
    }
}
