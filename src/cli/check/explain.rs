//! `vestibule check --url`: who may open an address, and by which rule.

mod answer;
mod judge;
mod sites;
mod token;

use std::net::IpAddr;

use http::Method;

use crate::auth::users_file;
use crate::auth::{StoredUsers, UsersHome, read_stored_user};
use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::{Config, value};
use crate::nodes::Nodes;
use crate::portal::{Endpoint, HostRole};
use crate::principal::{AccountRef, AuthContext, Identity, Method as By, Principal};
use crate::request::{self, AllowInPath, Host};
use answer::Answer;
pub(super) use answer::Programs;
use judge::Place;
use sites::Site;
pub(super) use token::Token;

/// How the address of a WebSocket begins.
const WEBSOCKET: &str = "wss://";

/// Whose request it is, and from where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Perspective<'a> {
    /// Without it, a visitor without a session.
    pub(super) user: Option<&'a str>,
    /// What a program shows that acts for the user.
    pub(super) token: Option<&'a Token>,
    /// Without it, anywhere.
    pub(super) from: Option<IpAddr>,
}

pub(super) fn ask(
    config: &Config,
    url: &str,
    method: &Method,
    perspective: Perspective<'_>,
) -> Result<Answer, Failure> {
    let Perspective { user, token, from } = perspective;
    let (host, target) = split(url).ok_or_else(|| {
        Failure::Usage(format!(
            "`{url}` is not an address: write it as in https://wiki.example.org/page"
        ))
    })?;
    let websocket = url.starts_with(WEBSOCKET);
    if websocket && method != Method::GET {
        return Err(Failure::Usage(format!(
            "`{url}` is the address of a WebSocket, which is opened by GET: leave --method out"
        )));
    }
    let account = user.map(|user| principal_of(config, user)).transpose()?;
    let (account, principal) = match account {
        Some(Account::Active(principal)) => (Some("active"), Some(principal)),
        Some(Account::Disabled) => (Some("disabled"), None),
        Some(Account::Unknown) => (Some("unknown"), None),
        Some(Account::Unreadable) => (Some("unreadable in the session store"), None),
        None => (None, None),
    };
    let mut answer = Answer {
        host: host.as_str().to_owned(),
        path: target.clone(),
        method: method.to_string(),
        websocket,
        user: user.map(str::to_owned),
        account,
        groups: principal
            .as_ref()
            .map_or_else(Vec::new, |who| who.identity().groups().to_vec()),
        token: token.map(|token| token.view.clone()),
        from,
        verdict: "refused",
        ..Answer::default()
    };
    let Some(site) = Site::of(config, &host) else {
        answer.rule = format!("no app has the host {}", host.as_str());
        return Ok(answer);
    };
    answer.note_site(&site, config.login_host.as_ref());
    let app = match site.app_of(&target) {
        Ok(app) => Some(app),
        Err(_) if site.role == HostRole::Login => None,
        Err(rule) => {
            answer.rule = rule;
            return Ok(answer);
        }
    };
    if let Some(app) = app {
        answer.note_app(app);
    }
    let allow = app.map_or_else(AllowInPath::default, |app| app.allow_in_path);
    let path = match request::normal_path(&target, allow) {
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
    match (Endpoint::of(&path), app) {
        (Some(endpoint), _) => {
            let has_session = principal.is_some() && token.is_none();
            answer.judge_own(config, &site, endpoint, has_session, place);
        }
        (None, Some(app)) => answer.judge_app(app, method, &path, (principal, token), place),
        (None, None) => answer.judge_login_host(),
    }
    Ok(answer)
}

/// Host and path of an address as a browser shows it.
fn split(url: &str) -> Option<(Host, String)> {
    let rest = (url.strip_prefix("https://")).or_else(|| url.strip_prefix(WEBSOCKET))?;
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
    /// What the session store has of it is damaged, sealed by another key, or of a later version.
    Unreadable,
}

/// What a login of `user` would lead to.
fn principal_of(config: &Config, user: &str) -> Result<Account, Failure> {
    let (stored, of_file);
    let (users, is_unreadable) = match &config.users {
        UsersHome::File(file) => {
            of_file = users_file::read(file).map_err(|it| Failure::Invalid(it.to_string()))?;
            (&of_file, false)
        }
        UsersHome::Store { .. } => {
            stored = stored_user(config, user)?;
            (&stored.users, stored.is_unreadable(user))
        }
    };
    Ok(match users.get(user) {
        None if is_unreadable => Account::Unreadable,
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

/// The one of this name in the session store.
fn stored_user(config: &Config, name: &str) -> Result<StoredUsers, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let clock = Clock::system();
    runtime.block_on(async {
        let nodes = Nodes::open(config.session.backend.shared(), &clock)
            .map_err(|error| Failure::Invalid(error.to_string()))?;
        let users = read_stored_user(&nodes, &clock, name).await;
        users.map_err(|error| Failure::Failed(error.to_string()))
    })
}

#[cfg(test)]
mod tests;
