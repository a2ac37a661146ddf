//! Load on one proxy, and what it costs it meanwhile.

pub(crate) mod ask;
mod transfer;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::ask::Question;
use crate::body::Bulk;
use crate::client::{Client, Connection, Template, Version};
use crate::machine::{Foreign, Moment};
use crate::process::{self, Cpu};
use crate::work::Load;

/// The path of the small response, and its length.
pub(crate) const SMALL: (&str, usize) = ("/bytes/1024", 1024);

const HANDSHAKING: usize = 4;
const STEADY_CONNECTIONS: usize = 64;

/// Longer than this, nothing of it may take beyond its own time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a load.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Requests, connections or bytes.
    pub(crate) count: f64,
    pub(crate) seconds: f64,
    /// CPU time of the proxy, in seconds.
    pub(crate) cpu: f64,
    pub(crate) p50: Option<u32>,
    pub(crate) p99: Option<u32>,
    /// Bytes, of a transfer only.
    pub(crate) peak: Option<u64>,
    pub(crate) written: Option<u64>,
    pub(crate) foreign: Foreign,
}

/// What the tasks of a load count.
#[derive(Default)]
struct Counters {
    done: Arc<AtomicU64>,
    /// Microseconds of each response.
    times: Mutex<Vec<u32>>,
    /// When requests were due that come at a fixed rate, and have no response.
    due: Mutex<BTreeSet<Instant>>,
}

impl Counters {
    fn answered(&self, since: Instant) {
        self.done.fetch_add(1, Ordering::Relaxed);
        locked(&self.times).push(microseconds(since));
    }

    fn taken_times(&self) -> Vec<u32> {
        std::mem::take(&mut locked(&self.times))
    }

    /// Without these, a proxy that cannot keep up would be judged by the few that it answers.
    fn times_without_response(&self) -> Vec<u32> {
        locked(&self.due)
            .iter()
            .copied()
            .map(microseconds)
            .collect()
    }
}

fn microseconds(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Tasks = JoinSet<io::Result<()>>;

/// Loads a proxy, whose process this is, for so long. The connections that last are opened before.
///
/// # Errors
/// A request failed, or nothing went on.
pub(crate) async fn run(
    load: Load,
    client: &Arc<Client>,
    process: u32,
    seconds: f64,
) -> io::Result<Outcome> {
    let length = Duration::from_secs_f64(seconds);
    let measured = async {
        let counters = Arc::new(Counters::default());
        let mut tasks = Tasks::new();
        match load {
            Load::Closed(version, connections, streams) => {
                closed(&mut tasks, &counters, client, version, connections, streams).await?;
            }
            Load::Questions(connections) => {
                questions(&mut tasks, &counters, client, connections).await?;
            }
            Load::Open(rate) => open(&mut tasks, &counters, client, rate).await?,
            Load::Handshakes { resumed } => {
                handshakes(&mut tasks, &counters, client, resumed).await?;
            }
            Load::Down(version, connections, size) => {
                transfer::down(
                    &mut tasks,
                    &counters.done,
                    client,
                    version,
                    connections,
                    size,
                )
                .await?;
            }
            Load::Up(version, connections, size) => {
                transfer::up(
                    &mut tasks,
                    &counters.done,
                    client,
                    version,
                    connections,
                    size,
                )
                .await?;
            }
        }
        let bulk = matches!(load, Load::Down(..) | Load::Up(..));
        observe(&mut tasks, &counters, process, length, bulk).await
    };
    let late = |_| io::Error::other("it takes too long");
    timeout(length * 2 + PATIENCE, measured)
        .await
        .map_err(late)?
}

/// Lets the tasks run for a moment, and then counts. Whatever they have not finished in the end is
/// cut: what is measured is a while of the same work all through.
async fn observe(
    tasks: &mut Tasks,
    counters: &Counters,
    process: u32,
    length: Duration,
    bulk: bool,
) -> io::Result<Outcome> {
    let outcome = watch(tasks, counters, process, length, bulk).await?;
    tasks.shutdown().await;
    Ok(outcome)
}

/// The same, and they go on.
async fn watch(
    tasks: &mut Tasks,
    counters: &Counters,
    process: u32,
    length: Duration,
    bulk: bool,
) -> io::Result<Outcome> {
    let window = async {
        sleep((length / 5).min(Duration::from_millis(500))).await;
        counters.taken_times();
        let (machine, written) = (Moment::now(), process::written(process));
        let (began, count, cpu) = (
            Instant::now(),
            counters.done.load(Ordering::Relaxed),
            Cpu::of(process),
        );
        let mut peak = memory_peak(process, length, bulk).await;
        // On a machine that is busy with something else, a short while may not be enough.
        while counters.done.load(Ordering::Relaxed) == count && began.elapsed() < PATIENCE {
            peak = peak.max(memory_peak(process, length, bulk).await);
        }
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), Cpu::of(process).since(cpu));
        let count = counters.done.load(Ordering::Relaxed) - count;
        let mut times = counters.taken_times();
        times.extend(counters.times_without_response());
        times.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = count as f64;
        Outcome {
            count,
            seconds,
            cpu,
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
            peak,
            written: bulk.then(|| process::written(process) - written),
            foreign: machine.until(&Moment::now()),
        }
    };
    let outcome = tokio::select! {
        outcome = window => outcome,
        Some(ended) = tasks.join_next() => {
            ended.map_err(io::Error::other)??;
            return Err(io::Error::other("a part of the load has ended early"));
        }
    };
    if outcome.count == 0.0 {
        return Err(io::Error::other("nothing was answered"));
    }
    Ok(outcome)
}

/// The most memory during this time, looked at now and then; only for transfers, because a look
/// keeps the proxy from its memory for a moment.
async fn memory_peak(process: u32, length: Duration, bulk: bool) -> Option<u64> {
    if !bulk {
        sleep(length).await;
        return None;
    }
    let (end, mut peak) = (Instant::now() + length, 0);
    while Instant::now() < end {
        sleep(Duration::from_millis(100).min(end - Instant::now())).await;
        peak = peak.max(process::memory(process));
    }
    Some(peak)
}

fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    sorted.get(sorted.len() * percent / 100).copied()
}

async fn closed(
    tasks: &mut Tasks,
    counters: &Arc<Counters>,
    client: &Client,
    version: Version,
    connections: usize,
    streams: usize,
) -> io::Result<()> {
    let template = client.request(version, Method::GET, SMALL.0);
    for _ in 0..connections {
        let connection = client.connect(version).await?;
        let others = (1..streams).filter_map(|_| connection.stream());
        let mut all: Vec<_> = others.collect();
        all.push(connection);
        for mut stream in all {
            let (template, counters) = (template.clone(), Arc::clone(counters));
            tasks.spawn(async move {
                loop {
                    let began = Instant::now();
                    small(&mut stream, &template).await?;
                    counters.answered(began);
                }
            });
        }
    }
    Ok(())
}

async fn questions(
    tasks: &mut Tasks,
    counters: &Arc<Counters>,
    client: &Client,
    connections: usize,
) -> io::Result<()> {
    let question = Question {
        template: client.question(SMALL.0),
        upload: 0,
        answer: 0,
    };
    let question = Arc::new(question);
    for _ in 0..connections {
        let mut connection = client.connect_to_ask().await?;
        let (question, counters) = (Arc::clone(&question), Arc::clone(counters));
        tasks.spawn(async move {
            loop {
                let began = Instant::now();
                ask::ask(&mut connection, &question).await?;
                counters.answered(began);
            }
        });
    }
    Ok(())
}

/// One request that has to be answered with the small response.
pub(crate) async fn small(connection: &mut Connection, template: &Template) -> io::Result<()> {
    let response = connection.send(template, Bulk::empty()).await?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?;
    let length = body.to_bytes().len();
    if status != StatusCode::OK || length != SMALL.1 {
        return Err(io::Error::other(format!(
            "answered {status} with {length} bytes"
        )));
    }
    Ok(())
}

/// Requests at a fixed rate. A response time runs from the moment at which its request was due, so
/// that a proxy which stalls is charged for every request that it kept waiting.
async fn open(
    tasks: &mut Tasks,
    counters: &Arc<Counters>,
    client: &Client,
    rate: u32,
) -> io::Result<()> {
    let (due, queue) = mpsc::unbounded_channel();
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let template = client.request(Version::Http1, Method::GET, SMALL.0);
    for _ in 0..STEADY_CONNECTIONS {
        let mut connection = client.connect(Version::Http1).await?;
        let (template, counters) = (template.clone(), Arc::clone(counters));
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            loop {
                let next = queue.lock().await.recv().await;
                let Some(began) = next else {
                    return Ok(());
                };
                small(&mut connection, &template).await?;
                locked(&counters.due).remove(&began);
                counters.answered(began);
            }
        });
    }
    let counters = Arc::clone(counters);
    // A thread, as the timers of tokio are no finer than a millisecond. It ends with the queue.
    std::thread::spawn(move || {
        let began = Instant::now();
        for number in 1.. {
            let next = began + Duration::from_secs(1) * number / rate;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            locked(&counters.due).insert(next);
            if due.send(next).is_err() {
                return;
            }
        }
    });
    Ok(())
}

async fn handshakes(
    tasks: &mut Tasks,
    counters: &Arc<Counters>,
    client: &Arc<Client>,
    resumed: bool,
) -> io::Result<()> {
    let template = client.request(Version::Http1, Method::GET, SMALL.0);
    for _ in 0..HANDSHAKING {
        let (template, counters, client) =
            (template.clone(), Arc::clone(counters), Arc::clone(client));
        let tickets = resumed.then(|| client.tickets());
        if let Some(tickets) = &tickets {
            small(&mut client.resume(tickets).await?, &template).await?;
        }
        tasks.spawn(async move {
            loop {
                let began = Instant::now();
                let mut connection = match &tickets {
                    Some(tickets) => client.resume(tickets).await?,
                    None => client.connect(Version::Http1).await?,
                };
                small(&mut connection, &template).await?;
                if connection.resumed != resumed {
                    return Err(io::Error::other("the session of TLS was not resumed"));
                }
                counters.answered(began);
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<_> = (1..=200).collect();
        assert_eq!(percentile(&times, 50), Some(101));
        assert_eq!(percentile(&times, 99), Some(199));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
