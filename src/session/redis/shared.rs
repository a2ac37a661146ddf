//! What all that works on the store needs: questions to the servers, and what is kept here.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Script, Value};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout_at;

use super::journal::Journal;
use super::peers::Met;
use super::value::Values;
use super::{STEPS_AT_ONCE, Shared, sweep};
use crate::clock::Timestamp;
use crate::redis::{LinkError, Mark};
use crate::session::store::StoreError;
use crate::session::store::ends::EndSender;

impl Shared {
    /// No code that holds it can leave it half changed (REL-11).
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn swept(&self) -> MutexGuard<'_, sweep::Position> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn followers(&self) -> MutexGuard<'_, Vec<EndSender>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self, times: u32) -> Duration {
        self.link.settings().timeout.saturating_mul(times)
    }

    pub(super) fn tell(&self, word: impl Fn(&EndSender)) {
        self.followers().iter().for_each(word);
    }

    /// To be awaited before a session is begun or given out: what ends before the streams are read for
    /// the first time is heard of by nobody here.
    pub(super) async fn wait_for_first_read(&self) {
        let is_read = |read: &Timestamp| *read > Timestamp::default();
        let mut read = self.read.subscribe();
        let first = timeout_at(self.first_read_by, read.wait_for(is_read)).await;
        if !matches!(first, Ok(Ok(_))) {
            self.has_not_waited.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values {
            keys: self.link.keys(),
            names: &self.names,
            ahead: self.link.clock_offset(),
        }
    }

    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, StoreError> {
        let answer = self.link.query(command).await;
        answer.map_err(|error| failed(&error))
    }

    pub(super) async fn pipeline(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let answers = self.link.pipeline(commands).await;
        answers.map_err(|error| failed(&error))
    }

    /// Runs one of the scripts in [`scripts`](super::scripts), each of which returns an integer.
    pub(super) async fn script(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<u64, StoreError> {
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let answer = self.link.script(script, &keys, args).await;
        number(&answer.map_err(|error| failed(&error))?).ok_or(StoreError::Unavailable)
    }

    /// Waits for the replicas. Where they take too long, what this node remembers takes their place.
    pub(super) async fn wait_for_replicas(
        &self,
        since: Mark,
        keys: impl IntoIterator<Item = String>,
    ) {
        let mut waits = Vec::new();
        for key in keys {
            waits.push(async move { self.link.durable(since, key.as_bytes()).await });
        }
        for durable in join_all(waits).await {
            if !matches!(durable, Ok(true)) && self.said_not_durable.is_due() {
                tracing::warn!(
                    "replicas of the session store do not say in time that they have what was \
                     written; see wait_replicas in [session.redis]"
                );
            }
        }
    }
}

/// Some at a time; after an error, no more.
pub(super) async fn all<T, F>(steps: Vec<F>) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let steps = stream::iter(steps).buffer_unordered(STEPS_AT_ONCE);
    steps.try_collect().await
}

/// The link tells the log.
pub(super) fn failed(error: &LinkError) -> StoreError {
    match error {
        LinkError::Full => StoreError::Full,
        LinkError::Refused(_) => StoreError::Refused,
        LinkError::Unavailable => StoreError::Unavailable,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}
