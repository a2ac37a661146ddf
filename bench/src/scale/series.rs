//! What there is more and more of, and what is measured of it.

use serde::{Deserialize, Serialize};

use crate::sheet::Noise;

/// What there is more and more of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Series {
    Connections,
    /// Sessions, of which one is used.
    Session,
    /// Sessions, of which each request uses another one.
    EachSession,
    Hosts,
    Apps,
    Rules,
    Head,
    Response,
    Upload,
    AccessLog,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// CPU time for a request, in microseconds.
    Cpu,
    /// MiB of the whole program.
    Memory,
    /// Bytes for each session in use.
    Each,
    /// Milliseconds from the start of the process to its first answer.
    Start,
    /// Milliseconds for a list of all sessions.
    List,
    /// Milliseconds for the end of the sessions of one of a thousand users.
    End,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) round: u32,
    pub(crate) series: Series,
    pub(crate) measure: Measure,
    pub(crate) size: u64,
    pub(crate) value: f64,
    #[serde(flatten)]
    pub(crate) noise: Noise,
}

impl Series {
    pub(crate) const ALL: [Self; 10] = [
        Self::Connections,
        Self::Session,
        Self::EachSession,
        Self::Hosts,
        Self::Apps,
        Self::Rules,
        Self::Head,
        Self::Response,
        Self::Upload,
        Self::AccessLog,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Connections => "open connections",
            Self::Session => "sessions, one in use",
            Self::EachSession => "sessions, all in use",
            Self::Hosts => "hosts",
            Self::Apps => "apps of one host",
            Self::Rules => "rules of one app",
            Self::Head => "a field of the request",
            Self::Response => "response",
            Self::Upload => "request body",
            Self::AccessLog => "access log",
        }
    }

    pub(crate) fn sizes(self) -> &'static [u64] {
        match self {
            Self::Connections => &[100, 1000, 10_000],
            Self::Session | Self::EachSession => &[1, 1000, 100_000, 1_000_000],
            Self::Hosts | Self::Apps | Self::Rules => &[1, 100, 1000, 10_000],
            Self::Head => &[64, 4096, 16_384, 28_672],
            Self::Response | Self::Upload => &[1024, 16_384, 131_072, 1_048_576],
            Self::AccessLog => &[0, 1],
        }
    }

    pub(crate) fn shown(self, size: u64) -> String {
        match self {
            Self::Head | Self::Response | Self::Upload => bytes(size),
            Self::AccessLog => if size == 0 { "off" } else { "on" }.to_owned(),
            _ => grouped(size),
        }
    }
}

impl Measure {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Cpu => format!("{value:.1} µs/request"),
            Self::Memory => format!("{value:.1} MiB"),
            Self::Each => format!("{value:.0} bytes"),
            Self::Start | Self::List | Self::End => format!("{value:.0} ms"),
        }
    }
}

fn bytes(size: u64) -> String {
    match size {
        ..1024 => format!("{size} bytes"),
        1024..1_048_576 => format!("{} KiB", size / 1024),
        _ => format!("{} MiB", size / 1_048_576),
    }
}

/// As in 10,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_people_write_them() {
        for (series, size, shown) in [
            (Series::Session, 1, "1"),
            (Series::Session, 1_000_000, "1,000,000"),
            (Series::Connections, 100, "100"),
            (Series::Head, 64, "64 bytes"),
            (Series::Upload, 16_384, "16 KiB"),
            (Series::Response, 1_048_576, "1 MiB"),
            (Series::AccessLog, 1, "on"),
        ] {
            assert_eq!(series.shown(size), shown);
        }
    }

    #[test]
    fn the_smallest_size_comes_first() {
        for series in Series::ALL {
            assert!(series.sizes().is_sorted(), "{series:?}");
        }
    }
}
