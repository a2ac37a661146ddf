//! Bars in SVG: the median ratio of each peer, with the range of its rounds. Colours follow the
//! reader's light or dark scheme; the description says in words what the bars show.

use std::fmt::Write as _;

use super::statistics::Spread;
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

const WIDTH: f64 = 760.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 66.0;
const HEADING: f64 = 34.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;

/// A bar ends here, and its number says how long it would be.
const LONGEST: f64 = 4.0;

const STYLE: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.title { font-size: 16px; font-weight: 600; }
.heading { font-weight: 600; }
.note { font-size: 12px; fill: #59636e; }
.page { fill: #ffffff; }
.open { fill: #c8cfd7; }
.login { fill: #8c959f; }
.own { fill: #1a7f5a; }
.one, .range { stroke: #1f2328; }
.one { stroke-dasharray: 2 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .value { stroke: #0d1117; }
  .note { fill: #9198a1; }
  .page { fill: #0d1117; }
  .open { fill: #3d444d; }
  .login { fill: #656c76; }
  .own { fill: #2ea877; }
  .one, .range { stroke: #f0f6fc; }
}
";

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
    let mut drawn = String::new();
    let mut said = String::new();
    let mut y = TOP;
    for &work in works {
        y += HEADING;
        let _ = writeln!(
            drawn,
            "<text class=\"heading\" x=\"16\" y=\"{}\">{}</text>",
            y - 10.0,
            escaped(work.title())
        );
        let _ = write!(said, "{}:", work.title());
        let rows = peers
            .iter()
            .filter_map(|peer| Some((*peer, records.ratio(peer, work)?)));
        let rows: Vec<_> = rows.collect();
        let scale = scale(&rows);
        let one = LEFT + scale;
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let end = y + ROW * rows.len() as f64 - 4.0;
        let _ = writeln!(
            drawn,
            "<line class=\"one\" x1=\"{one:.1}\" y1=\"{y}\" x2=\"{one:.1}\" y2=\"{end}\"/>"
        );
        for (peer, ratio) in rows {
            bar(&mut drawn, peer, ratio, y, scale);
            let _ = write!(said, " {} {:.2},", peer.title, ratio.median);
            y += ROW;
        }
        said.truncate(said.len() - 1);
        said.push_str(". ");
    }
    let (height, header) = (y + 16.0, &records.header);
    let rounds = header.rounds;
    let note = format!(
        "{reference} = 1.00, less is better. Medians and ranges of {rounds} rounds. \
         Light bars: no login, everybody is let in."
    );
    let trial = if records.are_a_trial() {
        ". A short trial run: these figures mean nothing"
    } else {
        ""
    };
    let machine = &header.machine;
    let machine = format!(
        "{}, {}, {} cores{trial}",
        header.date, machine.cpu, machine.cores
    );
    let (title, note, machine) = (escaped(title), escaped(&note), escaped(&machine));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n\
         <title id=\"title\">{title}</title>\n\
         <desc id=\"description\">{note} {}{machine}.</desc>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n\
         <text class=\"note\" x=\"16\" y=\"46\">{note}</text>\n\
         <text class=\"note\" x=\"16\" y=\"64\">{machine}</text>\n\
         {drawn}</svg>\n",
        escaped(&said)
    )
}

/// How long 1.00 is, so that the longest bar of these fits.
fn scale(rows: &[(&Peer, Spread)]) -> f64 {
    let longest = rows.iter().map(|(_, ratio)| ratio.high).fold(1.0, f64::max);
    (WIDTH - LEFT - RIGHT) / longest.min(LONGEST)
}

fn bar(drawn: &mut String, peer: &Peer, ratio: Spread, y: f64, scale: f64) {
    let class = match peer.login {
        _ if is_own(peer) => "own",
        Login::None => "open",
        _ => "login",
    };
    let at = |value: f64| LEFT + scale * value.min(LONGEST);
    let middle = y + BAR / 2.0;
    let _ = writeln!(
        drawn,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LEFT - 8.0,
        y + 11.5,
        escaped(peer.title)
    );
    let _ = writeln!(
        drawn,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>",
        at(ratio.median) - LEFT
    );
    if ratio.high - ratio.low > 0.005 && ratio.low < LONGEST {
        let _ = writeln!(
            drawn,
            "<line class=\"range\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>",
            at(ratio.low),
            at(ratio.high)
        );
    }
    let cut = if ratio.median > LONGEST { "» " } else { "" };
    let _ = writeln!(
        drawn,
        "<text class=\"value\" x=\"{:.1}\" y=\"{}\">{cut}{:.2}</text>",
        at(ratio.high.max(ratio.median)) + 6.0,
        y + 11.5,
        ratio.median
    );
}

fn is_own(peer: &Peer) -> bool {
    peer.program == "vestibule"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
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
