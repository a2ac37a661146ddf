//! The streams of HTTP/2 connections, each with the write timeout.
//!
//! A client that keeps its HTTP/2 window closed holds a stream, a response and a connection to the
//! application for as long as it likes (SEC-24, CVE-2026-49975). hyper waits for the window
//! without a limit; so each stream's task is wrapped, and reset when the window stayed closed
//! for the write timeout. Other streams of the connection go on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::deadline::{SHORT_WRITE_TIMEOUT, write_timeout};
use crate::load::{Load, OpenStream};
use crate::proxy::early;
use crate::proxy::stall::{self, Said, SessionEnd};

/// Runs the streams of HTTP/2 connections, each with the limit.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
    pub(super) load: Arc<Load>,
}

impl Streams {
    /// How long nobody may take what was sent.
    fn timeout(&self, ours: bool) -> Duration {
        write_timeout(self.write_timeout, &self.load, ours)
    }

    /// When to look again whether that is too long already.
    fn look(&self, since: Instant) -> Instant {
        let look = Instant::now() + SHORT_WRITE_TIMEOUT;
        look.min(since + self.write_timeout)
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Stream {
            task: Box::pin(stream),
            _open: self.load.open_stream(),
            limits: self.clone(),
            stalled: None,
        });
    }
}

struct Stream<F> {
    task: Pin<Box<F>>,
    _open: OpenStream,
    limits: Streams,
    stalled: Option<Stalled>,
}

struct Stalled {
    since: Instant,
    ours: bool,
    alarm: Pin<Box<Sleep>>,
    session_end: Option<SessionEnd>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        stall::take();
        let polling = early::Polling;
        let polled = this.task.as_mut().poll(cx);
        drop(polling);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        match stall::take() {
            Said::Nothing => {}
            Said::Waiting => this.stalled = None,
            // It was not asked for more: the window is closed.
            said @ (Said::Ready(_) | Said::ReadyOurs) => {
                let since = Instant::now();
                this.stalled = Some(Stalled {
                    since,
                    ours: matches!(said, Said::ReadyOurs),
                    alarm: Box::pin(sleep_until(this.limits.look(since))),
                    session_end: said.session_end(),
                });
            }
        }
        // Dropping the stream resets it.
        this.stalled
            .as_mut()
            .map_or(Poll::Pending, |stalled| stalled.poll(&this.limits, cx))
    }
}

impl Stalled {
    fn poll(&mut self, limits: &Streams, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(end) = &mut self.session_end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            if Instant::now() >= self.since + limits.timeout(self.ours) {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(limits.look(self.since));
        }
    }
}
