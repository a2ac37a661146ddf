//! The median ratio of each peer as a bar.

use super::bars::{Panel, Plot, Row};
use crate::machine::Machine;
use crate::peers::{Login, Peer};
use crate::record::Records;
use crate::work::Work;

/// A plot: its file, its title, and its panels.
const PLOTS: [(&str, &str, &[Work]); 4] = [
    (
        "performance-requests.svg",
        "CPU time of the proxy for one request of a signed-in user",
        &[Work::Http1, Work::Http2, Work::Steady],
    ),
    (
        "performance-connections.svg",
        "CPU time of the proxy for one new connection",
        &[Work::Full, Work::Resumed],
    ),
    (
        "performance-transfers.svg",
        "CPU time of the proxy for a gigabyte",
        &[
            Work::Down1m,
            Work::Down100m,
            Work::Down100mHttp2,
            Work::Up100m,
            Work::Up100mHttp2,
        ],
    ),
    (
        "performance-memory.svg",
        "Memory of the proxy, and its start",
        &[Work::Connection, Work::Idle, Work::Start],
    ),
];

/// A bar ends here, and its number says how long it would be.
const LONGEST: f64 = 4.0;

/// Those for which something was measured, by their names.
pub(super) fn all(records: &Records) -> Vec<(&'static str, String)> {
    let made = PLOTS.iter().filter_map(|&(name, title, works)| {
        let works: Vec<_> = works
            .iter()
            .copied()
            .filter(|&work| records.has(work))
            .collect();
        (!works.is_empty()).then(|| (name, plot(records, title, &works)))
    });
    made.collect()
}

fn plot(records: &Records, title: &str, works: &[Work]) -> String {
    let mut peers = records.peers();
    let reference = records.reference().map_or("", |peer| peer.title);
    // The one that it is about first, then what it is compared with.
    peers.sort_by_key(|peer| !is_own(peer));
    let panel = |work: Work| {
        let rows = peers.iter().filter_map(|peer| {
            Some(Row {
                label: peer.title.to_owned(),
                class: class(peer),
                value: records.ratio(peer, work)?,
            })
        });
        Panel {
            heading: work.title().to_owned(),
            rows: rows.collect(),
            longest: LONGEST,
            is_ratio: true,
        }
    };
    let header = &records.header;
    let rounds = header.rounds;
    let note = format!(
        "{reference} = 1.00, less is better. Medians and ranges of {rounds} rounds. \
         Light bars: no login, everybody is let in."
    );
    let place = place(&header.date, &header.machine, records.are_a_trial());
    let plot = Plot {
        title,
        note: &note,
        place: &place,
        panels: works.iter().copied().map(panel).collect(),
    };
    plot.svg()
}

/// Where and when.
pub(super) fn place(date: &str, machine: &Machine, is_a_trial: bool) -> String {
    let trial = if is_a_trial {
        ". A short trial run: these figures mean nothing"
    } else {
        ""
    };
    format!("{date}, {}, {} cores{trial}", machine.cpu, machine.cores)
}

fn class(peer: &Peer) -> &'static str {
    match peer.login {
        _ if is_own(peer) => "own",
        Login::None => "open",
        _ => "login",
    }
}

fn is_own(peer: &Peer) -> bool {
    peer.program == "vestibule"
}

#[cfg(test)]
mod tests {
    use super::super::bars::{LEFT, RIGHT, WIDTH};
    use super::super::statistics::tests::SAMPLE;
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_ratios_and_in_words_beside() {
        let plots = all(&Records::parse(SAMPLE).unwrap());
        let [(name, svg)] = &plots[..] else {
            panic!("{plots:?}");
        };
        assert_eq!(*name, "performance-requests.svg");
        let unit = (WIDTH - LEFT - RIGHT) / LONGEST;
        for part in [
            "1 KiB, HTTP/1.1: Vestibule 1.30, nginx 1.00, HAProxy 10.00. ",
            "a &lt;CPU&gt;, 2 cores",
            &format!(
                "class=\"own\" x=\"210\" y=\"100\" width=\"{:.1}\"",
                unit * 1.3
            ),
            &format!(
                "class=\"open\" x=\"210\" y=\"144\" width=\"{:.1}\"",
                unit * 4.0
            ),
            ">» 10.00</text>",
            "prefers-color-scheme: dark",
        ] {
            assert!(svg.contains(part), "{part} in\n{svg}");
        }
    }
}
