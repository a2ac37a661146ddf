//! Has the configuration read again, and knows how that went last.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Done, Line, ReloadStatus};
use crate::clock::Timestamp;

/// The keys that need a restart, or why nothing has changed.
pub(crate) type Outcome = Result<Vec<&'static str>, String>;

/// Requests to read the configuration again, on their way to whoever runs the service.
#[derive(Clone)]
pub(crate) struct Reloads {
    requests: mpsc::Sender<oneshot::Sender<Outcome>>,
    last: Arc<ArcSwapOption<(Timestamp, Outcome)>>,
}

impl Reloads {
    pub(crate) fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let (requests, asked) = mpsc::channel(1);
        let last = Arc::default();
        (Self { requests, last }, asked)
    }

    /// Notes how it went, whoever had asked for it.
    pub(crate) fn note(&self, at: Timestamp, outcome: Outcome) {
        self.last.store(Some(Arc::new((at, outcome))));
    }

    pub(super) async fn ask(&self) -> Line {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(reply).await.is_err() {
            return Line::Error("the server is stopping".to_owned());
        }
        match answer.await {
            Ok(Ok(need_restart)) => Line::Done(Done::Reloaded {
                need_restart: need_restart.into_iter().map(str::to_owned).collect(),
            }),
            Ok(Err(why)) => Line::Invalid(why),
            Err(_) => Line::Error("the server is stopping".to_owned()),
        }
    }

    /// `None` before the first.
    pub(super) fn last(&self) -> Option<ReloadStatus> {
        let last = self.last.load();
        let (at, outcome) = last.as_deref()?;
        Some(ReloadStatus {
            at: at.to_rfc3339(),
            error: outcome.as_ref().err().cloned(),
            need_restart: outcome
                .iter()
                .flatten()
                .map(|key| (*key).to_owned())
                .collect(),
        })
    }
}
