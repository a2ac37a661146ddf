//! Raw figures: a file of JSON lines, the first of which says where and with what they were taken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::work::Work;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Header {
    pub(crate) date: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workers: usize,
    pub(crate) idle_connections: usize,
    /// The peer that the others are compared with.
    pub(crate) reference: String,
    pub(crate) machine: Machine,
    /// The version of each peer, by its name.
    pub(crate) versions: BTreeMap<String, String>,
}

/// What one peer cost in one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) round: u32,
    pub(crate) peer: String,
    pub(crate) work: Work,
    /// In the unit of the work.
    pub(crate) value: f64,
    /// Requests, connections or MiB per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Response times, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<u32>,
    /// The most memory that it had meanwhile, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_mib: Option<f64>,
    /// What it wrote to disks meanwhile, in MiB for each that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spooled: Option<f64>,
    /// Parts of the machine that others used meanwhile, and that the hypervisor gave away.
    pub(crate) others: f64,
    pub(crate) stolen: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) header: Header,
    pub(crate) figures: Vec<Figure>,
}

/// The file while it grows, so that an interrupted run leaves what it has measured.
pub(crate) struct Writer(File);

impl Writer {
    pub(crate) fn create(path: &Path, header: &impl Serialize) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut writer = Self(File::create(path)?);
        writer.line(header)?;
        Ok(writer)
    }

    pub(crate) fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(value)?;
        writeln!(self.0, "{line}")
    }
}

impl Records {
    /// Whether they are too few to say anything.
    pub(crate) fn are_a_trial(&self) -> bool {
        self.header.rounds < 3 || self.header.seconds < 1.0
    }

    /// Whether nothing else was measured.
    pub(crate) fn are_only_of(&self, work: Work) -> bool {
        self.figures.iter().all(|figure| figure.work == work)
    }

    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines();
        let header = serde_json::from_str(lines.next().unwrap_or_default())?;
        let figures = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { header, figures })
    }
}

/// So many digits are noise beyond that, and make the file long.
pub(crate) fn rounded(value: f64) -> f64 {
    let digits = if value.abs() < 1.0 { 1e4 } else { 1e2 };
    (value * digits).round() / digits
}
