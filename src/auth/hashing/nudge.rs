//! Makes a thread that hashes give way at once.
//!
//! A kernel need not take a core from the thread that runs there before its next tick, which is
//! every 4 ms with `HZ=250`; hashing makes no system call meanwhile. A request that was woken on
//! that core waits so long, whatever the priorities are: measured on Linux 6.18, even with
//! `SCHED_IDLE`. So while there is hashing it stays on its core, and a second thread sleeps there,
//! a moment at a time: the interrupts that wake it are when the kernel looks again who is to run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// A request waits no longer. Each interrupt takes some two microseconds.
const EVERY: Duration = Duration::from_micros(200);

/// Ends its thread when it is dropped.
pub(super) struct Nudge {
    shared: Arc<Shared>,
    /// The cores that hashing may have.
    allowed: CpuSet,
}

#[derive(Debug, Default)]
struct Shared {
    doing: Mutex<Doing>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    /// On this core.
    Hashing(usize),
    Ended,
}

/// As long as it is there, the thread that made it stays on its core and is interrupted.
pub(super) struct Hashing<'a>(&'a Nudge);

impl Nudge {
    /// For one thread that hashes. An error where the system keeps us from choosing a core.
    pub(super) fn start() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        sched_setaffinity(None, &allowed)?;
        let shared = Arc::new(Shared::default());
        let nudging = Arc::clone(&shared);
        thread::Builder::new()
            .name("vestibule-nudge".to_owned())
            .spawn(move || nudging.run())?;
        Ok(Self { shared, allowed })
    }

    pub(super) fn hashing(&self) -> Hashing<'_> {
        let core = sched_getcpu();
        if sched_setaffinity(None, &only(core)).is_ok() {
            self.shared.set(Doing::Hashing(core));
        }
        Hashing(self)
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        self.shared.set(Doing::Ended);
    }
}

impl Drop for Hashing<'_> {
    fn drop(&mut self) {
        self.0.shared.set(Doing::Nothing);
        // It fails when none of them is left to us, and then the system has chosen others.
        let _ = sched_setaffinity(None, &self.0.allowed);
    }
}

impl Shared {
    fn set(&self, doing: Doing) {
        *self.lock() = doing;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut own = None;
        while let Doing::Hashing(core) = self.wait() {
            if own != Some(core) && sched_setaffinity(None, &only(core)).is_ok() {
                own = Some(core);
            }
            thread::sleep(EVERY);
        }
    }

    /// What is done, once it is something.
    fn wait(&self) -> Doing {
        let idle = |doing: &mut Doing| *doing == Doing::Nothing;
        let doing = self.changed.wait_while(self.lock(), idle);
        *doing.unwrap_or_else(PoisonError::into_inner)
    }
}

fn only(core: usize) -> CpuSet {
    let mut cores = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        cores.set(core);
    }
    cores
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::clock::Clock;

    /// How often the calling thread lost its core while it computed for 50 ms.
    fn losses() -> u64 {
        let lost = || -> u64 {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mut lines = status.lines();
            let lost = lines.find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
            lost.unwrap().trim().parse().unwrap()
        };
        let computed = || clock_gettime(ClockId::ThreadCPUTime).tv_nsec / 1_000_000;
        let (before, begin) = (lost(), computed());
        while (computed() - begin).rem_euclid(1000) < 50 {
            std::hint::spin_loop();
        }
        lost() - before
    }

    #[test]
    fn sec_60_whoever_hashes_is_interrupted_until_it_is_done() {
        // A thread of its own: it keeps its priority.
        let story = thread::spawn(|| {
            let nudge = Nudge::start().unwrap();
            rustix::process::nice(super::super::NICE).unwrap();
            let hashing = nudge.hashing();
            let losses = losses();
            assert!(losses > 40, "{losses} times in 50 ms");
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
            drop(hashing);
            assert_eq!(*nudge.shared.lock(), Doing::Nothing);
            let again = sched_getaffinity(None).unwrap().count();
            assert_eq!(again, nudge.allowed.count(), "free to go elsewhere");
            let nudging = Arc::downgrade(&nudge.shared);
            drop(nudge);
            let begin = Clock::stopwatch();
            while nudging.strong_count() > 0 {
                assert!(
                    begin.elapsed() < Duration::from_secs(30),
                    "its thread stays"
                );
                thread::yield_now();
            }
        });
        story.join().unwrap();
    }
}
