//! How cost grows, as a table and as bars.

use std::fmt::Write as _;

use super::bars::{Panel, Plot, Row};
use super::plot::place;
use super::statistics::Spread;
use super::table::{range, taken_alone};
use crate::scale::series::{Figure, Measure, Series};
use crate::sheet::Sheet;

/// What stands in a plot, one below the other.
type Panels = &'static [(Series, Measure)];

/// A plot: its file, its title, and its panels.
const PLOTS: [(&str, &str, Panels); 5] = [
    (
        "scale-connections.svg",
        "What open connections cost",
        &[
            (Series::Connections, Measure::Cpu),
            (Series::Connections, Measure::Memory),
        ],
    ),
    (
        "scale-sessions.svg",
        "What sessions cost",
        &[
            (Series::Session, Measure::Cpu),
            (Series::EachSession, Measure::Cpu),
            (Series::Session, Measure::Memory),
            (Series::Session, Measure::Start),
        ],
    ),
    (
        "scale-lookups.svg",
        "What hosts, apps and rules cost",
        &[
            (Series::Hosts, Measure::Cpu),
            (Series::Apps, Measure::Cpu),
            (Series::Rules, Measure::Cpu),
        ],
    ),
    (
        "scale-sizes.svg",
        "What large requests and responses cost",
        &[
            (Series::Head, Measure::Cpu),
            (Series::Response, Measure::Cpu),
            (Series::Upload, Measure::Cpu),
        ],
    ),
    (
        "scale-access-log.svg",
        "What the access log costs",
        &[(Series::AccessLog, Measure::Cpu)],
    ),
];

/// What memory there is for each of them, and its unit.
const SLOPES: [(Series, &str, &str, f64); 5] = [
    (Series::Connections, "an idle connection", "KiB", 1024.0),
    (Series::Session, "a session in the file", "bytes", 1.0),
    (
        Series::Hosts,
        "an app with a host of its own",
        "KiB",
        1024.0,
    ),
    (Series::Apps, "an app with a path of its own", "KiB", 1024.0),
    (Series::Rules, "a rule", "bytes", 1.0),
];

const COLUMNS: [(Measure, &str); 5] = [
    (Measure::Cpu, "CPU time of a request"),
    (Measure::Memory, "memory, MiB"),
    (Measure::Start, "start, ms"),
    (Measure::List, "`session list`, ms"),
    (Measure::End, "end of a user's sessions, ms"),
];

impl Sheet<Figure> {
    fn of(&self, series: Series, measure: Measure) -> impl Iterator<Item = &Figure> {
        let figures = self.figures.iter();
        figures.filter(move |figure| figure.series == series && figure.measure == measure)
    }

    /// The sizes that were measured, the smallest first.
    fn sizes(&self, series: Series) -> impl Iterator<Item = u64> {
        let sizes = series.sizes().iter().copied();
        sizes.filter(move |size| {
            let mut of = self.figures.iter().filter(|figure| figure.series == series);
            of.any(|figure| figure.size == *size)
        })
    }

    fn value(&self, series: Series, measure: Measure, size: u64) -> Option<Spread> {
        let of_size = self.of(series, measure).filter(|it| it.size == size);
        Spread::of(of_size.map(|figure| figure.value).collect())
    }

    /// Of the values of a size, each divided by that of the smallest in the same round.
    fn ratio(&self, series: Series, measure: Measure, size: u64) -> Option<Spread> {
        let smallest = self.sizes(series).next()?;
        let ratios = self.of(series, measure).filter(|it| it.size == size);
        let ratios = ratios.filter_map(|figure| {
            let one = self.at(figure.round, series, measure, smallest)?;
            (one > 0.0).then(|| figure.value / one)
        });
        Spread::of(ratios.collect())
    }

    fn at(&self, round: u32, series: Series, measure: Measure, size: u64) -> Option<f64> {
        let mut of = self.of(series, measure);
        let found = of.find(|figure| figure.round == round && figure.size == size);
        found.map(|figure| figure.value)
    }

    /// Bytes for each one more, between the smallest number and the largest.
    fn slope(&self, series: Series) -> Option<Spread> {
        let (smallest, largest) = (self.sizes(series).next()?, self.sizes(series).last()?);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let more = largest.checked_sub(smallest).filter(|more| *more > 0)? as f64;
        let memory = |round, size| self.at(round, series, Measure::Memory, size);
        let slopes = (1..=self.header.rounds).filter_map(|round| {
            Some((memory(round, largest)? - memory(round, smallest)?) * 1_048_576.0 / more)
        });
        Spread::of(slopes.collect())
    }
}

pub(super) fn table(sheet: &Sheet<Figure>) -> String {
    let mut text = taken_alone(&sheet.header, sheet.figures.iter().map(|it| it.noise));
    let heads = COLUMNS.map(|(_, head)| head).join(" | ");
    let _ = write!(
        text,
        "\n| | | {heads} |\n|---|---|{}\n",
        "---|".repeat(COLUMNS.len())
    );
    for series in Series::ALL {
        for size in sheet.sizes(series) {
            let cell = |(measure, _): (Measure, &str)| {
                let shown = match measure {
                    Measure::Cpu => sheet.ratio(series, measure, size).map(|it| range(it, 2)),
                    Measure::Memory => sheet.value(series, measure, size).map(|it| range(it, 1)),
                    _ => sheet.value(series, measure, size).map(|it| range(it, 0)),
                };
                shown.unwrap_or_default()
            };
            let cells = COLUMNS.map(cell).join(" | ");
            let _ = writeln!(
                text,
                "| {} | {} | {cells} |",
                series.title(),
                series.shown(size)
            );
        }
    }
    let _ = write!(text, "\n| memory of each one more | |\n|---|---|\n");
    for (series, name, unit, one) in SLOPES {
        if let Some(slope) = sheet.slope(series) {
            let digits = usize::from(one > 1.0);
            let shown = range(slope.divided(one), digits);
            let _ = writeln!(text, "| {name} | {shown} {unit} |");
        }
    }
    let sizes = sheet.sizes(Series::EachSession);
    if let Some(used) = sizes
        .filter_map(|size| sheet.value(Series::EachSession, Measure::Each, size))
        .last()
    {
        let _ = writeln!(
            text,
            "| a session in use, besides | {} bytes |",
            range(used, 0)
        );
    }
    text
}

pub(super) fn plots(sheet: &Sheet<Figure>) -> Vec<(&'static str, String)> {
    let header = &sheet.header;
    let place = place(&header.date, &header.machine, header.is_a_trial());
    let rounds = header.rounds;
    let note = format!(
        "Less is better. Medians and ranges of {rounds} rounds. CPU time: that of the first bar is 1.00."
    );
    let plot = |(name, title, panels): (_, _, Panels)| {
        let panels = panels
            .iter()
            .map(|&(series, measure)| panel(sheet, series, measure));
        let plot = Plot {
            title,
            note: &note,
            place: &place,
            panels: panels.filter(|panel| !panel.rows.is_empty()).collect(),
        };
        (name, plot.svg())
    };
    PLOTS.map(plot).into()
}

fn panel(sheet: &Sheet<Figure>, series: Series, measure: Measure) -> Panel {
    let is_ratio = measure == Measure::Cpu;
    let rows = sheet.sizes(series).filter_map(|size| {
        let value = if is_ratio {
            sheet.ratio(series, measure, size)
        } else {
            sheet.value(series, measure, size)
        };
        Some(Row {
            label: series.shown(size),
            class: "own",
            value: value?,
        })
    });
    let what = match measure {
        Measure::Cpu => "CPU time of a request",
        Measure::Memory => "memory, MiB",
        _ => "start to first answer, ms",
    };
    Panel {
        heading: format!("{}: {what}", series.title()),
        rows: rows.collect(),
        longest: f64::INFINITY,
        is_ratio,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two rounds in which nothing is twice as slow.
    pub(in crate::report) const SAMPLE: &str = r#"{"kind":"scale","date":"2026-01-02","rounds":2,"seconds":1.0,"workers":2,"machine":{"cpu":"a <CPU>","cores":2,"memory_gib":4,"system":"Debian","kernel":"6.1"},"version":"0.1.0"}
{"round":1,"series":"connections","measure":"cpu","size":100,"value":20.0,"others":0.0,"stolen":0.0}
{"round":1,"series":"connections","measure":"cpu","size":10000,"value":24.0,"others":0.2,"stolen":0.0}
{"round":1,"series":"connections","measure":"memory","size":100,"value":10.0,"others":0.0,"stolen":0.0}
{"round":1,"series":"connections","measure":"memory","size":10000,"value":106.6796875,"others":0.0,"stolen":0.0}
{"round":2,"series":"connections","measure":"cpu","size":10000,"value":42.0,"others":0.0,"stolen":0.0}
{"round":2,"series":"connections","measure":"cpu","size":100,"value":30.0,"others":0.0,"stolen":0.0}
"#;

    #[test]
    fn tables_show_ratios_of_the_same_round_and_what_each_one_more_takes() {
        let text = table(&Sheet::parse(SAMPLE).unwrap());
        for part in [
            "mean nothing",
            "Vestibule 0.1.0. 2 rounds of 1 s",
            "During 1 of 6 figures",
            "| open connections | 100 | 1.00 | 10.0 |  |  |  |\n",
            "| open connections | 10,000 | **1.30** (1.20 to 1.40) | 106.7 |  |  |  |\n",
            "| an idle connection | 10.0 KiB |\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("| sessions"), "{text}");
    }

    #[test]
    fn bars_show_how_it_grows() {
        let plots = plots(&Sheet::parse(SAMPLE).unwrap());
        let (name, svg) = &plots[0];
        assert_eq!(*name, "scale-connections.svg");
        for part in [
            "open connections: CPU time of a request: 100 1.00, 10,000 1.30. ",
            "open connections: memory, MiB: 100 10.0, 10,000 107. ",
            "mean nothing",
        ] {
            assert!(svg.contains(part), "{part} in\n{svg}");
        }
    }
}
