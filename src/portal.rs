//! Our own addresses under `/.vestibule/`: never forwarded, never shadowed (SEC-73).
//!
//! `route` lists them. Each page is a type of its own, with as much as it needs.

mod account;
mod context;
mod csrf;
pub(crate) mod form;
mod login_cookie;
mod logins;
mod navigation;
pub(crate) mod return_to;
mod route;
pub(crate) mod saved_posts;
mod session_status;
mod sign_in;
mod sign_out;

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
use crate::random::NoRandomness;
use crate::request::{Target, own_path};
use crate::session::Sessions;

use account::Account;
use account::password::PasswordForm;
pub(crate) use context::RequestContext;
use csrf::Csrf;
use logins::Logins;
use return_to::ReturnTo;
pub(crate) use route::{Endpoint, is_page_load};
use saved_posts::SavedPosts;
use saved_posts::store::SavedPostStore;
use session_status::SessionStatus;
use sign_in::{LoginForm, SignIn};
use sign_out::SignOut;

const ACCOUNT: &str = own_path!("account");
const FORM: &str = own_path!("form");
const LOGIN: &str = own_path!("login");
const LOGOUT: &str = own_path!("logout");

/// All of our pages, as one configuration has them.
pub(crate) struct Portal {
    shared: Shared,
    account: Account,
    pages: Arc<Pages>,
    saved_posts: SavedPosts,
    session_status: SessionStatus,
    sign_in: SignIn,
    sign_out: SignOut,
}

/// What the pages of several configurations share: forms that are open in browsers stay good.
#[derive(Clone)]
struct Shared {
    accounts: Arc<Accounts>,
    callers: Arc<Callers>,
    clock: Clock,
    counts: LoginCounts,
    csrf: Arc<Csrf>,
    saved_posts: Arc<SavedPostStore>,
    sessions: Arc<Sessions>,
    throttle: Arc<Throttle>,
}

impl Portal {
    pub(crate) fn new(
        accounts: Arc<Accounts>,
        sessions: Arc<Sessions>,
        pages: Arc<Pages>,
        throttle: Throttle,
        saved_posts: SavedPostStore,
        clock: Clock,
        counts: LoginCounts,
    ) -> Result<Self, NoRandomness> {
        let former_users = Arc::clone(saved_posts.former_users());
        let callers = Callers::new(Arc::clone(&accounts), Arc::clone(&sessions), former_users);
        let shared = Shared {
            accounts,
            callers: Arc::new(callers),
            clock,
            counts,
            csrf: Arc::new(Csrf::new()?),
            saved_posts: Arc::new(saved_posts),
            sessions,
            throttle: Arc::new(throttle),
        };
        Ok(Self::of(shared, pages))
    }

    /// A portal with other pages and limits. Failures are counted anew only where the limits are
    /// others.
    pub(crate) fn with(&self, pages: Arc<Pages>, throttle: throttle::Settings) -> Self {
        let mut shared = self.shared.clone();
        if *shared.throttle.settings() != throttle {
            shared.throttle = Arc::new(shared.throttle.with(throttle));
        }
        Self::of(shared, pages)
    }

    fn of(shared: Shared, pages: Arc<Pages>) -> Self {
        let accounts = || Arc::clone(&shared.accounts);
        let callers = || Arc::clone(&shared.callers);
        let csrf = || Arc::clone(&shared.csrf);
        let sessions = || Arc::clone(&shared.sessions);
        let store = || Arc::clone(&shared.saved_posts);
        let throttle = || Arc::clone(&shared.throttle);
        let logins = Logins {
            counts: shared.counts.clone(),
            saved_posts: store(),
            sessions: sessions(),
        };
        let login_form = LoginForm {
            csrf: csrf(),
            pages: Arc::clone(&pages),
            saved_posts: store(),
        };
        Self {
            account: Account {
                callers: callers(),
                clock: shared.clock.clone(),
                csrf: csrf(),
                pages: Arc::clone(&pages),
                password: PasswordForm {
                    accounts: accounts(),
                    logins: logins.clone(),
                    sessions: sessions(),
                    throttle: throttle(),
                },
                sessions: sessions(),
            },
            saved_posts: SavedPosts {
                callers: callers(),
                clock: shared.clock.clone(),
                csrf: csrf(),
                login_form: login_form.clone(),
                pages: Arc::clone(&pages),
                sessions: sessions(),
                store: store(),
            },
            session_status: SessionStatus {
                callers: callers(),
                sessions: sessions(),
            },
            sign_in: SignIn {
                accounts: accounts(),
                counts: shared.counts.clone(),
                csrf: csrf(),
                form: login_form,
                logins,
                throttle: throttle(),
            },
            sign_out: SignOut {
                callers: callers(),
                csrf: csrf(),
                pages: Arc::clone(&pages),
                saved_posts: store(),
                sessions: sessions(),
            },
            pages,
            shared,
        }
    }

    pub(crate) async fn serve(
        &self,
        endpoint: Endpoint<'_>,
        context: RequestContext<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        navigation::check(endpoint, context.head)?;
        endpoint.serve(self, context, body).await
    }

    pub(crate) fn callers(&self) -> &Arc<Callers> {
        &self.shared.callers
    }

    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    pub(crate) fn saved_posts(&self) -> &SavedPosts {
        &self.saved_posts
    }

    pub(crate) fn throttle_entries(&self) -> [(&'static str, u64); 3] {
        self.shared.throttle.entries()
    }
}

/// The answer to a request that needs a session and has none (SEC-69): a page load goes to the
/// login and comes back, anything else is told so.
pub(crate) fn ask_to_sign_in(head: &Parts, target: &Target) -> Response<Bytes> {
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

/// The answer to a button of a page of ours whose session has ended meanwhile. A POST is not led
/// to the login (SEC-69).
pub(crate) fn session_ended(head: &Parts) -> Result<Response<Bytes>, RequestError> {
    if is_page_load(&head.headers) {
        Err(RequestError::SessionEnded) // a page, for whoever pressed the button
    } else {
        Ok(login_required())
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
