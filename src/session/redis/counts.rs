//! How many sessions there are, by a counter for each shard. It is set right now and then: a server that
//! has lost a part of what it kept, or somebody who has deleted a key, would leave it wrong for good,
//! and with it `max_sessions`.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, pipe};
use tokio::time::{MissedTickBehavior, interval};

use super::keys::{Bucket, Shard};
use super::{Shared, number, scripts};
use crate::session::store::StoreError;

/// Between one shard and the next: each node counts all of them in 80 seconds.
const EVERY: Duration = Duration::from_secs(5);

/// Sets them right until it is dropped.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let generation = shared.link.generation();
    for shard in Shard::all().collect::<Vec<_>>().into_iter().cycle() {
        tick.tick().await;
        if generation.borrow().connected {
            let _next_time = shared.recount(shard).await;
        }
    }
}

impl Shared {
    pub(super) async fn count(&self) -> Result<usize, StoreError> {
        let mut commands = pipe();
        for shard in Shard::all() {
            commands.cmd("MGET").arg(self.names.count(shard));
        }
        let answers = self.pipeline(&commands).await?;
        let counts = answers.iter().filter_map(|answer| match answer {
            Value::Array(counts) => number(counts.first()?),
            _ => None,
        });
        Ok(usize::try_from(counts.sum::<u64>()).unwrap_or(usize::MAX))
    }

    pub(super) async fn recount(&self, shard: Shard) -> Result<u64, StoreError> {
        let buckets = (0..=u8::MAX).map(|number| self.names.bucket(Bucket(shard, number)));
        let keys: Vec<_> = [self.names.count(shard), self.names.buckets(shard)]
            .into_iter()
            .chain(buckets)
            .collect();
        self.script(&scripts::RECOUNT, &keys, &[]).await
    }
}
