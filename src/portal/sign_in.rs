//! `/.vestibule/login`: the form, the verdict on it, and the session that begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use super::RequestContext;
use super::csrf::{Binding, Csrf};
use super::form::{self, Form};
use super::login_cookie::LoginCookie;
use super::logins::Logins;
use super::return_to::ReturnTo;
use super::saved_posts::{
    self,
    store::{Owner, SavedPostStore},
};
use crate::auth::throttle::{Throttle, Wait};
use crate::auth::{Accounts, SignedIn, Verdict, VerifyError};
use crate::error::RequestError;
use crate::metrics::LoginCounts;
use crate::network::Network;
use crate::pages::{self, LoginProblem, LoginView, Page, Pages};
use crate::random::NoRandomness;
use crate::secret::Secret;
use crate::session::StartError;
use crate::telemetry::printable;

/// How often a form with a password may come while the hashing threads are busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// What is to follow a login.
pub(super) struct PostLoginOptions {
    pub(super) return_to: ReturnTo,
    /// Stay signed in when the browser is closed.
    pub(super) remember: bool,
}

impl PostLoginOptions {
    pub(super) fn home() -> Self {
        Self {
            return_to: ReturnTo::home(),
            remember: false,
        }
    }
}

/// The form that asks for a name and a password.
#[derive(Clone)]
pub(super) struct LoginForm {
    pub(super) csrf: Arc<Csrf>,
    pub(super) pages: Arc<Pages>,
    pub(super) saved_posts: Arc<SavedPostStore>,
}

impl LoginForm {
    /// Bound to this browser by a cookie that is not a session (SEC-54).
    fn page(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        problem: Option<LoginProblem>,
    ) -> Result<Page, RequestError> {
        Ok(self.page_with(context, &LoginCookie::of(context)?, options, problem))
    }

    pub(super) fn page_with(
        &self,
        context: &RequestContext<'_>,
        cookie: &LoginCookie,
        options: &PostLoginOptions,
        problem: Option<LoginProblem>,
    ) -> Page {
        let host = context.authority.as_str();
        let view = LoginView {
            host,
            csrf: &self
                .csrf
                .token(Binding::LoginCookie(cookie.as_bytes()), context.authority),
            return_to: options.return_to.as_str(),
            remember: options.remember,
            problem,
            saved_for: self
                .saved_posts
                .time_left(Owner::browser(cookie.as_bytes()), host),
        };
        cookie.set_on(self.pages.login(&view))
    }
}

/// The page with that form, and the verdict on what it sends.
pub(super) struct SignIn {
    pub(super) accounts: Arc<Accounts>,
    pub(super) counts: LoginCounts,
    pub(super) csrf: Arc<Csrf>,
    pub(super) form: LoginForm,
    pub(super) logins: Logins,
    pub(super) throttle: Arc<Throttle>,
}

impl SignIn {
    pub(super) fn show(
        &self,
        context: &RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let options = PostLoginOptions {
            return_to: ReturnTo::parse(&form::query_value(context.head, "return_to")),
            remember: false,
        };
        Ok(self.form.page(context, &options, None)?.into_response())
    }

    pub(super) async fn sign_in(
        &self,
        context: RequestContext<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        let (username, password) = (form.take("username")?, form.take_bytes("password")?);
        let options = PostLoginOptions {
            return_to: ReturnTo::parse(&form.take_optional("return_to")?),
            remember: form.take_optional("remember")? == "on",
        };
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
            let problem = Some(LoginProblem::Forged(cause));
            return Ok(self.form.page(&context, &options, problem)?.into_response());
        }
        let account = username.to_ascii_lowercase();
        let user = printable(&username);
        let attempt = match self.throttle.begin(&account, context.client) {
            Ok(attempt) => attempt,
            Err(wait) => {
                self.counts.throttled.inc();
                tracing::warn!(target: "audit", client = %context.client, %user, "login throttled");
                return self.throttled(&context, &options, wait);
            }
        };
        let network = Network::of(context.client);
        let password = Secret::new(password);
        match self.accounts.verify(network, &username, password).await {
            Ok(Verdict::SignedIn(signed_in)) => {
                attempt.succeeded();
                self.start(&context, &options, &signed_in).await
            }
            Ok(Verdict::Refused) => {
                self.counts.refused.inc();
                tracing::warn!(target: "audit", client = %context.client, %user, "login failed");
                match attempt.failed() {
                    Some(wait) => self.throttled(&context, &options, wait),
                    None => Ok(self
                        .form
                        .page(&context, &options, Some(LoginProblem::Refused))?
                        .into_response()),
                }
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw();
                self.counts.busy.inc();
                let page = self
                    .form
                    .page(&context, &options, Some(LoginProblem::Busy))?;
                Ok(page.retry_after(BUSY_RETRY).into_response())
            }
        }
    }

    fn throttled(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
        Wait(wait): Wait,
    ) -> Result<Response<Bytes>, RequestError> {
        let page = self
            .form
            .page(context, options, Some(LoginProblem::Throttled { wait }))?;
        Ok(page.retry_after(wait).into_response())
    }

    /// In place of the session that the browser had before.
    async fn start(
        &self,
        context: &RequestContext<'_>,
        options: &PostLoginOptions,
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
                return Ok(self
                    .form
                    .page(context, options, Some(problem))?
                    .into_response());
            }
        };
        let mut response = if started.has_saved_posts {
            saved_posts::to_page()
        } else {
            let location = HeaderValue::try_from(options.return_to.as_str());
            let location = location.unwrap_or(HeaderValue::from_static("/"));
            pages::redirect(StatusCode::SEE_OTHER, location)
        };
        started.set_cookies(context, response.headers_mut());
        Ok(response)
    }
}
