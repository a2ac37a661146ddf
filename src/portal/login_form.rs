//! The form that asks for a name and a password, and where a login leads.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::csrf::{Binding, Csrf};
use super::form;
use super::login_cookie::LoginCookie;
use super::long_targets::LongTargets;
use super::return_to::ReturnTo;
use super::saved_posts::store::{Outlook, Owner, SavedPostStore};
use super::sso::{Sso, State};
use super::{Destinations, HostRole, LOGIN, RequestContext};
use crate::error::RequestError;
use crate::pages::{LoginNotice, LoginView, Page, Pages, SignInFirstView};
use crate::request::Host;
use crate::session::SessionId;

/// The parameter of [`LOGIN_IN_BACKGROUND`](super::LOGIN_IN_BACKGROUND).
const BACKGROUND: &str = "background";

/// The parameter that asks for the form although somebody is signed in. The form is sent to the
/// address of its page, so that this stays with it after a wrong password.
const SWITCH: &str = "switch";

/// What is to follow a login.
pub(super) struct PostLoginOptions {
    pub(super) onward: Onward,
    /// Stay signed in when the browser is closed.
    pub(super) remember: bool,
    /// Of the app that it leads to, where that has one.
    pub(super) title: Option<Arc<str>>,
}

/// Where a login leads.
pub(super) enum Onward {
    /// To a page of this host.
    Here(ReturnTo),
    /// To that of a host that has its login here.
    There(State),
}

impl Onward {
    /// Its host, where that is not this one, and its path.
    pub(super) fn place(&self) -> (Option<&Host>, &str) {
        match self {
            Self::Here(target) => (None, target.path()),
            Self::There(state) => (Some(&state.host), state.target.path()),
        }
    }

    /// What the form of this host has to say of it.
    fn here(&self) -> ReturnTo {
        match self {
            Self::Here(target) => target.clone(),
            Self::There(_) => ReturnTo::home(),
        }
    }
}

impl PostLoginOptions {
    /// To the start page, of the host that the request came to.
    pub(super) fn home(context: &RequestContext<'_>) -> Self {
        Self {
            onward: Onward::Here(ReturnTo::home()),
            remember: false,
            title: context.title.map(Arc::clone),
        }
    }

    pub(super) fn to(onward: Onward, remember: bool, destinations: &Destinations<'_>) -> Self {
        let (host, path) = onward.place();
        Self {
            title: (destinations.title)(host, path),
            onward,
            remember,
        }
    }
}

/// What the form shows to this visitor.
#[derive(Default)]
pub(super) struct Shown<'a> {
    pub(super) notice: Option<LoginNotice<'a>>,
    /// Somebody is, in this browser: a form that went on by itself would do so as that user.
    pub(super) is_signed_in: bool,
}

/// The form that asks for a name and a password.
#[derive(Clone)]
pub(super) struct LoginForm {
    pub(super) csrf: Arc<Csrf>,
    pub(super) long_targets: Arc<LongTargets>,
    pub(super) pages: Arc<Pages>,
    pub(super) saved_posts: Arc<SavedPostStore>,
    pub(super) sso: Option<Arc<Sso>>,
}

impl LoginForm {
    /// Bound to this browser by a cookie that is not a session (SEC-54).
    pub(super) async fn page(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        shown: Shown<'_>,
    ) -> Result<Page, RequestError> {
        let cookie = LoginCookie::of(context)?;
        // Nobody without a cookie has the store asked (SEC-52).
        let outlook = if cookie.is_new() {
            Outlook::default()
        } else {
            self.outlook(context, &cookie).await
        };
        self.page_with(context, (&cookie, outlook), options, shown)
            .await
    }

    async fn outlook(&self, context: &RequestContext<'_>, cookie: &LoginCookie) -> Outlook {
        let browser = Owner::browser(cookie.as_bytes());
        let host = context.authority.as_str();
        self.saved_posts.outlook(browser, host).await
    }

    async fn page_with(
        &self,
        context: &RequestContext<'_>,
        (cookie, outlook): (&LoginCookie, Outlook),
        options: &PostLoginOptions,
        shown: Shown<'_>,
    ) -> Result<Page, RequestError> {
        let (host, cookie_value) = (context.authority.as_str(), cookie.as_bytes());
        let binding = Binding::LoginCookie(cookie_value);
        let return_to = &options.onward.here();
        let kept = if return_to.is_long() {
            let targets = &self.long_targets;
            let name = targets.keep(cookie_value, context.client, return_to).await;
            name.map_err(RequestError::NoRandomness)?
        } else {
            None
        };
        let state = match (&options.onward, &self.sso) {
            (Onward::There(state), Some(sso)) => Some(sso.seal_state(state)),
            _ => None,
        };
        let view = LoginView {
            host,
            csrf: &self.csrf.token(binding, context.authority),
            action: (context.head.uri.path() != LOGIN).then_some(LOGIN),
            return_to: if return_to.is_long() {
                "/"
            } else {
                return_to.as_str()
            },
            kept: kept.as_deref(),
            state: state.as_deref(),
            remember: options.remember,
            notice: shown.notice,
            saved_for: outlook.saved_for,
            sends_itself: outlook.sends_itself,
            has_open_pages: has_open_pages(context) && !shown.is_signed_in,
            waits: !shown.is_signed_in && !is_switch(context),
        };
        let pages = self.pages.titled(options.title.as_ref().or(context.title));
        Ok(cookie.set_on(pages.login(&view)))
    }

    /// Where a login leads that names its target so; what is kept by a name counts first.
    pub(super) async fn onward(
        &self,
        context: &RequestContext<'_>,
        (state, kept, return_to): (&str, &str, &str),
        destinations: &Destinations<'_>,
    ) -> Onward {
        if let Some(sso) = &self.sso
            && context.role == HostRole::Login
            && let Some(state) = sso.state(state, destinations)
        {
            return Onward::There(state);
        }
        let kept = self.long_targets.find(context, kept).await;
        let named = || ReturnTo::parse(return_to, destinations.longest);
        Onward::Here(kept.unwrap_or_else(named))
    }

    /// To where a login leads; `id` is what has been signed in with.
    pub(super) async fn lead_on(
        &self,
        onward: &Onward,
        id: &SessionId,
    ) -> Result<Response<Bytes>, RequestError> {
        match (onward, &self.sso) {
            (Onward::There(state), Some(sso)) => sso.carry(id, state).await,
            (onward, _) => Ok(onward.here().redirect()),
        }
    }

    /// Asks whoever has sent something without a session to sign in first: with the form, or with
    /// the way to the host that has it.
    pub(super) async fn ask_first(
        &self,
        context: &RequestContext<'_>,
        cookie: &LoginCookie,
    ) -> Result<Page, RequestError> {
        let outlook = self.outlook(context, cookie).await;
        if context.role == HostRole::Own {
            let options = PostLoginOptions::home(context);
            let browser = (cookie, outlook);
            return self
                .page_with(context, browser, &options, Shown::default())
                .await;
        }
        let host = context.authority.as_str();
        let view = SignInFirstView {
            host,
            saved_for: outlook.saved_for,
            sends_itself: outlook.sends_itself,
        };
        let pages = self.pages.titled(context.title);
        Ok(cookie.set_on(pages.sign_in_first(&view)))
    }
}

/// Whether this browser may have pages open whose requests have failed: it shows a session that has
/// ended, or a script led it here.
fn has_open_pages(context: &RequestContext<'_>) -> bool {
    context.cookies.session.is_some() || form::query_value(context.head, BACKGROUND) == "1"
}

/// Whether this visitor has asked to sign in as another user.
pub(super) fn is_switch(context: &RequestContext<'_>) -> bool {
    form::query_value(context.head, SWITCH) == "1"
}
