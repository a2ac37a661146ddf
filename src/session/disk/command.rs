//! What the writing thread is asked for, and what it answers.

use std::sync::Arc;

use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::tables::Tables;
use crate::request::Host;
use crate::session::data::{DataChange, DataError};
use crate::session::id::SessionKey;
use crate::session::record::{HostId, Record};
use crate::session::store::StoreError;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked for. Nobody may be waiting for the answer any more.
pub(super) enum Command {
    /// Unless there are so many.
    Insert(Arc<Record>, usize, Reply<bool>),
    Remove(Vec<SessionKey>, Reply<usize>),
    Clear(Reply<usize>),
    Bind(SessionKey, Host, Arc<str>, Reply<Option<Arc<Record>>>),
    AddId(SessionKey, HostId, Reply<Option<Arc<Record>>>),
    Change(
        SessionKey,
        Arc<str>,
        DataChange,
        Reply<Option<Result<Arc<Record>, DataError>>>,
    ),
    Close(Reply<()>),
}

/// What came of a command, until it is durable.
pub(super) enum Outcome {
    Closed,
    Inserted(bool),
    Removed(usize),
    Bound(Option<Arc<Record>>),
    Changed(Option<Result<Arc<Record>, DataError>>),
}

impl Command {
    pub(super) fn removes(&self) -> bool {
        matches!(self, Self::Remove(..) | Self::Clear(_))
    }

    /// Whether the answer has to wait until the disk has it.
    pub(super) fn is_durable(&self) -> bool {
        !matches!(self, Self::AddId(..) | Self::Change(..))
    }

    /// Does it within a transaction that is not committed yet.
    pub(super) fn apply<'t>(
        &self,
        mut tables: Tables<'t>,
        transaction: &'t WriteTransaction,
    ) -> Result<(Tables<'t>, Outcome), redb::Error> {
        let outcome = match self {
            Self::Insert(record, most, _) => {
                let has_place = *most == usize::MAX || tables.count()? < *most;
                if has_place {
                    tables.insert(record)?;
                }
                Outcome::Inserted(has_place)
            }
            Self::Remove(keys, _) => Outcome::Removed(tables.remove_each(keys)?),
            Self::Clear(_) => {
                let (cleared, count) = tables.clear(transaction)?;
                return Ok((cleared, Outcome::Removed(count)));
            }
            Self::Bind(key, host, app, _) => Outcome::Bound(tables.bind(key, host, app)?),
            Self::AddId(key, id, _) => Outcome::Bound(tables.add_id(key, id)?),
            Self::Change(key, app, change, _) => Outcome::Changed(tables.change(key, app, change)?),
            Self::Close(_) => Outcome::Closed,
        };
        Ok((tables, outcome))
    }

    pub(super) fn succeed(self, outcome: Outcome) {
        match (self, outcome) {
            (Self::Insert(_, _, reply), Outcome::Inserted(is_kept)) => send(reply, Ok(is_kept)),
            (Self::Close(reply), _) => send(reply, Ok(())),
            (Self::Remove(_, reply) | Self::Clear(reply), Outcome::Removed(count)) => {
                send(reply, Ok(count));
            }
            (Self::Bind(_, _, _, reply) | Self::AddId(_, _, reply), Outcome::Bound(bound)) => {
                send(reply, Ok(bound));
            }
            (Self::Change(_, _, _, reply), Outcome::Changed(changed)) => send(reply, Ok(changed)),
            (command, _) => command.fail(StoreError::Unavailable),
        }
    }

    pub(super) fn fail(self, error: StoreError) {
        match self {
            Self::Insert(_, _, reply) => send(reply, Err(error)),
            Self::Close(reply) => send(reply, Err(error)),
            Self::Remove(_, reply) | Self::Clear(reply) => send(reply, Err(error)),
            Self::Bind(_, _, _, reply) | Self::AddId(_, _, reply) => send(reply, Err(error)),
            Self::Change(_, _, _, reply) => send(reply, Err(error)),
        }
    }
}

fn send<T>(reply: Reply<T>, answer: Result<T, StoreError>) {
    let _gone_away = reply.send(answer); // what they asked for is done all the same
}
