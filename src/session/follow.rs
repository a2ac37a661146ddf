//! Follows what others end in the store.

use std::future::pending;
use std::sync::atomic::Ordering;

use super::Sessions;
use super::store::End;

impl Sessions {
    /// Drops what this process holds of sessions that others have ended, as soon as the store
    /// tells of them (SEC-75). Never ends. To be run by one at a time.
    pub(crate) async fn follow_store(&self) {
        let mut ends = self.ends.lock().await;
        while let Some(end) = ends.recv().await {
            match end {
                End::One(key) => self.forget(&key),
                End::All => self.forget_all(),
                End::Lagged => self.forget_cached(),
                // Only now: what was told before is forgotten.
                End::NoMoreUntil(at) => self.freshness.note(at),
            }
        }
        pending::<()>().await; // a store that has nothing to tell
    }

    /// Drops all that is cached. Each look-up asks the store again, for a request as it comes, for
    /// open streams at the next [`sweep`](Self::sweep): a session that has ended is not there.
    fn forget_cached(&self) {
        self.flush();
        self.cache.invalidate_all();
        self.ended.fetch_add(1, Ordering::Release);
    }
}
