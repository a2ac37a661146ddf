//! What shows that there is too much to do.

use super::Cause;
use super::tuning::MIN_FOR_DELAY;

/// The signals at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signals {
    pub(super) connections: (usize, usize),
    pub(super) streams: usize,
    pub(super) late: bool,
    pub(super) resident: u64,
    pub(super) ceiling: u64,
}

impl Signals {
    /// The gravest first.
    pub(super) fn cause(&self) -> Option<Cause> {
        let (open, max) = self.connections;
        if self.resident > self.ceiling / 10 * 9 {
            Some(Cause::Memory)
        } else if open > max - max / 10 {
            Some(Cause::Connections)
        } else if self.late && open.max(self.streams) >= MIN_FOR_DELAY {
            Some(Cause::Delay)
        } else {
            None
        }
    }
}
