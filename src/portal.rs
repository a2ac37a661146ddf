//! Our own addresses under `/.vestibule/`: never forwarded, never shadowed (SEC-73).
//!
//! `route` lists them. Each page is a type of its own, with as much as it needs.

mod account;
mod ask;
mod basic;
mod context;
mod csrf;
pub(crate) mod form;
mod jwks;
mod login_cookie;
mod login_form;
mod logins;
mod long_targets;
mod navigation;
mod pending;
pub(crate) mod return_to;
mod route;
pub(crate) mod saved_posts;
mod seal;
mod session_status;
mod sign_in;
mod sign_out;
mod sso;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response};

use crate::auth::Accounts;
use crate::auth::api_token::ApiTokens;
use crate::auth::callers::Callers;
use crate::auth::known_passwords::KnownPasswords;
use crate::auth::throttle::{self, Throttle};
use crate::clock::Clock;
use crate::error::RequestError;
use crate::identity::token::Signer;
use crate::metrics::LoginCounts;
use crate::nodes::{KeyRing, Nodes};
use crate::pages::Pages;
use crate::random::NoRandomness;
use crate::request::own_path;
use crate::session::Sessions;
use crate::upstream::ClientBody;

use account::Account;
use account::password::PasswordForm;
use ask::{ask_to_sign_in, login_required};
pub(crate) use ask::{challenge, session_ended};
use basic::BasicLogin;
pub(crate) use basic::NotSignedIn;
pub(crate) use context::{Destinations, RequestContext, TokenApp};
use csrf::Csrf;
use login_form::LoginForm;
use logins::Logins;
use long_targets::LongTargets;
pub(crate) use route::{Endpoint, is_page_load};
use saved_posts::SavedPosts;
use saved_posts::store::SavedPostStore;
use seal::Seal;
use session_status::SessionStatus;
use sign_in::SignIn;
use sign_out::SignOut;
use sso::{Beginning, Codes, Sso};
pub(crate) use sso::{HostRole, LoginHost};

const FORM: &str = own_path!("form");
pub(crate) const ACCOUNT: &str = own_path!("account");
pub(crate) const LOGIN: &str = own_path!("login");
/// For a script whose request has failed.
pub(crate) const LOGIN_IN_BACKGROUND: &str = own_path!("login?background=1");
const LOGOUT: &str = own_path!("logout");
/// On the host of an app, where one login is for all: a login comes back there, and begins there.
pub(crate) const SSO: &str = own_path!("sso");
pub(crate) const SSO_IN_BACKGROUND: &str = own_path!("sso?background=1");

/// What one configuration says of our pages.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) pages: Arc<Pages>,
    /// `Location` after a sign-out; `None` shows our own page.
    pub(crate) after_logout: Option<HeaderValue>,
    /// Where everybody signs in; `None` where each host has a login of its own.
    pub(crate) login_host: Option<LoginHost>,
}

/// What our pages look people up in.
#[derive(Clone)]
pub(crate) struct Backends {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tokens: Arc<ApiTokens>,
    /// Of identity tokens.
    pub(crate) signer: Arc<Signer>,
    /// Of forms.
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) nodes: Nodes,
}

/// All of our pages, as one configuration has them.
pub(crate) struct Portal {
    shared: Shared,
    account: Account,
    basic: BasicLogin,
    pages: Arc<Pages>,
    saved_posts: SavedPosts,
    session_status: SessionStatus,
    sign_in: SignIn,
    sign_out: SignOut,
    sso: Option<Arc<Sso>>,
}

/// What the pages of several configurations share: forms that are open in browsers stay good.
#[derive(Clone)]
struct Shared {
    accounts: Arc<Accounts>,
    callers: Arc<Callers>,
    clock: Clock,
    codes: Arc<Codes>,
    counts: LoginCounts,
    csrf: Arc<Csrf>,
    known_passwords: Arc<KnownPasswords>,
    long_targets: Arc<LongTargets>,
    saved_posts: Arc<SavedPostStore>,
    seal: Arc<Seal>,
    sessions: Arc<Sessions>,
    signer: Arc<Signer>,
    throttle: Arc<Throttle>,
    tokens: Arc<ApiTokens>,
}

impl Portal {
    pub(crate) fn new(
        backends: Backends,
        settings: Settings,
        throttle: Throttle,
        saved_posts: Arc<SavedPostStore>,
        clock: Clock,
        counts: LoginCounts,
    ) -> Result<Self, NoRandomness> {
        let former_users = Arc::clone(saved_posts.former_users());
        let Backends {
            accounts,
            sessions,
            tokens,
            signer,
            keys,
            nodes,
        } = backends;
        let callers = Callers::new(
            Arc::clone(&accounts),
            Arc::clone(&sessions),
            former_users,
            Arc::clone(&tokens),
        );
        let shared = Shared {
            accounts,
            callers: Arc::new(callers),
            codes: Arc::new(Codes::new(clock.clone(), nodes.values().cloned())),
            counts,
            csrf: Arc::new(Csrf::new(Arc::clone(&keys))),
            known_passwords: Arc::new(KnownPasswords::new(clock.clone())?),
            long_targets: Arc::new(LongTargets::new(clock.clone(), &nodes)),
            clock,
            saved_posts,
            seal: Arc::new(Seal::new(keys)),
            sessions,
            signer,
            throttle: Arc::new(throttle),
            tokens,
        };
        Ok(Self::of(shared, settings))
    }

    /// A portal with other pages and limits. Failures are counted anew only where the limits are
    /// others.
    pub(crate) fn with(&self, settings: Settings, throttle: throttle::Settings) -> Self {
        let mut shared = self.shared.clone();
        if *shared.throttle.settings() != throttle {
            shared.throttle = Arc::new(shared.throttle.with(throttle));
        }
        Self::of(shared, settings)
    }

    fn of(shared: Shared, settings: Settings) -> Self {
        let Settings {
            pages,
            after_logout,
            login_host,
        } = settings;
        let accounts = || Arc::clone(&shared.accounts);
        let callers = || Arc::clone(&shared.callers);
        let csrf = || Arc::clone(&shared.csrf);
        let sessions = || Arc::clone(&shared.sessions);
        let store = || Arc::clone(&shared.saved_posts);
        let throttle = || Arc::clone(&shared.throttle);
        let long_targets = || Arc::clone(&shared.long_targets);
        let sso = login_host.map(|login| {
            Arc::new(Sso {
                callers: callers(),
                codes: Arc::clone(&shared.codes),
                login,
                long_targets: long_targets(),
                saved_posts: store(),
                seal: Arc::clone(&shared.seal),
                sessions: sessions(),
            })
        });
        let logins = Logins {
            counts: shared.counts.clone(),
            long_targets: long_targets(),
            saved_posts: store(),
            sessions: sessions(),
        };
        let login_form = LoginForm {
            csrf: csrf(),
            long_targets: long_targets(),
            pages: Arc::clone(&pages),
            saved_posts: store(),
            sso: sso.clone(),
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
                tokens: Arc::clone(&shared.tokens),
            },
            basic: BasicLogin {
                accounts: accounts(),
                clock: shared.clock.clone(),
                counts: shared.counts.clone(),
                known: Arc::clone(&shared.known_passwords),
                throttle: throttle(),
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
                callers: callers(),
                counts: shared.counts.clone(),
                csrf: csrf(),
                form: login_form,
                logins,
                throttle: throttle(),
            },
            sign_out: SignOut {
                after_logout,
                callers: callers(),
                csrf: csrf(),
                pages: Arc::clone(&pages),
                saved_posts: store(),
                sessions: sessions(),
                sso: sso.clone(),
            },
            sso,
            pages,
            shared,
        }
    }

    pub(crate) async fn serve(
        &self,
        endpoint: Endpoint<'_>,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let endpoint = endpoint.on(context.role);
        let (method, headers) = (&context.head.method, &context.head.headers);
        match navigation::check(endpoint, context.head) {
            Err(RequestError::NotANavigation)
                if method == Method::GET && navigation::is_framed(headers) =>
            {
                return Ok(self.own_page_in_frame(&context));
            }
            checked => checked?,
        }
        endpoint.serve(self, context, destinations, body).await
    }

    pub(crate) fn callers(&self) -> &Arc<Callers> {
        &self.shared.callers
    }

    pub(crate) fn basic(&self) -> &BasicLogin {
        &self.basic
    }

    pub(crate) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    /// Of identity tokens.
    pub(crate) fn signer(&self) -> &Arc<Signer> {
        &self.shared.signer
    }

    pub(crate) fn saved_posts(&self) -> &SavedPosts {
        &self.saved_posts
    }

    /// Drops what has waited for a login for too long.
    pub(crate) fn sweep(&self) {
        self.saved_posts.sweep();
        self.shared.long_targets.sweep();
        self.shared.codes.sweep();
    }

    pub(crate) fn throttle_entries(&self) -> [(&'static str, u64); 3] {
        self.shared.throttle.entries()
    }
}
