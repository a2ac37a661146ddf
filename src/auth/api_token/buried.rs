//! What was revoked here, and what was heard to be revoked elsewhere. A key of a token is never used
//! twice: one that comes back to the store was written by a server that took over and had not heard of
//! its end.

use std::collections::{HashSet, VecDeque};

use super::TokenKey;

/// Keys that are remembered: 64 bytes each.
const MOST: usize = 20_000;

/// Bounded; the oldest are forgotten first.
#[derive(Default)]
pub(super) struct Buried {
    keys: HashSet<TokenKey>,
    order: VecDeque<TokenKey>,
}

impl Buried {
    pub(super) fn add(&mut self, key: TokenKey) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(super) fn has(&self, key: &TokenKey) -> bool {
        self.keys.contains(key)
    }
}
