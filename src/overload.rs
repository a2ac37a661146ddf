//! How much there is to do, and who has to wait when it is too much (REL-13).
//!
//! Who is signed in comes first. Requests without a session are the first to be turned away, with
//! 503 and Retry-After: at the login, at our other pages and at what apps show to everyone. Four
//! signs say that it is too much; only when there are as many requests as
//! there may be, those of sessions are turned away, too.

mod delay;
pub(crate) mod memory;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::{Clock, Timestamp};
use crate::listener::Admission;

use delay::StandingDelay;
use memory::Ceiling;

/// How often the signs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the memory is looked at, which costs more.
const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(500);

/// With fewer connections, and fewer streams, it is the machine that is slow, and turning somebody
/// away would not make it faster.
const MANY: usize = 200;

/// Requests that one connection may have under way when half of all that there may be are: else
/// who opens many streams on each of the connections of one address (SEC-28) could shut all others
/// out.
pub(crate) const FEW: usize = 8;

/// One line a minute says it, not one a request.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Why requests are turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nine tenths of the connections are open; the last tenth is for who is signed in.
    Connections,
    /// Whatever is ready to go on waits too long for a thread, and there are many clients.
    Delay,
    /// Nine tenths of the memory that the configuration asks for are in use.
    Memory,
    /// Three quarters of the requests that there may be are under way, or all of them; or half, and
    /// too many of them on this connection.
    Requests,
}

impl Cause {
    pub(crate) const ALL: [Self; 4] =
        [Self::Connections, Self::Delay, Self::Memory, Self::Requests];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Delay => "delay",
            Self::Memory => "memory",
            Self::Requests => "requests",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is under way, and what the last look at the service has found.
#[derive(Debug)]
pub(crate) struct Load {
    clock: Clock,
    under_way: AtomicUsize,
    /// Of HTTP/2; most of them may not have had a thread yet.
    streams: AtomicUsize,
    max_under_way: AtomicUsize,
    /// One more than the place in [`Cause::ALL`]; 0 while all is well.
    pressure: AtomicU8,
    resident: AtomicU64,
    ceiling: Mutex<Ceiling>,
    shed: [AtomicU64; Cause::ALL.len()],
    logged: Mutex<Option<Timestamp>>,
}

/// Counts a stream.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Load>);

/// The signs at one moment.
#[derive(Clone, Copy, Debug)]
struct Signs {
    connections: (usize, usize),
    streams: usize,
    late: bool,
    resident: u64,
    ceiling: u64,
}

impl Load {
    /// So many requests may be under way at a time.
    pub(crate) fn new(max_under_way: usize, ceiling: Ceiling, clock: Clock) -> Self {
        Self {
            clock,
            under_way: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            max_under_way: AtomicUsize::new(max_under_way),
            pressure: AtomicU8::new(0),
            resident: AtomicU64::new(0),
            ceiling: Mutex::new(ceiling),
            shed: Default::default(),
            logged: Mutex::default(),
        }
    }

    /// Other limits, for the requests that come.
    pub(crate) fn set(&self, max_under_way: usize, ceiling: Ceiling) {
        self.max_under_way.store(max_under_way, Ordering::Relaxed);
        *self.lock_ceiling() = ceiling;
    }

    /// Verifying passwords takes so many bytes from now on.
    pub(crate) fn set_hashing(&self, bytes: u64) {
        let mut ceiling = self.lock_ceiling();
        *ceiling = ceiling.with_hashing(bytes);
    }

    /// Bytes of memory that the process takes, as of the last look, and may take.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (
            self.resident.load(Ordering::Relaxed),
            self.lock_ceiling().total(),
        )
    }

    /// How many requests are under way, and how many may be.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (
            self.under_way.load(Ordering::Relaxed),
            self.max_under_way.load(Ordering::Relaxed),
        )
    }

    /// How many requests have been turned away, by cause.
    pub(crate) fn shed(&self) -> [(Cause, u64); Cause::ALL.len()] {
        Cause::ALL.map(|cause| (cause, self.shed[cause as usize].load(Ordering::Relaxed)))
    }

    /// One request more, until [`Load::end`], if it may go on. One that is refused does not count,
    /// however long its client takes to read that. `on_connection` counts those that are under way
    /// on its connection, itself among them.
    pub(crate) fn begin(&self, signed_in: bool, on_connection: usize) -> Result<(), Cause> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let Some(cause) = self.refusal(signed_in, on_connection) else {
            return Ok(());
        };
        self.end();
        self.shed[cause as usize].fetch_add(1, Ordering::Relaxed);
        self.report(cause);
        Err(cause)
    }

    /// One request less.
    pub(crate) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// One stream of HTTP/2 more, until it is dropped.
    pub(crate) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(Arc::clone(self))
    }

    /// Why strangers are turned away, if they are.
    pub(crate) fn sheds(&self) -> Option<Cause> {
        self.refusal(false, 1)
    }

    /// Whether everybody is admitted, whoever it is.
    pub(crate) fn is_calm(&self) -> bool {
        self.refusal(false, usize::MAX).is_none()
    }

    /// Whether connections that are of no use at the moment had better go.
    pub(crate) fn wants_room(&self) -> bool {
        matches!(self.pressure(), Some(Cause::Connections | Cause::Memory))
    }

    /// Whether clients that do not take what was sent hold memory that others need.
    pub(crate) fn wants_memory(&self) -> bool {
        self.pressure() == Some(Cause::Memory)
    }

    fn refusal(&self, signed_in: bool, on_connection: usize) -> Option<Cause> {
        let (under_way, max) = self.requests();
        if under_way > max / 2 && on_connection > FEW {
            return Some(Cause::Requests);
        }
        if signed_in {
            return (under_way > max).then_some(Cause::Requests);
        }
        if under_way > max - max / 4 {
            return Some(Cause::Requests);
        }
        self.pressure()
    }

    fn pressure(&self) -> Option<Cause> {
        let pressure = self.pressure.load(Ordering::Relaxed);
        let place = usize::from(pressure).checked_sub(1)?;
        Cause::ALL.get(place).copied()
    }

    fn set_pressure(&self, cause: Option<Cause>) {
        let place = cause.map_or(0, |cause| cause as u8 + 1);
        self.pressure.store(place, Ordering::Relaxed);
    }

    fn lock_ceiling(&self) -> MutexGuard<'_, Ceiling> {
        self.ceiling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the memory until it is dropped. For a process that is nobody's but ours.
    pub(crate) async fn watch_memory(&self) {
        while let Some(resident) = memory::resident() {
            self.resident.store(resident, Ordering::Relaxed);
            sleep(LOOK_AT_MEMORY_EVERY).await;
        }
    }

    /// Looks at the signs until it is dropped.
    pub(crate) async fn watch(self: Arc<Self>, admission: Arc<Admission>) {
        let delay = Mutex::new(StandingDelay::default());
        let known = || delay.lock().unwrap_or_else(PoisonError::into_inner);
        // The other signs do not wait in the queue that this one measures.
        let measure = async {
            loop {
                sleep(LOOK_EVERY).await;
                let waited = delay::of_the_queues().await;
                known().note(waited, Clock::stopwatch());
            }
        };
        let look = async {
            loop {
                sleep(LOOK_EVERY).await;
                let (resident, ceiling) = self.memory();
                let signs = Signs {
                    connections: (admission.open(), admission.max()),
                    streams: self.streams.load(Ordering::Relaxed),
                    late: known().is_too_long(Clock::stopwatch()),
                    resident,
                    ceiling,
                };
                self.set_pressure(signs.cause());
            }
        };
        tokio::join!(measure, look);
    }

    /// Says in the log, now and then, that requests are turned away.
    fn report(&self, cause: Cause) {
        let now = self.clock.now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|last| now.since(last) < LOG_EVERY) {
            return;
        }
        *logged = Some(now);
        let (requests, _) = self.requests();
        tracing::warn!(
            %cause, requests,
            "there is too much to do: requests are answered with 503, those without a session first"
        );
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Signs {
    /// The gravest first.
    fn cause(&self) -> Option<Cause> {
        let (open, max) = self.connections;
        if self.resident > self.ceiling / 10 * 9 {
            Some(Cause::Memory)
        } else if open > max - max / 10 {
            Some(Cause::Connections)
        } else if self.late && open.max(self.streams) >= MANY {
            Some(Cause::Delay)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::memory::Demands;
    use super::*;

    const CALM: Signs = Signs {
        connections: (900, 1000),
        streams: 0,
        late: false,
        resident: 900,
        ceiling: 1000,
    };

    fn load(max_under_way: usize) -> Load {
        let ceiling = Ceiling::of(Demands {
            max_connections: 1,
            sessions: 0,
            forms: 0,
            logs: 0,
            hashing: 0,
        });
        Load::new(max_under_way, ceiling, Clock::system())
    }

    #[test]
    fn rel_13_each_sign_has_its_limit() {
        let with = |change: fn(&mut Signs)| {
            let mut signs = CALM;
            change(&mut signs);
            signs.cause()
        };
        let late = |signs: &mut Signs| signs.late = true;
        assert_eq!(CALM.cause(), None);
        assert_eq!(with(|signs| signs.resident += 1), Some(Cause::Memory));
        assert_eq!(
            with(|signs| signs.connections.0 += 1),
            Some(Cause::Connections)
        );
        let few = |signs: &mut Signs| signs.connections = (1, 1);
        assert_eq!(with(few), None, "a tenth of one is none");
        assert_eq!(with(late), Some(Cause::Delay));
        let mut few = Signs {
            connections: (MANY - 1, 1000),
            streams: MANY - 1,
            late: true,
            ..CALM
        };
        assert_eq!(few.cause(), None, "others keep the machine busy");
        few.streams += 1;
        assert_eq!(few.cause(), Some(Cause::Delay), "over few connections");
    }

    /// How a request more is judged, without staying.
    fn judged(load: &Load, signed_in: bool, on_connection: usize) -> Result<(), Cause> {
        let begun = load.begin(signed_in, on_connection);
        if begun.is_ok() {
            load.end();
        }
        begun
    }

    fn fill(load: &Load, requests: usize) {
        (0..requests).for_each(|_| load.begin(true, 1).unwrap());
    }

    #[test]
    fn rel_13_strangers_go_first_and_who_is_signed_in_last() {
        let load = load(8);
        let judged = |signed_in| judged(&load, signed_in, 1);
        fill(&load, 5);
        assert_eq!((judged(false), judged(true)), (Ok(()), Ok(())));
        fill(&load, 1);
        assert_eq!(
            (judged(false), judged(true)),
            (Err(Cause::Requests), Ok(()))
        );
        fill(&load, 2);
        assert_eq!(judged(true), Err(Cause::Requests), "more than there may be");
        assert_eq!(load.requests(), (8, 8), "who is refused does not count");
        (0..4).for_each(|_| load.end());

        load.set_pressure(Some(Cause::Delay));
        assert_eq!((judged(false), judged(true)), (Err(Cause::Delay), Ok(())));
        assert!(!load.wants_room());
        load.set_pressure(Some(Cause::Connections));
        assert!(load.wants_room() && !load.wants_memory());
        load.set_pressure(Some(Cause::Memory));
        assert!(load.wants_room() && load.wants_memory());
        let shed = load.shed().map(|(cause, count)| (cause.name(), count));
        let expected = [
            ("connections", 0),
            ("delay", 1),
            ("memory", 0),
            ("requests", 2),
        ];
        assert_eq!(shed, expected);
    }

    #[test]
    fn sec_28_no_connection_takes_the_places_of_all_others() {
        let load = load(100);
        fill(&load, 49);
        assert!(load.is_calm());
        assert_eq!(judged(&load, true, 50), Ok(()), "half of them may be one's");
        fill(&load, 2);
        assert!(!load.is_calm());
        for signed_in in [true, false] {
            assert_eq!(judged(&load, signed_in, FEW), Ok(()));
            assert_eq!(judged(&load, signed_in, FEW + 1), Err(Cause::Requests));
        }
        assert_eq!(load.sheds(), None, "others notice nothing");
    }

    #[test]
    fn a_limit_of_one_request_lets_one_through() {
        let load = load(1);
        assert_eq!(load.begin(false, 1), Ok(()));
        assert_eq!(load.begin(true, 1), Err(Cause::Requests));
        load.end();
        assert_eq!(load.begin(false, 1), Ok(()));
    }
}
