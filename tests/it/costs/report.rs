//! What was counted, beside what is committed.

use std::fmt;

use super::conditions::compiler;
use super::{COMPILER, Cost};

/// How much more than the committed number is still the same.
#[derive(Clone, Copy)]
pub(super) struct Tolerance {
    /// A ratio: how they fall into reads and wake-ups is not quite the same each time.
    pub(super) instructions: f64,
    pub(super) allocations: f64,
    pub(super) system_calls: u64,
}

/// Numbers that were counted, beside the committed ones.
pub(super) struct Report {
    what: &'static str,
    lines: Vec<String>,
    table: Vec<String>,
    is_above: bool,
}

impl Report {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            lines: Vec::new(),
            table: Vec::new(),
            is_above: false,
        }
    }

    pub(super) fn add(&mut self, name: &str, before: Cost, now: Cost, tolerance: Tolerance) {
        self.compare(
            &format!("{name}  instructions"),
            (before.instructions, now.instructions),
            before.instructions * tolerance.instructions,
        );
        self.compare(
            &format!("{name}  allocations"),
            (before.allocations, now.allocations),
            before.allocations + tolerance.allocations,
        );
        self.compare(
            &format!("{name}  system calls"),
            (calls(before.system_calls), calls(now.system_calls)),
            calls(before.system_calls + tolerance.system_calls),
        );
        self.table.push(format!("{name}: {now:.1?}"));
    }

    /// Beside another way to do the same: so much of its instructions, and so many allocations
    /// more.
    pub(super) fn compare_with(
        &mut self,
        name: &str,
        other: Cost,
        now: Cost,
        (bar, more): (f64, f64),
    ) {
        self.compare(
            &format!("{name}  instructions"),
            (other.instructions, now.instructions),
            other.instructions * bar,
        );
        self.compare(
            &format!("{name}  allocations"),
            (other.allocations, now.allocations),
            other.allocations + more,
        );
    }

    /// The same of system calls, of which there are to be no more.
    pub(super) fn compare_calls(&mut self, name: &str, other: Cost, now: Cost) {
        let [other, now] = [other, now].map(|cost| calls(cost.system_calls));
        self.compare(&format!("{name}  system calls"), (other, now), other);
    }

    /// One number of its own.
    pub(super) fn compare(&mut self, name: &str, (before, now): (f64, f64), limit: f64) {
        let verdict = if now > limit { "  TOO MUCH" } else { "" };
        self.is_above |= now > limit;
        let ratio = if before > 0.0 { now / before } else { 1.0 };
        self.lines.push(format!(
            "{name:<27}  {before:>11.1} -> {now:>11.1}  ratio {ratio:.3}{verdict}"
        ));
    }

    /// Prints it; fails when something has become more than before.
    pub(super) fn judge(self) {
        eprintln!("{self}");
        assert!(!self.is_above, "{self}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands of calls")]
fn calls(calls: u64) -> f64 {
    calls as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "what {} costs, committed -> counted:", self.what)?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        let compiler = compiler();
        if compiler != COMPILER {
            writeln!(
                f,
                "counted with {compiler}, committed with {COMPILER}: first count main"
            )?;
        }
        writeln!(f, "to commit what was counted, put it into tests/it/costs:")?;
        for line in &self.table {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
