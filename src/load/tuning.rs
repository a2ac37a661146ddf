//! The numbers that say what is too much, each with its reason. No key changes them:
//! `docs/limits.md` has those that somebody may meet.

use std::time::Duration;

/// How often the signals are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the memory is looked at, which costs more.
pub(super) const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(500);

/// A user may hold so many times what is left for other users: one alone can have four fifths.
pub(super) const TIMES_LEFT_FOR_USERS: usize = 4;

/// A network of strangers may hold what is left for others: one alone can have half.
pub(super) const TIMES_LEFT_FOR_STRANGERS: usize = 1;

/// Requests a second of a network of strangers while everything waits too long: a browser needs
/// about five for a login.
pub(super) const TURNS_WHEN_LATE: u32 = 32;

/// Vestibule's own answers to strangers per second and CPU, for networks that get few. That is more
/// newcomers than can sign in, and takes a small part of the CPU.
pub(super) const ANSWERS_TO_FEW: u32 = 1000;

/// The same for networks that get more than [`FEW`].
pub(super) const ANSWERS_TO_MANY: u32 = 500;

/// A network gets few answers if it gets at most this many in a second: a browser needs about five to
/// sign in.
pub(super) const FEW: u32 = 8;

/// Answers that may be sent in one burst before further ones are delayed.
pub(super) const ANSWERS_AT_ONCE: u32 = 32;

/// The longest delay of an answer. If an answer would have to wait longer, it is sent after this time and
/// its connection is closed.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Requests of a network of strangers, and answers that it has not taken, while memory is short.
pub(super) const HELD_WHEN_SHORT: usize = 8;

/// Waiting longer for a thread is noticed by people who wait for a page.
pub(super) const MAX_DELAY: Duration = Duration::from_millis(50);

/// How long strangers are limited for a delay, at least: nobody who was told to come again in five
/// seconds is let in before, and a flood does not fill the queue again at once.
pub(super) const DELAY_HOLD: Duration = Duration::from_secs(5);

/// With fewer connections, and fewer streams, it is the machine that is slow, and turning somebody
/// away would not make it faster.
pub(super) const MIN_FOR_DELAY: usize = 200;

/// Connections that are ended in one go when memory is short.
pub(super) const ENDED_FOR_MEMORY: usize = 64;

/// A handshake may take so long before the connection counts as one that asks nothing.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Connections that a user keeps, even idle ones: two browsers over HTTP/1.1 have no more.
pub(super) const KEPT_OF_USER: usize = 12;
