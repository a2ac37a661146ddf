//! Makes a thread that hashes give way at once.
//!
//! A kernel need not take a core from the thread that runs there before its next tick, which is
//! every 4 ms with `HZ=250`; hashing makes no system call meanwhile. A request that was woken on
//! that core waits so long, whatever the priorities are: measured on Linux 6.18, even with
//! `SCHED_IDLE`. So a second thread sleeps on the same core, a moment at a time, for as long as
//! there is hashing. The interrupts that wake it are when the kernel looks again who is to run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A request waits no longer. Each interrupt takes some two microseconds.
const EVERY: Duration = Duration::from_micros(200);

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Nudge(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    doing: Mutex<Doing>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    Hashing,
    Ended,
}

/// As long as it is there, its thread is interrupted.
#[derive(Debug)]
pub(super) struct Hashing<'a>(&'a Shared);

impl Nudge {
    /// Ties the calling thread, which is the `place`th of those that hash, to a core.
    pub(super) fn start(place: usize) -> io::Result<Self> {
        let core = core(&sched_getaffinity(None)?, place).ok_or(io::ErrorKind::Unsupported)?;
        sched_setaffinity(None, &core)?;
        let shared = Arc::new(Shared::default());
        let nudging = Arc::clone(&shared);
        // It inherits the core.
        thread::Builder::new()
            .name("vestibule-nudge".to_owned())
            .spawn(move || nudging.run())?;
        Ok(Self(shared))
    }

    pub(super) fn hashing(&self) -> Hashing<'_> {
        self.0.set(Doing::Hashing);
        Hashing(&self.0)
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        self.0.set(Doing::Ended);
    }
}

impl Drop for Hashing<'_> {
    fn drop(&mut self) {
        self.0.set(Doing::Nothing);
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
        while self.wait() != Doing::Ended {
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

/// The last of the cores that this process may use is for the first thread, and so on.
fn core(allowed: &CpuSet, place: usize) -> Option<CpuSet> {
    let mut cores = (0..CpuSet::MAX_CPU)
        .rev()
        .filter(|core| allowed.is_set(*core));
    let mut own = CpuSet::new();
    own.set(cores.nth(place)?);
    Some(own)
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn of(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        set
    }

    #[test]
    fn each_thread_has_a_core_of_those_that_are_allowed() {
        let allowed = of(&[1, 4, 7]);
        assert_eq!(core(&allowed, 0), Some(of(&[7])));
        assert_eq!(core(&allowed, 1), Some(of(&[4])));
        assert_eq!(core(&allowed, 3), None, "no more threads than cores");
    }

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
        // A thread of its own: it keeps its core and its priority.
        let story = thread::spawn(|| {
            let nudge = Nudge::start(0).unwrap();
            rustix::process::nice(19).unwrap();
            let hashing = nudge.hashing();
            let losses = losses();
            assert!(losses > 40, "{losses} times in 50 ms");
            drop(hashing);
            assert_eq!(*nudge.0.lock(), Doing::Nothing);
            let nudging = Arc::downgrade(&nudge.0);
            drop(nudge);
            while nudging.strong_count() > 0 {
                thread::yield_now(); // its thread ends
            }
        });
        story.join().unwrap();
    }
}
