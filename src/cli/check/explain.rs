//! `vestibule check --url`: who may open an address, and by which rule.

use std::net::IpAddr;

use http::Method;
use serde::Serialize;

use super::facts::describe;
use crate::access::{self, Decision, Rule, Rules};
use crate::auth::users_file;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::{Config, value};
use crate::portal::Endpoint;
use crate::principal::{AccountRef, AuthContext, Identity, Method as By, Principal};
use crate::proxy::AppSettings;
use crate::proxy::part::PartIndex;
use crate::request::{self, AllowInPath, HostMap, PathCase, Readings, own_path};

/// Stands for a rule at the addresses of Vestibule itself.
const LOGIN_HOST: &str = "the host of the login: pages of its own, and no app";

const OWN: &str = "Vestibule's own address, never sent to an app";

/// What becomes of one request.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    app: Option<String>,
    path: String,
    /// The path that the app gets.
    upstream: Option<String>,
    method: String,
    rule: String,
    user: Option<String>,
    /// Whether `user` can sign in.
    account: Option<&'static str>,
    groups: Vec<String>,
    /// Where the user is, as far as it was said.
    from: Option<IpAddr>,
    /// Of the app and of the rule, where they name any.
    networks: Vec<String>,
    verdict: &'static str,
    /// The verdict for clients in these networks, where the verdict depends on that.
    within_networks: Option<&'static str>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asker<'a> {
    /// Without it, a visitor without a session.
    pub(super) user: Option<&'a str>,
    /// Without it, anywhere.
    pub(super) from: Option<IpAddr>,
}

/// Where the client is.
#[derive(Clone, Copy)]
enum Place {
    Unsaid,
    /// `None` where a trusted proxy would not say.
    At(Option<IpAddr>),
}

/// Depends on where the client is, and that was not said.
const DEPENDS: &str = "depends on the network";

const WRONG_NETWORK: &str = "wrong network";

impl Answer {
    fn of_login_host(self) -> Self {
        Self {
            rule: LOGIN_HOST.to_owned(),
            verdict: "allowed",
            ..self
        }
    }

    pub(super) fn text(&self) -> String {
        let who = match (&self.user, self.account) {
            (Some(user), Some("active")) if self.groups.is_empty() => {
                format!("{user}, in no group")
            }
            (Some(user), Some("active")) => format!("{user}, in {}", self.groups.join(", ")),
            (Some(user), Some(account)) => format!("{user}, {account}: cannot sign in"),
            _ => "not signed in".to_owned(),
        };
        let app = self.app.as_deref().unwrap_or("none");
        let Self {
            method,
            path,
            rule,
            verdict,
            ..
        } = self;
        let upstream = match &self.upstream {
            Some(upstream) => format!("upstream {method} {upstream}\n"),
            None => String::new(),
        };
        let networks = if self.networks.is_empty() {
            String::new()
        } else {
            format!("networks {}\n", self.networks.join("; of these only "))
        };
        let from = match self.from {
            Some(from) => format!("from     {from}\n"),
            None => String::new(),
        };
        let within = match self.within_networks {
            Some(within) => format!(": {within} there, --from ADDRESS asks for another"),
            None => String::new(),
        };
        format!(
            "request  {method} {path}\napp      {app}\n{upstream}rule     {rule}\n{networks}user     {who}\n{from}verdict  {verdict}{within}\n",
        )
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
        let others = readings.others().iter().map(String::as_str);
        let rules = others
            .chain([readings.path()])
            .filter_map(|path| app.rules.find(path, method));
        for networks in rules.map(Rule::networks).chain([&app.networks]) {
            let shown = networks.to_string();
            if !networks.are_any() && !self.networks.contains(&shown) {
                self.networks.push(shown);
            }
        }
        let verdict = |rules: &Rules, client| {
            let principal = principal.cloned();
            match access::decide(rules, readings, method, principal, client) {
                Decision::Allow(_) => "allowed",
                Decision::Forbid => "forbidden",
                Decision::Login => "login required",
                Decision::OutOfScope => "outside the scope of the token",
                Decision::WrongNetwork => WRONG_NETWORK,
            }
        };
        self.verdict = match place {
            Place::At(client) => verdict(&app.rules, client),
            Place::Unsaid if self.networks.is_empty() => verdict(&app.rules, None),
            Place::Unsaid => {
                let within = verdict(&app.rules.without_networks(), None);
                if within == "forbidden" {
                    within
                } else {
                    self.within_networks = Some(within);
                    DEPENDS
                }
            }
        };
    }
}

pub(super) fn ask(
    config: &Config,
    url: &str,
    method: &Method,
    asker: Asker<'_>,
) -> Result<Answer, Failure> {
    let Asker { user, from } = asker;
    let (host, target) = split(url).ok_or_else(|| {
        Failure::Usage(format!(
            "`{url}` is not an address: write it as in https://wiki.example.org/page"
        ))
    })?;
    let account = user.map(|user| principal_of(config, user)).transpose()?;
    let (account, principal) = match account {
        Some(Account::Active(principal)) => (Some("active"), Some(principal)),
        Some(Account::Disabled) => (Some("disabled"), None),
        Some(Account::Unknown) => (Some("unknown"), None),
        None => (None, None),
    };
    let mut answer = Answer {
        app: None,
        path: target.clone(),
        upstream: None,
        method: method.to_string(),
        rule: String::new(),
        user: user.map(str::to_owned),
        account,
        groups: principal
            .as_ref()
            .map_or_else(Vec::new, |who| who.identity().groups().to_vec()),
        from,
        networks: Vec::new(),
        verdict: "refused",
        within_networks: None,
    };
    let apps = apps_of(config, &host);
    let app = match app_of(&apps, &host, &target) {
        Ok(app) => app,
        Err(_) if config.login_host.as_ref() == Some(&host) => return Ok(answer.of_login_host()),
        Err(rule) => return Ok(Answer { rule, ..answer }),
    };
    answer.app = Some(app.name.clone());
    if !app.methods.contains(method) {
        answer.rule = format!("{method} is not among the methods of the app");
        return Ok(answer);
    }
    let path = match request::normal_path(&target, app.allow_in_path) {
        Ok(path) => path,
        Err(error) => {
            answer.rule = format!("no path: {error}");
            return Ok(answer);
        }
    };
    answer.path = path.clone().into_owned();
    let place = from.map_or(Place::Unsaid, |from| {
        Place::At((!config.trusted_proxies.contain(from)).then_some(from))
    });
    if let Some(endpoint) = Endpoint::of(&path) {
        answer.rule = String::from(OWN);
        answer.verdict = of_own_address(&apps, endpoint, place);
        return Ok(answer);
    }
    if let Place::At(client) = place
        && !app.networks.admit(client)
    {
        answer.rule = String::from("networks of the app");
        answer.networks = vec![app.networks.to_string()];
        answer.verdict = WRONG_NETWORK;
        return Ok(answer);
    }
    let maintenance = &app.maintenance;
    let is_exempt = |who: &Principal| maintenance.exempt.has(who.identity());
    if maintenance.sentence.is_some() && !principal.as_ref().is_some_and(is_exempt) {
        answer.rule = String::from("`maintenance` of the app");
        answer.verdict = "closed for maintenance";
        return Ok(answer);
    }
    if !app.part.is_whole_host() && app.part.prefix() == path {
        answer.rule = format!("308 to {}", app.part.path());
        answer.verdict = "allowed";
        return Ok(answer);
    }
    let sent = app
        .part
        .stripped()
        .and_then(|prefix| path.strip_prefix(prefix));
    answer.upstream = Some(sent.unwrap_or(&path).to_owned());
    let readings = match Readings::of_app(&path, app.part.stripped(), app.rules.case()) {
        Ok(readings) => readings,
        Err(error) => {
            answer.rule = format!("no path: {error}");
            return Ok(answer);
        }
    };
    let others = readings.others().iter().map(String::as_str);
    if others
        .chain([readings.path()])
        .any(|reading| Endpoint::of(reading).is_some())
    {
        answer.rule = format!("no path: an app could take it for {}", own_path!(""));
        return Ok(answer);
    }
    answer.judge(app, &readings, method, principal.as_ref(), place);
    Ok(answer)
}

/// Our login is open to clients that may reach at least one app of its host.
fn of_own_address(apps: &[&AppSettings], endpoint: Endpoint<'_>, place: Place) -> &'static str {
    let mut apps = apps.iter();
    match place {
        Place::At(client) if endpoint.signs_in() && !apps.any(|app| app.networks.admit(client)) => {
            WRONG_NETWORK
        }
        _ => "allowed",
    }
}

/// The apps of a host, the longest path first.
fn apps_of<'c>(config: &'c Config, host: &request::Host) -> Vec<&'c AppSettings> {
    let mut by_host = HostMap::<Vec<&AppSettings>>::default();
    for app in &config.apps {
        if app.hosts.are_any() {
            return vec![app]; // the only one
        }
        for pattern in app.hosts.iter() {
            by_host.entry(pattern).push(app);
        }
    }
    let mut apps = by_host.get(host.as_str()).cloned().unwrap_or_default();
    apps.sort_by_key(|app| std::cmp::Reverse(app.part.prefix().len()));
    apps
}

/// Which of the apps of a host gets an address, or why none does.
fn app_of<'c>(
    apps: &[&'c AppSettings],
    host: &request::Host,
    target: &str,
) -> Result<&'c AppSettings, String> {
    let Some(last) = apps.last() else {
        return Err(format!("no app has the host {}", host.as_str()));
    };
    if apps.len() == 1 && last.part.is_whole_host() {
        return Ok(last);
    }
    let allow = apps.iter().map(|app| app.allow_in_path);
    let allow = allow.fold(AllowInPath::default(), AllowInPath::or);
    let no_path = |error| format!("no path: {error}");
    let path = request::normal_path(target, allow).map_err(no_path)?;
    if Endpoint::of(&path).is_some() {
        return Ok(last);
    }
    let case = apps.iter().map(|app| app.rules.case());
    let case = case.fold(PathCase::Sensitive, PathCase::or);
    let parts = apps.iter().map(|app| &app.part);
    let found = PartIndex::new(parts, case).choose(&path);
    let found = found.map_err(|error| format!("no path: {}", error.text()))?;
    found
        .map(|at| apps[at])
        .ok_or_else(|| "no app of this host has this path".to_owned())
}

/// Host and path of an address as a browser shows it.
fn split(url: &str) -> Option<(request::Host, String)> {
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, _) = value::authority(&rest[..end], 443)?;
    let path = rest[end..].split(['?', '#']).next().unwrap_or_default();
    let path = if path.is_empty() { "/" } else { path };
    Some((host, path.to_owned()))
}

enum Account {
    Active(Principal),
    Disabled,
    Unknown,
}

/// What a login of `user` would lead to.
fn principal_of(config: &Config, user: &str) -> Result<Account, Failure> {
    let users = users_file::read(&config.users_file)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(match users.get(user) {
        None => Account::Unknown,
        Some(found) if found.disabled() => Account::Disabled,
        Some(found) => {
            let email = found.email().map(str::to_owned);
            let identity = Identity::new(found.name().to_owned(), found.groups().to_vec(), email);
            let context = AuthContext::new(By::Password.into(), Clock::system().now());
            let account = AccountRef::of_users_file(found.name());
            Account::Active(Principal::new(account, identity.into(), context.into()))
        }
    })
}

#[cfg(test)]
mod tests;
