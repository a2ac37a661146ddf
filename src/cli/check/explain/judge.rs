//! What the proxy makes of a request, in the order in which it looks at it.

use std::net::IpAddr;

use http::Method;

use super::answer::Answer;
use super::sites::Site;
use super::token::Token;
use crate::access::{self, Decision, Rule, Rules};
use crate::auth::credential::Refusal;
use crate::cli::check::facts::describe;
use crate::config::Config;
use crate::portal::{Endpoint, HostRole};
use crate::principal::{Principal, Scope};
use crate::proxy::AppSettings;
use crate::request::{Readings, own_path};

/// Stands for a rule at the addresses of Vestibule itself.
pub(super) const OWN: &str = "Vestibule's own address, never sent to an app";

const LOGIN_HOST: &str = "the host of the login has Vestibule's own pages, and no app";

const NO_PAGE: &str = "Vestibule's own address, and none of its pages";

/// Depends on where the client is, and that was not said.
pub(super) const DEPENDS: &str = "depends on the network";

const ALLOWED: &str = "allowed";
const LOGIN: &str = "login required";
const NOT_FOUND: &str = "not found";
const OUT_OF_SCOPE: &str = "outside the scope of the token";
pub(super) const WRONG_NETWORK: &str = "wrong network";

/// Where the client is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Unsaid,
    /// `None` where a trusted proxy would not say.
    At(Option<IpAddr>),
}

impl Answer {
    /// A page of our own, on a host that has it.
    pub(super) fn judge_own(
        &mut self,
        config: &Config,
        site: &Site<'_>,
        endpoint: Endpoint<'_>,
        has_session: bool,
        place: Place,
    ) {
        let Some(methods) = endpoint.on(site.role).methods() else {
            let login = config.login_host.as_ref();
            let elsewhere = login.filter(|_| endpoint.on(HostRole::Login).methods().is_some());
            self.rule = match elsewhere {
                Some(login) if site.role == HostRole::App => {
                    format!("a page of {} alone", login.as_str())
                }
                _ => NO_PAGE.to_owned(),
            };
            self.verdict = NOT_FOUND;
            return;
        };
        if !methods.split(", ").any(|method| method == self.method) {
            self.rule = format!("{OWN}, for {methods}");
            return;
        }
        // Our login is open to clients that may reach at least one app of its host.
        let apps: Vec<_> = match site.role {
            HostRole::Login => config.apps.iter().filter(|app| takes_part(app)).collect(),
            HostRole::Own | HostRole::App => site.apps.clone(),
        };
        let is_shut = |client| !apps.iter().any(|app| app.networks.admit(client));
        self.rule = String::from(OWN);
        self.verdict = match place {
            Place::At(client) if endpoint.signs_in() && is_shut(client) => WRONG_NETWORK,
            _ if endpoint.is_for_users() && !has_session => LOGIN,
            _ => ALLOWED,
        };
    }

    /// Anything else on the host of the login.
    pub(super) fn judge_login_host(&mut self) {
        if self.path == "/" && matches!(&*self.method, "GET" | "HEAD") {
            self.rule = format!("303 to {}", own_path!("account"));
            self.verdict = ALLOWED;
        } else {
            self.rule = String::from(LOGIN_HOST);
            self.verdict = NOT_FOUND;
        }
    }

    /// A request for an app; `path` is in normal form.
    pub(super) fn judge_app(
        &mut self,
        app: &AppSettings,
        method: &Method,
        path: &str,
        (principal, token): (Option<Principal>, Option<&Token>),
        place: Place,
    ) {
        if let Place::At(client) = place
            && !app.networks.admit(client)
        {
            self.rule = String::from("networks of the app");
            self.networks = vec![app.networks.to_string()];
            self.verdict = WRONG_NETWORK;
            return;
        }
        if !app.methods.contains(method) {
            self.rule = format!("{method} is not among the methods of the app");
            return;
        }
        if !app.part.is_whole_host() && app.part.prefix() == path {
            self.rule = format!("308 to {}", app.part.path());
            self.verdict = ALLOWED;
            return;
        }
        let principal = match token.filter(|_| app.credentials.tokens) {
            Some(token) => {
                let refusal = if token.view.expired {
                    Some(Refusal::Expired)
                } else if principal.is_none() {
                    Some(Refusal::User)
                } else {
                    None
                };
                if let Some(refusal) = refusal {
                    self.rule = String::from(refusal.text());
                    self.verdict = "token refused";
                    return;
                }
                principal.map(|principal| principal.within(token.scope.clone()))
            }
            None => principal.filter(|_| token.is_none()),
        };
        let maintenance = &app.maintenance;
        let is_exempt = |who: &Principal| maintenance.exempt.has(who.identity());
        if maintenance.sentence.is_some() && !principal.as_ref().is_some_and(is_exempt) {
            self.rule = String::from("`maintenance` of the app");
            self.verdict = "closed for maintenance";
            return;
        }
        let readings = match Readings::of_app(path, app.part.stripped(), app.rules.case()) {
            Ok(readings) => readings,
            Err(error) => {
                self.rule = format!("no path: {error}");
                return;
            }
        };
        let others = readings.others().iter().map(String::as_str);
        let mut all = others.chain([readings.path()]);
        if all.any(|reading| app.part.reads_as_own_page(reading)) {
            self.rule = format!("no path: the app could take it for {}", own_path!(""));
            self.verdict = NOT_FOUND;
            return;
        }
        let sent = app.part.stripped();
        let sent = sent.and_then(|prefix| path.strip_prefix(prefix));
        self.upstream = Some(sent.unwrap_or(path).to_owned());
        self.judge(app, &readings, method, principal.as_ref(), place);
    }

    /// What the rules say.
    fn judge(
        &mut self,
        app: &AppSettings,
        readings: &Readings<'_>,
        method: &Method,
        principal: Option<&Principal>,
        place: Place,
    ) {
        self.rule = (app.rules.find(readings.path(), method))
            .map_or_else(|| "none: any signed-in user".to_owned(), describe);
        let scope = principal.and_then(Principal::scope);
        let others = readings.others().iter().map(String::as_str);
        let rules = others
            .chain([readings.path()])
            .filter_map(|path| app.rules.find(path, method));
        let networks = rules.map(Rule::networks).chain([&app.networks]);
        for networks in networks.chain(scope.map(Scope::networks)) {
            let shown = networks.to_string();
            if !networks.are_any() && !self.networks.contains(&shown) {
                self.networks.push(shown);
            }
        }
        let decide = |rules: &Rules, client| {
            let decision = access::decide(rules, readings, method, principal.cloned(), client);
            match decision {
                Decision::Allow(_) => ALLOWED,
                Decision::Forbid => "forbidden",
                Decision::Login => LOGIN,
                Decision::OutOfScope => OUT_OF_SCOPE,
                Decision::WrongNetwork => WRONG_NETWORK,
            }
        };
        self.verdict = match place {
            Place::At(client) if scope.is_some_and(|it| !it.opens(&app.name, client)) => {
                OUT_OF_SCOPE
            }
            Place::At(client) => decide(&app.rules, client),
            Place::Unsaid if scope.is_some_and(|it| !it.has(&app.name)) => OUT_OF_SCOPE,
            Place::Unsaid if self.networks.is_empty() => decide(&app.rules, None),
            Place::Unsaid => {
                let within = decide(&app.rules.without_networks(), None);
                if matches!(within, "forbidden" | OUT_OF_SCOPE) {
                    within
                } else {
                    self.within_networks = Some(within);
                    DEPENDS
                }
            }
        };
        // What goes through a WebSocket has no method (SEC-96).
        let for_some_methods = scope.is_some_and(|scope| !scope.methods().is_empty());
        if self.websocket
            && for_some_methods
            && [self.within_networks, Some(self.verdict)].contains(&Some(ALLOWED))
        {
            self.within_networks = None;
            self.verdict = OUT_OF_SCOPE;
        }
    }
}

/// Whether the login of all apps signs in to this one, on some host of it.
fn takes_part(app: &AppSettings) -> bool {
    let mut hosts = app.hosts.iter();
    hosts.any(|host| !app.sso_wildcard.is_apart(host))
}
