//! What a configuration means, where nothing is wrong with it: a line each.

use std::fmt::Write as _;

use http::Method;
use serde_json::json;

use super::explain::Programs;
use super::report::Report;
use crate::access::{Allow, Rule};
use crate::auth::users_file::Users;
use crate::auth::{UsersHome, hashing_memory, users_memory};
use crate::doctor::address::Holder;
use crate::doctor::permission;
use crate::load::memory::Ceiling;
use crate::proxy::{AppSettings, Sentence};
use crate::request::Host;
use crate::upstream::Address;

/// For people. A fact more is a line more here.
pub(super) fn text(report: &Report<'_>) -> String {
    let config = report.config;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    for (wanted, holder) in &report.addresses {
        let state = match holder {
            Holder::Nobody => "",
            Holder::Server => ", where the running server listens already",
            Holder::Systemd => ", which systemd holds for the service",
            Holder::Unasked => ", where the running server does not listen",
        };
        line(
            "address",
            &format!("{} ({}){state}", wanted.address, wanted.key),
        );
    }
    for certificate in &report.examination.certificates {
        line("certificate", &certificate.to_string());
    }
    for server in &report.examination.store {
        line("store", &server.to_string());
    }
    if let Some(users) = &report.examination.users {
        let noun = if users.len() == 1 { "user" } else { "users" };
        let home = match &config.users {
            UsersHome::File(file) => file.display().to_string(),
            UsersHome::Store { .. } => "in the session store".to_owned(),
        };
        line("users", &format!("{home}: {} {noun}", users.len()));
        if let UsersHome::Store { first: Some(file) } = &config.users {
            let when = if users.len() == 0 {
                "taken over while the session store has no users"
            } else {
                "not read any more, as the session store has users"
            };
            line("users file", &format!("{}: {when}", file.display()));
        }
        let ceiling =
            config.memory_ceiling(hashing_memory(users), users_memory(&config.users, users));
        line("memory", &ceiling.to_string());
    }
    if let Some(host) = &config.login_host {
        line("login", &format!("{}, for all apps", host.as_str()));
    }
    if permission::is_root() {
        line(
            "checked as",
            "root, who may read and write everything: to see what the service may, check as its user",
        );
    }
    for app in &config.apps {
        text.push_str(&app_text(app, config.login_host.as_ref()));
    }
    text
}

fn app_text(app: &AppSettings, login_host: Option<&Host>) -> String {
    let upstreams = upstreams(app).join(", ");
    let host = match &app.hosts {
        any if any.are_any() => "any host".to_owned(),
        hosts => hosts.to_string(),
    };
    let path = if app.part.is_whole_host() {
        String::new()
    } else {
        app.part.path()
    };
    let mut text = format!("\napp {}: {host}{path} -> {upstreams}\n", app.name);
    if let Some(sentence) = &app.maintenance.sentence {
        let _ = writeln!(text, "  closed for maintenance: {}", sentence.as_str());
    }
    if !app.networks.are_any() {
        let _ = writeln!(text, "  only from {}", app.networks);
    }
    if app.credentials.take_any() {
        let programs = Programs::from(&app.credentials).text();
        let _ = writeln!(text, "  programs: {programs}");
    }
    for wildcard in app.hosts.iter().filter(|host| host.name().is_none()) {
        let _ = match login_host {
            Some(_) if app.sso_wildcard.is_apart(wildcard) => {
                writeln!(text, "  {wildcard}: each name has a login of its own")
            }
            Some(login) => writeln!(text, "  {wildcard}: the login is on {}", login.as_str()),
            None => Ok(()),
        };
    }
    for rule in app.rules.iter() {
        let _ = writeln!(text, "  {}", describe(rule));
    }
    if !(app.rules.iter()).any(|rule| rule.path() == "/" && rule.methods().is_empty()) {
        text.push_str("  everything else: signed-in\n");
    }
    text
}

/// The facts for programs.
pub(super) fn json(report: &Report<'_>) -> serde_json::Value {
    let addresses = report.addresses.iter().map(|(wanted, holder)| {
        let state = match holder {
            Holder::Nobody => "free",
            Holder::Server => "served",
            Holder::Systemd => "held by systemd",
            Holder::Unasked => "not served",
        };
        json!({ "address": wanted.address.to_string(), "key": wanted.key, "state": state })
    });
    let apps = report.config.apps.iter().map(|app| {
        json!({
            "name": app.name,
            "host": app.hosts.iter().next().map(ToString::to_string),
            "hosts": app.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "path": app.part.path(),
            "upstreams": upstreams(app),
            "networks": app.networks.list(),
            "programs": Programs::from(&app.credentials),
            "maintenance": app.maintenance.sentence.as_ref().map(Sentence::as_str),
            "rules": app.rules.iter().map(describe).collect::<Vec<_>>(),
        })
    });
    let certificates = report.examination.certificates.iter();
    let users = report.examination.users.as_ref();
    let ceiling = users.map(|users| {
        let kept = users_memory(&report.config.users, users);
        report.config.memory_ceiling(hashing_memory(users), kept)
    });
    json!({
        "addresses": addresses.collect::<Vec<_>>(),
        "apps": apps.collect::<Vec<_>>(),
        "certificates": certificates.map(ToString::to_string).collect::<Vec<_>>(),
        "login_host": report.config.login_host.as_ref().map(Host::as_str),
        "memory_ceiling": ceiling.map(Ceiling::total),
        "store": report.examination.store,
        "users": users.map(Users::len),
        "users_in": if report.config.users.is_store() { "store" } else { "file" },
    })
}

fn upstreams(app: &AppSettings) -> Vec<String> {
    app.upstream
        .addresses
        .iter()
        .map(Address::to_string)
        .collect()
}

/// Path, methods, who may, from where, and whose forms wait there.
pub(super) fn describe(rule: &Rule) -> String {
    let methods: Vec<_> = rule.methods().iter().map(Method::as_str).collect();
    let methods = match methods.as_slice() {
        [] => String::new(),
        some => format!(" ({})", some.join(", ")),
    };
    let allow = match rule.allow() {
        Allow::Everyone => "everyone".to_owned(),
        Allow::Groups(groups) => format!("groups {}", groups.join(", ")),
        Allow::Nobody => "nobody".to_owned(),
        Allow::SignedIn => "signed-in".to_owned(),
        Allow::Users(users) => format!("users {}", users.spelled().join(", ")),
    };
    let from = match rule.networks() {
        any if any.are_any() => String::new(),
        networks => format!(" from {networks}"),
    };
    let forms = match rule.cross_site_posts() {
        [] => String::new(),
        origins => format!("; forms of {} after a click", origins.join(", ")),
    };
    format!("{}{methods}: {allow}{from}{forms}", rule.path())
}
