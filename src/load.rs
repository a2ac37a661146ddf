//! How much there is to do, and who has to wait when it is too much (REL-13, SEC-87).
//!
//! Requests of signed-in users and requests of strangers are counted apart, so that nothing that
//! strangers do triggers a limit for users. Within each of the two, those are turned away first,
//! with 503 and Retry-After, who hold more than what is left for all others. Signals of too much
//! (delay, memory, connections) make the shares of strangers' networks small; who comes from a
//! network that holds little is served all the same.

mod admission;
mod bodies;
mod delay;
pub(crate) mod memory;
mod pace;
mod per_second;
mod place;
mod signals;
#[cfg(test)]
pub(crate) mod tests;
mod tuning;
mod usage;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::telemetry::Seldom;

pub(crate) use admission::{Admission, Admitted, ConnectionLimits};
pub(crate) use bodies::{BODY_PIECE, HeldBody};
use delay::StandingDelay;
use memory::Ceiling;
use pace::Pace;
pub(crate) use place::{Place, Uploading};
use signals::Signals;
use tuning::{
    HELD_WHEN_SHORT, LONGEST_WAIT, LOOK_AT_MEMORY_EVERY, LOOK_EVERY, TIMES_LEFT_FOR_STRANGERS,
    TIMES_LEFT_FOR_USERS, TURNS_WHEN_LATE,
};
pub(crate) use usage::{Consumer, Resource, Usage, Usages};

/// Why requests are turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nine tenths of the connections are open, and this network has many of them; the last tenth
    /// is for signed-in users.
    Connections,
    /// Whatever is ready to go on waits too long for a thread, there are many clients, and this
    /// network asks much.
    Delay,
    /// Nine tenths of the memory that the configuration asks for are in use, and this network has
    /// many requests.
    Memory,
    /// This network, or this user, has more requests in flight than what is left for others.
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

/// What is in flight, and what the last look at the service has found.
#[derive(Debug)]
pub(crate) struct Load {
    clock: Clock,
    usages: Arc<Usages>,
    users: Class,
    strangers: Class,
    /// Of HTTP/2; most of them may not have had a thread yet.
    streams: AtomicUsize,
    max_in_flight: AtomicUsize,
    /// One more than the place in [`Cause::ALL`]; 0 while all is well.
    pressure: AtomicU8,
    resident: AtomicU64,
    ceiling: Mutex<Ceiling>,
    shed: [AtomicU64; Cause::ALL.len()],
    pace: Pace,
    said: Seldom,
}

/// The requests of all users, or of all strangers.
#[derive(Debug, Default)]
struct Class {
    in_flight: AtomicUsize,
    /// Our own answers that clients have not read yet.
    unread: AtomicUsize,
    /// Bytes of request bodies that are read whole.
    bodies: AtomicUsize,
}

impl Class {
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether more than half of `max` is in use, by requests or by answers that nobody takes.
    fn is_crowded(&self, max: usize) -> bool {
        self.in_flight() + self.unread.load(Ordering::Relaxed) > max / 2
    }
}

/// Counts a stream.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Load>);

impl Load {
    /// So many requests of users may be in flight at a time, and three quarters as many of
    /// strangers.
    pub(crate) fn new(max_in_flight: usize, ceiling: Ceiling, clock: Clock) -> Self {
        Self {
            said: Seldom::new(clock.clone()),
            clock,
            usages: Arc::default(),
            users: Class::default(),
            strangers: Class::default(),
            streams: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(max_in_flight),
            pressure: AtomicU8::new(0),
            resident: AtomicU64::new(0),
            ceiling: Mutex::new(ceiling),
            shed: Default::default(),
            pace: Pace::default(),
        }
    }

    /// What everybody holds.
    pub(crate) fn usages(&self) -> &Arc<Usages> {
        &self.usages
    }

    /// Other limits, for the requests that come.
    pub(crate) fn set(&self, max_in_flight: usize, ceiling: Ceiling) {
        self.max_in_flight.store(max_in_flight, Ordering::Relaxed);
        *self.lock_ceiling() = ceiling;
    }

    /// From now on, verifying passwords takes `hashing` bytes, and the local users take `users` bytes.
    pub(crate) fn set_users(&self, hashing: u64, users: u64) {
        let mut ceiling = self.lock_ceiling();
        *ceiling = ceiling.with_users(hashing, users);
    }

    /// Bytes of memory that the process takes, as of the last look, and may take.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (
            self.resident.load(Ordering::Relaxed),
            self.lock_ceiling().total(),
        )
    }

    /// How many requests are in flight, and how many of users may be.
    pub(crate) fn requests(&self) -> (usize, usize) {
        let in_flight = self.users.in_flight() + self.strangers.in_flight();
        (in_flight, self.max_in_flight.load(Ordering::Relaxed))
    }

    /// How many requests have been turned away, by cause.
    pub(crate) fn shed(&self) -> [(Cause, u64); Cause::ALL.len()] {
        Cause::ALL.map(|cause| (cause, self.shed[cause as usize].load(Ordering::Relaxed)))
    }

    /// One request more for a user or a network, until [`Load::end`], if it may go on. One that is
    /// refused does not count, however long its client takes to read that. `has_few_connections`
    /// is asked for strangers, when the last connections are for users.
    pub(crate) fn begin(
        &self,
        usage: &Usage,
        has_few_connections: impl FnOnce() -> bool,
    ) -> Result<(), Cause> {
        let class = self.class(usage);
        let in_flight = class.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        usage.add(Resource::Requests, 1);
        let Some(cause) = self.refusal(usage, in_flight, has_few_connections) else {
            return Ok(());
        };
        self.end(usage);
        self.shed[cause as usize].fetch_add(1, Ordering::Relaxed);
        self.report(cause);
        Err(cause)
    }

    /// One request less.
    pub(crate) fn end(&self, usage: &Usage) {
        self.class(usage).in_flight.fetch_sub(1, Ordering::Relaxed);
        usage.remove(Resource::Requests, 1);
    }

    /// Waits for the turn of one of Vestibule's own answers to a stranger. `false` if too many are
    /// waiting: this one has waited as long as any answer may, and its connection should be closed.
    pub(crate) async fn turn(&self, usage: &Usage) -> bool {
        let wait = self.pace.wait(usage);
        if wait != Some(Duration::ZERO) {
            sleep(wait.unwrap_or(LONGEST_WAIT)).await;
        }
        wait.is_some()
    }

    /// Counts a connection that is closed because too many answers are waiting or unread.
    pub(crate) fn note_closed(&self) {
        self.pace.note_closed();
    }

    /// The number of answers to strangers beyond the pace, by outcome.
    pub(crate) fn paced(&self) -> [(&'static str, u64); 2] {
        self.pace.counted()
    }

    #[cfg(test)]
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Counts one of Vestibule's own answers as unread, until [`Load::end_answer`]. `false` if the
    /// client's network, or user, leaves more of them unread than its share.
    pub(crate) fn begin_answer(&self, usage: &Usage) -> bool {
        let unread = &self.class(usage).unread;
        let waiting = unread.fetch_add(1, Ordering::Relaxed) + 1;
        usage.add(Resource::Unread, 1);
        let granted = self.is_within_share(usage, Resource::Unread, waiting);
        if !granted {
            self.end_answer(usage);
        }
        granted
    }

    /// Its client has read an answer, or never will.
    pub(crate) fn end_answer(&self, usage: &Usage) {
        self.class(usage).unread.fetch_sub(1, Ordering::Relaxed);
        usage.remove(Resource::Unread, 1);
    }

    /// One stream of HTTP/2 more, until it is dropped.
    pub(crate) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(Arc::clone(self))
    }

    /// Why some strangers are turned away, if they are.
    pub(crate) fn sheds(&self) -> Option<Cause> {
        let crowded = self.strangers.is_crowded(self.max_of_strangers());
        self.pressure()
            .or_else(|| crowded.then_some(Cause::Requests))
    }

    /// Whether answers that nobody takes had better go soon: more than half of the requests that
    /// are allowed are in flight, or their answers wait.
    pub(crate) fn is_crowded(&self) -> bool {
        let (_, max) = self.requests();
        self.strangers.is_crowded(self.max_of_strangers()) || self.users.is_crowded(max)
    }

    /// Whether clients that do not take what was sent hold memory that others need.
    pub(crate) fn wants_memory(&self) -> bool {
        self.pressure() == Some(Cause::Memory)
    }

    fn class(&self, usage: &Usage) -> &Class {
        if usage.is_of_user() {
            &self.users
        } else {
            &self.strangers
        }
    }

    fn max_of_strangers(&self) -> usize {
        let (_, max) = self.requests();
        max - max / 4
    }

    /// Whether a consumer holds no more of a resource than its share; `held` is what its class
    /// holds in all, what it asks for included.
    fn is_within_share(&self, usage: &Usage, resource: Resource, held: usize) -> bool {
        let (max, times) = if usage.is_of_user() {
            (self.requests().1, TIMES_LEFT_FOR_USERS)
        } else {
            (self.max_of_strangers(), TIMES_LEFT_FOR_STRANGERS)
        };
        let left = max.checked_sub(held);
        left.is_some_and(|left| usage.is_within(resource, left, times))
    }

    fn refusal(
        &self,
        usage: &Usage,
        in_flight: usize,
        has_few_connections: impl FnOnce() -> bool,
    ) -> Option<Cause> {
        if !self.is_within_share(usage, Resource::Requests, in_flight) {
            return Some(Cause::Requests);
        }
        if usage.is_of_user() {
            return None;
        }
        let pressure = self.pressure()?;
        let has_little = match pressure {
            Cause::Connections => has_few_connections(),
            Cause::Delay => usage.takes_turn(self.second(), TURNS_WHEN_LATE),
            Cause::Memory => {
                let held = |resource| usage.held_widest(resource);
                held(Resource::Requests) + held(Resource::Unread) <= HELD_WHEN_SHORT
            }
            Cause::Requests => true,
        };
        (!has_little).then_some(pressure)
    }

    fn second(&self) -> u32 {
        u32::try_from(self.clock.now().as_millis() / 1000).unwrap_or(u32::MAX)
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

    /// Looks at the signals until it is dropped.
    pub(crate) async fn watch(self: Arc<Self>, admission: Arc<Admission>) {
        let delay = Mutex::new(StandingDelay::default());
        let known = || delay.lock().unwrap_or_else(PoisonError::into_inner);
        // The other signals do not wait in the queue that this one measures.
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
                let signals = Signals {
                    connections: (admission.open(), admission.max()),
                    streams: self.streams.load(Ordering::Relaxed),
                    late: known().is_too_long(Clock::stopwatch()),
                    resident,
                    ceiling,
                };
                self.set_pressure(signals.cause());
                if self.wants_memory() {
                    admission.end_unused();
                }
            }
        };
        tokio::join!(measure, look);
    }

    /// Says in the log, now and then, that requests are turned away.
    fn report(&self, cause: Cause) {
        if !self.said.is_due() {
            return;
        }
        let (requests, _) = self.requests();
        tracing::warn!(
            %cause, requests,
            "there is too much to do: some requests are answered with 503, those of the networks with most of them first"
        );
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
