//! `/.vestibule/login`: the form, the verdict on it, and the session that begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::ask::{KEPT, RETURN_TO};
use super::csrf::{Binding, Csrf};
use super::form::{self, Form};
use super::login_form::{LoginForm, PostLoginOptions, Shown, is_switch};
use super::logins::Logins;
use super::saved_posts;
use super::{ACCOUNT, Destinations, RequestContext};
use crate::auth::callers::Callers;
use crate::auth::throttle::{Throttle, Wait};
use crate::auth::{Accounts, SignedIn, Verdict, VerifyError};
use crate::error::RequestError;
use crate::metrics::LoginCounts;
use crate::network::Network;
use crate::pages::{LoginNotice, LoginProblem, Page};
use crate::principal::user_name;
use crate::random::NoRandomness;
use crate::secret::Secret;
use crate::session::StartError;
use crate::telemetry::printable;
use crate::upstream::ClientBody;

/// The parameter, and the field, of a login for another host.
const STATE: &str = "state";

/// How often a form with a password may come while the hashing threads are busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Characters of a user name that the form shows again: no name is longer.
const LONGEST_TYPED: usize = 64;

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
