//! How much memory the service may take, and takes.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bodies::BODY_PIECE;

/// The program itself, its threads, the counters of failed logins, and whatever else does not grow.
const PROGRAM: u64 = 48 * MIB;

/// An open connection: 19 KiB while it is idle, and room for a request in flight. One that does
/// not take what was sent may hold more, and is closed when others need that.
const CONNECTION: u64 = 64 * KIB;

/// What a connection takes besides the head of its request.
const BESIDES_HEAD: u64 = 32 * KIB;

/// Of the memory for connections, the part for request bodies that wait for an application.
const FOR_UPLOADS: u64 = 4;

/// However few connections there may be, so many bytes of request bodies may wait: some uploads
/// over HTTP/2, each with a full window.
const MIN_FOR_UPLOADS: usize = 8 * 1024 * 1024;

/// Request bodies that are read whole before their application gets them, where an app has that:
/// some of the largest, and not only one of a network of strangers, who have a quarter of it.
const LARGEST_BODIES: u64 = 8;
const MIN_FOR_BODIES: u64 = 16 * MIB;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The most that each part takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ceiling {
    connections: u64,
    sessions: u64,
    forms: u64,
    logs: u64,
    hashing: u64,
    users: u64,
    bodies: u64,
}

/// What the parts themselves say; the counts are those of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    pub(crate) max_connections: usize,
    /// Bytes of the largest head of a request.
    pub(crate) head: usize,
    /// Bytes of all sessions, in use or not.
    pub(crate) sessions: u64,
    /// Bytes of forms that met an ended session.
    pub(crate) forms: usize,
    /// Bytes of lines that wait to be written.
    pub(crate) logs: usize,
    /// Bytes of the threads that verify passwords.
    pub(crate) hashing: u64,
    /// Bytes of the users themselves.
    pub(crate) users: u64,
    /// Bytes of the largest request body that is read whole; 0 where none is.
    pub(crate) largest_body: usize,
}

impl Ceiling {
    pub(crate) fn of(demands: Demands) -> Self {
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            connections: bytes(demands.max_connections)
                .saturating_mul(CONNECTION.max(bytes(demands.head).saturating_add(BESIDES_HEAD))),
            sessions: demands.sessions,
            forms: bytes(demands.forms),
            logs: bytes(demands.logs),
            hashing: demands.hashing,
            users: demands.users,
            bodies: match demands.largest_body {
                0 => 0,
                // All of its last piece counts: else even one that is alone would find no place.
                largest => bytes(largest.saturating_add(BODY_PIECE - 1) / BODY_PIECE * BODY_PIECE)
                    .saturating_mul(LARGEST_BODIES)
                    .max(MIN_FOR_BODIES),
            },
        }
    }

    /// The same with other users, and their passwords.
    pub(crate) fn with_users(self, hashing: u64, users: u64) -> Self {
        Self {
            hashing,
            users,
            ..self
        }
    }

    /// Bytes of request bodies that are read whole.
    pub(super) fn bodies(self) -> usize {
        usize::try_from(self.bodies).unwrap_or(usize::MAX)
    }

    /// All of it, in bytes.
    pub(crate) fn total(self) -> u64 {
        let parts = [
            self.connections,
            self.sessions,
            self.forms,
            self.logs,
            self.hashing,
            self.users,
            self.bodies,
        ];
        parts.into_iter().fold(PROGRAM, u64::saturating_add)
    }
}

/// Says where it comes from, for who has to provide for it.
impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        write!(
            f,
            "at most {} MiB: connections {}, sessions {}, hashing of passwords {}, kept forms {}, \
             logs {}, ",
            mib(self.total()),
            mib(self.connections),
            mib(self.sessions),
            mib(self.hashing),
            mib(self.forms),
            mib(self.logs),
        )?;
        if self.users >= MIB {
            write!(f, "users {}, ", mib(self.users))?;
        }
        if self.bodies > 0 {
            write!(f, "buffered requests {}, ", mib(self.bodies))?;
        }
        write!(f, "the program itself {}", mib(PROGRAM))
    }
}

/// Bytes of request bodies that were read and wait for an application to take them, on all
/// connections.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Default for Budget {
    /// Without a limit.
    fn default() -> Self {
        Self {
            used: AtomicUsize::new(0),
            max: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Budget {
    /// The limit for so many connections, which is a part of what the ceiling has for them.
    pub(crate) fn for_connections(max_connections: usize) -> usize {
        let connections = u64::try_from(max_connections).unwrap_or(u64::MAX);
        let bytes = connections.saturating_mul(CONNECTION) / FOR_UPLOADS;
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .max(MIN_FOR_UPLOADS)
    }

    pub(crate) fn set(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.max.load(Ordering::Relaxed)
    }
}

/// What the process takes now, in bytes; `None` where the system does not say.
pub(crate) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMANDS: Demands = Demands {
        max_connections: 1000,
        head: 32 * 1024,
        sessions: 10 * MIB,
        forms: 64 * 1024 * 1024,
        logs: 1024,
        hashing: 19 * MIB,
        users: 4096,
        largest_body: 0,
    };

    #[test]
    fn rel_06_the_ceiling_is_the_sum_of_its_parts() {
        let ceiling = Ceiling::of(DEMANDS);
        let parts = PROGRAM + 1000 * CONNECTION + (10 + 64 + 19) * MIB + 1024 + 4096;
        assert_eq!(ceiling.total(), parts);
        let costly = ceiling.with_users(256 * MIB, 100 * MIB);
        assert_eq!(costly.total(), parts + (256 - 19 + 100) * MIB - 4096);
        let said = costly.to_string();
        assert!(said.contains("hashing of passwords 256, kept"), "{said}");
        assert!(said.contains("users 100, the program"), "{said}");
        assert_eq!(
            ceiling.to_string(),
            "at most 204 MiB: connections 63, sessions 10, hashing of passwords 19, kept forms 64, \
             logs 1, the program itself 48"
        );
        let heads = Demands {
            head: 256 * 1024,
            ..DEMANDS
        };
        let more = Ceiling::of(heads).total() - parts;
        assert_eq!(more, 1000 * (256 + 32 - 64) * KIB, "a head may be so long");
        let buffering = |largest_body| {
            let buffers = Demands {
                largest_body,
                ..DEMANDS
            };
            Ceiling::of(buffers).total() - parts
        };
        assert_eq!(buffering(1), 16 * MIB);
        assert_eq!(buffering(10_000_000), 80_084_992);
        let absurd = Demands {
            max_connections: usize::MAX,
            ..DEMANDS
        };
        assert_eq!(Ceiling::of(absurd).total(), u64::MAX);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_we_take() {
        let resident = resident().unwrap();
        assert!((MIB..64 * 1024 * MIB).contains(&resident), "{resident}");
    }
}
