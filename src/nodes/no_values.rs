//! A build without the feature `redis` shares nothing.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Clock, FileError, Settings};

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind;

impl Kind {
    pub(crate) const fn new(_name: &'static str, _version: u8, _most: usize) -> Self {
        Self
    }
}

/// There are none.
#[derive(Clone, Debug)]
pub(crate) enum Values {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueError {}

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
}

impl std::fmt::Display for ValueError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for ValueError {}
