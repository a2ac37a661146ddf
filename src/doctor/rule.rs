//! Rules that are never asked, or that nobody can meet.
//!
//! What can be so: of two rules of one path, one names every method that is let in; a path is
//! longer than a target may be; a path has `;parameters`, which are judged with and without, so that
//! a rule for it opens nothing. A longer path takes nothing from a shorter one, which has its own path left; and
//! what never reaches the rules, such as our own addresses or a path that is not in its normal
//! form, the configuration refuses already.

use std::net::Ipv6Addr;

use http::Method;

use super::Finding;
use super::named::Named;
use crate::access::{Allow, Rule};
use crate::auth::users_file::Users;
use crate::proxy::AppSettings;
use crate::request::{Limits, Readings, methods};

/// Without `users`, which cannot be read, nobody knows who is missing.
pub(super) fn examine(
    apps: &[AppSettings],
    limits: &Limits,
    users: Option<&Users>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for app in apps {
        findings.extend(unreachable(app));
        for rule in app.rules.iter() {
            let subject = || format!("app {}, rule {}", app.name, describe(rule));
            if let Some((message, help)) = never_asked(rule, app, limits) {
                findings.push(Finding::warning(subject(), message, help).at(rule.line()));
                continue;
            }
            if let Some((message, help)) = leaves_methods(rule, app) {
                findings.push(Finding::warning(subject(), message, help).at(rule.line()));
            }
            if let Some((message, help)) = users.and_then(|users| unknown(rule.allow(), users)) {
                findings.push(Finding::warning(subject(), message, help).at(rule.line()));
            }
        }
    }
    findings
}

/// Path and methods.
pub(super) fn describe(rule: &Rule) -> String {
    let methods: Vec<_> = rule.methods().iter().map(Method::as_str).collect();
    match methods.as_slice() {
        [] => rule.path().to_owned(),
        methods => format!("{} ({})", rule.path(), methods.join(", ")),
    }
}

/// Browsers write an address in one way, and the host has to be the same text.
fn unreachable(app: &AppSettings) -> Option<Finding> {
    let unusual = app.hosts.names().find_map(|host| {
        let literal = host.as_str().strip_prefix('[')?.strip_suffix(']')?;
        let usual = literal.parse::<Ipv6Addr>().ok()?.to_string();
        (usual != literal).then_some((host.as_str(), usual))
    });
    unusual.map(|(host, usual)| {
        let message =
            format!("browsers write the host {host} as [{usual}]: nobody gets to this app");
        let help = format!("write host = \"[{usual}]\"");
        Finding::warning(format!("app {}", app.name), message, help).at(app.line)
    })
}

fn never_asked(rule: &Rule, app: &AppSettings, limits: &Limits) -> Option<(String, String)> {
    if rule.path().len() > limits.target {
        let message = "it can never match: its path is longer than `target` in [server.limits]";
        return Some((message.to_owned(), "leave the rule out".to_owned()));
    }
    if let Some(at) = rule.path().find(';').or_else(|| rule.path().find("%3B")) {
        let bare = &rule.path()[..at];
        return Some((
            "it opens nothing by itself: a path with `;` is judged without it, too".to_owned(),
            format!("write the path without it, as in \"{bare}\""),
        ));
    }
    let same_path = || app.rules.of_path_of(rule);
    let named = |method| same_path().any(|other| other.methods().contains(method));
    if rule.methods().is_empty() && app.methods.iter().all(named) {
        let others: Vec<_> = same_path()
            .filter(|other| !other.methods().is_empty())
            .filter_map(Rule::line)
            .map(|line| line.to_string())
            .collect();
        let message = format!(
            "it can never match: other rules of this path name every method (line {})",
            others.join(", ")
        );
        return Some((message, "leave one of them out".to_owned()));
    }
    None
}

/// A rule for some methods that write, where others that write are left to a weaker one: whoever
/// may not `PUT` there may `MOVE` something there.
fn leaves_methods(rule: &Rule, app: &AppSettings) -> Option<(String, String)> {
    if !rule.methods().iter().any(methods::writes) {
        return None;
    }
    let path = Readings::of(rule.path(), app.rules.case()).ok()?;
    let is_weaker = |method: &&Method| {
        let Some(other) = app.rules.find(path.path(), method) else {
            return !rule.networks().are_any() || lets_in_more(&Allow::SignedIn, rule.allow());
        };
        *other.allow() != Allow::Nobody && !other.networks().are_within(rule.networks())
            || lets_in_more(other.allow(), rule.allow())
    };
    let writing = app.methods.iter().filter(|method| methods::writes(method));
    let unnamed = writing.filter(|method| !rule.methods().contains(method));
    let left: Vec<_> = unnamed.filter(is_weaker).map(Method::as_str).collect();
    if left.is_empty() {
        return None;
    }
    let shown = left.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = match left.len() {
        0..=3 => String::new(),
        all => format!(" and {} more", all - 3),
    };
    let message = format!("it leaves methods that write to a weaker rule: {shown}{more}");
    let help = "leave `methods` out here and name the methods that read in a rule of their own, \
                or take the others out of the app's `methods`";
    Some((message, help.to_owned()))
}

/// Whether a rule lets somebody in whom a stricter one does not.
fn lets_in_more(weak: &Allow, strict: &Allow) -> bool {
    match (weak, strict) {
        (_, Allow::Everyone) | (Allow::Nobody, _) => false,
        (Allow::Everyone, _)
        | (_, Allow::Nobody)
        | (Allow::Groups(_), Allow::Users(_))
        | (Allow::Users(_), Allow::Groups(_)) => true,
        (_, Allow::SignedIn) => false,
        (Allow::SignedIn, _) => true,
        (Allow::Groups(weak), Allow::Groups(strict)) => {
            weak.iter().any(|name| !strict.contains(name))
        }
        (Allow::Users(weak), Allow::Users(strict)) => weak.iter().any(|name| !strict.contain(name)),
    }
}

/// Groups and users of a rule that nobody has or is.
fn unknown(allow: &Allow, users: &Users) -> Option<(String, String)> {
    let named = match allow {
        Allow::Everyone | Allow::Nobody | Allow::SignedIn => return None,
        Allow::Groups(groups) => Named::Groups(groups),
        Allow::Users(names) => Named::Users(names),
    };
    let unknown = named.unknown(users)?;
    let nobody = if unknown.is_all {
        ": it lets nobody in"
    } else {
        ""
    };
    let message = format!("{}{nobody}", unknown.message);
    Some((message, unknown.help("the rule")))
}

#[cfg(test)]
mod tests;
