//! A build without the feature `redis` shares no counters.

use tokio::task::JoinHandle;

use super::{Settings, Wait};
use crate::clock::Timestamp;
use crate::network::Network;

pub(super) struct Place<'a> {
    pub(super) account: &'a str,
    pub(super) network: Network,
    pub(super) by_proxy: bool,
    pub(super) known: bool,
}

/// There is none.
#[derive(Clone)]
pub(crate) enum InStore {}

pub(super) enum Claimed {
    Refused(Wait),
    Counted(Box<Counted>),
}

pub(super) struct Counted {
    pub(super) since_login: Option<u32>,
    pub(super) known_since: Option<Timestamp>,
    pub(super) last_for: Option<Wait>,
}

pub(super) enum Said {
    InTime(Claimed),
    Later(JoinHandle<Option<Claimed>>),
    Nothing,
}

impl InStore {
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
