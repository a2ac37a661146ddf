//! Keeps one connection to a server, and makes another when it is lost, or old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::connect::Connection;
use super::error::ConnectError;
use super::target::Target;
use crate::random::random;
use crate::redis::Settings;

/// After this, a connection is replaced: names and roles may have changed without anybody saying so.
const AGE: Duration = Duration::from_mins(5);

/// Between two attempts.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// One that was lost sooner has proved nothing.
const PROVED: Duration = Duration::from_secs(2);

pub(super) struct Node {
    target: Target,
    current: ArcSwapOption<Connection>,
    lost: Notify,
    /// Why there is no connection, or no newer one.
    error: Mutex<Option<Arc<ConnectError>>>,
}

impl Node {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            current: ArcSwapOption::empty(),
            lost: Notify::new(),
            error: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        self.current.load_full()
    }

    pub(super) fn error(&self) -> Option<Arc<ConnectError>> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Has nobody use the connection any more; those who wait for an answer on it still do.
    pub(super) fn lose(&self, connection: &Arc<Connection>) {
        let held = Some(Arc::clone(connection));
        let before = self.current.compare_and_swap(&held, None);
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, connection))
        {
            self.lost.notify_one();
        }
    }

    /// Makes connections for as long as it is polled, one attempt at a time, and says so each time
    /// that there is one or none.
    pub(super) async fn keep(&self, settings: &Settings, changed: impl Fn()) {
        let mut pause = Pause::default();
        loop {
            match self.target.open(settings).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    self.set_error(None);
                    self.current.store(Some(Arc::clone(&connection)));
                    changed();
                    let begun = Instant::now();
                    self.wait(&connection, begun + AGE).await;
                    if self.current.load().is_none() {
                        changed();
                    }
                    if begun.elapsed() >= PROVED {
                        pause = Pause::default();
                        continue;
                    }
                }
                Err(error) => {
                    self.set_error(Some(Arc::new(error)));
                    changed();
                }
            }
            let next = Instant::now() + pause.next();
            match self.current() {
                // An old one goes on until there is another.
                Some(old) => self.wait(&old, next).await,
                None => sleep_until(next).await,
            }
        }
    }

    /// Until the connection is lost, or that time.
    async fn wait(&self, connection: &Arc<Connection>, until: Instant) {
        let lost = async {
            loop {
                self.lost.notified().await;
                if self.current.load().is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = lost => {}
            () = connection.ended() => self.lose(connection),
            () = sleep_until(until) => {}
        }
    }

    fn set_error(&self, error: Option<Arc<ConnectError>>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Twice as long each time, and not the same for all nodes.
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pause {
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        // Between a half and the whole; without randomness, the whole will do.
        let share = random().map_or(u8::MAX, |[byte]| byte);
        pause.mul_f32(0.5 + f32::from(share) / 510.0)
    }

    pub(super) async fn wait(&mut self) {
        sleep(self.next()).await;
    }
}
