//! Our HTML: plain forms that work without script, one look, one exit with the safety headers.

mod account;
mod branding;
mod forms;
mod framed;
mod humanise;
mod login;
pub(crate) mod messages;
mod response;
mod user_agent;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use minijinja::value::Kwargs;
use minijinja::{Environment, State, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};

pub(crate) use self::account::{
    AccountForm, AccountProblem, AccountView, SessionView, TokenAppView, TokenView, TokensView,
};
pub(crate) use self::branding::{Branding, PagesError};
pub(crate) use self::forms::{CrossSitePostView, SavedPostView, SavedPostsView};
pub(crate) use self::framed::{Framed, FramedView};
pub(crate) use self::login::{LoginNotice, LoginProblem, LoginView};
use self::messages::{Link, Message, texts};
pub(crate) use self::response::{Page, bare, json, jwks, no_content, octets, plain, redirect};
use crate::request::own_path;

/// All of our own pages with the operator's branding, compiled once and shared.
#[derive(Clone)]
pub(crate) struct Pages {
    assets: Arc<[Asset; 4]>,
    templates: Arc<Environment<'static>>,
    /// What visitors sign in to.
    title: Arc<str>,
}

/// What is said to somebody who has sent something without a session, where the login is on another
/// host.
pub(crate) struct SignInFirstView<'a> {
    pub(crate) host: &'a str,
    /// For how long what they have sent still waits.
    pub(crate) saved_for: Option<Duration>,
    /// Whether they have said already that it is to be sent.
    pub(crate) sends_itself: bool,
}

/// The button that signs out.
pub(crate) struct LogoutView<'a> {
    pub(crate) host: &'a str,
    pub(crate) user: &'a str,
    pub(crate) csrf: &'a str,
    /// What else it ends, where one login is for all apps.
    pub(crate) hosts: &'a [String],
    /// The name of a session that another host has.
    pub(crate) session: Option<&'a str>,
    /// Whether the button leads to a page that is not ours.
    pub(crate) leads_on: bool,
}

/// What happened, what the visitor can do, and who can help; never an upstream address.
pub(crate) struct ErrorView<'a> {
    pub(crate) message: &'a Message,
    /// That of the message, with its values.
    pub(crate) advice: &'a str,
    /// What the operator has to say, if anything.
    pub(crate) notice: Option<&'a str>,
    /// Whether the title of the pages is that of the app that the request was for.
    pub(crate) names_app: bool,
    /// The folder of that app, without the first slash: empty for all of a host.
    pub(crate) start: &'a str,
    /// Which of our addresses begins a login on this host.
    pub(crate) login: &'a str,
    pub(crate) request_id: &'a str,
}

/// What a visitor can do about a body that is larger than so many bytes.
pub(crate) fn with_limit(advice: &str, bytes: u64) -> String {
    texts::fill(advice, &[("limit", &humanise::limit(bytes))])
}

/// Advice with the time that its `{time}` stands for, rounded up.
pub(crate) fn with_time(advice: &str, time: Duration) -> String {
    texts::fill(advice, &[("time", &humanise::wait(time))])
}

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: Bytes,
}

const STYLE: &str = include_str!("pages/style.css");
const SCRIPT: &str = include_str!("pages/login.js");
const WAITING: &str = include_str!("pages/waiting.js");
const TEMPLATES: [(&str, &str); 11] = [
    ("account.html", include_str!("pages/account.html")),
    ("tokens.html", include_str!("pages/tokens.html")),
    ("base.html", include_str!("pages/base.html")),
    (
        "cross_site_post.html",
        include_str!("pages/cross_site_post.html"),
    ),
    ("error.html", include_str!("pages/error.html")),
    ("framed.html", include_str!("pages/framed.html")),
    ("kept_form.html", include_str!("pages/kept_form.html")),
    ("login.html", include_str!("pages/login.html")),
    ("logout.html", include_str!("pages/logout.html")),
    (
        "sign_in_first.html",
        include_str!("pages/sign_in_first.html"),
    ),
    ("signed_out.html", include_str!("pages/signed_out.html")),
];

impl Pages {
    /// Reads the logo and works out the colours.
    ///
    /// `remember_for` is how long those stay signed in who ask for it; zero for no such offer.
    pub(crate) fn new(branding: &Branding, remember_for: Duration) -> Result<Self, PagesError> {
        let colours = branding.colours()?;
        let icon = branding.icon(&colours)?;
        let assets = [
            Asset {
                name: "style.css",
                content_type: "text/css; charset=utf-8",
                body: format!("{}{STYLE}", colours.css()).into(),
            },
            Asset {
                name: "login.js",
                content_type: "text/javascript; charset=utf-8",
                body: Bytes::from_static(SCRIPT.as_bytes()),
            },
            Asset {
                name: icon.file_name,
                content_type: icon.content_type,
                body: icon.body,
            },
            Asset {
                name: "waiting.js",
                content_type: "text/javascript; charset=utf-8",
                body: Bytes::from_static(WAITING.as_bytes()),
            },
        ];
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            let added = templates.add_template(name, source);
            added.expect("templates are constants, and every one is rendered by the tests");
        }
        for (variable, asset) in ["style", "script", "icon", "waiting"]
            .into_iter()
            .zip(&assets)
        {
            templates.add_global(variable, Value::from_safe_string(asset.address()));
        }
        let remember_for = (!remember_for.is_zero()).then(|| humanise::wait(remember_for));
        templates.add_global("remember_for", remember_for);
        templates.add_global("footer", branding.footer.as_deref());
        templates.add_function("say", |state: &State<'_, '_>, key: &str, values: Kwargs| {
            let title = state.lookup("title").unwrap_or_default();
            texts::say(title.as_str().unwrap_or_default(), key, &values)
        });
        Ok(Self {
            assets: Arc::new(assets),
            templates: Arc::new(templates),
            title: branding.title.as_str().into(),
        })
    }

    /// The same pages for the app of this title; they keep that of the login for `None`.
    pub(crate) fn titled(&self, title: Option<&Arc<str>>) -> Self {
        Self {
            title: Arc::clone(title.unwrap_or(&self.title)),
            ..self.clone()
        }
    }

    pub(crate) fn login(&self, view: &LoginView<'_>) -> Page {
        let (problem, typed) = match view.notice {
            Some(LoginNotice::Problem { problem, typed }) => (Some(problem), typed),
            _ => (None, None),
        };
        let (user, is_forbidden) = match view.notice {
            Some(LoginNotice::SignedInAs { user, is_forbidden }) => (Some(user), is_forbidden),
            _ => (None, false),
        };
        let page = self.page(
            problem.map_or(StatusCode::OK, LoginProblem::status),
            "login.html",
            context! {
                host => view.host,
                csrf => view.csrf,
                action => view.action,
                return_to => view.return_to,
                kept => view.kept,
                state => view.state,
                remember => view.remember,
                problem => problem.map(LoginProblem::sentence),
                typed,
                user,
                is_forbidden,
                kept_for => view.saved_for.map(humanise::wait),
                sends_itself => view.sends_itself,
                has_open_pages => view.has_open_pages,
                waits => view.waits,
            },
        );
        let page = page.ask_for_session();
        match problem.and_then(LoginProblem::wait) {
            Some(wait) => page.retry_after(wait),
            None => page,
        }
    }

    pub(crate) fn logout(&self, view: &LogoutView<'_>) -> Page {
        let context = context! {
            host => view.host,
            user => view.user,
            csrf => view.csrf,
            hosts => view.hosts.to_vec(),
            session => view.session,
        };
        let page = self.page(StatusCode::OK, "logout.html", context);
        if view.leads_on {
            page.follow_forms()
        } else {
            page
        }
    }

    /// After the logout, which has ended the session on these hosts as well.
    pub(crate) fn signed_out(&self, host: &str, ended: &[String]) -> Page {
        let ended = ended.to_vec();
        let context = context! { host, ended };
        self.page(StatusCode::OK, "signed_out.html", context)
    }

    /// Without a form: the login is on another host.
    pub(crate) fn sign_in_first(&self, view: &SignInFirstView<'_>) -> Page {
        let context = context! {
            host => view.host,
            kept_for => view.saved_for.map(humanise::wait),
            sends_itself => view.sends_itself,
        };
        self.page(StatusCode::OK, "sign_in_first.html", context)
    }

    pub(crate) fn error(&self, view: &ErrorView<'_>) -> Page {
        let message = view.message;
        let help = match message.status {
            StatusCode::FORBIDDEN if message.link.is_some_and(Link::is_login) => {
                texts::ERROR_HELP_FORBIDDEN
            }
            status if status.is_server_error() => texts::ERROR_HELP_SERVER,
            _ => texts::ERROR_HELP,
        };
        self.page(
            message.status,
            "error.html",
            context! {
                status => message.status.as_u16(),
                names_app => view.names_app,
                start => view.start,
                login => view.login,
                happened => message.title,
                notice => view.notice,
                advice => view.advice.split('`').map(str::to_owned).collect::<Vec<_>>(),
                link => message.link.map(|link| match link {
                    Link::Login => "login",
                    Link::StartPage => "start",
                }),
                help => texts::fill(help, &[("title", &self.title)]),
                request_id => view.request_id,
            },
        )
    }

    /// A file under `/.vestibule/assets/`, by its name without the query.
    pub(crate) fn asset(&self, name: &str) -> Option<Response<Bytes>> {
        let asset = self.assets.iter().find(|asset| asset.name == name)?;
        let mut response = response::safe(StatusCode::OK, asset.content_type, asset.body.clone());
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        );
        Some(response)
    }

    fn page(&self, status: StatusCode, name: &str, context: Value) -> Page {
        let context = context! { title => &*self.title, ..context };
        let rendered = self
            .templates
            .get_template(name)
            .and_then(|template| template.render(context));
        match rendered {
            Ok(html) => Page::new(status, html),
            Err(error) => {
                tracing::error!(template = name, %error, "cannot render a page");
                Page::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!(
                        "<!doctype html><title>{0}</title><p>{0}</p>",
                        texts::ERROR_PAGE_NOT_SHOWN
                    ),
                )
            }
        }
    }
}

impl Asset {
    /// Its address, with a hash of its content: a new binary or accent is seen at once although
    /// browsers keep the file.
    fn address(&self) -> String {
        let digest = Sha256::digest(&self.body);
        let version = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let folder = own_path!("assets/");
        format!("{folder}{}?v={version:08x}", self.name)
    }
}

#[cfg(test)]
mod tests;
