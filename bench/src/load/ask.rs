//! Requests that differ from one to the next, in a closed loop over connections that stay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{Counters, Outcome, PATIENCE, Tasks, watch};
use crate::body::Bulk;
use crate::client::{Client, Connection, Template, Version};

/// Handshakes in flight.
const OPENED_AT_ONCE: usize = 16;

/// Connections by HTTP/1.1 that stay open.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Vec<Mutex<Connection>>>);

/// A request, and the length of what it is answered.
pub(crate) struct Question {
    pub(crate) template: Template,
    pub(crate) upload: u64,
    pub(crate) answer: usize,
}

impl Kept {
    /// Opens more of them, until they are so many; each has asked once.
    pub(crate) async fn grow(
        self,
        client: &Arc<Client>,
        count: usize,
        question: impl Fn() -> Question + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let missing = Arc::new(AtomicUsize::new(count.saturating_sub(self.0.len())));
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..OPENED_AT_ONCE {
            let (client, missing) = (Arc::clone(client), Arc::clone(&missing));
            let question = question.clone();
            opening.spawn(async move {
                let mut opened = Vec::new();
                let take = |left: usize| left.checked_sub(1);
                while missing
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    let mut connection = client.connect(Version::Http1).await?;
                    ask(&mut connection, &question()).await?;
                    opened.push(Mutex::new(connection));
                }
                io::Result::Ok(opened)
            });
        }
        let mut all = Arc::into_inner(self.0).unwrap_or_default();
        while let Some(opened) = opening.join_next().await {
            all.extend(opened.map_err(io::Error::other)??);
        }
        Ok(Self(Arc::new(all)))
    }

    /// Asks over all of them in turn for so long, with so many requests in flight; gives what it cost,
    /// and how often was asked in all.
    pub(crate) async fn ask(
        &self,
        at_once: usize,
        question: impl Fn(usize) -> Question + Send + Sync + 'static,
        process: u32,
        seconds: f64,
    ) -> io::Result<(Outcome, usize)> {
        let length = Duration::from_secs_f64(seconds);
        let (counters, question) = (Arc::new(Counters::default()), Arc::new(question));
        let (asked, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let mut tasks = Tasks::new();
        let at_once = at_once.min(self.0.len());
        for first in 0..at_once {
            let (kept, question) = (Arc::clone(&self.0), Arc::clone(&question));
            let (counters, asked) = (Arc::clone(&counters), Arc::clone(&asked));
            let stop = Arc::clone(&stop);
            tasks.spawn(async move {
                loop {
                    for connection in kept.iter().skip(first).step_by(at_once) {
                        if stop.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        let question = question(asked.fetch_add(1, Ordering::Relaxed));
                        let began = Instant::now();
                        ask(&mut *connection.lock().await, &question).await?;
                        counters.answered(began);
                    }
                }
            });
        }
        let measured = async {
            let outcome = watch(&mut tasks, &counters, process, length, false).await?;
            // None is cut: its connection would be lost.
            stop.store(true, Ordering::Relaxed);
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            Ok((outcome, asked.load(Ordering::Relaxed)))
        };
        let late = |_| io::Error::other("it takes too long");
        timeout(length * 2 + PATIENCE, measured)
            .await
            .map_err(late)?
    }
}

pub(super) async fn ask(connection: &mut Connection, question: &Question) -> io::Result<()> {
    let body = Bulk::of(question.upload);
    let response = connection.send(&question.template, body).await?;
    let status = response.status();
    let body = response.into_body().collect().await;
    let length = body.map_err(io::Error::other)?.to_bytes().len();
    if status != StatusCode::OK || length != question.answer {
        return Err(io::Error::other(format!(
            "answered {status} with {length} bytes"
        )));
    }
    Ok(())
}
