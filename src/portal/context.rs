//! What our pages know of a request.

use std::net::IpAddr;
use std::sync::Arc;

use http::header;
use http::request::Parts;

use super::HostRole;
use crate::auth::api_token::LastKey;
use crate::auth::callers::Callers;
use crate::auth::throttle::{Attempt, Throttle, Wait};
use crate::error::RequestError;
use crate::principal::Principal;
use crate::request::{Authority, Host};
use crate::session::cookie::RequestCookies;
use crate::session::{ClientInfo, ConnectionCache, Session, Shown};

/// A browser's name for itself is kept up to here.
const MAX_USER_AGENT: usize = 256;

/// A request to one of our addresses.
pub(crate) struct RequestContext<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) authority: &'a Authority,
    /// What the host is for.
    pub(crate) role: HostRole,
    /// The name of the app whose host it came to.
    pub(crate) app: &'a Arc<str>,
    /// What visitors sign in to there; `None` if it is more than one app.
    pub(crate) title: Option<&'a Arc<str>>,
    /// For counters and the log.
    pub(crate) client: IpAddr,
    /// Whether that is the client, and no proxy that does not name it.
    pub(crate) is_client_known: bool,
    pub(crate) cookies: RequestCookies,
    /// Of the connection that the request came by.
    pub(crate) cache: &'a ConnectionCache,
    pub(crate) last_token: &'a LastKey,
}

/// The title of the app that a path in normal form is of, on a host.
type TitleOf<'a> = dyn Fn(Option<&Host>, &str) -> Option<Arc<str>> + Sync + 'a;

/// Where a login may lead, as the configuration has it.
#[derive(Clone, Copy)]
pub(crate) struct Destinations<'a> {
    /// Bytes of the longest target.
    pub(crate) longest: usize,
    /// Whether a user may load the page of this path, in normal form; on this host, or another one
    /// of those that have a login in common.
    pub(crate) may_open: &'a (dyn Fn(Option<&Host>, &str, Principal) -> bool + Sync),
    /// The title of the app that a path in normal form is of.
    pub(crate) title: &'a TitleOf<'a>,
    /// Whether a host has the login of all apps for its own.
    pub(crate) takes_part: &'a (dyn Fn(&Host) -> bool + Sync),
    /// The apps that take API tokens and that a user may open any of.
    pub(crate) token_apps: &'a (dyn Fn(&Principal) -> Vec<TokenApp> + Sync),
}

/// An app that takes API tokens.
pub(crate) struct TokenApp {
    pub(crate) name: Arc<str>,
    pub(crate) title: Arc<str>,
    /// It is of the host of the request.
    pub(crate) is_here: bool,
}

impl RequestContext<'_> {
    /// Where the request comes from, as far as that is known.
    pub(crate) fn known_address(&self) -> Option<IpAddr> {
        self.is_client_known.then_some(self.client)
    }

    /// The session id that the request shows, as good as it may be.
    pub(crate) fn shown(&self) -> Option<Shown<'_>> {
        let id = self.cookies.session.as_ref()?;
        Some(Shown {
            id,
            by_old_name: self.cookies.by_old_name,
            host: self.authority.host(),
            app: self.app,
        })
    }

    /// The session that the request shows, and whose it is.
    pub(super) async fn session(
        &self,
        callers: &Callers,
    ) -> Result<Option<(Arc<Session>, Principal)>, RequestError> {
        let caller = callers.identify(self.shown(), self.cache).await;
        Ok(caller.map_err(RequestError::Session)?.into_session())
    }

    /// The session and the principal, without a trace: looking does not prolong it.
    pub(super) async fn peek(
        &self,
        callers: &Callers,
    ) -> Result<Option<(Arc<Session>, Principal)>, RequestError> {
        let caller = callers.peek(self.shown()).await;
        Ok(caller.map_err(RequestError::Session)?.into_session())
    }

    /// Counts a try to prove the password of `account`, by its canonical name.
    pub(super) async fn begin_login<'t>(
        &self,
        throttle: &'t Throttle,
        account: &str,
    ) -> Result<Attempt<'t>, Wait> {
        if self.is_client_known {
            throttle.begin(account, self.client).await
        } else {
            throttle.begin_behind(account, self.client).await
        }
    }

    /// What a session that starts now keeps of where it came from.
    pub(super) fn client_info(&self) -> ClientInfo {
        let user_agent = self.head.headers.get(header::USER_AGENT);
        let user_agent = user_agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        ClientInfo {
            host: self.authority.to_host(),
            client: self.client,
            user_agent: user_agent.chars().take(MAX_USER_AGENT).collect(),
        }
    }
}
