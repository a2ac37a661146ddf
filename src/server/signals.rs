//! What the service is told by signals.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Reload,
    Stop,
}

pub(super) struct Signals {
    /// SIGHUP, and what it means.
    hang_up: (unix::Signal, Signal),
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub(super) fn new(hang_up: Signal) -> io::Result<Self> {
        Ok(Self {
            hang_up: (unix::signal(SignalKind::hangup())?, hang_up),
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hang_up.0.recv() => self.hang_up.1,
        }
    }

    /// Waits for the next signal to stop; there is nothing to reload any more.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}
