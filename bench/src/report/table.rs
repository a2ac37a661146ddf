//! The figures in Markdown.

use std::fmt::Write as _;

use super::statistics::Spread;
use crate::peers::{Login, Peer};
use crate::record::{Figure, Records};
use crate::rounds::QUIET;
use crate::sheet::{Header, Noise};
use crate::work::{Unit, Work};

const REQUESTS: [Work; 5] = [
    Work::Http1,
    Work::Http2,
    Work::Steady,
    Work::Full,
    Work::Resumed,
];
const TRANSFERS: [Work; 5] = [
    Work::Down1m,
    Work::Down100m,
    Work::Down100mHttp2,
    Work::Up100m,
    Work::Up100mHttp2,
];
const AT_REST: [Work; 3] = [Work::Connection, Work::Idle, Work::Start];

pub(super) fn all(records: &Records) -> String {
    let mut text = String::new();
    if records.are_a_trial() {
        text.push_str("**A short trial run: these figures mean nothing.**\n\n");
    }
    text.push_str(&taken(records));
    let Some(reference) = records.reference() else {
        return text;
    };
    let name = reference.title;
    let parts = [
        (
            format!("CPU time, {name} = 1.00: requests with a session, and connections"),
            &REQUESTS[..],
        ),
        (
            format!("CPU time, {name} = 1.00: transfers with a session"),
            &TRANSFERS[..],
        ),
    ];
    for (title, works) in parts {
        let head = |work: Work| work.title().to_owned();
        let cell = |peer: &Peer, work| records.ratio(peer, work).map(|ratio| range(ratio, 2));
        add(&mut text, records, &title, works, head, cell);
    }
    at_rest(&mut text, records);
    answers(&mut text, records);
    absolute(&mut text, records, reference);
    responses(&mut text, records);
    transfers(&mut text, records);
    text
}

/// Where, when and with what.
fn taken(records: &Records) -> String {
    let (header, machine) = (&records.header, &records.header.machine);
    let versions = records.peers().into_iter().filter_map(|peer| {
        let version = header.versions.get(peer.name)?;
        // One program may be several rows.
        (peer.name == peer.program || peer.program == "apache2")
            .then(|| format!("{} {version}", peer.title))
    });
    let versions = versions.collect::<Vec<_>>().join(", ");
    let noisy = |figure: &&Figure| figure.others + figure.stolen > QUIET;
    let noisy = records.figures.iter().filter(noisy).count();
    format!(
        "{}: {}, {} cores, {} GiB, {}, Linux {}. {versions}. {} of {} s for each figure, {} workers. \
         During {noisy} of {} figures, other processes or the hypervisor used more than {:.0} % of the machine.\n",
        header.date,
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.system,
        machine.kernel,
        counted(header.rounds, "round"),
        header.seconds,
        header.workers,
        records.figures.len(),
        QUIET * 100.0,
    )
}

/// The same of Vestibule alone.
pub(super) fn taken_alone(header: &Header, all: impl Iterator<Item = Noise> + Clone) -> String {
    let machine = &header.machine;
    let noisy = all.clone().filter(|noise| noise.all() > QUIET).count();
    let trial = if header.is_a_trial() {
        "**A short trial run: these figures mean nothing.**\n\n"
    } else {
        ""
    };
    format!(
        "{trial}{}: {}, {} cores, {} GiB, {}, Linux {}. Vestibule {}. {} of {} s for each figure, {} workers. \
         During {noisy} of {} figures, other processes or the hypervisor used more than {:.0} % of the machine.\n",
        header.date,
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.system,
        machine.kernel,
        header.version,
        counted(header.rounds, "round"),
        header.seconds,
        header.workers,
        all.count(),
        QUIET * 100.0,
    )
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A table with a row for each peer and a column for each work that was measured.
fn add(
    text: &mut String,
    records: &Records,
    title: &str,
    works: &[Work],
    head: impl Fn(Work) -> String,
    cell: impl Fn(&Peer, Work) -> Option<String>,
) {
    let works: Vec<_> = works
        .iter()
        .copied()
        .filter(|&work| records.has(work))
        .collect();
    if works.is_empty() {
        return;
    }
    let heads: Vec<_> = works.iter().map(|&work| head(work)).collect();
    let _ = write!(
        text,
        "\n**{title}**\n\n| | login | {} |\n|---|---|{}\n",
        heads.join(" | "),
        "---|".repeat(works.len())
    );
    for peer in records.peers() {
        let login = if peer.login == Login::None {
            "no"
        } else {
            "yes"
        };
        let cells = works
            .iter()
            .map(|&work| cell(peer, work).unwrap_or_else(|| "-".to_owned()));
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(text, "| {} | {login} | {} |", peer.title, cells.join(" | "));
    }
}

fn at_rest(text: &mut String, records: &Records) {
    let connections = records.header.idle_connections;
    let head = |work: Work| match work.unit() {
        Unit::KiB => format!("{}, of {connections}, KiB", work.title()),
        Unit::MiB => format!("{}, MiB", work.title()),
        _ => format!("{}, ms", work.title()),
    };
    let cell = |peer: &Peer, work| records.value(peer, work).map(|value| range(value, 1));
    add(text, records, "Memory and start", &AT_REST, head, cell);
}

/// Those who answer proxies, and not the other peers.
fn answers(text: &mut String, records: &Records) {
    let row = |peer: &Peer| {
        let ratio = range(records.ratio(peer, Work::Questions)?, 2);
        let rate = records.other(peer, Work::Questions, |figure| figure.rate)?;
        let title = match peer.login {
            Login::None => format!("{}, `return 200`", peer.title),
            _ => peer.title.to_owned(),
        };
        Some(format!("| {title} | {ratio} | {} |\n", range(rate, 0)))
    };
    let rows: String = records.peers().into_iter().filter_map(row).collect();
    if !rows.is_empty() {
        let _ = write!(
            text,
            "\n**Forward auth: answers to a proxy that asks**\n\n\
             | | CPU time of an answer | answers a second |\n|---|---|---|\n{rows}"
        );
    }
}

/// What 1.00 is on this machine.
fn absolute(text: &mut String, records: &Records, reference: &Peer) {
    let shown = |work: Work| {
        let value = records.value(reference, work)?;
        let (median, low, high) = (value.median, value.low, value.high);
        let unit = work.unit();
        Some(format!(
            "| {} | {} | {} to {} |\n",
            work.title(),
            unit.show(median),
            unit.show(low),
            unit.show(high)
        ))
    };
    let works = REQUESTS.into_iter().chain(TRANSFERS);
    let rows = works.chain([Work::Questions]).filter_map(shown);
    let rows: String = rows.collect();
    if !rows.is_empty() {
        let title = reference.title;
        let _ = write!(
            text,
            "\n**What 1.00 is: CPU time of {title}**\n\n| | median | rounds |\n|---|---|---|\n{rows}"
        );
    }
}

fn responses(text: &mut String, records: &Records) {
    let works = [Work::Steady, Work::Http1, Work::Http2];
    let cell = |peer: &Peer, work| {
        let of =
            |field: &dyn Fn(&Figure) -> Option<f64>| Some(records.other(peer, work, field)?.median);
        let milliseconds = |time: Option<u32>| time.map(|time| f64::from(time) / 1000.0);
        let p50 = of(&|figure| milliseconds(figure.p50))?;
        let p99 = of(&|figure| milliseconds(figure.p99))?;
        let rate = of(&|figure| figure.rate)?;
        Some(format!("{p50:.2} / {p99:.2} ms, {rate:.0}/s"))
    };
    let title = "Response times, median and 99th percentile, and requests per second";
    add(
        text,
        records,
        title,
        &works,
        |work| work.title().to_owned(),
        cell,
    );
}

fn transfers(text: &mut String, records: &Records) {
    let cell = |peer: &Peer, work| {
        let of =
            |field: &dyn Fn(&Figure) -> Option<f64>| Some(records.other(peer, work, field)?.median);
        let (rate, peak) = (of(&|figure| figure.rate)?, of(&|figure| figure.peak_mib)?);
        let spooled = of(&|figure| figure.spooled)?;
        let spooled = if spooled > 0.01 {
            format!(", {:.0} % to disk", spooled * 100.0)
        } else {
            String::new()
        };
        Some(format!("{rate:.0} MiB/s, {peak:.0} MiB{spooled}"))
    };
    let title = "Transfers: rate, the most memory, and what was written to disk";
    add(
        text,
        records,
        title,
        &TRANSFERS,
        |work| work.title().to_owned(),
        cell,
    );
}

pub(super) fn range(spread: Spread, digits: usize) -> String {
    let Spread { median, low, high } = spread;
    let (low, median, high) = (
        format!("{low:.digits$}"),
        format!("{median:.digits$}"),
        format!("{high:.digits$}"),
    );
    if low == high {
        median
    } else {
        format!("**{median}** ({low} to {high})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::tests::SAMPLE;
    use super::*;

    #[test]
    fn tables_show_ratios_with_ranges_and_leave_out_what_was_not_measured() {
        let text = all(&Records::parse(SAMPLE).unwrap());
        for part in [
            "mean nothing",
            "2026-01-02: a <CPU>, 2 cores",
            "nginx 1.22.1, HAProxy 2.6, Vestibule 0.1.0. 2 rounds of 3 s",
            "During 1 of 5 figures",
            "| | login | 1 KiB, HTTP/1.1 |\n",
            "| nginx | no | 1.00 |\n",
            "| HAProxy | no | 10.00 |\n",
            "| Vestibule | yes | **1.30** (1.20 to 1.40) |\n",
            "| 1 KiB, HTTP/1.1 | 25.0 µs/request | 20.0 µs/request to 30.0 µs/request |\n",
            "| Vestibule | yes | 2.10 / 8.00 ms, 24000/s |\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("MiB down"), "{text}");
    }
}
