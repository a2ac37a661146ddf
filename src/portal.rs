//! Our own addresses under `/.vestibule/`: never forwarded, never shadowed (SEC-73).

mod account;
mod csrf;
pub(crate) mod form;
mod login_cookie;
mod navigation;
pub(crate) mod return_to;
mod route;
pub(crate) mod saved_posts;
mod sign_in;
mod sign_out;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::auth::Accounts;
use crate::auth::callers::Callers;
use crate::auth::throttle::{self, Throttle};
use crate::clock::Clock;
use crate::error::RequestError;
use crate::metrics::LoginCounts;
use crate::pages::{self, Pages};
use crate::principal::Principal;
use crate::random::NoRandomness;
use crate::request::{Authority, Target, own_path};
use crate::session::cookie::Presented;
use crate::session::{Memo, Origin, Session, Sessions, Shown};

use csrf::Csrf;
use return_to::ReturnTo;
pub(crate) use route::{Endpoint, is_page_load};
use saved_posts::store::KeptForms;
use sign_in::Wish;

/// The prefix of every address of ours.
const ACCOUNT: &str = own_path!("account");
const FORM: &str = own_path!("form");
const LOGIN: &str = own_path!("login");
const LOGOUT: &str = own_path!("logout");

/// A browser's name for itself is kept up to here.
const MAX_USER_AGENT: usize = 256;

/// A request to one of our addresses.
pub(crate) struct Visit<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) authority: &'a Authority,
    /// The name of the app whose host it came to.
    pub(crate) app: &'a Arc<str>,
    pub(crate) client: IpAddr,
    pub(crate) cookies: Presented,
    /// Of the connection that the request came by.
    pub(crate) memo: &'a Memo,
}

impl Visit<'_> {
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

    /// What a session that starts now keeps of where it came from.
    fn origin(&self) -> Origin {
        let user_agent = self.head.headers.get(header::USER_AGENT);
        let user_agent = user_agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Origin {
            host: self.authority.to_host(),
            client: self.client,
            user_agent: user_agent.chars().take(MAX_USER_AGENT).collect(),
        }
    }
}

/// Joins accounts and sessions: who signs in, and who signs out.
pub(crate) struct Login {
    accounts: Arc<Accounts>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) sessions: Arc<Sessions>,
    pages: Arc<Pages>,
    csrf: Arc<Csrf>,
    throttle: Arc<Throttle>,
    kept_forms: Arc<KeptForms>,
    clock: Clock,
    counts: LoginCounts,
}

impl Login {
    pub(crate) fn new(
        accounts: Arc<Accounts>,
        sessions: Arc<Sessions>,
        pages: Arc<Pages>,
        throttle: Throttle,
        kept_forms: KeptForms,
        clock: Clock,
    ) -> Result<Self, NoRandomness> {
        let (known, open) = (Arc::clone(&accounts), Arc::clone(&sessions));
        let owners = Arc::clone(kept_forms.owners());
        Ok(Self {
            callers: Arc::new(Callers::new(known, open, owners)),
            accounts,
            sessions,
            pages,
            csrf: Arc::new(Csrf::new()?),
            throttle: Arc::new(throttle),
            kept_forms: Arc::new(kept_forms),
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

    /// A login with other pages and limits. Forms that are open in browsers stay good; failures
    /// are counted anew only where the limits are others.
    pub(crate) fn with(&self, pages: Arc<Pages>, throttle: throttle::Settings) -> Self {
        let throttle = if *self.throttle.settings() == throttle {
            Arc::clone(&self.throttle)
        } else {
            Arc::new(self.throttle.with(throttle))
        };
        Self {
            accounts: Arc::clone(&self.accounts),
            callers: Arc::clone(&self.callers),
            sessions: Arc::clone(&self.sessions),
            pages,
            csrf: Arc::clone(&self.csrf),
            throttle,
            kept_forms: Arc::clone(&self.kept_forms),
            clock: self.clock.clone(),
            counts: self.counts.clone(),
        }
    }

    /// Keeps so many bytes of forms at most.
    pub(crate) fn set_room_for_forms(&self, bytes: usize) {
        self.kept_forms.set_room(bytes);
    }

    /// Looks after what no request does. Called about twice a second.
    pub(crate) async fn tick(&self) {
        self.callers.tick().await;
        self.kept_forms.sweep();
    }

    /// The session that a request shows, and whose it is.
    async fn signed_in(
        &self,
        visit: &Visit<'_>,
    ) -> Result<Option<(Arc<Session>, Principal)>, RequestError> {
        let caller = self.callers.identify(visit.shown(), visit.memo).await;
        Ok(caller.map_err(RequestError::Session)?.into_session())
    }

    /// The session and the principal, without a trace: looking does not prolong it.
    async fn peek(
        &self,
        visit: &Visit<'_>,
    ) -> Result<Option<(Arc<Session>, Principal)>, RequestError> {
        let caller = self.callers.peek(visit.shown()).await;
        Ok(caller.map_err(RequestError::Session)?.into_session())
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
        navigation::check(endpoint, visit.head)?;
        match (endpoint, &visit.head.method) {
            (Endpoint::Account, &Method::GET | &Method::HEAD) => self.account(visit).await,
            (Endpoint::Account, &Method::POST) => self.change_account(visit, body).await,
            (Endpoint::Asset(name), &Method::GET | &Method::HEAD) => {
                self.pages.asset(name).ok_or(RequestError::NotFound)
            }
            (Endpoint::Form, &Method::GET | &Method::HEAD) => self.show_forms(&visit).await,
            (Endpoint::Form, &Method::POST) => self.discard_form(visit, body).await,
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
            (Endpoint::Account | Endpoint::Form | Endpoint::Login | Endpoint::Logout, _) => {
                Err(RequestError::MethodNotAllowed("GET, HEAD, POST"))
            }
            (Endpoint::Asset(_) | Endpoint::Session, _) => {
                Err(RequestError::MethodNotAllowed("GET, HEAD"))
            }
        }
    }

    /// Who is signed in and for how long; asking does not prolong it.
    async fn session(&self, visit: &Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let Some((session, principal)) = self.peek(visit).await? else {
            return Ok(login_required());
        };
        let left = self.sessions.time_left(&session).as_secs();
        Ok(pages::json(
            StatusCode::OK,
            &json!({ "user": principal.identity().user(), "seconds_left": left }),
        ))
    }
}

fn login_required() -> Response<Bytes> {
    let body = json!({ "error": "login_required", "login_url": LOGIN });
    let mut response = pages::json(StatusCode::UNAUTHORIZED, &body);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge());
    response
}

/// RFC 9110 §11.6.1 asks for one with each 401; browsers ignore this one and show no dialog.
pub(crate) fn challenge() -> HeaderValue {
    HeaderValue::from_static("Cookie cookie-name=\"__Host-Http-vestibule\"")
}
