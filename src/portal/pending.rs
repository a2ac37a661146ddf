//! What waits for a login where several nodes share it: saved POSTs, and addresses that are too long
//! for a link.
//!
//! Something waits for an owner: a browser, a page, or a session. Nobody else finds it, and a login
//! hands it from the browser to the session. What is said of it is short, and sealed for its owner:
//! whoever can write to the store can hand it to nobody else. The rest, where there is any, is read
//! only by the node that takes it out.
//!
//! Taking out is one step: of two nodes at once, one gets it. It leaves a mark that names the try, so
//! that a node whose answer was lost can ask once more, and nobody puts back what another has taken.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a node that is alone keeps nothing here")
)]

mod name;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "pending/no_store.rs"]
mod redis;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
pub(super) use name::Name;
pub(super) use redis::PendingStore;

/// Things that one owner has at most.
pub(super) const OF_ONE_OWNER: usize = 64;

/// Names one try to take something out.
pub(super) type Token = [u8; 16];

/// What an owner has.
pub(super) struct Listed {
    /// By the clock of the store.
    pub(super) now: Timestamp,
    pub(super) items: Vec<Item>,
}

pub(super) struct Item {
    pub(super) name: Name,
    /// What is said of it.
    pub(super) text: Zeroizing<Vec<u8>>,
}

/// What is to be kept.
pub(super) struct NewItem<'a> {
    pub(super) name: Name,
    pub(super) text: &'a [u8],
    pub(super) body: Option<&'a [u8]>,
    /// What it takes the place of, of the same owner.
    pub(super) replaced: &'a [Name],
}

/// What became of something that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Kept,
    /// It was kept before, and somebody has taken it out.
    Gone,
    /// The owner has too much.
    NoRoom,
}

/// What became of something that was to be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Taken,
    /// The owner has nothing of that name.
    Absent,
    /// Another node has taken it, or another owner has it.
    Elsewhere,
}

/// What became of something that was to be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    Done,
    Absent,
    NoRoom,
}
