//! `[login] host`: one login for all apps. An app's host sends page loads without a session there,
//! and `/.vestibule/sso` is where they come back to, with a code that opens the session on that
//! host (SEC-97).
//!
//! The way there carries a state: signed, so that nobody else makes one; not kept, so that any number
//! of tabs can wait; and with the hash of the pre-login cookie of the app's host, so that only the
//! browser that went comes back with it. The way back carries the code. What it gives is another id
//! of the same session, good on that host alone.

mod codes;
pub(super) mod signing_out;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::ask::{KEPT, RETURN_TO};
use super::form::query_value;
use super::login_cookie::LoginCookie;
use super::long_targets::LongTargets;
use super::return_to::{MAX_IN_LINK, ReturnTo};
use super::saved_posts::{self, store::SavedPostStore};
use super::seal::Seal;
use super::{Destinations, LOGIN, LOGOUT, RequestContext, SSO};
use crate::auth::callers::Callers;
use crate::error::RequestError;
use crate::pages;
use crate::request::{Authority, Host};
use crate::session::cookie::{expire_login, set_session};
use crate::session::{EndReason, HostId, Session, SessionId, Sessions};
pub(super) use codes::Codes;
use codes::{Browser, Grant};
pub(super) use state::State;

/// How often a sign-in begins anew: many tabs that begin at once each set a pre-login cookie, and
/// all but the last come back with another one. A browser that keeps no cookie would go around for
/// ever.
const MAX_TRIES: u8 = 3;

/// Where everybody signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginHost {
    pub(crate) host: Host,
    /// Of all hosts in the browser, if the configuration has it; else that of `Host`.
    pub(crate) public_port: Option<u16>,
}

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostRole {
    /// It has a login of its own.
    Own,
    /// It is of an app; the login is elsewhere.
    App,
    /// It has the login of all apps, and no app.
    Login,
}

/// How a sign-in begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Beginning {
    tries: u8,
    /// To sign in as a different user.
    switch: bool,
    /// A script led people here, whose page stays open.
    background: bool,
}

/// One login for all apps, as one configuration has it.
pub(super) struct Sso {
    pub(super) callers: Arc<Callers>,
    pub(super) codes: Arc<Codes>,
    pub(super) login: LoginHost,
    pub(super) long_targets: Arc<LongTargets>,
    pub(super) saved_posts: Arc<SavedPostStore>,
    pub(super) seal: Arc<Seal>,
    pub(super) sessions: Arc<Sessions>,
}

impl Sso {
    /// From the host of an app to the login, with a state that leads back to `target` (SEC-69).
    /// What is too long to be sent along is kept (SEC-63); `longest` is what a target may be.
    pub(super) async fn begin(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTo,
        longest: usize,
        beginning: Beginning,
    ) -> Result<Response<Bytes>, RequestError> {
        let cookie = LoginCookie::of(context)?;
        // Encoded once more, and beside the rest, it has to be a target still.
        let fits = target.as_str().len() <= MAX_IN_LINK.min(longest.saturating_sub(600) / 2);
        let kept = if fits {
            None
        } else {
            let (targets, value) = (&self.long_targets, cookie.as_bytes());
            let kept = targets.keep(value, context.client, target).await;
            kept.map_err(RequestError::NoRandomness)?
        };
        let path = ReturnTo::parse(target.path(), longest / 2);
        let state = State {
            host: context.authority.to_host(),
            port: self.port(context.authority),
            browser: Browser::of(cookie.as_bytes()),
            target: if fits { target.clone() } else { path },
            kept,
            tries: beginning.tries,
        };
        let state = state.seal(&self.seal);
        let switch = if beginning.switch { "&switch=1" } else { "" };
        let background = if beginning.background {
            "&background=1"
        } else {
            ""
        };
        let login = self.login_origin(context.authority);
        let mut response = to(&format!("{login}{LOGIN}?state={state}{switch}{background}"));
        cookie.set(response.headers_mut());
        Ok(response)
    }

    /// The state of a login that an app's host began, as far as it leads to a host of now.
    pub(super) fn state(&self, sealed: &str, destinations: &Destinations<'_>) -> Option<State> {
        let state = State::open(&self.seal, sealed)?;
        (destinations.takes_part)(&state.host).then_some(state)
    }

    pub(super) fn seal_state(&self, state: &State) -> String {
        state.seal(&self.seal)
    }

    /// From the login back to the app's host, with a code for the session that `login` opens.
    pub(super) async fn carry(
        &self,
        login: &SessionId,
        state: &State,
    ) -> Result<Response<Bytes>, RequestError> {
        let grant = Grant {
            host: state.host.clone(),
            browser: state.browser,
            session: login.key(),
            id: login.for_host(&state.host),
        };
        let code = self.codes.issue(grant).await?;
        let (authority, state) = (state.authority(), state.seal(&self.seal));
        Ok(to(&format!(
            "https://{authority}{SSO}?code={code}&state={state}"
        )))
    }

    /// `/.vestibule/sso`: completes a login, and begins one for links of our own pages.
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let query = |name| query_value(context.head, name);
        let (code, sealed) = (query("code"), query("state"));
        let state = State::open(&self.seal, &sealed);
        let state = state.filter(|state| state.host.is(context.authority.host()));
        // Whoever shows it, and whatever comes of that, it is worth nothing any more.
        let grant = self.codes.take(&code).await?;
        if let (Some(grant), Some(state)) = (&grant, &state)
            && is_for(grant, state, &context)
            && let Some(response) = self.open(&context, grant, state).await?
        {
            return Ok(response);
        }
        let beginning = Beginning {
            tries: state.as_ref().map_or(0, |state| state.tries + 1),
            switch: query("switch") == "1",
            background: query("background") == "1",
        };
        let has_come_back = !(code.is_empty() && sealed.is_empty());
        let target = match &state {
            Some(state) => state.target_of(&context, &self.long_targets).await,
            None if has_come_back => ReturnTo::home(),
            None => {
                let kept = self.long_targets.find(&context, &query(KEPT)).await;
                let named = || ReturnTo::parse(&query(RETURN_TO), destinations.longest);
                kept.unwrap_or_else(named)
            }
        };
        let is_signed_in = context.peek(&self.callers).await?.is_some();
        if is_signed_in && !beginning.switch {
            return Ok(target.redirect()); // another tab was faster, or somebody went back
        }
        let is_lost = has_come_back && state.is_none();
        if is_lost || beginning.tries > MAX_TRIES {
            return Err(RequestError::SignInNotFinished);
        }
        self.begin(&context, &target, destinations.longest, beginning)
            .await
    }

    /// The session at this host, in place of the one that the browser had here; `None` if it is over.
    async fn open(
        &self,
        context: &RequestContext<'_>,
        grant: &Grant,
        state: &State,
    ) -> Result<Option<Response<Bytes>>, RequestError> {
        let id = HostId {
            key: grant.id.key(),
            host: grant.host.clone(),
        };
        let added = self.sessions.add_id(&grant.session, id.clone()).await;
        let Some(session) = added.map_err(RequestError::Session)? else {
            return Ok(None);
        };
        let principal = self.callers.principal_now(&session).await;
        let Some(principal) = principal.map_err(RequestError::Session)? else {
            return Ok(None);
        };
        self.end_other(context, &session).await?;
        let (user, key) = (principal.identity().user(), session.key());
        let host = id.host.as_str().to_owned();
        self.saved_posts.former_users().note(id, key, user);
        let target = state.target_of(context, &self.long_targets).await;
        self.long_targets.adopt(context, grant.id.key()).await;
        tracing::info!(
            target: "audit", client = %context.client, user, session = %key.short(), host,
            "session opened on a host"
        );
        let has_saved_posts = self.saved_posts.adopt_for(context, user, key).await;
        let mut response = if has_saved_posts {
            saved_posts::to_page()
        } else {
            target.redirect()
        };
        let kept_for = self.sessions.kept_for(&session);
        let headers = response.headers_mut();
        headers.append(header::SET_COOKIE, set_session(&grant.id, kept_for));
        headers.append(header::SET_COOKIE, expire_login());
        for cookie in context.cookies.expire_old() {
            headers.append(header::SET_COOKIE, cookie);
        }
        Ok(Some(response))
    }

    /// Ends the session that this browser had here, if it is another one (SEC-45).
    async fn end_other(
        &self,
        context: &RequestContext<'_>,
        session: &Session,
    ) -> Result<(), RequestError> {
        let Some((before, _)) = context.peek(&self.callers).await? else {
            return Ok(());
        };
        if before.key() == session.key() {
            return Ok(());
        }
        let key = before.key();
        if let Err(error) = self.sessions.end_because(&key, EndReason::Replaced).await {
            tracing::error!(%error, "the end of a session was not written down");
        }
        Ok(())
    }

    /// From the host of an app to the sign-out. A session that is open here is named: the login host
    /// may not have it any more.
    pub(super) async fn to_sign_out(
        &self,
        context: &RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let signed_in = context.peek(&self.callers).await?;
        let login = self.login_origin(context.authority);
        let session = signed_in.map(|(session, _)| self.name_session(&session.key()));
        let query = session.map_or_else(String::new, |name| format!("?session={name}"));
        Ok(to(&format!("{login}{LOGOUT}{query}")))
    }

    fn login_origin(&self, here: &Authority) -> String {
        let authority = with_port(&self.login.host, self.port(here));
        format!("https://{authority}")
    }

    fn port(&self, here: &Authority) -> Option<u16> {
        self.login.public_port.or(here.port())
    }
}

/// Whether a code is for the host and the browser that show it (SEC-97).
fn is_for(grant: &Grant, state: &State, context: &RequestContext<'_>) -> bool {
    let browser = context.cookies.login.as_ref();
    let browser = browser.map(|cookie| Browser::of(cookie.as_bytes()));
    browser == Some(grant.browser)
        && state.browser == grant.browser
        && state.host == grant.host
        && grant.host.is(context.authority.host())
}

fn with_port(host: &Host, port: Option<u16>) -> String {
    match port {
        None | Some(443) => host.as_str().to_owned(),
        Some(port) => format!("{}:{port}", host.as_str()),
    }
}

/// Redirects to one of our own addresses on another host. No part of it comes from the client
/// (SEC-62).
fn to(address: &str) -> Response<Bytes> {
    let location = HeaderValue::try_from(address);
    let location = location.unwrap_or(HeaderValue::from_static("/"));
    pages::redirect(StatusCode::SEE_OTHER, location)
}
