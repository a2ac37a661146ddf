//! `/.vestibule/logout`: a button, and the end of the session.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use super::csrf::Binding;
use super::form::Form;
use super::{LOGOUT, Login, Visit};
use crate::error::RequestError;
use crate::pages::{self, LogoutView};
use crate::session::{EndReason, SessionId, Shown, cookie};

/// W3C Clear Site Data; `http` has no constant for it.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

impl Login {
    pub(super) async fn ask_to_log_out(
        &self,
        visit: &Visit<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let host = visit.authority.as_str();
        let Some((session, principal)) = self.signed_in(visit).await? else {
            return Ok(self.pages.signed_out(host).into_response());
        };
        let csrf = &self
            .csrf
            .token(Binding::Session(&session.key()), visit.authority);
        let view = LogoutView {
            host,
            user: principal.identity().user(),
            csrf,
        };
        Ok(self.pages.logout(&view).into_response())
    }

    /// Ends the session on the server before the browser is told (SEC-46, SEC-66). A form of an app
    /// has not the token: whoever sent it is asked, as any script of the app may have (SEC-91).
    pub(super) async fn log_out(
        &self,
        visit: Visit<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(visit.head, body).await?;
        let key = visit.cookies.session.as_ref().map(SessionId::key);
        let ours = self.is_sent_by_us(visit.head, visit.authority, &mut form, key.as_ref())?;
        if !ours && self.peek(&visit).await?.is_some() {
            return self.ask_to_log_out(&visit).await;
        }
        if let Some(shown) = visit.shown() {
            self.end_for_logout(visit.client, &shown).await?;
            self.discard_all_forms(&visit, shown.id.key());
        }
        let mut response = pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(LOGOUT));
        cookie::expire_session(response.headers_mut());
        // `no-store` is the application's choice; without it, Back would bring its pages up again
        // from the back/forward cache (SEC-67).
        response
            .headers_mut()
            .insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        Ok(response)
    }

    /// Only what is there: an invented id is not to cost the disk a write (SEC-52).
    async fn end_for_logout(&self, client: IpAddr, shown: &Shown<'_>) -> Result<(), RequestError> {
        if matches!(self.sessions.peek(shown).await, Ok(None)) {
            return Ok(());
        }
        let key = shown.id.key();
        let ended = self.sessions.end_because(&key, EndReason::Logout);
        match ended.await {
            Ok(true) => {
                tracing::info!(target: "audit", %client, session = %key.short(), "logout");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(target: "audit", %client, session = %key.short(), "logout not saved");
                return Err(RequestError::LogoutNotKept(error));
            }
        }
        Ok(())
    }
}
