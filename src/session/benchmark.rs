//! What a million sessions cost. Not a test: run it by
//! `cargo test --release --lib -- --ignored --nocapture --test-threads 1 benchmark`.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::data::AppData;
use super::record::{HostId, Record};
use super::{Backend, ConnectionCache, SessionId, SessionStore, Sessions, Settings, Shown, open};
use crate::clock::{Clock, Timestamp};
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, Method};
use crate::request::Host;

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HOST: &str = "wiki.example.org";

fn record(number: usize, now: Timestamp) -> (SessionId, Arc<Record>) {
    let id = SessionId::generate().unwrap();
    let record = Record {
        key: id.key(),
        ids: vec![HostId {
            key: id.key(),
            host: Host::parse(HOST).unwrap(),
        }],
        is_old: false,
        account: AccountRef::of_users_file(&format!("user{:06}", number / 3)),
        groups: vec!["staff".to_owned(), "wiki".to_owned()],
        email: Some(format!("user{:06}@example.org", number / 3)),
        context: Arc::new(AuthContext::new(Method::Password.into(), now)),
        fingerprint: CredentialFingerprint::of("hash"),
        created: now,
        last_accessed: now,
        expires: now.plus(Duration::from_hours(12)),
        remembered: false,
        client: IpAddr::from([192, 0, 2, 1]),
        user_agent: AGENT.to_owned(),
        data: AppData::default(),
        revision: 0,
    };
    (id, Arc::new(record))
}

/// Memory that the process holds, in bytes.
fn rss() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    1024.0 * kib.unwrap().parse::<f64>().unwrap()
}

fn sessions(store: Arc<dyn SessionStore>, clock: &Clock) -> Sessions {
    let settings = Settings {
        backend: Backend::Memory,
        idle_timeout: Duration::from_hours(1),
        lifetime: Duration::from_hours(12),
        remember_for: Duration::ZERO,
        max_per_user: 20,
        max_sessions: 2_000_000,
    };
    Sessions::new(settings, store, clock.clone())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn measure(backend: &Backend, count: usize) {
    let clock = Clock::system();
    let store = open(backend).unwrap();
    let started = Clock::stopwatch();
    let mut ids = Vec::with_capacity(count);
    for chunk in 0..count / 1000 {
        let mut waiting = Vec::with_capacity(1000);
        for number in 0..1000 {
            let (id, record) = record(chunk * 1000 + number, clock.now());
            ids.push(id);
            waiting.push(store.insert(record));
        }
        for inserted in waiting {
            inserted.await.unwrap();
        }
    }
    let per_second = count as f64 / started.elapsed().as_secs_f64();
    println!("{backend:?}, {count} sessions: {per_second:.0} logins/s made durable, 1000 at once");
    store.close().await.unwrap();
    if let Backend::Disk(path) = backend {
        drop(store);
        let length = fs::metadata(path).unwrap().len() as f64 / count as f64;
        let before = rss();
        let started = Clock::stopwatch();
        let store = open(backend).unwrap();
        println!(
            "  started in {:?}, {length:.0} bytes of file each",
            started.elapsed()
        );
        report(store, &ids, before, &clock).await;
    } else {
        report(store, &ids, f64::NAN, &clock).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn report(store: Arc<dyn SessionStore>, ids: &[SessionId], before: f64, clock: &Clock) {
    let count = ids.len() as f64;
    let sessions = sessions(Arc::clone(&store), clock);
    let (cache, app) = (ConnectionCache::default(), Arc::from("wiki"));
    let shown = |id| Shown {
        id,
        by_old_name: false,
        host: HOST,
        app: &app,
    };
    let started = Clock::stopwatch();
    for id in ids {
        assert!(sessions.find(&shown(id), &cache).await.unwrap().is_some());
    }
    let load = started.elapsed().as_secs_f64() / count * 1e6;
    sessions.sweep(|_| true).await;
    println!(
        "  loaded on demand in {load:.1} us each; after all of them were used {:.0} bytes of RSS each",
        (rss() - before) / count
    );
    let cached = &ids[ids.len() - 40_000..];
    let started = Clock::stopwatch();
    for id in cached {
        assert!(sessions.find(&shown(id), &cache).await.unwrap().is_some());
    }
    let hit = started.elapsed().as_secs_f64() / cached.len() as f64 * 1e9;
    let one = &ids[ids.len() / 2];
    let started = Clock::stopwatch();
    for _ in 0..1_000_000 {
        assert!(sessions.find(&shown(one), &cache).await.unwrap().is_some());
    }
    let again = started.elapsed().as_secs_f64() * 1e9 / 1e6;
    println!("  a hit takes {hit:.0} ns, {again:.0} ns for the next request of a connection");
    let started = Clock::stopwatch();
    let tenth = &ids[..ids.len() / 10];
    for chunk in tenth.chunks(1000) {
        let ends: Vec<_> = chunk
            .iter()
            .map(|id| store.remove(vec![id.key()]))
            .collect();
        for end in ends {
            assert_eq!(end.await.unwrap(), 1);
        }
    }
    let per_second = tenth.len() as f64 / started.elapsed().as_secs_f64();
    println!("  {per_second:.0} logouts/s made durable, 1000 at once");
    let started = Clock::stopwatch();
    let ended = sessions.end_all().await.unwrap();
    println!("  all {ended} revoked in {:?}", started.elapsed());
    let last = ids.last().unwrap();
    assert!(sessions.find(&shown(last), &cache).await.unwrap().is_none());
}

async fn one_after_the_other(path: &Path) {
    let store = open(&Backend::Disk(path.to_owned())).unwrap();
    let now = Clock::system().now();
    let started = Clock::stopwatch();
    for number in 0..200 {
        let (_, record) = record(number, now);
        let key = record.key;
        store.insert(record).await.unwrap();
        store.remove(vec![key]).await.unwrap();
    }
    println!(
        "a login or logout by itself is durable in {:?}",
        started.elapsed() / 400
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a benchmark"]
async fn benchmark_of_a_hundred_thousand_sessions() {
    let folder = tempfile::tempdir().unwrap();
    one_after_the_other(&folder.path().join("one.redb")).await;
    let backend = Backend::Disk(folder.path().join("sessions.redb"));
    measure(&backend, 100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a benchmark"]
async fn benchmark_of_a_million_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::Disk(folder.path().join("sessions.redb"));
    measure(&backend, 1_000_000).await;
}
