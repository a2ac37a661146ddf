//! A few threads of low priority that hash, behind a short queue (SEC-60).
//!
//! Hashing is meant to be slow. On the threads that carry requests a login flood would stop
//! everybody; on as many threads as there are cores it would still take the cores from them.

mod queue;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use tokio::sync::oneshot;

use super::VerifyError;
use super::password::Hasher;
use super::timing::Hold;
pub(crate) use queue::Waiter;
use queue::{Next, Queue};

/// Logins that wait for a thread; at 50 ms each the last one waits some three seconds.
const QUEUE: usize = 64;

/// The threads give way to everything of usual priority; of a core that others want all the time
/// they get a seventieth. They are not bound to a core: one that is idle takes them over.
const NICE: i32 = 19;

/// How long a thread keeps the memory of its last hash: for the next of a queue. The first hash
/// after that pays for new pages, which is little beside the hash itself.
const KEEP_MEMORY: Duration = Duration::from_millis(100);

/// From then until mimalloc can be asked to give it back: somewhat more than the tenth of a second
/// that it keeps what is freed.
const RETURN_MEMORY: Duration = Duration::from_millis(130);

type Job = Box<dyn FnOnce(&mut Hasher) -> Rest + Send>;

/// What a job came to.
pub(super) struct Done<T> {
    pub(super) answer: T,
    /// Until its end the thread takes no other job.
    pub(super) hold: Option<Hold>,
    /// Whether the answer waits as long.
    pub(super) held_back: bool,
}

impl<T> Done<T> {
    pub(super) fn at_once(answer: T) -> Self {
        Self {
            answer,
            hold: None,
            held_back: false,
        }
    }
}

/// What a thread still has to do after a job: hold, then answer, unless it has.
#[derive(Default)]
struct Rest {
    hold: Option<Hold>,
    answer: Option<Box<dyn FnOnce() + Send>>,
}

/// A thread holds 19 MiB for argon2 until nobody has signed in for [`KEEP_MEMORY`], and takes up to
/// 256 MiB while it verifies a hash that costs as much (REL-06). The threads end when the pool is
/// dropped.
pub(super) struct Pool {
    queue: Arc<Queue<Job>>,
}

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        Self::with(threads(), QUEUE)
    }

    fn with(threads: usize, queue: usize) -> io::Result<Self> {
        let pool = Self {
            queue: Arc::new(Queue::new(queue)),
        };
        for _ in 0..threads {
            let queue = Arc::clone(&pool.queue);
            thread::Builder::new()
                .name("vestibule-hash".to_owned())
                .spawn(move || work(&queue))?;
        }
        Ok(pool)
    }

    /// How many logins wait for a thread, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        self.queue.waiting()
    }

    /// Runs `job` when it is the turn of its network, or of its user. Nobody waits for the answer
    /// any more: it is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        waiter: Waiter,
        job: impl FnOnce(&mut Hasher) -> Done<T> + Send + 'static,
    ) -> Result<T, VerifyError> {
        let (sender, receiver) = oneshot::channel();
        let place = self.queue.place(&waiter).ok_or(VerifyError::Busy)?;
        let job: Job = Box::new(move |hasher| {
            drop(place);
            if sender.is_closed() {
                return Rest::default();
            }
            let done = job(hasher);
            let hold = done.hold;
            // The visitor may have left while we hashed.
            let answer = move || drop(sender.send(done.answer));
            if done.held_back {
                let answer: Box<dyn FnOnce() + Send> = Box::new(answer);
                return Rest {
                    hold,
                    answer: Some(answer),
                };
            }
            answer();
            Rest { hold, answer: None }
        });
        self.queue.push(waiter, job);
        receiver.await.map_err(|_| VerifyError::Gone)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Half of the cores, so that the other half answers requests.
pub(super) fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

fn work(jobs: &Queue<Job>) {
    // On Linux this lowers the calling thread only.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(target: "vestibule", %error, "hashing threads keep their priority");
    }
    let mut hasher = Hasher::default();
    let mut patience = None;
    loop {
        let job = match jobs.next(patience) {
            Next::Do(job) => job,
            Next::Rest if hasher.has_memory() => {
                hasher = Hasher::default();
                patience = Some(RETURN_MEMORY);
                continue;
            }
            Next::Rest => {
                Hasher::return_memory();
                patience = None;
                continue;
            }
            Next::Stop => return,
        };
        patience = Some(KEEP_MEMORY);
        // One login that panics fails alone (REL-11).
        let done = panic::catch_unwind(AssertUnwindSafe(|| job(&mut hasher)));
        let Ok(rest) = done else {
            hasher = Hasher::default();
            continue;
        };
        if let Some(hold) = rest.hold {
            hold.compute();
            thread::sleep(hold.rest());
        }
        if let Some(answer) = rest.answer {
            answer();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::timing::Work;
    use super::*;
    use crate::clock::Clock;
    use crate::network::Network;

    fn network(address: &str) -> Waiter {
        Network::of(address.parse().unwrap()).into()
    }

    fn own() -> Waiter {
        network("192.0.2.1")
    }

    /// Occupies the only thread of `pool` until the sender is dropped.
    async fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (started, has_started) = oneshot::channel();
        let (release, wait) = mpsc::channel::<()>();
        let pool = Arc::clone(pool);
        let task = tokio::spawn(async move {
            let job = move |_: &mut Hasher| {
                let _ = started.send(());
                let _ = wait.recv();
                Done::at_once(())
            };
            pool.run(network("198.51.100.1"), job).await.unwrap();
        });
        has_started.await.unwrap();
        (release, task)
    }

    #[tokio::test]
    async fn sec_60_above_the_queue_limit_a_login_is_refused_at_once() {
        let pool = Arc::new(Pool::with(1, 4).unwrap());
        let (release, running) = occupy(&pool).await;
        let waiting: Vec<_> = (0..2)
            .map(|n| {
                let mut waiting = Box::pin({
                    let pool = Arc::clone(&pool);
                    async move { pool.run(own(), move |_| Done::at_once(n)).await }
                });
                let polled = futures_util::FutureExt::now_or_never(&mut waiting);
                assert!(polled.is_none(), "queued");
                waiting
            })
            .collect();
        assert_eq!(
            pool.run(own(), |_| Done::at_once(())).await,
            Err(VerifyError::Busy)
        );
        assert_eq!(pool.waiting(), (2, 4), "half of it for one network");
        drop(release);
        for (n, answer) in waiting.into_iter().enumerate() {
            assert_eq!(answer.await, Ok(n));
        }
        running.await.unwrap();
        assert_eq!(
            pool.run(own(), |_| Done::at_once(7)).await,
            Ok(7),
            "free again"
        );
        assert_eq!(pool.waiting(), (0, 4));
    }

    #[tokio::test]
    async fn a_login_that_was_given_up_is_not_hashed() {
        let pool = Arc::new(Pool::with(1, 4).unwrap());
        let (release, running) = occupy(&pool).await;
        let (ran, has_run) = mpsc::channel();
        let mut given_up = Box::pin(pool.run(own(), move |_| Done::at_once(ran.send(()))));
        assert!(futures_util::FutureExt::now_or_never(&mut given_up).is_none());
        drop(given_up);
        drop(release);
        running.await.unwrap();
        assert_eq!(pool.run(own(), |_| Done::at_once(())).await, Ok(()));
        assert!(has_run.try_recv().is_err());
    }

    #[tokio::test]
    async fn rel_11_a_panic_fails_one_login_and_not_the_pool() {
        let pool = Pool::with(1, 4).unwrap();
        let panicked = pool.run(own(), |_| -> Done<()> { panic!("as the test wants it") });
        assert_eq!(panicked.await, Err(VerifyError::Gone));
        assert_eq!(pool.run(own(), |_| Done::at_once(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn sec_60_hashing_gives_way_to_requests() {
        let pool = Pool::with(1, 4).unwrap();
        let usual = rustix::process::getpriority_process(None).unwrap();
        let of_pool = pool
            .run(own(), |_| {
                Done::at_once(rustix::process::getpriority_process(None))
            })
            .await;
        assert_eq!(of_pool.unwrap().unwrap(), (usual + NICE).min(19));
    }

    #[tokio::test]
    async fn sec_56_a_thread_rests_before_the_next_login_whatever_the_first_came_to() {
        const REST: Duration = Duration::from_millis(100);
        let pool = Arc::new(Pool::with(1, 4).unwrap());
        for held_back in [false, true] {
            let begin = Clock::stopwatch();
            let first = pool.run(own(), move |_| Done {
                answer: (),
                hold: Some(Work::begin().up_to(REST)),
                held_back,
            });
            let next = pool.run(network("192.0.2.2"), |_| Done::at_once(Clock::stopwatch()));
            let (first, next) = tokio::join!(first, next);
            first.unwrap();
            assert!(next.unwrap().duration_since(begin) >= REST, "{held_back}");
        }
    }
}
