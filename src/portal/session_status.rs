//! `/.vestibule/session`: for scripts that ask for the signed-in user and the time left.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{RequestContext, login_required};
use crate::auth::callers::Callers;
use crate::error::RequestError;
use crate::pages;
use crate::session::Sessions;

pub(super) struct SessionStatus {
    pub(super) callers: Arc<Callers>,
    pub(super) sessions: Arc<Sessions>,
}

impl SessionStatus {
    /// Asking does not prolong the session.
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let Some((session, principal)) = context.peek(&self.callers).await? else {
            return Err(login_required(context.head));
        };
        let left = self.sessions.time_left(&session).as_secs();
        Ok(pages::json(
            StatusCode::OK,
            &json!({ "user": principal.identity().user(), "seconds_left": left }),
        ))
    }
}
