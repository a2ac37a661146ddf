//! How much memory sessions take at most (REL-06).

use super::{Backend, CACHED, Settings, data, disk, record};

/// Bytes of a session in the cache, as measured with those of real browsers.
const IN_CACHE: u64 = 600;

/// Bytes of an id for another host: in the record, in the cache, and where it is looked up.
const OF_OTHER_ID: u64 = 256;

/// What the disk store takes for each session besides, as measured with a million of them.
const ON_DISK: u64 = 100;

/// What a node remembers of what it has written to Redis, to write it again.
#[cfg(feature = "redis")]
const WRITTEN: u64 = super::redis::MAX_WRITTEN_BYTES as u64;
#[cfg(not(feature = "redis"))]
const WRITTEN: u64 = 0;

/// Bytes of a record in the memory store, and of its place in the cache.
const IN_MEMORY: u64 = 1024;

impl Settings {
    /// Bytes of all sessions there may be; `data` says whether apps keep something in them, and
    /// `other_ids` on how many hosts each is open besides that of its login.
    pub(crate) fn memory(&self, data: bool, other_ids: usize) -> u64 {
        let sessions = u64::try_from(self.max_sessions).unwrap_or(u64::MAX);
        let data = if data { data::MAX_BYTES as u64 } else { 0 };
        let other_ids = other_ids.min(record::MAX_IDS) as u64;
        let more = data + other_ids * OF_OTHER_ID;
        match self.backend {
            Backend::Disk(_) => {
                let cached = sessions.min(CACHED) * (IN_CACHE + more);
                let others = sessions.saturating_mul(ON_DISK);
                others.saturating_add(cached + disk::CACHE as u64)
            }
            Backend::Memory => sessions.saturating_mul(IN_MEMORY + more),
            Backend::Redis(_) => sessions.min(CACHED) * (IN_CACHE + more) + WRITTEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(backend: Backend, max_sessions: usize) -> Settings {
        Settings {
            backend,
            idle_timeout: Duration::from_mins(30),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: 20,
            max_sessions,
        }
    }

    #[test]
    fn rel_06_sessions_have_a_bound_that_the_store_decides() {
        let mib = |backend, max, data| settings(backend, max).memory(data, 0) >> 20;
        let disk = || Backend::Disk("sessions.redb".into());
        // 100,000 took 39 MB, and 1,000,000 took 123 MB (`benches/sessions.rs`).
        assert_eq!(mib(disk(), 100_000, false), 46);
        assert_eq!(mib(disk(), 1_000_000, false), 131);
        assert_eq!(
            mib(disk(), 1_000_000, true),
            327,
            "4 KiB more for each in the cache"
        );
        assert_eq!(mib(Backend::Memory, 1_000_000, false), 976);
        assert_eq!(settings(disk(), usize::MAX).memory(true, 0), u64::MAX);
        let on_ten_hosts = settings(Backend::Memory, 1000).memory(false, 10);
        assert_eq!(on_ten_hosts, 1000 * (1024 + 10 * 256));
    }
}
