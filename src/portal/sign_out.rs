//! `/.vestibule/logout`: a button, and the end of the session.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::csrf::{Binding, Csrf};
use super::form::Form;
use super::saved_posts::store::SavedPostStore;
use super::{LOGOUT, RequestContext};
use crate::auth::callers::Callers;
use crate::error::RequestError;
use crate::pages::{self, LogoutView, Pages};
use crate::request::ClientKind;
use crate::session::{EndReason, SessionId, Sessions, Shown, cookie};
use crate::upstream::ClientBody;

/// W3C Clear Site Data; `http` has no constant for it.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

pub(super) struct SignOut {
    /// `None` is our own page.
    pub(super) after_logout: Option<HeaderValue>,
    pub(super) callers: Arc<Callers>,
    pub(super) csrf: Arc<Csrf>,
    pub(super) pages: Arc<Pages>,
    pub(super) saved_posts: Arc<SavedPostStore>,
    pub(super) sessions: Arc<Sessions>,
}

impl SignOut {
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let host = context.authority.as_str();
        let Some((session, principal)) = context.session(&self.callers).await? else {
            return Ok(self
                .pages
                .titled(context.title)
                .signed_out(host)
                .into_response());
        };
        let csrf = &self
            .csrf
            .token(Binding::Session(&session.key()), context.authority);
        let view = LogoutView {
            host,
            user: principal.identity().user(),
            csrf,
            leads_on: self.after_logout.is_some(),
        };
        Ok(self
            .pages
            .titled(context.title)
            .logout(&view)
            .into_response())
    }

    /// Ends the session on the server before the browser is told (SEC-46, SEC-66). A form of an app
    /// has not the token: whoever sent it is asked, as any script of the app may have (SEC-91).
    pub(super) async fn sign_out(
        &self,
        context: RequestContext<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        let key = context.cookies.session.as_ref().map(SessionId::key);
        let csrf = &self.csrf;
        let ours = csrf.is_sent_by_us(context.head, context.authority, &mut form, key.as_ref())?;
        if !ours && context.peek(&self.callers).await?.is_some() {
            return self.show(context).await;
        }
        if let Some(shown) = context.shown() {
            self.end(context.client, &shown).await?;
            self.saved_posts.discard_for(&context, shown.id.key());
        }
        let location = self.location(context.head);
        let mut response = pages::redirect(StatusCode::SEE_OTHER, location);
        cookie::expire_session(response.headers_mut());
        // `no-store` is the application's choice; without it, Back would bring its pages up again
        // from the back/forward cache (SEC-67).
        response
            .headers_mut()
            .insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        Ok(response)
    }

    /// Where people go from here. A program finds on our page whether it is signed out.
    fn location(&self, head: &Parts) -> HeaderValue {
        let there = self.after_logout.as_ref();
        let there = there.filter(|_| ClientKind::of(&head.headers) == ClientKind::Browser);
        there.map_or(HeaderValue::from_static(LOGOUT), HeaderValue::clone)
    }

    /// Only what is there: an invented id is not to cost the disk a write (SEC-52).
    async fn end(&self, client: IpAddr, shown: &Shown<'_>) -> Result<(), RequestError> {
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
