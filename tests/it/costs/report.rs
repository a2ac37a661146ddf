//! What was counted, beside what is committed.

use std::fmt;

use super::conditions::compiler;
use super::{COMPILER, Cost, Protocol, ROUNDING, TOLERANCE};

/// Numbers that were counted, beside the committed ones.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<String>,
    table: Vec<String>,
    pub(super) is_above: bool,
}

impl Report {
    pub(super) fn add(&mut self, protocol: Protocol, before: Cost, now: Cost) {
        #[expect(clippy::cast_precision_loss, reason = "a handful of calls")]
        let calls = |cost: Cost| cost.system_calls as f64;
        let limits = [
            (
                "instructions",
                (before.instructions, now.instructions),
                before.instructions * TOLERANCE,
            ),
            (
                "allocations",
                (before.allocations, now.allocations),
                before.allocations + ROUNDING,
            ),
            ("system calls", (calls(before), calls(now)), calls(before)),
        ];
        for (what, (before, now), limit) in limits {
            let verdict = if now > limit { "  TOO MUCH" } else { "" };
            self.is_above |= now > limit;
            self.lines.push(format!(
                "{protocol:?}  {what:<12}  {before:>9.1} -> {now:>9.1}  ratio {:.3}{verdict}",
                now / before
            ));
        }
        self.table.push(format!("{protocol:?}: {now:.1?}"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "what a request costs, committed -> counted:")?;
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
        writeln!(
            f,
            "to commit what was counted, put it into tests/it/costs.rs:"
        )?;
        for line in &self.table {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
