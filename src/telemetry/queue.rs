//! Lines on their way to where they are written: bounded, and nobody waits for them.
//!
//! A request hands its line over and goes on. One thread writes; it alone stands still when a pipe
//! is not read or a terminal is stopped, and it outlives a disk that is full. What finds the
//! queue full is dropped and counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::dropped;

/// Bytes that wait at most, those that are being written included.
pub(super) const CAPACITY: usize = 8 * 1024 * 1024;

/// Above this, lines of the access log are dropped, so that the audit trail and errors keep a
/// quarter of the queue to themselves.
const EXPENDABLE: usize = CAPACITY / 4 * 3;

/// The writer gathers lines for so long: a busy service wakes it a hundred times a second, and not
/// once a request.
const GATHER: Duration = Duration::from_millis(10);

/// Bytes of one write; what is written makes room for new lines at once.
const CHUNK: usize = 64 * 1024;

/// The target of the line that tells of dropped ones, for which there is always room.
pub(super) const NOTE: &str = "vestibule::telemetry";

/// Lines that were dropped since the process began.
pub(super) static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How much of the queue is open to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// One of many: the access log, and what is there to find mistakes with.
    Expendable,
    Kept,
    /// The line that tells of dropped ones: the writer adds one at most after each batch.
    Note,
}

/// Where lines end up.
pub(super) trait Target: Send {
    /// Comes before each batch; `reopen` says that somebody has asked for it. Says whether what
    /// is written from now on goes elsewhere.
    fn prepare(&mut self, reopen: bool) -> bool;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Learns that so many lines were not written.
    fn failed(&mut self, error: &io::Error, lines: u64);
}

/// One queue with its writer.
pub(super) struct Queue {
    /// As in `log lines dropped`.
    name: &'static str,
    state: Mutex<State>,
    filled: Condvar,
    closed: Condvar,
}

struct State {
    lines: Vec<u8>,
    /// Bytes that the writer has taken and not written yet.
    in_flight: usize,
    /// Lines lost since the last note.
    lost: u64,
    /// The writer sleeps until it is woken.
    idle: bool,
    reopen: bool,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Closed,
}

impl Queue {
    /// A queue whose writer has begun.
    pub(super) fn open(name: &'static str, target: impl Target + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            name,
            state: Mutex::new(State {
                // The system gives memory when it is written to: a queue that stays short costs
                // little, and one that fills up never has to be copied under the lock.
                lines: Vec::with_capacity(CAPACITY),
                in_flight: 0,
                lost: 0,
                idle: false,
                reopen: false,
                phase: Phase::Open,
            }),
            filled: Condvar::new(),
            closed: Condvar::new(),
        });
        let writer = Writer {
            queue: Arc::clone(&queue),
            target,
            torn: false,
        };
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Takes one line, `prefix` and `line` together, or drops it; never waits for the target.
    pub(super) fn push(&self, worth: Worth, prefix: &[u8], line: &[u8]) {
        let mut state = self.lock();
        let held = state.lines.len() + state.in_flight + prefix.len() + line.len();
        let room = match worth {
            Worth::Expendable => held <= EXPENDABLE,
            Worth::Kept => held <= CAPACITY,
            Worth::Note => true,
        };
        if !room {
            state.lose(1);
            return;
        }
        state.lines.extend_from_slice(prefix);
        state.lines.extend_from_slice(line);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Has the target opened anew.
    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.filled.notify_one();
    }

    /// Waits until everything is written, for `timeout` at most. Later lines are not written.
    pub(super) fn close(&self, timeout: Duration) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        self.filled.notify_one();
        let _ = self
            .closed
            .wait_timeout_while(state, timeout, |state| state.phase != Phase::Closed);
    }

    /// Swaps `batch`, which is empty, for the lines that have come; says whether to reopen. `None`
    /// when there will be no more.
    fn take(&self, batch: &mut Vec<u8>) -> Option<bool> {
        let mut state = self.lock();
        while state.lines.is_empty() && !state.reopen && state.phase == Phase::Open {
            state.idle = true;
            state = wait(&self.filled, state);
        }
        state.idle = false;
        let gathered = self
            .filled
            .wait_timeout_while(state, GATHER, |state| state.phase == Phase::Open);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() && state.phase == Phase::Closing {
            state.phase = Phase::Closed;
            self.closed.notify_all();
            return None;
        }
        std::mem::swap(&mut state.lines, batch);
        state.in_flight = batch.len();
        Some(std::mem::take(&mut state.reopen))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        DROPPED.fetch_add(lines, Ordering::Relaxed);
    }
}

fn wait<'q>(condition: &Condvar, state: MutexGuard<'q, State>) -> MutexGuard<'q, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

/// The thread that writes.
struct Writer<T> {
    queue: Arc<Queue>,
    target: T,
    /// The last line that was written broke off.
    torn: bool,
}

impl<T: Target> Writer<T> {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(CAPACITY);
        while let Some(reopen) = self.queue.take(&mut batch) {
            if self.target.prepare(reopen) {
                self.torn = false;
            }
            if let Err((error, written)) = self.write(&batch) {
                let lost = batch[written..].split(|b| *b == b'\n').count() - 1;
                let lost = u64::try_from(lost).unwrap_or(u64::MAX);
                self.torn = match written {
                    0 => self.torn,
                    written => batch[written - 1] != b'\n',
                };
                self.target.failed(&error, lost);
                let mut state = self.queue.lock();
                state.lose(lost);
                state.in_flight = 0;
            } else if !batch.is_empty() {
                self.note();
            }
            batch.clear();
        }
    }

    /// Writes everything, or says how many bytes were.
    fn write(&mut self, batch: &[u8]) -> Result<(), (io::Error, usize)> {
        if self.torn && !batch.is_empty() {
            self.write_some(b"\n").map_err(|error| (error, 0))?;
            self.torn = false;
        }
        let mut written = 0;
        while written < batch.len() {
            let chunk = &batch[written..batch.len().min(written + CHUNK)];
            let count = self.write_some(chunk).map_err(|error| (error, written))?;
            written += count;
            self.queue.lock().in_flight = batch.len() - written;
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.target.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares a pipe or a terminal with us may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GATHER),
                done => return done,
            }
        }
    }

    /// Tells of lost lines, once the target takes lines again.
    fn note(&self) {
        let lost = std::mem::take(&mut self.queue.lock().lost);
        if lost > 0 {
            let total = dropped();
            tracing::warn!(
                target: NOTE, dropped = lost, total, log = self.queue.name, "log lines dropped"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes as many bytes as it is told to, one message a write, and waits in between.
    struct Slow {
        allowed: mpsc::Receiver<io::Result<usize>>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Target for Slow {
        fn prepare(&mut self, _: bool) -> bool {
            false
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let allowed = self.allowed.recv().unwrap_or(Ok(usize::MAX))?;
            let taken = &bytes[..bytes.len().min(allowed)];
            self.written.send(taken.to_vec()).unwrap();
            Ok(taken.len())
        }

        fn failed(&mut self, _: &io::Error, _: u64) {}
    }

    type Control = (mpsc::Sender<io::Result<usize>>, mpsc::Receiver<Vec<u8>>);

    fn slow() -> (Arc<Queue>, Control) {
        let (allow, allowed) = mpsc::channel();
        let (written, seen) = mpsc::channel();
        let queue = Queue::open("test", Slow { allowed, written }).unwrap();
        (queue, (allow, seen))
    }

    fn all(seen: &mpsc::Receiver<Vec<u8>>) -> String {
        String::from_utf8(seen.try_iter().flatten().collect()).unwrap()
    }

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn a_target_that_takes_nothing_costs_lines_and_no_time_and_access_lines_go_first() {
        let (queue, (allow, seen)) = slow();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..2 * CAPACITY / line.len() {
            queue.push(Worth::Expendable, b"", &line);
        }
        let held = |queue: &Queue| {
            let state = queue.lock();
            (state.lines.len() + state.in_flight, state.lost)
        };
        let all_lines = u64::try_from(2 * CAPACITY / line.len()).unwrap();
        let taken = u64::try_from(EXPENDABLE / line.len()).unwrap();
        assert_eq!(held(&queue), (EXPENDABLE, all_lines - taken));
        for _ in 0..CAPACITY / line.len() {
            queue.push(Worth::Kept, b"<4>", &line);
        }
        let (bytes, lost) = held(&queue);
        assert!(
            bytes > CAPACITY - 2 * line.len() && bytes <= CAPACITY,
            "{bytes}"
        );
        assert!(lost > all_lines - taken && dropped() >= lost);
        queue.push(Worth::Note, b"", b"note\n");
        assert_eq!(held(&queue), (bytes + 5, lost));
        drop(allow);
        queue.close(TIMEOUT);
        let text = all(&seen);
        assert_eq!(text.len(), bytes + 5);
        assert!(text.ends_with("\nnote\n"));
    }

    #[test]
    fn a_write_that_fails_loses_its_lines_and_the_next_one_starts_on_a_line_of_its_own() {
        let (queue, (allow, seen)) = slow();
        queue.push(Worth::Kept, b"", b"one\ntwo\nthree\n");
        allow.send(Ok(6)).unwrap();
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        while queue.lock().lost == 0 {
            thread::yield_now();
        }
        assert_eq!(queue.lock().lost, 2, "the half line counts");
        queue.push(Worth::Kept, b"<4>", b"four\n");
        drop(allow);
        queue.close(TIMEOUT);
        assert_eq!(all(&seen), "one\ntw\n<4>four\n");
    }

    #[test]
    fn closing_does_not_wait_for_ever() {
        let (queue, (allow, seen)) = slow();
        queue.push(Worth::Kept, b"", b"one\n");
        queue.close(Duration::from_millis(50));
        assert!(seen.try_recv().is_err(), "nothing was taken");
        drop(allow);
        queue.close(TIMEOUT);
        assert_eq!(all(&seen), "one\n");
    }
}
