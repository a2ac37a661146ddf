//! Figures of Vestibule alone: a file of JSON lines, the first of which says where they were taken.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machine::{Foreign, Machine};
use crate::record::rounded;

/// What was measured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Scale,
    Floods,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) date: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workers: usize,
    pub(crate) machine: Machine,
    /// Of Vestibule.
    pub(crate) version: String,
}

/// A header and the figures below it.
#[derive(Clone, Debug)]
pub(crate) struct Sheet<F> {
    pub(crate) header: Header,
    pub(crate) figures: Vec<F>,
}

/// Parts of the machine that were somebody else's meanwhile.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Noise {
    others: f64,
    stolen: f64,
}

impl From<Foreign> for Noise {
    fn from(foreign: Foreign) -> Self {
        Self {
            others: rounded(foreign.others),
            stolen: rounded(foreign.stolen),
        }
    }
}

impl Noise {
    pub(crate) fn all(self) -> f64 {
        self.others + self.stolen
    }
}

impl Header {
    pub(crate) fn new(kind: Kind, plan: &Plan) -> Self {
        Self {
            kind,
            date: time::OffsetDateTime::now_utc().date().to_string(),
            rounds: plan.rounds,
            seconds: plan.seconds,
            workers: plan.workers,
            machine: Machine::this(),
            version: crate::machine::version(&plan.program, "--version"),
        }
    }

    /// Whether there are too few figures below it to say anything.
    pub(crate) fn is_a_trial(&self) -> bool {
        self.rounds < 3 || self.seconds < 1.0
    }
}

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workers: usize,
    /// Of what there is much of, so many at most.
    pub(crate) most: u64,
    pub(crate) most_connections: u64,
    pub(crate) output: PathBuf,
}

impl<F: DeserializeOwned> Sheet<F> {
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines();
        let header = serde_json::from_str(lines.next().unwrap_or_default())?;
        let figures = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { header, figures })
    }
}

/// What a file of figures is of; `None` for a comparison with others.
pub(crate) fn kind(text: &str) -> Option<Kind> {
    let header: Header = serde_json::from_str(text.lines().next()?).ok()?;
    Some(header.kind)
}
