//! Masters and nodes are killed while visitors come and go.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::{Crowd, Tally};
use super::{Figure, ms, shown};
use crate::nodes::fleet::{Fleet, NAMES};
use crate::nodes::until;

const WRITABLE_BAR: Duration = Duration::from_secs(1);

/// Logins before, between and after what is killed.
const MEANWHILE: usize = 10;

/// How long something took, once for each master that was killed.
#[derive(Default)]
struct Times {
    named: Vec<Duration>,
    /// From then until that one takes a write: its replicas have to have found it before.
    takes_writes: Vec<Duration>,
    /// From its name to the first login on the node that took longest.
    writable: Vec<Duration>,
}

pub(super) async fn failovers(fleet: &mut Fleet, count: usize) -> io::Result<Vec<Figure>> {
    let crowd = Crowd::start(fleet)?;
    let mut times = Times::default();
    crowd.go_on(MEANWHILE).await;
    for _ in 0..count {
        kill(fleet, &crowd, &mut times, None).await?;
        crowd.go_on(MEANWHILE).await;
    }
    all_ready(fleet).await?;
    let tally = crowd.judge().await?;
    Ok(figures(
        format!("{count} masters killed, all nodes alive"),
        &tally,
        times,
    ))
}

/// In turn a node, a master, and both at once.
pub(super) async fn kills(fleet: &mut Fleet, count: usize) -> io::Result<Vec<Figure>> {
    let crowd = Crowd::start(fleet)?;
    let mut times = Times::default();
    crowd.go_on(MEANWHILE).await;
    let mut killed = 0;
    while killed < count {
        let node = (killed / 4) % fleet.nodes.len();
        match killed % 4 {
            0 => {
                kill_node(fleet, &crowd, node)?;
                crowd.go_on(MEANWHILE).await;
                revive(fleet, &crowd, node).await?;
            }
            1 => kill(fleet, &crowd, &mut times, None).await?,
            _ => {
                kill(fleet, &crowd, &mut times, Some(node)).await?;
                killed += 1; // two at once
            }
        }
        killed += 1;
        crowd.go_on(MEANWHILE).await;
    }
    all_ready(fleet).await?;
    let tally = crowd.judge().await?;
    Ok(figures(
        format!("{killed} nodes and masters killed, in turn and at once"),
        &tally,
        times,
    ))
}

fn figures(what: String, tally: &Tally, mut times: Times) -> Vec<Figure> {
    times.named.sort_unstable();
    times.takes_writes.sort_unstable();
    times.writable.sort_unstable();
    let longest = times.writable.last().copied().unwrap_or_default();
    vec![
        Figure {
            what,
            bar: "each session as it was answered",
            measured: tally.to_string(),
            reached: Some(tally.is_right()),
        },
        Figure {
            what: "from the end of a master until the sentinels name another".to_owned(),
            bar: "",
            measured: shown(&times.named),
            reached: None,
        },
        Figure {
            what: "from then until that one takes writes (`min-replicas-to-write 1`)".to_owned(),
            bar: "",
            measured: shown(&times.takes_writes),
            reached: None,
        },
        Figure {
            what: "from its name to the first login on every node".to_owned(),
            bar: "<= 1 s",
            measured: shown(&times.writable),
            reached: Some(longest <= WRITABLE_BAR),
        },
    ]
}

/// The master, and a node in the same moment; waits until another master serves all nodes, and the old one
/// is back.
async fn kill(
    fleet: &mut Fleet,
    crowd: &Crowd,
    times: &mut Times,
    node: Option<usize>,
) -> io::Result<()> {
    // One fault at a time: the last one is over by then.
    let old = fleet.until_whole().await?;
    let elections = fleet.elections();
    fleet.servers[old].kill();
    if let Some(node) = node {
        kill_node(fleet, crowd, node)?;
    }
    let asked = async || (fleet.master()? != old).then_some(());
    let ((), named) = until("the sentinels to name another master", asked).await?;
    let began = Instant::now();
    let written = async || {
        let master = &fleet.servers[fleet.master()?];
        (master.try_ask(&["SET", "vestibule-bench", ""])? == "OK\n").then_some(())
    };
    let ((), takes_writes) = until("the new master to take a write", written).await?;
    let alive = (0..fleet.nodes.len()).filter(|&other| Some(other) != node);
    let mut writable = Duration::ZERO;
    let mut refusal = String::new();
    for node in alive {
        let write = async || match fleet.sign_in(node, "erin").await {
            Ok(_) => Some(()),
            Err(error) => {
                refusal = format!(" (the last answer of {} before: {error})", NAMES[node]);
                None
            }
        };
        until("a login", write).await?;
        writable = began.elapsed();
    }
    // A machine that is too busy to answer the sentinels has them name more than one.
    let more = match (elections, fleet.elections()) {
        (Some(before), Some(after)) if after > before + 1 => {
            format!(" ({} elections by then)", after - before)
        }
        _ => String::new(),
    };
    eprintln!(
        "a master was killed: another was named after {}, took writes {} later, and had a login on every \
         node {} later{more}{refusal}",
        ms(named),
        ms(takes_writes),
        ms(writable)
    );
    times.named.push(named);
    times.takes_writes.push(takes_writes);
    times.writable.push(writable);
    fleet.servers[old].start_again();
    fleet.until_whole().await?;
    match node {
        Some(node) => revive(fleet, crowd, node).await,
        None => Ok(()),
    }
}

fn kill_node(fleet: &mut Fleet, crowd: &Crowd, node: usize) -> io::Result<()> {
    crowd.set_dead(node, true);
    fleet.nodes[node].kill()
}

async fn revive(fleet: &mut Fleet, crowd: &Crowd, node: usize) -> io::Result<()> {
    fleet.nodes[node].start().await?;
    crowd.set_dead(node, false);
    Ok(())
}

async fn all_ready(fleet: &Fleet) -> io::Result<()> {
    let ready = async || {
        for node in &fleet.nodes {
            if !node.is_ready().await {
                return None;
            }
        }
        Some(())
    };
    until("all nodes to be ready", ready).await.map(drop)
}
