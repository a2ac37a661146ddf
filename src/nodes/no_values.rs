//! A build without the feature `redis` shares nothing.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::heartbeat::{Kept, NodeId};
use super::{Clock, FileError, Kind, Settings, ValueError};

/// There are none.
#[derive(Clone, Debug)]
pub(crate) enum Values {}

type Read = Option<Zeroizing<Vec<u8>>>;

impl Values {
    pub(super) fn open(_: &Arc<Settings>, _: &Clock) -> Result<Option<Self>, FileError> {
        Ok(None)
    }

    pub(crate) async fn put(
        &self,
        _: &Kind,
        _: &[u8],
        _: &[u8],
        _: Duration,
    ) -> Result<(), ValueError> {
        match *self {}
    }

    pub(crate) async fn put_if_absent(
        &self,
        _: &Kind,
        _: &[u8],
        _: &[u8],
        _: Duration,
    ) -> Result<bool, ValueError> {
        match *self {}
    }

    pub(crate) async fn get(&self, _: &Kind, _: &[u8]) -> Result<Read, ValueError> {
        match *self {}
    }

    pub(crate) async fn take(&self, _: &Kind, _: &[u8]) -> Result<Read, ValueError> {
        match *self {}
    }

    pub(crate) async fn remove(&self, _: &Kind, _: &[u8]) -> Result<bool, ValueError> {
        match *self {}
    }

    pub(super) async fn set_of_node(
        &self,
        _: &Kind,
        _: NodeId,
        _: &[u8],
    ) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn remove_node(&self, _: &Kind, _: NodeId) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn of_nodes(&self, _: &Kind) -> Result<Vec<Kept>, ValueError> {
        match *self {}
    }
}
