//! What many sessions cost: `cargo bench --bench sessions`, with another number than a hundred
//! thousand as `cargo bench --bench sessions -- 1000000`.

#![expect(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures for people, from a program that stops where it cannot go on"
)]

use std::fs;
use std::path::Path;
use tokio::time::Instant;

use vestibule::benchmark::{Id, Store};

/// As in the program: the memory of a session depends on it.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Logins, and logouts, that come at once.
const AT_ONCE: usize = 1000;

/// Of the sessions that were used last, so many are surely in the cache.
const CACHED: usize = 40_000;

fn main() {
    // Cargo itself adds `--bench`.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let count = numbers.next_back().unwrap_or(100_000_usize);
    let count = count.next_multiple_of(AT_ONCE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        one_after_the_other(&folder.path().join("one.redb")).await;
        many(&folder.path().join("many.redb"), count).await;
    });
}

async fn one_after_the_other(path: &Path) {
    let store = Store::open(path);
    let started = Instant::now();
    for number in 0..200 {
        let ids = store.sign_in(number..number + 1).await;
        store.sign_out(&ids).await;
    }
    println!(
        "a login or logout by itself is durable in {:?}",
        started.elapsed() / 400
    );
}

async fn many(path: &Path, count: usize) {
    let store = Store::open(path);
    let started = Instant::now();
    let mut ids = Vec::with_capacity(count);
    for first in (0..count).step_by(AT_ONCE) {
        ids.extend(store.sign_in(first..first + AT_ONCE).await);
    }
    let per_second = per_second(count, started);
    println!("{count} sessions: {per_second:.0} logins/s made durable, {AT_ONCE} at once");
    store.close().await;
    drop(store);

    let length = fs::metadata(path).unwrap().len() as f64 / count as f64;
    let before = rss();
    let started = Instant::now();
    let store = Store::open(path);
    println!(
        "  started in {:?}, {length:.0} bytes of file each",
        started.elapsed()
    );
    use_and_end(&store, &ids, before).await;
}

async fn use_and_end(store: &Store, ids: &[Id], before: f64) {
    let sessions = store.sessions();
    let started = Instant::now();
    for id in ids {
        assert!(sessions.find(id).await);
    }
    let load = nanoseconds(ids.len(), started) / 1000.0;
    sessions.sweep().await;
    let each = (rss() - before) / ids.len() as f64;
    println!(
        "  loaded on demand in {load:.1} us each; after all of them were used {each:.0} bytes of \
         RSS each"
    );

    let cached = &ids[ids.len().saturating_sub(CACHED)..];
    let started = Instant::now();
    for id in cached {
        assert!(sessions.find(id).await);
    }
    let hit = nanoseconds(cached.len(), started);
    let one = &ids[ids.len() / 2];
    let started = Instant::now();
    for _ in 0..1_000_000 {
        assert!(sessions.find(one).await);
    }
    let again = nanoseconds(1_000_000, started);
    println!("  a hit takes {hit:.0} ns, {again:.0} ns for the next request of a connection");

    let tenth = &ids[..ids.len() / 10];
    let started = Instant::now();
    for chunk in tenth.chunks(AT_ONCE) {
        store.sign_out(chunk).await;
    }
    let per_second = per_second(tenth.len(), started);
    println!("  {per_second:.0} logouts/s made durable, {AT_ONCE} at once");
    let started = Instant::now();
    let ended = sessions.end_all().await;
    println!("  all {ended} revoked in {:?}", started.elapsed());
    assert!(!sessions.find(&ids[ids.len() - 1]).await);
}

fn per_second(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

fn nanoseconds(count: usize, started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// Memory that the process holds, in bytes.
fn rss() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    1024.0 * kib.unwrap().parse::<f64>().unwrap()
}
