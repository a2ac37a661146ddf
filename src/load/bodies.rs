//! Request bodies that are read whole before their application gets them, as far as there is memory
//! for them. Shares are max-min fair, as those of everything else (SEC-87).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::tuning::{TIMES_LEFT_FOR_STRANGERS, TIMES_LEFT_FOR_USERS};
use super::{Load, Resource, Usage};

/// Bodies take memory in pieces of this size.
pub(crate) const BODY_PIECE: usize = 16 * 1024;

/// What one body takes of the memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    load: Arc<Load>,
    usage: Arc<Usage>,
    bytes: usize,
}

impl HeldBody {
    /// One without a byte yet, for whom its request counts.
    pub(crate) fn new(load: Arc<Load>, usage: Arc<Usage>) -> Self {
        Self {
            load,
            usage,
            bytes: 0,
        }
    }

    /// Takes so many bytes more; `false` when its user or network holds more than is left for
    /// others.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let bodies = &self.load.class(&self.usage).bodies;
        let held = bodies.fetch_add(more, Ordering::Relaxed) + more;
        self.usage.add(Resource::Bodies, more);
        self.bytes += more;
        let all = self.load.lock_ceiling().bodies();
        // A quarter is for strangers, whatever users send, and the rest for users.
        let (max, times) = if self.usage.is_of_user() {
            (all - all / 4, TIMES_LEFT_FOR_USERS)
        } else {
            (all / 4, TIMES_LEFT_FOR_STRANGERS)
        };
        let left = max.checked_sub(held);
        left.is_some_and(|left| self.usage.is_within(Resource::Bodies, left, times))
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let bodies = &self.load.class(&self.usage).bodies;
        bodies.fetch_sub(self.bytes, Ordering::Relaxed);
        self.usage.remove(Resource::Bodies, self.bytes);
    }
}
