//! `/.vestibule/login`: the form, the verdict on it, and the session that begins.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;

use super::csrf::{self, Binding, Forged, Sender};
use super::form::Form;
use super::login_cookie::LoginCookie;
use super::return_to::ReturnTo;
use super::saved_posts::store::Holder;
use super::{Login, Visit};
use crate::auth::throttle::Wait;
use crate::auth::{SignedIn, Verdict, VerifyError};
use crate::error::RequestError;
use crate::network::Network;
use crate::pages::{self, LoginProblem, LoginView, Page};
use crate::random::NoRandomness;
use crate::request::Authority;
use crate::secret::Secret;
use crate::session::cookie::{expire_login, set_session};
use crate::session::{SessionKey, StartError};
use crate::telemetry::printable;

/// How often a form with a password may come while the hashing threads are busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// What is to follow a login.
pub(super) struct Wish {
    pub(super) return_to: ReturnTo,
    /// Stay signed in when the browser is closed.
    pub(super) remember: bool,
}

impl Wish {
    pub(super) fn home() -> Self {
        Self {
            return_to: ReturnTo::home(),
            remember: false,
        }
    }
}

impl Login {
    /// The login form, bound to this browser by a cookie that is not a session (SEC-54).
    pub(super) fn form(
        &self,
        visit: &Visit<'_>,
        wish: &Wish,
        problem: Option<LoginProblem>,
    ) -> Result<Page, RequestError> {
        Ok(self.form_with(visit, &LoginCookie::of(visit)?, wish, problem))
    }

    pub(super) fn form_with(
        &self,
        visit: &Visit<'_>,
        cookie: &LoginCookie,
        wish: &Wish,
        problem: Option<LoginProblem>,
    ) -> Page {
        let host = visit.authority.as_str();
        let view = LoginView {
            host,
            csrf: &self
                .csrf
                .token(Binding::LoginCookie(cookie.as_bytes()), visit.authority),
            return_to: wish.return_to.as_str(),
            remember: wish.remember,
            problem,
            kept_for: self
                .kept_forms
                .time_left(Holder::browser(cookie.as_bytes()), host),
        };
        cookie.set_on(self.pages.login(&view))
    }

    /// Whether a form was sent from a page of ours: whatever acts on a session has its token
    /// (SEC-91). `false` is for a form of another page of this host, which may be a script's doing;
    /// what comes from elsewhere is refused (SEC-54).
    pub(super) fn is_sent_by_us(
        &self,
        head: &Parts,
        authority: &Authority,
        form: &mut Form,
        session: Option<&SessionKey>,
    ) -> Result<bool, RequestError> {
        let token = form.take_optional("csrf")?;
        let sender = csrf::sender(&head.headers, authority);
        let sender = sender.map_err(|Forged| RequestError::Forged)?;
        let binding = session.map(Binding::Session);
        match (self.csrf.fits(&token, binding, authority), sender) {
            (true, _) => Ok(true),
            (false, Sender::OwnHost) => Ok(false),
            (false, Sender::Unknown) => Err(RequestError::Forged),
        }
    }

    pub(super) async fn log_in(
        &self,
        visit: Visit<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(visit.head, body).await?;
        let (username, password) = (form.take("username")?, form.take_bytes("password")?);
        let wish = Wish {
            return_to: ReturnTo::parse(&form.take_optional("return_to")?),
            remember: form.take_optional("remember")? == "on",
        };
        let token = form.take_optional("csrf")?;
        let binding = visit
            .cookies
            .login
            .as_ref()
            .map(|value| Binding::LoginCookie(value.as_bytes()));
        if self
            .csrf
            .check(&visit.head.headers, visit.authority, &token, binding)
            .is_err()
        {
            self.counts.forged.inc();
            tracing::warn!(target: "audit", client = %visit.client, "login refused: not sent from our page");
            return Ok(self
                .form(&visit, &wish, Some(LoginProblem::Forged))?
                .into_response());
        }
        let account = username.to_ascii_lowercase();
        let user = printable(&username);
        let attempt = match self.throttle.begin(&account, visit.client) {
            Ok(attempt) => attempt,
            Err(wait) => {
                self.counts.throttled.inc();
                tracing::warn!(target: "audit", client = %visit.client, %user, "login throttled");
                return self.throttled(&visit, &wish, wait);
            }
        };
        let network = Network::of(visit.client);
        let password = Secret::new(password);
        match self.accounts.verify(network, &username, password).await {
            Ok(Verdict::SignedIn(signed_in)) => {
                attempt.succeeded();
                self.start(&visit, &wish, &signed_in).await
            }
            Ok(Verdict::Refused) => {
                self.counts.refused.inc();
                tracing::warn!(target: "audit", client = %visit.client, %user, "login failed");
                match attempt.failed() {
                    Some(wait) => self.throttled(&visit, &wish, wait),
                    None => Ok(self
                        .form(&visit, &wish, Some(LoginProblem::Refused))?
                        .into_response()),
                }
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw();
                self.counts.busy.inc();
                let page = self.form(&visit, &wish, Some(LoginProblem::Busy))?;
                Ok(page.retry_after(BUSY_RETRY).into_response())
            }
        }
    }

    fn throttled(
        &self,
        visit: &Visit<'_>,
        wish: &Wish,
        Wait(wait): Wait,
    ) -> Result<Response<Bytes>, RequestError> {
        let page = self.form(visit, wish, Some(LoginProblem::Throttled { wait }))?;
        Ok(page.retry_after(wait).into_response())
    }

    /// A new id at every login; the session that the browser had before ends (SEC-45).
    async fn start(
        &self,
        visit: &Visit<'_>,
        wish: &Wish,
        signed_in: &SignedIn,
    ) -> Result<Response<Bytes>, RequestError> {
        let user = signed_in.account().identity().user();
        let started = self
            .sessions
            .start(signed_in, visit.origin(), wish.remember, visit.shown());
        let id = match started.await {
            Ok(id) => id,
            Err(StartError::NoRandomness) => {
                self.counts.not_kept.inc();
                return Err(RequestError::NoRandomness(NoRandomness));
            }
            Err(error) => {
                let (problem, counter) = match error {
                    StartError::Full => (LoginProblem::SessionsFull, &self.counts.sessions_full),
                    _ => (LoginProblem::NotKept, &self.counts.not_kept),
                };
                counter.inc();
                tracing::error!(user, %error, "login refused: no session can be kept");
                return Ok(self.form(visit, wish, Some(problem))?.into_response());
            }
        };
        let host = visit.authority.to_host();
        self.kept_forms.owners().note(id.key(), host, user);
        self.counts.signed_in.inc();
        tracing::info!(
            target: "audit", client = %visit.client, user, session = %id.key().short(),
            method = signed_in.methods().names(), "login"
        );
        let mut response = if self.claim_forms(visit, user, id.key()) {
            Self::to_forms()
        } else {
            let location = HeaderValue::try_from(wish.return_to.as_str());
            let location = location.unwrap_or(HeaderValue::from_static("/"));
            pages::redirect(StatusCode::SEE_OTHER, location)
        };
        let headers = response.headers_mut();
        let kept_for = self.sessions.remember_for(wish.remember);
        headers.append(header::SET_COOKIE, set_session(&id, kept_for));
        headers.append(header::SET_COOKIE, expire_login());
        for cookie in visit.cookies.expire_old() {
            headers.append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}
