//! `vestibule check --url`: who may open an address, and by which rule.

use http::Method;
use serde::Serialize;

use super::facts::describe;
use crate::access::{self, Decision};
use crate::auth::users_file;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::{Config, value};
use crate::portal::Endpoint;
use crate::principal::{AccountRef, AuthContext, Identity, Method as By, Principal};
use crate::proxy::{AppSettings, part};
use crate::request::{self, AllowInPath, PathCase, Readings, own_path};

/// Stands for a rule at the addresses of Vestibule itself.
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
    verdict: &'static str,
}

impl Answer {
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
        format!(
            "request  {method} {path}\napp      {app}\n{upstream}rule     {rule}\nuser     {who}\nverdict  {verdict}\n",
        )
    }
}

pub(super) fn ask(
    config: &Config,
    url: &str,
    method: &Method,
    user: Option<&str>,
) -> Result<Answer, Failure> {
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
        verdict: "refused",
    };
    let app = match app_of(config, &host, &target) {
        Ok(app) => app,
        Err(why) => {
            answer.rule = why;
            return Ok(answer);
        }
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
    if Endpoint::of(&path).is_some() {
        answer.rule = String::from(OWN);
        answer.verdict = "allowed";
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
    answer.rule = (app.rules.find(readings.path(), method))
        .map_or_else(|| "none: any signed-in user".to_owned(), describe);
    answer.verdict = match access::decide(&app.rules, &readings, method, principal) {
        Decision::Allow(_) => "allowed",
        Decision::Forbid => "forbidden",
        Decision::Login => "login required",
    };
    Ok(answer)
}

/// The app that gets an address, or why none does.
fn app_of<'c>(
    config: &'c Config,
    host: &request::Host,
    target: &str,
) -> Result<&'c AppSettings, String> {
    let serves = |app: &&AppSettings| app.host.as_ref().is_none_or(|known| known == host);
    let mut apps: Vec<_> = config.apps.iter().filter(serves).collect();
    apps.sort_by_key(|app| std::cmp::Reverse(app.part.prefix().len()));
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
    let found = part::choose(&parts, &path, case);
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
