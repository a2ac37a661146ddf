//! What becomes of a request, in words.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderName;
use serde::Serialize;

use super::sites::Site;
use crate::admin::protocol::TokenView;
use crate::cli::session::safe;
use crate::cli::token;
use crate::portal::HostRole;
use crate::proxy::{AppSettings, CredentialSettings};
use crate::request::{Host, title_case};

/// What becomes of one request.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli::check) struct Answer {
    pub(super) host: String,
    /// The `host` of the app that names it; `None` where it is any.
    pub(super) entry: Option<String>,
    pub(super) app: Option<String>,
    /// The host where its visitors sign in.
    pub(super) login_host: Option<String>,
    pub(super) path: String,
    /// The path that the app gets.
    pub(super) upstream: Option<String>,
    pub(super) method: String,
    /// Whether the request is to open a WebSocket.
    pub(super) websocket: bool,
    pub(super) rule: String,
    pub(super) user: Option<String>,
    /// Whether `user` can sign in.
    pub(super) account: Option<&'static str>,
    pub(super) groups: Vec<String>,
    /// What programs may show to this app.
    pub(super) programs: Option<Programs>,
    /// The token that was asked about.
    pub(super) token: Option<TokenView>,
    /// Where the user is, as far as it was said.
    pub(super) from: Option<IpAddr>,
    /// Of the app, of the rule and of the token, where they name any.
    pub(super) networks: Vec<String>,
    pub(super) verdict: &'static str,
    /// The verdict for clients in these networks, where the verdict depends on that.
    pub(super) within_networks: Option<&'static str>,
    #[serde(skip)]
    pub(super) login: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in crate::cli::check) struct Programs {
    tokens: bool,
    token_header: Option<String>,
    basic: bool,
}

impl From<&CredentialSettings> for Programs {
    fn from(settings: &CredentialSettings) -> Self {
        let CredentialSettings {
            tokens,
            token_header,
            basic,
        } = settings;
        Self {
            tokens: *tokens,
            token_header: token_header.as_ref().map(as_people_write_it),
            basic: *basic,
        }
    }
}

fn as_people_write_it(name: &HeaderName) -> String {
    let mut name = name.as_str().as_bytes().to_vec();
    title_case(&mut name);
    String::from_utf8_lossy(&name).into_owned()
}

impl Programs {
    pub(in crate::cli::check) fn text(&self) -> String {
        let header = self.token_header.as_deref();
        let header = header.map_or_else(String::new, |name| format!(" or {name}"));
        match (self.tokens, self.basic) {
            (false, false) => "sign in like visitors: `tokens` and `basic` are off".to_owned(),
            (true, false) => format!("API tokens, in Authorization{header}"),
            (false, true) => "passwords, by HTTP Basic".to_owned(),
            (true, true) => {
                format!("API tokens, in Authorization{header}; passwords, by HTTP Basic")
            }
        }
    }
}

impl Answer {
    /// Says which host it is, and where its visitors sign in.
    pub(super) fn note_site(&mut self, site: &Site<'_>, login: Option<&Host>) {
        let entry = site.entry.as_ref().map(ToString::to_string);
        let (at, words) = match (site.role, login.map(Host::as_str)) {
            (HostRole::Own, Some(_)) => (
                None,
                format!(
                    "on this host: without `sso_wildcard`, {} takes no part in the one login",
                    entry.as_deref().unwrap_or_default()
                ),
            ),
            (HostRole::Own | HostRole::App, None) => (None, "on this host".to_owned()),
            (HostRole::App, Some(login)) => (Some(login), format!("on {login}, for all apps")),
            (HostRole::Login, _) => (None, "on this host, for all apps".to_owned()),
        };
        self.login_host = Some(at.unwrap_or(&self.host).to_owned());
        self.login = Some(words);
        self.entry = entry;
    }

    pub(super) fn note_app(&mut self, app: &AppSettings) {
        self.app = Some(app.name.clone());
        self.programs = Some((&app.credentials).into());
    }

    pub(in crate::cli::check) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<8} {value}"); // writing to a String never fails
        };
        let Self { method, path, .. } = self;
        let websocket = if self.websocket {
            ", to open a WebSocket"
        } else {
            ""
        };
        line("request", &format!("{method} {path}{websocket}"));
        let host = match &self.entry {
            Some(entry) if *entry != self.host => format!("{}, by {entry}", self.host),
            _ => self.host.clone(),
        };
        line("host", &host);
        if let Some(login) = &self.login {
            line("login", login);
        }
        line("app", self.app.as_deref().unwrap_or("none"));
        if let Some(upstream) = &self.upstream {
            line("upstream", &format!("{method} {upstream}"));
        }
        line("rule", &self.rule);
        if !self.networks.is_empty() {
            line("networks", &self.networks.join("; of these only "));
        }
        if let Some(programs) = &self.programs {
            line("programs", &programs.text());
        }
        line("user", &self.who());
        if let Some(token) = &self.token {
            let key = token.key.get(..8).unwrap_or(&token.key);
            let (name, opens) = (safe(&token.name), safe(&token::opens(token)));
            let no_websocket = if token.methods.is_empty() {
                ""
            } else {
                ", and no WebSocket"
            };
            let is_taken = self.programs.as_ref().is_none_or(|it| it.tokens);
            let taken = if is_taken {
                ""
            } else {
                "; this app takes no tokens"
            };
            line(
                "token",
                &format!("{key}, {name}: opens {opens}{no_websocket}{taken}"),
            );
        }
        if let Some(from) = self.from {
            line("from", &from.to_string());
        }
        let within = match self.within_networks {
            Some(within) => format!(": {within} there, --from ADDRESS asks for another"),
            None => String::new(),
        };
        line("verdict", &format!("{}{within}", self.verdict));
        text
    }

    fn who(&self) -> String {
        match (&self.user, self.account) {
            (Some(user), Some("active")) if self.groups.is_empty() => {
                format!("{user}, in no group")
            }
            (Some(user), Some("active")) => format!("{user}, in {}", self.groups.join(", ")),
            (Some(user), Some(account)) => format!("{user}, {account}: cannot sign in"),
            _ => "not signed in".to_owned(),
        }
    }
}
