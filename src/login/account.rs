//! `/.vestibule/account`: who is signed in.

use bytes::Bytes;
use http::Response;

use super::{Login, Visit, login_required};
use crate::error::RequestError;
use crate::pages::AccountView;
use crate::request::Target;

impl Login {
    pub(super) async fn account(&self, visit: &Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let Some((session, identity)) = self.signed_in(&visit.cookies, visit.memo).await? else {
            let target = Target::parse(visit.head, false).map_err(RequestError::BadRequest)?;
            return Ok(Self::ask(visit.head, &target));
        };
        let sessions = self.sessions.of_user(session.user()).await;
        let sessions = sessions.map_err(RequestError::Session)?;
        let key = session.key();
        let Some(record) = sessions.iter().find(|record| record.key == key) else {
            return Ok(login_required()); // ended just now
        };
        let view = AccountView {
            host: visit.authority.as_str(),
            user: identity.user(),
            email: identity.email(),
            groups: identity.groups(),
            method: &record.method,
            now: self.clock.now(),
            signed_in: record.created,
            last_active: session.last_accessed(),
            expires: record.expires,
        };
        Ok(self.pages.account(&view).into_response())
    }
}
