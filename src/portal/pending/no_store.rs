//! A build without the feature `redis` shares nothing.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{HandOver, Listed, Name, NewItem, Put, Take, Token};
use crate::nodes::Nodes;
use crate::session::StoreError;

/// There is none.
pub(in crate::portal) enum PendingStore {}

type Answer<T> = Result<T, StoreError>;

impl PendingStore {
    pub(in crate::portal) fn of(_: &Nodes, _: &'static str, _: Duration) -> Option<Self> {
        None
    }

    pub(in crate::portal) fn patience(&self) -> Duration {
        match *self {}
    }

    pub(in crate::portal) fn is_connected(&self) -> bool {
        match *self {}
    }

    pub(in crate::portal) async fn list(&self, _: Name) -> Answer<Listed> {
        match *self {}
    }

    pub(in crate::portal) async fn put(
        &self,
        _: Name,
        _: &NewItem<'_>,
        _: &Token,
        _: Duration,
    ) -> Answer<Put> {
        match *self {}
    }

    pub(in crate::portal) async fn body(&self, _: Name) -> Answer<Option<Zeroizing<Vec<u8>>>> {
        match *self {}
    }

    pub(in crate::portal) async fn take(
        &self,
        _: Name,
        _: Name,
        _: &Token,
        _: Option<&Token>,
    ) -> Answer<Take> {
        match *self {}
    }

    pub(in crate::portal) async fn hand_over(
        &self,
        _: (Name, Name),
        _: (Name, &[u8]),
        _: Duration,
    ) -> Answer<HandOver> {
        match *self {}
    }

    pub(in crate::portal) async fn are_there(&self, _: &[Name]) -> Answer<Vec<bool>> {
        match *self {}
    }
}
