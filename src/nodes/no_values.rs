//! A build without the feature `redis` shares nothing.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::heartbeat::{Kept, NodeId, Told};
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

    pub(crate) async fn sealed(&self, _: &Kind, _: &[u8]) -> Result<Option<Vec<u8>>, ValueError> {
        match *self {}
    }

    pub(crate) fn opened(
        &self,
        _: &Kind,
        _: &[u8],
        _: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ValueError> {
        match *self {}
    }

    pub(crate) async fn replace(
        &self,
        _: &Kind,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: Duration,
    ) -> Result<bool, ValueError> {
        match *self {}
    }

    pub(crate) async fn take(&self, _: &Kind, _: &[u8]) -> Result<Read, ValueError> {
        match *self {}
    }

    pub(crate) async fn remove(&self, _: &Kind, _: &[u8]) -> Result<bool, ValueError> {
        match *self {}
    }

    pub(super) async fn beat(&self, _: NodeId, _: &[u8]) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn leave(&self, _: NodeId) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn tell(&self, _: &Told, _: NodeId, _: &[u8]) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn tell_no_more(&self, _: &Told, _: NodeId) -> Result<(), ValueError> {
        match *self {}
    }

    pub(super) async fn all_nodes(&self) -> Result<Vec<Kept>, ValueError> {
        match *self {}
    }

    pub(super) async fn told_by(&self, _: &Told, _: &[NodeId]) -> Result<Vec<Kept>, ValueError> {
        match *self {}
    }
}
