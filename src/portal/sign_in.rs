//! `/.vestibule/login`: the form, the verdict on it, and the session that begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::ask::{KEPT, RETURN_TO};
use super::csrf::{Binding, Csrf};
use super::form::{self, Form};
use super::login_cookie::LoginCookie;
use super::logins::Logins;
use super::long_targets::LongTargets;
use super::return_to::ReturnTo;
use super::saved_posts::{
    self,
    store::{Outlook, Owner, SavedPostStore},
};
use super::sso::{Sso, State};
use super::{ACCOUNT, Destinations, HostRole, LOGIN, RequestContext};
use crate::auth::callers::Callers;
use crate::auth::throttle::{Throttle, Wait};
use crate::auth::{Accounts, SignedIn, Verdict, VerifyError};
use crate::error::RequestError;
use crate::metrics::LoginCounts;
use crate::network::Network;
use crate::pages::{LoginNotice, LoginProblem, LoginView, Page, Pages, SignInFirstView};
use crate::principal::user_name;
use crate::random::NoRandomness;
use crate::request::Host;
use crate::secret::Secret;
use crate::session::{SessionId, StartError};
use crate::telemetry::printable;
use crate::upstream::ClientBody;

/// The parameter of [`LOGIN_IN_BACKGROUND`](super::LOGIN_IN_BACKGROUND).
const BACKGROUND: &str = "background";

/// The parameter, and the field, of a login for another host.
const STATE: &str = "state";

/// The parameter that asks for the form although somebody is signed in. The form is sent to the
/// address of its page, so that this stays with it after a wrong password.
const SWITCH: &str = "switch";

/// How often a form with a password may come while the hashing threads are busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Characters of a user name that the form shows again: no name is longer.
const LONGEST_TYPED: usize = 64;

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
    fn place(&self) -> (Option<&Host>, &str) {
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

    fn to(onward: Onward, remember: bool, destinations: &Destinations<'_>) -> Self {
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
struct Shown<'a> {
    notice: Option<LoginNotice<'a>>,
    /// Somebody is, in this browser: a form that went on by itself would do so as that user.
    is_signed_in: bool,
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
    async fn page(
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
    async fn onward(
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
    async fn lead_on(
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
fn is_switch(context: &RequestContext<'_>) -> bool {
    form::query_value(context.head, SWITCH) == "1"
}

/// The user name that was typed, for the form to show it again; nothing that can be no name. It
/// says nothing of whether there is such a user (SEC-56).
fn shown_again(username: &str) -> Option<&str> {
    let fits = (1..=LONGEST_TYPED).contains(&username.chars().count());
    (fits && !username.chars().any(char::is_control)).then_some(username)
}

/// The page with that form, and the verdict on what it sends.
pub(super) struct SignIn {
    pub(super) accounts: Arc<Accounts>,
    pub(super) callers: Arc<Callers>,
    pub(super) counts: LoginCounts,
    pub(super) csrf: Arc<Csrf>,
    pub(super) form: LoginForm,
    pub(super) logins: Logins,
    pub(super) throttle: Arc<Throttle>,
}

impl SignIn {
    /// The form, for whoever is not signed in: the others go on to where they want to be. Unless
    /// that is closed to them, or they want to be somebody else.
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let query = |name| form::query_value(context.head, name);
        let named = (&*query(STATE), &*query(KEPT), &*query(RETURN_TO));
        let onward = self.form.onward(&context, named, &destinations).await;
        let options = PostLoginOptions::to(onward, false, &destinations);
        let Some((_, principal)) = context.peek(&self.callers).await? else {
            let shown = Shown::default();
            let page = self.form.page(&context, &options, shown).await?;
            return Ok(page.into_response());
        };
        let (host, target) = options.onward.place();
        let may_open = |who| (destinations.may_open)(host, target, who);
        let is_forbidden = target != ACCOUNT && !may_open(principal.clone());
        if let Some(id) = &context.cookies.session
            && !is_forbidden
            && !is_switch(&context)
        {
            return self.form.lead_on(&options.onward, id).await;
        }
        let notice = LoginNotice::SignedInAs {
            user: principal.identity().user(),
            is_forbidden,
        };
        let shown = Shown {
            notice: Some(notice),
            is_signed_in: true,
        };
        let page = self.form.page(&context, &options, shown).await?;
        Ok(page.into_response())
    }

    pub(super) async fn sign_in(
        &self,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        let (username, password) = (form.take("username")?, form.take_bytes("password")?);
        let (kept, return_to) = (form.take_optional(KEPT)?, form.take_optional(RETURN_TO)?);
        let state = form.take_optional(STATE)?;
        let named = (state.as_str(), kept.as_str(), return_to.as_str());
        let onward = self.form.onward(&context, named, &destinations).await;
        let remember = form.take_optional("remember")? == "on";
        let options = PostLoginOptions::to(onward, remember, &destinations);
        let token = form.take_optional("csrf")?;
        let binding = context
            .cookies
            .login
            .as_ref()
            .map(|value| Binding::LoginCookie(value.as_bytes()));
        let (headers, authority) = (&context.head.headers, context.authority);
        if let Err(cause) = self.csrf.check(headers, authority, &token, binding) {
            self.counts.forged.inc();
            tracing::warn!(
                target: "audit", client = %context.client, %cause,
                "login refused: not sent from our page"
            );
            let problem = LoginProblem::Forged(cause);
            let page = self.problem(&context, &options, problem, None).await?;
            return Ok(page.into_response());
        }
        let typed = shown_again(&username);
        let account = user_name::key(&username);
        let user = printable(&username);
        let attempt = match context.begin_login(&self.throttle, &account).await {
            Ok(attempt) => attempt,
            Err(wait) => {
                self.counts.throttled.inc();
                tracing::warn!(target: "audit", client = %context.client, %user, "login throttled");
                return self.throttled(&context, &options, typed, wait).await;
            }
        };
        let network = Network::of(context.client);
        let password = Secret::new(password);
        match self.accounts.verify(network, &username, password).await {
            Ok(Verdict::SignedIn(signed_in)) => {
                attempt.succeeded().await;
                self.start(&context, &options, typed, &signed_in).await
            }
            Ok(Verdict::Refused) => {
                self.counts.refused.inc();
                tracing::warn!(target: "audit", client = %context.client, %user, "login failed");
                if let Some(wait) = attempt.failed() {
                    return self.throttled(&context, &options, typed, wait).await;
                }
                let page = self
                    .problem(&context, &options, LoginProblem::Refused, typed)
                    .await?;
                Ok(page.into_response())
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw().await;
                self.counts.busy.inc();
                let page = self
                    .problem(&context, &options, LoginProblem::Busy, typed)
                    .await?;
                Ok(page.retry_after(BUSY_RETRY).into_response())
            }
            Err(error @ (VerifyError::Unavailable | VerifyError::Unreadable)) => {
                if error == VerifyError::Unavailable {
                    attempt.withdraw().await;
                } else if let Some(wait) = attempt.failed() {
                    return self.throttled(&context, &options, typed, wait).await;
                }
                self.counts.not_kept.inc();
                let page = self
                    .problem(&context, &options, LoginProblem::Unavailable, typed)
                    .await?;
                Ok(page.retry_after(BUSY_RETRY).into_response())
            }
        }
    }

    async fn problem(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        problem: LoginProblem,
        typed: Option<&str>,
    ) -> Result<Page, RequestError> {
        // A session that the store cannot tell of may be good.
        let peeked = context.peek(&self.callers).await;
        let shown = Shown {
            notice: Some(LoginNotice::Problem { problem, typed }),
            is_signed_in: !matches!(peeked, Ok(None)),
        };
        self.form.page(context, options, shown).await
    }

    async fn throttled(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        typed: Option<&str>,
        Wait(wait): Wait,
    ) -> Result<Response<Bytes>, RequestError> {
        let problem = LoginProblem::Throttled { wait };
        let page = self.problem(context, options, problem, typed).await?;
        Ok(page.retry_after(wait).into_response())
    }

    /// In place of the session that the browser had before.
    async fn start(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        typed: Option<&str>,
        signed_in: &SignedIn,
    ) -> Result<Response<Bytes>, RequestError> {
        let started = self
            .logins
            .start(context, signed_in, options.remember, context.shown());
        let started = match started.await {
            Ok(started) => started,
            Err(StartError::NoRandomness) => return Err(RequestError::NoRandomness(NoRandomness)),
            Err(error) => {
                let user = signed_in.account().identity().user();
                tracing::error!(user, %error, "login refused: no session can be kept");
                let problem = match error {
                    StartError::Full => LoginProblem::SessionsFull,
                    _ => LoginProblem::NotKept,
                };
                let page = self.problem(context, options, problem, typed).await?;
                return Ok(page.retry_after(BUSY_RETRY).into_response());
            }
        };
        let mut response = if started.has_saved_posts {
            saved_posts::to_page()
        } else {
            self.form.lead_on(&options.onward, started.id()).await?
        };
        started.set_cookies(context, response.headers_mut());
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_name_is_not_shown_again() {
        let longest = "\u{fc}".repeat(64);
        for name in ["ada", " ada ", "\u{fc}ber", "<b>\"", &longest] {
            assert_eq!(shown_again(name), Some(name));
        }
        let longer = format!("{longest}x");
        for other in ["", "a\0", "a\nb", "a\u{85}b", "\u{7f}", &longer] {
            assert_eq!(shown_again(other), None, "{other:?}");
        }
    }
}
