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

/// Between two attempts.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// The same where sentinels are to name another master: every login waits for that.
const LONGEST_WITHOUT_MASTER: Duration = Duration::from_millis(200);

/// One that was lost sooner has proved nothing.
const PROVED: Duration = Duration::from_secs(2);

pub(super) struct Node {
    target: Target,
    current: ArcSwapOption<Connection>,
    lost: Notify,
    told: Mutex<Told>,
}

#[derive(Clone, Default)]
struct Told {
    /// Of the server that there was a connection to last.
    run_id: String,
    /// The number of its first connection.
    since: u64,
    /// Why there is no connection, or no newer one.
    error: Option<Arc<ConnectError>>,
}

impl Node {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            current: ArcSwapOption::empty(),
            lost: Notify::new(),
            told: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        self.current.load_full()
    }

    pub(super) fn run_id(&self) -> String {
        self.told().run_id
    }

    /// The number of the first connection to the server that this is now.
    pub(super) fn since(&self) -> u64 {
        self.told().since
    }

    pub(super) fn error(&self) -> Option<Arc<ConnectError>> {
        self.told().error
    }

    /// Has nobody use the connection any more; those who wait for an answer on it still do.
    pub(super) fn lose(&self, connection: &Arc<Connection>) {
        let held = Some(Arc::clone(connection));
        let before = self.current.compare_and_swap(&held, None);
        if (before.as_ref()).is_some_and(|before| Arc::ptr_eq(before, connection)) {
            self.lost.notify_one();
        }
    }

    /// Makes connections for as long as it is polled, one attempt at a time, and each another one
    /// at that `age`. `number` gives each its own; `changed` hears of each one that is made or lost.
    pub(super) async fn keep(
        &self,
        settings: &Settings,
        age: Duration,
        number: impl Fn() -> u64,
        changed: impl Fn(),
    ) {
        let first_pause = || match self.target {
            Target::Sentinel(_) => Pause::up_to(LONGEST_WITHOUT_MASTER),
            Target::One(_) | Target::OfCluster(_) => Pause::default(),
        };
        let mut pause = first_pause();
        loop {
            match self.target.open(settings).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    self.made(&connection, number());
                    changed();
                    let begun = Instant::now();
                    self.wait(settings, &connection, begun + age).await;
                    if self.current.load().is_none() {
                        changed();
                    }
                    if begun.elapsed() >= PROVED {
                        pause = first_pause();
                        continue;
                    }
                }
                Err(error) => {
                    self.tell(|told| told.error = Some(Arc::new(error)));
                    changed();
                }
            }
            let next = Instant::now() + pause.next();
            match self.current() {
                // An old one goes on until there is another.
                Some(old) => self.wait(settings, &old, next).await,
                None => sleep_until(next).await,
            }
        }
    }

    fn made(&self, connection: &Arc<Connection>, number: u64) {
        self.tell(|told| {
            told.error = None;
            if told.run_id != connection.server.run_id {
                told.run_id.clone_from(&connection.server.run_id);
                told.since = number;
            }
        });
        self.current.store(Some(Arc::clone(connection)));
    }

    /// Until the connection is lost, or that time.
    async fn wait(&self, settings: &Settings, connection: &Arc<Connection>, until: Instant) {
        let lost = async {
            // A notice of the one before may be left.
            while self.current.load().is_some() {
                self.lost.notified().await;
            }
        };
        tokio::select! {
            () = lost => {}
            () = connection.ended() => self.lose(connection),
            () = self.target.replaced(settings, &connection.address) => self.lose(connection),
            () = sleep_until(until) => {}
        }
    }

    fn told(&self) -> Told {
        let told = self.told.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        let told = self.told.lock();
        change(&mut told.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Twice as long each time, and not the same for all nodes.
pub(crate) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Pause {
    fn up_to(longest: Duration) -> Self {
        Self::between(SHORTEST, longest)
    }

    /// The first one, and the longest.
    pub(crate) fn between(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        // Between a half and the whole; without randomness, the whole will do.
        let share = random().map_or(u8::MAX, |[byte]| byte);
        pause.mul_f32(0.5 + f32::from(share) / 510.0)
    }

    pub(crate) async fn wait(&mut self) {
        sleep(self.next()).await;
    }
}
