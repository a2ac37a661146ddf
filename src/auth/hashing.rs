//! A few threads of low priority that hash, behind a short queue (SEC-60).
//!
//! Hashing is meant to be slow. On the threads that carry requests a login flood would stop
//! everybody; on as many threads as there are cores it would still take the cores from them.

mod nudge;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use tokio::sync::oneshot;

use super::VerifyError;
use super::password::Hasher;
use nudge::Nudge;

/// Logins that wait for a thread; at 50 ms each the last one waits some three seconds.
const QUEUE: usize = 64;

/// The threads give way to everything of usual priority; of a core that others want all the time
/// they get a seventieth.
const NICE: i32 = 19;

type Job = Box<dyn FnOnce(&mut Hasher) + Send>;

/// Each thread keeps 19 MiB for argon2, and takes up to 256 MiB while it verifies a hash that
/// costs as much (REL-06). The threads end when the pool is dropped.
pub(super) struct Pool {
    queue: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
}

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        Self::with(threads(), QUEUE)
    }

    fn with(threads: usize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name("vestibule-hash".to_owned())
                .spawn(move || work(&receiver))?;
        }
        Ok(Self {
            queue: sender,
            waiting: Arc::default(),
            max_waiting: queue,
        })
    }

    /// How many logins wait for a thread, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), self.max_waiting)
    }

    /// Runs `job` when its turn comes. Nobody waits for the answer any more: it is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Hasher) -> T + Send + 'static,
    ) -> Result<T, VerifyError> {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting::begin(&self.waiting);
        let job: Job = Box::new(move |hasher| {
            drop(waiting);
            if !sender.is_closed() {
                // The visitor may have left while we hashed.
                let _ = sender.send(job(hasher));
            }
        });
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => VerifyError::Busy,
            TrySendError::Disconnected(_) => VerifyError::Gone,
        })?;
        receiver.await.map_err(|_| VerifyError::Gone)
    }
}

/// Half of the cores, so that the other half answers requests.
pub(super) fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// Counts one that waits, until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn begin(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // On Linux this lowers the calling thread only.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(target: "vestibule", %error, "hashing threads keep their priority");
    }
    let nudge = Nudge::start()
        .inspect_err(|error| tracing::debug!(target: "vestibule", %error, "hashing gives way late"))
        .ok();
    let mut hasher = Hasher::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let _hashing = nudge.as_ref().map(Nudge::hashing);
        // One login that panics fails alone (REL-11).
        if panic::catch_unwind(AssertUnwindSafe(|| job(&mut hasher))).is_err() {
            hasher = Hasher::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Occupies the only thread of `pool` until the sender is dropped.
    async fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (started, has_started) = oneshot::channel();
        let (release, wait) = mpsc::channel::<()>();
        let pool = Arc::clone(pool);
        let task = tokio::spawn(async move {
            let job = move |_: &mut Hasher| {
                let _ = started.send(());
                let _ = wait.recv();
            };
            pool.run(job).await.unwrap();
        });
        has_started.await.unwrap();
        (release, task)
    }

    #[tokio::test]
    async fn sec_60_above_the_queue_limit_a_login_is_refused_at_once() {
        let pool = Arc::new(Pool::with(1, 2).unwrap());
        let (release, running) = occupy(&pool).await;
        let waiting: Vec<_> = (0..2)
            .map(|n| {
                let mut waiting = Box::pin({
                    let pool = Arc::clone(&pool);
                    async move { pool.run(move |_| n).await }
                });
                let polled = futures_util::FutureExt::now_or_never(&mut waiting);
                assert!(polled.is_none(), "queued");
                waiting
            })
            .collect();
        assert_eq!(pool.run(|_| ()).await, Err(VerifyError::Busy));
        assert_eq!(pool.waiting(), (2, 2));
        drop(release);
        for (n, answer) in waiting.into_iter().enumerate() {
            assert_eq!(answer.await, Ok(n));
        }
        running.await.unwrap();
        assert_eq!(pool.run(|_| 7).await, Ok(7), "free again");
        assert_eq!(pool.waiting(), (0, 2));
    }

    #[tokio::test]
    async fn a_login_that_was_given_up_is_not_hashed() {
        let pool = Arc::new(Pool::with(1, 2).unwrap());
        let (release, running) = occupy(&pool).await;
        let (ran, has_run) = mpsc::channel();
        let mut given_up = Box::pin(pool.run(move |_| ran.send(())));
        assert!(futures_util::FutureExt::now_or_never(&mut given_up).is_none());
        drop(given_up);
        drop(release);
        running.await.unwrap();
        assert_eq!(pool.run(|_| ()).await, Ok(()));
        assert!(has_run.try_recv().is_err());
    }

    #[tokio::test]
    async fn rel_11_a_panic_fails_one_login_and_not_the_pool() {
        let pool = Pool::with(1, 2).unwrap();
        let panicked = pool.run(|_| panic!("as the test wants it")).await;
        assert_eq!(panicked, Err::<(), _>(VerifyError::Gone));
        assert_eq!(pool.run(|_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn sec_60_hashing_gives_way_to_requests() {
        let pool = Pool::with(1, 2).unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        let of_pool = pool
            .run(|_| rustix::process::getpriority_process(None))
            .await;
        assert_eq!(of_pool.unwrap().unwrap(), (own + NICE).min(19));
    }
}
