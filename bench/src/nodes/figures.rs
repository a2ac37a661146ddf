//! What three nodes take and give, beside the bars that are set for them: a table.

mod crowd;
mod faults;
mod hot_path;
mod latency;
mod starts;
mod upgrade;

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{Fleet, Programs};
use super::say;

/// What there is to measure. Each has a fleet of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Subject {
    /// From a logout on one node to the end of WebSockets on the others
    Ends,
    /// The first request with a session on a node that has not seen it
    First,
    /// CPU time of a request, with sessions in Redis and on disk
    HotPath,
    /// Sessions begun in a second, and what each takes in Redis
    Starts,
    /// The master is killed, again and again, under load
    Failover,
    /// Nodes and masters are killed, one after the other and at once, under load
    Kills,
    /// One node after the other is stopped and started again, behind HAProxy
    Upgrade,
}

const ALL: [Subject; 7] = [
    Subject::Ends,
    Subject::First,
    Subject::HotPath,
    Subject::Starts,
    Subject::Failover,
    Subject::Kills,
    Subject::Upgrade,
];

/// How much of everything.
#[derive(Clone, Copy)]
struct Sizes {
    ends: usize,
    first: usize,
    rounds: u32,
    seconds: f64,
    sessions: usize,
    failovers: usize,
    kills: usize,
    requests: u64,
}

const FULL: Sizes = Sizes {
    ends: 1000,
    first: 1000,
    rounds: 9,
    seconds: 2.0,
    sessions: 1_000_000,
    failovers: 10,
    kills: 50,
    requests: 100_000,
};

/// Enough to see that everything works.
const QUICK: Sizes = Sizes {
    ends: 10,
    first: 10,
    rounds: 1,
    seconds: 0.2,
    sessions: 3000,
    failovers: 1,
    kills: 3,
    requests: 500,
};

/// What is measured.
pub(super) struct Measured<'a> {
    pub(super) programs: &'a Programs,
    pub(super) vestibule: &'a Path,
    /// What follows it in an upgrade; without it, the same one.
    pub(super) after: Option<&'a Path>,
}

/// One line of the table.
struct Figure {
    what: String,
    bar: &'static str,
    measured: String,
    /// `None` where there is no bar.
    reached: Option<bool>,
}

/// # Errors
/// Something could not be measured.
pub(super) async fn run(
    measured: &Measured<'_>,
    chosen: &[Subject],
    quick: bool,
) -> io::Result<()> {
    let sizes = if quick { QUICK } else { FULL };
    let chosen = if chosen.is_empty() { &ALL } else { chosen };
    let (mut lines, mut failed) = (Vec::new(), 0);
    for &subject in chosen {
        let began = Instant::now();
        let figures = measure(subject, measured, sizes).await;
        let took = began.elapsed().as_secs_f64();
        eprintln!("{subject:?}: {took:.0} s");
        match figures {
            Ok(figures) => lines.extend(figures),
            Err(error) => {
                failed += 1;
                eprintln!("{subject:?} could not be measured: {error}");
            }
        }
    }
    say(&table(&lines));
    if failed > 0 {
        return Err(io::Error::other(format!(
            "{failed} of {} could not be measured",
            chosen.len()
        )));
    }
    Ok(())
}

async fn measure(
    subject: Subject,
    measured: &Measured<'_>,
    sizes: Sizes,
) -> io::Result<Vec<Figure>> {
    let Measured {
        programs,
        vestibule,
        after,
    } = *measured;
    if subject == Subject::HotPath {
        return hot_path::measure(vestibule, sizes.rounds, sizes.seconds).await;
    }
    let mut fleet = Fleet::start(programs, vestibule).await?;
    match subject {
        Subject::Ends => latency::ends(&fleet, sizes.ends).await,
        Subject::First => latency::first(&fleet, sizes.first).await,
        Subject::Starts => starts::measure(&mut fleet, sizes.sessions).await,
        Subject::Failover => faults::failovers(&mut fleet, sizes.failovers).await,
        Subject::Kills => faults::kills(&mut fleet, sizes.kills).await,
        Subject::Upgrade => upgrade::measure(&mut fleet, sizes.requests, after).await,
        Subject::HotPath => unreachable!("it was measured"),
    }
}

fn table(lines: &[Figure]) -> String {
    let mut table = String::from("| what | bar | measured | |\n|---|---|---|---|\n");
    for line in lines {
        let reached = match line.reached {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "",
        };
        let Figure {
            what,
            bar,
            measured,
            ..
        } = line;
        let _ = writeln!(table, "| {what} | {bar} | {measured} | {reached} |");
    }
    table
}

/// The value that this part of all is at or below.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

/// Median, 99th percentile and the longest.
fn shown(sorted: &[Duration]) -> String {
    let [p50, p99] = [50, 99].map(|percent| ms(percentile(sorted, percent)));
    let most = ms(sorted.last().copied().unwrap_or_default());
    format!("p50 {p50}, p99 {p99}, longest {most}")
}

fn ms(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    let digits = if millis < 10.0 { 2 } else { 0 };
    format!("{millis:.digits$} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(shown(&times), "p50 100 ms, p99 198 ms, longest 200 ms");
        assert_eq!(
            shown(&times[..1]),
            "p50 1.00 ms, p99 1.00 ms, longest 1.00 ms"
        );
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_bar_that_was_missed_stands_in_the_table() {
        let line = |reached| Figure {
            what: "x".to_owned(),
            bar: "< 1 ms",
            measured: "2 ms".to_owned(),
            reached,
        };
        let lines = [line(Some(false)), line(None)];
        let table = table(&lines);
        assert!(table.ends_with("| x | < 1 ms | 2 ms | missed |\n| x | < 1 ms | 2 ms |  |\n"));
    }
}
