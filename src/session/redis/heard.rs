//! Spares most look-ups of a session a second trip to the store.
//!
//! The epochs of its user are to be asked for where the session may have begun before this node heard of
//! the ends of others, or where one has been heard of since. For all other sessions it is enough that the
//! streams have nothing new, which is asked together with the session.

use std::sync::{Arc, PoisonError};

use ::redis::{Pipeline, Value, pipe};

use super::Shared;
use super::keys::{SHARDS, Shard};
use super::value::{Entry, shift};
use crate::session::freshness::BELIEVED_FOR;
use crate::session::store::StoreError;
use crate::session::user_key::UserKey;

/// Asks each stream for what comes after the last entry that this node knows.
pub(super) type News = Arc<Pipeline>;

impl Shared {
    /// The numbers of the last entries that this node knows of all streams; `None` if it knows not all.
    pub(super) fn note_heard(&self, last: Option<&[u64]>) {
        let news = last.map(|last| {
            let mut news = pipe();
            for (shard, last) in Shard::all().zip(last) {
                let next = format!("0-{}", last.saturating_add(1));
                news.cmd("XRANGE").arg(self.names.ends(shard)).arg(next);
                news.arg("+").arg("COUNT").arg(1);
            }
            Arc::new(news)
        });
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = news;
    }

    fn news(&self) -> Option<News> {
        // A stream that was emptied and has other entries by now is noticed when it is read.
        let is_lately = self.clock.now().since(*self.read.borrow()) < BELIEVED_FOR;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone().filter(|_| is_lately)
    }

    /// What is under these names, and whether this node has heard of all ends by then.
    pub(super) async fn get_with_news(
        &self,
        names: &[String],
    ) -> Result<(Vec<Value>, bool), StoreError> {
        let mut commands = self.news().map_or_else(pipe, |news| Pipeline::clone(&news));
        let asked = commands.len();
        // Which gives nothing for a value of another type, where GET fails.
        commands.cmd("MGET").arg(names);
        let mut answers = match self.pipeline(&commands).await {
            // Something else is in the place of a stream: no reason to refuse the session.
            Err(StoreError::Refused) if asked > 0 => {
                let mut alone = pipe();
                alone.cmd("MGET").arg(names);
                self.pipeline(&alone).await?
            }
            answers => answers?,
        };
        let Some(Value::Array(values)) = answers.pop() else {
            return Err(StoreError::Unavailable);
        };
        let is_nothing = |answer: &Value| matches!(answer, Value::Array(news) if news.is_empty());
        let has_heard = answers.len() == usize::from(SHARDS) && answers.iter().all(is_nothing);
        Ok((values, has_heard))
    }

    /// Whether no epoch can have ended this session, where this node has heard of all ends.
    pub(super) fn has_outlived_epochs(&self, entry: &Entry) -> bool {
        let created = shift(entry.record.created, self.link.clock_offset());
        let user = UserKey::of(entry.record.user());
        self.own().has_outlived_epochs(created, user, entry.epochs)
    }
}
