//! Threads that answer the auth requests of proxies, each with a runtime of its own.
//!
//! An auth request is answered from memory, within microseconds. Threads that share their work would wake
//! each other at every event to help with it, which costs more than the answer: so a connection stays
//! on the thread that it was given to.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

pub(super) struct AuthThreads {
    threads: Vec<AuthThread>,
    next: AtomicUsize,
}

struct AuthThread {
    runtime: Handle,
    /// The thread ends with it, and so does whatever it runs.
    _end: oneshot::Sender<Infallible>,
}

impl AuthThreads {
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count).map(|_| AuthThread::start());
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Where the next connection goes: to each thread in turn. `None` without threads.
    pub(super) fn next(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(self.threads.len())?;
        Some(&self.threads[place].runtime)
    }

    pub(super) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.threads.iter().map(|thread| &thread.runtime)
    }
}

impl AuthThread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let run = move || {
            let _dropped = runtime.block_on(ended);
            runtime.shutdown_background();
        };
        thread::Builder::new()
            .name("forward-auth".to_owned())
            .spawn(run)?;
        Ok(Self {
            runtime: handle,
            _end: end,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn connections_go_to_each_thread_in_turn_and_end_with_the_threads() {
        let threads = AuthThreads::start(2).unwrap();
        let (told, heard) = mpsc::channel();
        let at = |place: usize| threads.threads[place].runtime.id();
        for place in [0, 1, 0] {
            let runtime = threads.next().unwrap();
            assert_eq!(runtime.id(), at(place));
            let told = told.clone();
            runtime.spawn(async move {
                told.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(told);
            });
        }
        drop(told);
        for _ in 0..3 {
            heard.recv_timeout(TIMEOUT).unwrap();
        }
        drop(threads);
        let end = heard.recv_timeout(TIMEOUT);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn rel_11_a_panic_ends_what_panics_and_not_its_thread() {
        let threads = AuthThreads::start(1).unwrap();
        let runtime = threads.next().unwrap();
        let (told, heard) = mpsc::channel();
        runtime.spawn(async { panic!("of a test") });
        runtime.spawn(async move { told.send(()).unwrap() });
        heard.recv_timeout(TIMEOUT).unwrap();
    }

    #[test]
    fn without_listeners_there_are_no_threads() {
        assert!(AuthThreads::start(0).unwrap().next().is_none());
    }
}
