//! Which host an id opens (SEC-88).
//!
//! Browsers send our cookie only to the host that set it. Nothing keeps people, or what runs on
//! their machines, from carrying it to another host by hand.

use std::sync::Arc;

use super::{Session, SessionId, Sessions, StoreError};
use crate::request::Host;

/// An id as a request shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) id: &'a SessionId,
    /// In a cookie of the name that scripts could set.
    pub(crate) by_old_name: bool,
    /// As `Host` or `:authority` has it, without port.
    pub(crate) host: &'a str,
    /// The name of the app that the request is for.
    pub(crate) app: &'a Arc<str>,
}

impl Sessions {
    /// Whether an id opens its session there. Elsewhere it is as unknown as an invented one
    /// (SEC-53): no answer, and nothing that is done, differs by it.
    pub(super) async fn opens(
        &self,
        shown: &Shown<'_>,
        session: &Session,
    ) -> Result<bool, StoreError> {
        if shown.by_old_name && !session.is_old() {
            return Ok(false); // as a script of an app would have put it there
        }
        match session.host() {
            Some(host) => Ok(host.is(shown.host)),
            None if session.is_old() => Box::pin(self.bind(shown, session)).await,
            None => Ok(false),
        }
    }

    /// The first use of a session of an earlier version: its id is for this host from now on. Of
    /// two at once on two hosts, one is the first.
    async fn bind(&self, shown: &Shown<'_>, session: &Session) -> Result<bool, StoreError> {
        let Some(host) = Host::parse(shown.host) else {
            return Ok(false);
        };
        let bound = self
            .store
            .bind(session.key(), host.clone(), Arc::clone(shown.app));
        match bound.await {
            Ok(Some(record)) => session.bind(&record),
            Ok(None) => return Ok(false), // ended meanwhile
            // A disk that is full ends no session: until a restart this process knows it.
            Err(error) => {
                tracing::error!(%error, session = %session.key().short(), "the host of a session was not written down");
                session.bind_to(host);
            }
        }
        Ok(session.host().is_some_and(|host| host.is(shown.host)))
    }
}
