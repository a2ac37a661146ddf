//! The end of the service: one token, the tasks that may finish, one deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Default)]
pub(crate) struct Shutdown {
    /// The same as the token says, which takes a lock to be asked.
    begun: AtomicBool,
    token: CancellationToken,
    connections: TaskTracker,
    tunnels: TaskTracker,
}

impl Shutdown {
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Fires when it begins.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs a task that counts as a connection of a client.
    pub(crate) fn connections(&self) -> &TaskTracker {
        &self.connections
    }

    /// Those that were connections before, and are told of the end.
    pub(super) fn tunnels(&self) -> &TaskTracker {
        &self.tunnels
    }

    /// Lets connections and tunnels finish for `drain` (REL-02). Gives how many connections did
    /// not.
    pub(super) async fn begin(&self, drain: Duration) -> usize {
        self.begun.store(true, Ordering::Relaxed);
        self.token.cancel();
        self.connections.close();
        self.tunnels.close();
        let finished = async {
            self.connections.wait().await;
            self.tunnels.wait().await;
        };
        let _ = tokio::time::timeout(drain, finished).await;
        self.connections.len()
    }
}
