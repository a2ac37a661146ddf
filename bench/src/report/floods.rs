//! What users notice of floods, as a table and as bars.

use std::fmt::Write as _;

use super::bars::{Panel, Plot, Row};
use super::plot::place;
use super::statistics::Spread;
use super::table::{range, taken_alone};
use crate::floods::attack::Flood;
use crate::floods::{Figure, RATE};
use crate::sheet::Sheet;

impl Sheet<Figure> {
    fn spread(&self, flood: Flood, value: impl Fn(&Figure) -> f64) -> Option<Spread> {
        let of = self.figures.iter().filter(|figure| figure.flood == flood);
        Spread::of(of.map(value).collect())
    }
}

fn p99(figure: &Figure) -> f64 {
    f64::from(figure.p99) / f64::from(figure.quiet_p99.max(1))
}

fn p50(figure: &Figure) -> f64 {
    f64::from(figure.p50) / f64::from(figure.quiet_p50.max(1))
}

pub(super) fn table(sheet: &Sheet<Figure>) -> String {
    let mut text = taken_alone(&sheet.header, sheet.figures.iter().map(|it| it.noise));
    text.push_str(
        "\n| flood | 99th percentile, quiet = 1.00 | median, quiet = 1.00 | 99th percentile, ms | \
         answered a second | turned away a second | cores of Vestibule |\n|---|---|---|---|---|---|---|\n",
    );
    for flood in Flood::ALL {
        let row = || {
            let of = |value: &dyn Fn(&Figure) -> f64, digits| {
                sheet.spread(flood, value).map(|it| range(it, digits))
            };
            let middle = |value: &dyn Fn(&Figure) -> f64| Some(sheet.spread(flood, value)?.median);
            let quiet = middle(&|figure| f64::from(figure.quiet_p99) / 1000.0)?;
            let beside = middle(&|figure| f64::from(figure.p99) / 1000.0)?;
            Some(format!(
                "| {} | {} | {} | {quiet:.1} quiet, {beside:.1} | {:.0} | {:.0} | {:.1} |\n",
                flood.title(),
                of(&p99, 2)?,
                of(&p50, 2)?,
                middle(&|figure| figure.answered)?,
                middle(&|figure| figure.refused)?,
                middle(&|figure| figure.cores)?,
            ))
        };
        text.push_str(&row().unwrap_or_default());
    }
    let _ = write!(
        text,
        "\nUsers sent {RATE} requests a second all the while.\n"
    );
    text
}

pub(super) fn plots(sheet: &Sheet<Figure>) -> Vec<(&'static str, String)> {
    let header = &sheet.header;
    let rows = Flood::ALL.into_iter().filter_map(|flood| {
        Some(Row {
            label: flood.title().to_owned(),
            class: "own",
            value: sheet.spread(flood, p99)?,
        })
    });
    let note = format!(
        "Without the flood = 1.00, less is better. Medians and ranges of {} rounds.",
        header.rounds
    );
    let plot = Plot {
        title: "Response times of signed-in users beside a flood",
        note: &note,
        place: &place(&header.date, &header.machine, header.is_a_trial()),
        panels: vec![Panel {
            heading: "99th percentile".to_owned(),
            rows: rows.collect(),
            longest: 10.0,
            is_ratio: true,
        }],
    };
    vec![("floods.svg", plot.svg())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"kind":"floods","date":"2026-01-02","rounds":2,"seconds":1.0,"workers":2,"machine":{"cpu":"a CPU","cores":2,"memory_gib":4,"system":"Debian","kernel":"6.1"},"version":"0.1.0"}
{"round":1,"flood":"passwords","quiet_p50":400,"quiet_p99":2000,"p50":500,"p99":2400,"answered":20.0,"refused":100.0,"cores":0.7,"others":0.0,"stolen":0.0}
{"round":2,"flood":"passwords","quiet_p50":400,"quiet_p99":4000,"p50":500,"p99":5600,"answered":30.0,"refused":110.0,"cores":0.8,"others":0.0,"stolen":0.0}
"#;

    #[test]
    fn each_round_is_compared_with_its_own_quiet() {
        let sheet = Sheet::parse(SAMPLE).unwrap();
        let text = table(&sheet);
        let row =
            "| wrong passwords | **1.30** (1.20 to 1.40) | 1.25 | 3.0 quiet, 4.0 | 25 | 105 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("mean nothing"), "{text}");
        let [(name, svg)] = &plots(&sheet)[..] else {
            panic!("one plot");
        };
        assert_eq!(*name, "floods.svg");
        assert!(
            svg.contains("99th percentile: wrong passwords 1.30. "),
            "{svg}"
        );
    }
}
