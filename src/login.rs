//! Our own addresses under `/.vestibule/`: never forwarded, never shadowed (SEC-73).

mod csrf;
mod endpoint;
mod form;
mod return_to;
pub(crate) mod throttle;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::auth::{Accounts, SignedIn, Verdict, VerifyError};
use crate::clock::Clock;
use crate::error::RequestError;
use crate::identity::Identity;
use crate::metrics::LoginCounts;
use crate::pages::{self, AccountView, LoginProblem, LoginView, LogoutView, Page, Pages};
use crate::request::{Authority, Target};
use crate::secret::Secret;
use crate::session::cookie::{self, Presented};
use crate::session::{EndReason, Memo, NoRandomness, Origin, Session, Sessions, StartError};
use crate::telemetry::printable;

use csrf::{Binding, Csrf};
pub(crate) use endpoint::{Endpoint, is_page_load};
use form::Form;
use return_to::ReturnTo;
use throttle::{Throttle, Wait};

/// The prefix of every address of ours.
pub(crate) const PREFIX: &str = "/.vestibule/";
const ACCOUNT: &str = "/.vestibule/account";
const LOGIN: &str = "/.vestibule/login";
const LOGOUT: &str = "/.vestibule/logout";

/// W3C Clear Site Data; `http` has no constant for it.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// How often a form with a password may come while the hashing threads are busy.
const BUSY_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// A browser's name for itself is kept up to here.
const MAX_USER_AGENT: usize = 256;

/// What is to follow a login.
struct Wish {
    return_to: ReturnTo,
    /// Stay signed in when the browser is closed.
    remember: bool,
}

/// A request to one of our addresses.
pub(crate) struct Visit<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) authority: &'a Authority,
    pub(crate) client: IpAddr,
    pub(crate) cookies: Presented,
    /// Of the connection that the request came by.
    pub(crate) memo: &'a Memo,
}

/// Joins accounts and sessions: who signs in, who is signed in, who signs out.
pub(crate) struct Login {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) sessions: Arc<Sessions>,
    pages: Arc<Pages>,
    csrf: Csrf,
    throttle: Throttle,
    clock: Clock,
    counts: LoginCounts,
}

impl Login {
    pub(crate) fn new(
        accounts: Arc<Accounts>,
        sessions: Arc<Sessions>,
        pages: Arc<Pages>,
        throttle: Throttle,
        clock: Clock,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            accounts,
            sessions,
            pages,
            csrf: Csrf::new()?,
            throttle,
            clock,
            counts: LoginCounts::default(),
        })
    }

    /// Counts for the metrics, too.
    #[must_use]
    pub(crate) fn counted(mut self, counts: LoginCounts) -> Self {
        self.counts = counts;
        self
    }

    pub(crate) fn throttle_entries(&self) -> [(&'static str, u64); 3] {
        self.throttle.entries()
    }

    /// The identity of a session as the users file has it now; `None` when the user is gone or
    /// disabled, or the password is another one (SEC-51).
    pub(crate) fn identify(&self, session: &Session) -> Option<Arc<Identity>> {
        let generation = self.accounts.generation();
        if let Some(identity) = session.identity(generation) {
            return Some(identity);
        }
        let account = self.accounts.standing(session.user())?;
        if account.credential() != session.credential() {
            return None;
        }
        session.remember_identity(generation, Arc::clone(account.identity()));
        Some(Arc::clone(account.identity()))
    }

    /// The session that a request shows, and who it is; ends a session whose user may no longer
    /// be signed in.
    pub(crate) async fn signed_in(
        &self,
        cookies: &Presented,
        memo: &Memo,
    ) -> Result<Option<(Arc<Session>, Arc<Identity>)>, RequestError> {
        let Some(id) = &cookies.session else {
            return Ok(None);
        };
        let Some(session) = self
            .sessions
            .find(id, memo)
            .await
            .map_err(RequestError::Session)?
        else {
            return Ok(None);
        };
        self.accounts.refresh();
        if let Some(identity) = self.identify(&session) {
            return Ok(Some((session, identity)));
        }
        self.sessions
            .end_because(&session.key(), EndReason::Account)
            .await
            .map_err(RequestError::Session)?;
        tracing::info!(
            target: "audit", session = %session.key().short(), user = session.user(),
            "session ended: the user is gone, disabled or has another password"
        );
        Ok(None)
    }

    /// The answer to a request that needs a session and has none (SEC-69): a page load goes to
    /// the login and comes back, anything else is told so.
    pub(crate) fn ask(head: &Parts, target: &Target) -> Response<Bytes> {
        let safe = matches!(head.method, Method::GET | Method::HEAD);
        if safe && is_page_load(&head.headers) {
            let return_to = ReturnTo::parse(target.as_str());
            let query = Serializer::new(String::new())
                .append_pair("return_to", return_to.as_str())
                .finish();
            return match HeaderValue::try_from(format!("{LOGIN}?{query}")) {
                Ok(location) => pages::redirect(StatusCode::SEE_OTHER, location),
                Err(_) => pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(LOGIN)),
            };
        }
        login_required()
    }

    pub(crate) async fn serve(
        &self,
        endpoint: Endpoint<'_>,
        visit: Visit<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        match (endpoint, &visit.head.method) {
            (Endpoint::Account, &Method::GET | &Method::HEAD) => self.account(&visit).await,
            (Endpoint::Asset(name), &Method::GET | &Method::HEAD) => {
                self.pages.asset(name).ok_or(RequestError::NotFound)
            }
            (Endpoint::Login, &Method::GET | &Method::HEAD) => {
                let wish = Wish {
                    return_to: ReturnTo::parse(&form::query_value(visit.head, "return_to")),
                    remember: false,
                };
                Ok(self.form(&visit, &wish, None)?.into_response())
            }
            (Endpoint::Login, &Method::POST) => self.log_in(visit, body).await,
            (Endpoint::Logout, &Method::GET | &Method::HEAD) => self.ask_to_log_out(&visit).await,
            (Endpoint::Logout, &Method::POST) => self.log_out(visit, body).await,
            (Endpoint::Session, &Method::GET | &Method::HEAD) => self.session(&visit).await,
            (Endpoint::Unknown, _) => Err(RequestError::NotFound),
            (Endpoint::Login | Endpoint::Logout, _) => {
                Err(RequestError::MethodNotAllowed("GET, HEAD, POST"))
            }
            (Endpoint::Account | Endpoint::Asset(_) | Endpoint::Session, _) => {
                Err(RequestError::MethodNotAllowed("GET, HEAD"))
            }
        }
    }

    /// The login form, bound to this browser by a cookie that is not a session (SEC-54).
    fn form(
        &self,
        visit: &Visit<'_>,
        wish: &Wish,
        problem: Option<LoginProblem>,
    ) -> Result<Page, RequestError> {
        let (cookie, fresh) = match visit
            .cookies
            .login
            .as_ref()
            .and_then(|value| value.to_str().ok())
        {
            Some(value) => (value.to_owned(), false),
            None => (
                Csrf::login_cookie().map_err(RequestError::NoRandomness)?,
                true,
            ),
        };
        let view = LoginView {
            host: visit.authority.as_str(),
            csrf: &self.csrf.token(Binding::LoginCookie(cookie.as_bytes())),
            return_to: wish.return_to.as_str(),
            remember: wish.remember,
            problem,
        };
        let page = self.pages.login(&view);
        Ok(if fresh {
            page.set_cookie(cookie::set_login(&cookie))
        } else {
            page
        })
    }

    async fn log_in(
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
        let password = Secret::new(password);
        match self.accounts.verify(&username, password).await {
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
        if let Some(before) = &visit.cookies.session {
            let ended = self
                .sessions
                .end_because(&before.key(), EndReason::Replaced)
                .await;
            ended.map_err(|error| {
                self.counts.not_kept.inc();
                RequestError::Session(error)
            })?;
        }
        let user_agent = visit.head.headers.get(header::USER_AGENT);
        let user_agent = user_agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let user_agent = user_agent.chars().take(MAX_USER_AGENT).collect();
        let origin = Origin {
            client: visit.client,
            user_agent,
        };
        let user = signed_in.account().identity().user();
        let id = match self.sessions.start(signed_in, origin, wish.remember).await {
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
        self.counts.signed_in.inc();
        tracing::info!(
            target: "audit", client = %visit.client, user, session = %id.key().short(),
            method = signed_in.method(), "login"
        );
        let location = HeaderValue::try_from(wish.return_to.as_str());
        let location = location.unwrap_or(HeaderValue::from_static("/"));
        let mut response = pages::redirect(StatusCode::SEE_OTHER, location);
        let headers = response.headers_mut();
        let kept_for = self.sessions.remember_for(wish.remember);
        headers.append(header::SET_COOKIE, cookie::set_session(&id, kept_for));
        headers.append(header::SET_COOKIE, cookie::expire_login());
        Ok(response)
    }

    async fn ask_to_log_out(&self, visit: &Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let host = visit.authority.as_str();
        let Some((session, identity)) = self.signed_in(&visit.cookies, visit.memo).await? else {
            return Ok(self.pages.signed_out(host).into_response());
        };
        let csrf = &self.csrf.token(Binding::Session(&session.key()));
        let view = LogoutView {
            host,
            user: identity.user(),
            csrf,
        };
        Ok(self.pages.logout(&view).into_response())
    }

    /// Ends the session on the server before the browser is told (SEC-46, SEC-66).
    async fn log_out(
        &self,
        visit: Visit<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(visit.head, body).await?;
        let token = form.take_optional("csrf")?;
        let key = visit
            .cookies
            .session
            .as_ref()
            .map(crate::session::SessionId::key);
        let binding = key.as_ref().map(Binding::Session);
        let checked = self
            .csrf
            .check(&visit.head.headers, visit.authority, &token, binding);
        checked.map_err(|csrf::Forged| RequestError::Forged)?;
        if let Some(key) = key
            && self
                .sessions
                .end_because(&key, EndReason::Logout)
                .await
                .map_err(RequestError::LogoutNotKept)?
        {
            tracing::info!(target: "audit", client = %visit.client, session = %key.short(), "logout");
        }
        let mut response = pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(LOGOUT));
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookie::expire_session());
        // `no-store` is the application's choice; without it, Back would bring its pages up again
        // from the back/forward cache (SEC-67).
        response
            .headers_mut()
            .insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        Ok(response)
    }

    async fn account(&self, visit: &Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let Some((session, identity)) = self.signed_in(&visit.cookies, visit.memo).await? else {
            let target = Target::parse(visit.head, false).map_err(RequestError::BadRequest)?;
            return Ok(Self::ask(visit.head, &target));
        };
        let sessions = self.sessions.of_user(session.user()).await;
        let sessions = sessions.map_err(RequestError::Session)?;
        let key = session.key();
        let Some(record) = sessions.iter().find(|record| record.key == key) else {
            return Ok(login_required()); // ended just now
        };
        let view = AccountView {
            host: visit.authority.as_str(),
            user: identity.user(),
            email: identity.email(),
            groups: identity.groups(),
            method: &record.method,
            now: self.clock.now(),
            signed_in: record.created,
            last_active: session.last_accessed(),
            expires: record.expires,
        };
        Ok(self.pages.account(&view).into_response())
    }

    /// Who is signed in and for how long; asking does not prolong it.
    async fn session(&self, visit: &Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let Some(id) = &visit.cookies.session else {
            return Ok(login_required());
        };
        let session = self
            .sessions
            .peek(&id.key())
            .await
            .map_err(RequestError::Session)?;
        self.accounts.refresh();
        let Some((session, identity)) =
            session.and_then(|session| self.identify(&session).map(|identity| (session, identity)))
        else {
            return Ok(login_required());
        };
        let left = self.sessions.time_left(&session).as_secs();
        Ok(pages::json(
            StatusCode::OK,
            &json!({ "user": identity.user(), "seconds_left": left }),
        ))
    }
}

fn login_required() -> Response<Bytes> {
    let body = json!({ "error": "login_required", "login_url": LOGIN });
    let mut response = pages::json(StatusCode::UNAUTHORIZED, &body);
    // RFC 9110 §11.6.1 asks for a challenge; browsers ignore this one and show no dialog.
    let challenge = HeaderValue::from_static("Cookie cookie-name=\"__Host-vestibule\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}
