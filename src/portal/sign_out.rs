//! `/.vestibule/logout`: a button, and the end of the session.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::csrf::{Binding, Csrf};
use super::form::{self, Form};
use super::saved_posts::store::SavedPostStore;
use super::sso::{Sso, signing_out::shown};
use super::{HostRole, LOGOUT, RequestContext};
use crate::auth::callers::Callers;
use crate::error::RequestError;
use crate::pages::{self, LogoutView, Pages};
use crate::principal::Principal;
use crate::request::ClientKind;
use crate::session::{EndReason, Session, SessionId, SessionKey, Sessions, Shown, cookie};
use crate::upstream::ClientBody;

/// W3C Clear Site Data; `http` has no constant for it.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// The parameter, and the field, that name a session of an app's host; and the parameter that names
/// the hosts that a sign-out has ended it for.
const SESSION: &str = "session";
const ENDED: &str = "ended";

pub(super) struct SignOut {
    /// `None` is our own page.
    pub(super) after_logout: Option<HeaderValue>,
    pub(super) callers: Arc<Callers>,
    pub(super) csrf: Arc<Csrf>,
    pub(super) pages: Arc<Pages>,
    pub(super) saved_posts: Arc<SavedPostStore>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) sso: Option<Arc<Sso>>,
}

/// Sessions that a sign-out is about: that of this host first, and that of the app's host where it
/// began.
type Open = Vec<(Arc<Session>, Principal)>;

impl SignOut {
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        if let Some(sso) = self.elsewhere(&context) {
            return lead_away(sso, &context).await;
        }
        let name = form::query_value(context.head, SESSION).into_owned();
        let own = context.session(&self.callers).await?;
        let open = self.open(own, &name).await?;
        Ok(self.page(&context, &open, &name))
    }

    fn page(&self, context: &RequestContext<'_>, open: &Open, name: &str) -> Response<Bytes> {
        let host = context.authority.as_str();
        let pages = self.pages.titled(context.title);
        let Some((session, principal)) = open.first() else {
            let ended = form::query_value(context.head, ENDED);
            let ended = self.sso.as_ref().map(|sso| sso.named_hosts(&ended));
            let ended = ended.unwrap_or_default();
            return pages.signed_out(host, &ended).into_response();
        };
        let csrf = &self
            .csrf
            .token(Binding::Session(&session.key()), context.authority);
        let hosts = match &self.sso {
            Some(_) => app_hosts(open, context),
            None => Vec::new(),
        };
        let view = LogoutView {
            host,
            user: principal.identity().user(),
            csrf,
            hosts: shown(&hosts),
            session: (!name.is_empty()).then_some(name),
            leads_on: self.after_logout.is_some(),
        };
        pages.logout(&view).into_response()
    }

    /// Ends the session on the server before the browser is told (SEC-46, SEC-66). A form of an app
    /// has not the token: whoever sent it is asked, as any script of the app may have (SEC-91).
    pub(super) async fn sign_out(
        &self,
        context: RequestContext<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        if let Some(sso) = self.elsewhere(&context) {
            return lead_away(sso, &context).await;
        }
        let name = form.take_optional(SESSION)?;
        let own = context.peek(&self.callers).await.unwrap_or_default();
        let open = self.open(own, &name).await?;
        let first = open.first().map(|(session, _)| session.key());
        let shown = context.cookies.session.as_ref().map(SessionId::key);
        let key = first.or(shown);
        let csrf = &self.csrf;
        let ours = csrf.is_sent_by_us(context.head, context.authority, &mut form, key.as_ref())?;
        if !ours && !open.is_empty() {
            return Ok(self.page(&context, &open, &name));
        }
        for (session, _) in &open {
            self.end(context.client, &session.key()).await?;
            self.saved_posts.discard_for(&context, session.key()).await;
        }
        if open.is_empty()
            && let Some(shown) = context.shown()
        {
            self.end_inactive(context.client, &shown).await?;
            self.saved_posts.discard_for(&context, shown.id.key()).await;
        }
        let location = self.location(context.head, &app_hosts(&open, &context));
        let mut response = pages::redirect(StatusCode::SEE_OTHER, location);
        cookie::expire_session(response.headers_mut());
        clear_cache(&mut response);
        Ok(response)
    }

    /// Whether the login of this host, and so the sign-out, is on another one.
    fn elsewhere(&self, context: &RequestContext<'_>) -> Option<&Sso> {
        let sso = self.sso.as_deref();
        sso.filter(|_| context.role == HostRole::App)
    }

    /// Its own session, and the one that the host of an app has named.
    async fn open(
        &self,
        own: Option<(Arc<Session>, Principal)>,
        name: &str,
    ) -> Result<Open, RequestError> {
        let mut open: Open = own.into_iter().collect();
        let key = self.sso.as_ref().and_then(|sso| sso.named_session(name));
        let is_other = |key: &SessionKey| open.iter().all(|(session, _)| session.key() != *key);
        if let Some(key) = key.filter(is_other) {
            let named = self.sessions.by_key(&key).await;
            let named = named.map_err(RequestError::Session)?;
            if let Some(session) = named {
                let principal = self.callers.principal_now(&session).await;
                let principal = principal.map_err(RequestError::Session)?;
                open.extend(principal.map(|principal| (session, principal)));
            }
        }
        Ok(open)
    }

    /// Where people go from here. A program finds on our page whether it is signed out.
    fn location(&self, head: &Parts, ended: &[String]) -> HeaderValue {
        let there = self.after_logout.as_ref();
        let there = there.filter(|_| ClientKind::of(&head.headers) == ClientKind::Browser);
        if let Some(there) = there {
            return there.clone();
        }
        let named = match &self.sso {
            Some(sso) if !ended.is_empty() => {
                HeaderValue::try_from(format!("{LOGOUT}?{ENDED}={}", sso.name_hosts(ended))).ok()
            }
            _ => None,
        };
        named.unwrap_or(HeaderValue::from_static(LOGOUT))
    }

    /// A session whose account is no longer active. Only what is there: an invented id is to cost the
    /// store no write, and no place among the ends that wait for it (SEC-52).
    async fn end_inactive(&self, client: IpAddr, shown: &Shown<'_>) -> Result<(), RequestError> {
        match self.sessions.peek(shown).await {
            Ok(None) => Ok(()),
            Ok(Some(session)) => self.end(client, &session.key()).await,
            Err(error) => Err(RequestError::Session(error)),
        }
    }

    async fn end(&self, client: IpAddr, key: &SessionKey) -> Result<(), RequestError> {
        let ended = self.sessions.end_because(key, EndReason::Logout);
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

/// To the sign-out of the login host. What this host has shown is not brought up again from here.
async fn lead_away(
    sso: &Sso,
    context: &RequestContext<'_>,
) -> Result<Response<Bytes>, RequestError> {
    let mut response = sso.to_sign_out(context).await?;
    clear_cache(&mut response);
    Ok(response)
}

/// `no-store` is the application's choice; without it, Back would bring its pages up again from the
/// back/forward cache (SEC-67).
fn clear_cache(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
}

/// The hosts of apps that these sessions are open on, by name.
fn app_hosts(open: &Open, context: &RequestContext<'_>) -> Vec<String> {
    let ids = open.iter().flat_map(|(session, _)| session.ids());
    let hosts = ids
        .map(|id| id.host)
        .filter(|host| !host.is(context.authority.host()));
    let hosts: BTreeSet<_> = hosts.map(|host| host.as_str().to_owned()).collect();
    hosts.into_iter().collect()
}
