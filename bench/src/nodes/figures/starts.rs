//! Sessions that begin, and what they take in the memory of Redis.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;

use tokio::time::Instant;
use vestibule::benchmark::Store;

use super::Figure;
use crate::nodes::fleet::Fleet;
use crate::nodes::node::Node;
use crate::nodes::redis::Redis;

/// Begun at once by one node.
const AT_ONCE: usize = 256;

const RATE_BAR: f64 = 5000.0;
const MEMORY_BAR: f64 = 500.0;

/// Three nodes that begin sessions as logins do, within `max_sessions` and `max_per_user`, each on a thread of
/// its own: no password is hashed.
pub(super) async fn measure(fleet: &mut Fleet, sessions: usize) -> io::Result<Vec<Figure>> {
    // They would end the sessions of users that are not in their file.
    for node in &mut fleet.nodes {
        node.stop().await?;
    }
    let master = fleet.master();
    let master = master.ok_or_else(|| io::Error::other("the sentinels know no master"))?;
    let server = &fleet.servers[master];
    let (before, commands) = (memory(server)?, commands(server));
    let processor = processor(server)?;
    let configurations: Vec<_> = fleet.nodes.iter().map(Node::config).collect();
    let each = sessions / configurations.len();
    let took = tokio::task::spawn_blocking(move || begin(configurations, each));
    let took = took.await.map_err(io::Error::other)??;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (begun, bytes) = (
        (each * fleet.nodes.len()) as f64,
        memory(server)?.saturating_sub(before) as f64,
    );
    let (rate, memory) = (begun / took, bytes / begun);
    let of_redis = (self::processor(server)? - processor) / begun * 1e6;
    let profile = profile(&commands, &self::commands(server), begun);
    Ok(vec![
        Figure {
            what: format!("sessions begun in a second by three nodes, {begun} in all"),
            bar: ">= 5,000",
            measured: format!("{rate:.0}"),
            reached: Some(rate >= RATE_BAR),
        },
        Figure {
            what: "CPU time of Redis for one of them".to_owned(),
            bar: "",
            measured: format!("{of_redis:.0} µs; {profile}"),
            reached: None,
        },
        Figure {
            what: format!("memory in Redis for one of {begun} sessions"),
            bar: "<= 500 bytes",
            measured: format!("{memory:.0} bytes"),
            reached: Some(memory <= MEMORY_BAR),
        },
    ])
}

/// Gives the seconds from the first to the last.
fn begin(configurations: Vec<PathBuf>, each: usize) -> io::Result<f64> {
    let ready = Arc::new(Barrier::new(configurations.len() + 1));
    let nodes = configurations.into_iter().enumerate().map(|(node, path)| {
        let ready = Arc::clone(&ready);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let store = Store::of_configuration(&path);
                store.until_reachable().await;
                let sessions = store.sessions();
                ready.wait();
                for from in (0..each).step_by(AT_ONCE) {
                    let to = each.min(from + AT_ONCE);
                    sessions.start(node * each + from..node * each + to).await;
                }
                io::Result::Ok(())
            })
        })
    });
    let nodes: Vec<_> = nodes.collect();
    ready.wait();
    let began = Instant::now();
    for node in nodes {
        let ended = node.join();
        ended.map_err(|_| io::Error::other("sessions cannot be begun"))??;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds that its threads have run.
fn processor(server: &Redis) -> io::Result<f64> {
    let info = server.ask(&["INFO", "cpu"]);
    let of = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|value| value.strip_prefix(':')?.trim().parse::<f64>().ok())
    };
    let times = of("used_cpu_user").zip(of("used_cpu_sys"));
    let (user, system) = times.ok_or_else(|| io::Error::other("Redis tells no CPU time"))?;
    Ok(user + system)
}

/// How often each command was done, those in scripts included, and how many microseconds it took in all.
fn commands(server: &Redis) -> BTreeMap<String, (f64, f64)> {
    let info = server.ask(&["INFO", "commandstats"]);
    let commands = info.lines().filter_map(|line| {
        let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let field = |name: &str| {
            let mut fields = fields.split(',');
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        Some((name.to_owned(), (field("calls")?, field("usec")?)))
    });
    commands.collect()
}

/// Those that took the most time: how many there were for one session, and how long they took for it. The
/// time of a script is that of its commands, too.
fn profile(
    before: &BTreeMap<String, (f64, f64)>,
    after: &BTreeMap<String, (f64, f64)>,
    sessions: f64,
) -> String {
    let mut each: Vec<_> = after
        .iter()
        .map(|(name, (calls, time))| {
            let (calls_before, time_before) = before.get(name).copied().unwrap_or_default();
            (
                name,
                (calls - calls_before) / sessions,
                (time - time_before) / sessions,
            )
        })
        .collect();
    each.sort_by(|one, other| other.2.total_cmp(&one.2));
    let each = each.iter().take(8);
    let each = each.map(|(name, calls, time)| format!("{calls:.1} {name} {time:.1} µs"));
    each.collect::<Vec<_>>().join(", ")
}

/// Of what is kept, without what connections take for a while.
fn memory(server: &Redis) -> io::Result<u64> {
    let info = server.ask(&["INFO", "memory"]);
    let of = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|value| value.strip_prefix(':')?.trim().parse::<u64>().ok())
    };
    let all = of("used_memory").ok_or_else(|| io::Error::other("Redis tells no memory"))?;
    let passing = ["mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer"];
    let passing: u64 = passing.into_iter().filter_map(of).sum();
    Ok(all.saturating_sub(passing))
}
