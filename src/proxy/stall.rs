//! HTTP/2 streams whose client takes nothing.
//!
//! A client that keeps its window closed holds a stream, an answer and a connection to the
//! application for as long as it likes (SEC-24, CVE-2026-49975). hyper waits for the window
//! without a limit; so each stream's task is wrapped, and reset when the window stayed closed
//! for the write timeout. Other streams of the connection go on.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Sleep;

thread_local! {
    /// What the answer's body said when it was polled last on this thread; `None` when it was not.
    static BODY_WAS_READY: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Notes whether a body had something to send when it was asked.
pub(super) fn note(ready: bool) {
    BODY_WAS_READY.set(Some(ready));
}

/// Runs the streams of HTTP/2 connections, each with the limit.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let write_timeout = self.write_timeout;
        tokio::spawn(Stream {
            task: Box::pin(stream),
            write_timeout,
            stalled: None,
        });
    }
}

struct Stream<F> {
    task: Pin<Box<F>>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        BODY_WAS_READY.set(None);
        if this.task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match BODY_WAS_READY.get() {
            // It gave its bytes and was not asked for more: the window is closed.
            Some(true) => {
                let alarm = tokio::time::sleep(this.write_timeout);
                this.stalled = Some(Box::pin(alarm));
            }
            // The application is to send more.
            Some(false) => this.stalled = None,
            None => {}
        }
        // Dropping the stream resets it.
        this.stalled
            .as_mut()
            .map_or(Poll::Pending, |alarm| alarm.as_mut().poll(cx))
    }
}
