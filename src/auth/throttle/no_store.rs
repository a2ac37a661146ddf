//! A build without the feature `redis` shares no counters.

use tokio::task::JoinHandle;

use super::nodes::{Claimed, Place, Said};
use super::{Settings, Wait};
use crate::clock::Timestamp;

/// There is none.
#[derive(Clone)]
pub(crate) enum SharedCounts {}

pub(super) struct Counted {
    pub(super) since_login: Option<u32>,
    pub(super) known_since: Option<Timestamp>,
    pub(super) last_for: Option<Wait>,
}

impl SharedCounts {
    pub(super) async fn known_since(&self, _: &Place<'_>) -> Option<Timestamp> {
        match *self {}
    }

    pub(super) async fn claim(&self, _: &Place<'_>, _: &Settings) -> Said {
        match *self {}
    }

    pub(super) fn take_back_later(&self, _: JoinHandle<Option<Claimed>>, _: bool) {
        match *self {}
    }

    pub(super) async fn succeeded(&self, _: Box<Counted>) {
        match *self {}
    }

    pub(super) async fn withdraw(&self, _: Box<Counted>) {
        match *self {}
    }
}
