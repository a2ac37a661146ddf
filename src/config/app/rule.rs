//! `[[app.rule]]`: who may open which part of an app.

use http::Method;
use percent_encoding::percent_decode_str;
use toml::de::DeValue;

use super::Paths;
use crate::access::{Allow, Rule, Rules, UserNames};
use crate::config::section::Section;
use crate::config::value;
use crate::portal::Endpoint;
use crate::principal::user_name;
use crate::proxy::Part;
use crate::request::{self, Networks, PathCase, Readings, own_path};
use crate::source_text::Fault;

pub(super) fn rules(sections: Vec<Section<'_>>, let_in: &[Method], paths: Paths<'_>) -> Rules {
    let mut read: Vec<_> = sections
        .into_iter()
        .map(|mut section| (rule(&mut section, let_in, paths), section))
        .collect();
    read.retain(|(rule, _)| rule.is_some());
    loop {
        let rules = read.iter().filter_map(|(rule, _)| rule.clone()).collect();
        match Rules::new(rules, paths.case) {
            Ok(rules) => return rules,
            Err(twins) => {
                let line = read[twins.first].1.line();
                let (_, section) = read.remove(twins.second);
                let fault = Fault::new(format!("the rule of line {line} says this already"));
                section.refuse_all(fault.help("of one path, each method may have one rule"));
            }
        }
    }
}

/// `None` when there is no telling what the rule is about.
fn rule(section: &mut Section<'_>, let_in: &[Method], paths: Paths<'_>) -> Option<Rule> {
    let path = section.require("path", |value| rule_path(value::text(value)?, paths));
    let methods = section.filled_list("methods", "leave the key out for every method", |value| {
        let method = value::method(value)?;
        if !let_in.contains(&method) {
            return Err(Fault::new(format!("{method} is not let in at all"))
                .help("add it to `methods` of the app or in [server.limits], or leave it out"));
        }
        Ok(method)
    });
    let (allow, networks) = allow(section).unwrap_or((Allow::Nobody, Networks::default()));
    let methods = methods.unwrap_or_default();
    let service_worker = section.get("service_worker", value::boolean);
    let origins = section.list("cross_site_posts", value::origin);
    let origins = origins.unwrap_or_default();
    let path = path?;
    let rule = Rule::new(&path, methods, allow)
        .within(networks)
        .at(section.line())
        .with_service_workers(service_worker.unwrap_or(false));
    if !origins.is_empty()
        && let Err(fault) = can_take_forms(&rule, &path, let_in, paths.case)
    {
        section.refuse("cross_site_posts", fault);
    }
    Some(rule.with_cross_site_posts(&path, origins))
}

/// Whether forms of other sites make sense there: with a login that they have to wait for.
fn can_take_forms(rule: &Rule, path: &str, let_in: &[Method], case: PathCase) -> Result<(), Fault> {
    let is_plain = Readings::of(path, case).is_ok_and(|readings| readings.others().is_empty());
    let (problem, help) = match rule.allow() {
        Allow::Everyone => (
            "forms arrive there without a login anyway",
            "leave the key out",
        ),
        Allow::Nobody => ("nobody may send a form there", "write who may in `allow`"),
        _ if !rule.methods().is_empty() && !rule.methods().contains(&Method::POST) => {
            ("the rule is not for POST", "add \"POST\" to its `methods`")
        }
        _ if !let_in.contains(&Method::POST) => (
            "POST is not let in at all",
            "add it to `methods` of the app or in [server.limits]",
        ),
        _ if !is_plain => (
            "apps read this path in more than one way",
            "give the app a plainer path for forms of other sites",
        ),
        Allow::Groups(_) | Allow::SignedIn | Allow::Users(_) => return Ok(()),
    };
    Err(Fault::new(problem).help(help))
}

fn rule_path(path: &str, paths: Paths<'_>) -> Result<String, Fault> {
    if let Some(at) = path.find(['?', '#']) {
        return Err(Fault::new("a rule judges the path alone, without query")
            .help(format!("write \"{}\"", &path[..at])));
    }
    if let Some(at) = path.find('*') {
        let below = path[..at].rfind('/').map_or("/", |slash| &path[..=slash]);
        let fault = Fault::new("there are no wildcards: a path covers everything below it");
        return Err(fault.help(format!("write \"{below}\"")));
    }
    if !path.starts_with('/') {
        return Err(Fault::new("a path begins with /").help(format!("write \"/{path}\"")));
    }
    let no_path = |error| Fault::new(format!("no request can have this path: {error}"));
    let normal = request::normal_path(path, paths.allow).map_err(no_path)?;
    let own = own_path!();
    let readings = Readings::of(&normal, paths.case).map_err(no_path)?;
    let is_utf8 = percent_decode_str(&normal).decode_utf8().is_ok();
    if paths.case == PathCase::Insensitive && !is_utf8 {
        let fault = Fault::new("only UTF-8 can be compared without regard to case");
        return Err(fault.help("write a shorter path, or path_case = \"sensitive\""));
    }
    let others = readings.others().iter().map(String::as_str);
    if others
        .chain([readings.path()])
        .any(|reading| Endpoint::of(reading).is_some())
    {
        return Err(
            Fault::new(format!("no rule speaks for {own}: it is Vestibule's own"))
                .help("leave the rule out"),
        );
    }
    if normal != path {
        return Err(
            Fault::new("this is not the form in which paths are compared")
                .help(format!("write \"{normal}\"")),
        );
    }
    let (part, bare) = (paths.part(), path.trim_end_matches('/'));
    if !part.covers(path) && !Part::new(path, false).covers(part.prefix()) {
        let fault = Fault::new(format!("the app has no more than {}", part.path()));
        return Err(fault.help(format!("write \"{}{bare}\"", part.prefix())));
    }
    if let Some(other) = paths.other_with(path) {
        let other = other.path();
        let fault = Fault::new(format!("another app of this host has {other}"));
        return Err(fault.help("write the rule below that [[app]]"));
    }
    Ok(path.to_owned())
}

/// Who may, and from where.
fn allow(section: &mut Section<'_>) -> Option<(Allow, Networks)> {
    if !section
        .raw("allow")
        .is_some_and(|value| value.get_ref().is_table())
    {
        let word = section.require("allow", allow_word)?;
        return Some((word, Networks::default()));
    }
    let mut who = section.table("allow");
    let fix = "write allow = \"nobody\" if that is what you mean";
    let groups = who.filled_list("groups", fix, group);
    let users = who.filled_list("users", fix, user);
    let networks = who.filled_list("networks", "leave the key out for any", value::network);
    let everyone = everyone(&mut who, networks.is_some());
    let networks = Networks::new(networks.unwrap_or_default());
    let allow = match (groups, users) {
        (Some(_), Some(_)) => {
            let fault = Fault::new("groups and users in one rule");
            who.refuse_all(fault.help("put the users into a group of their own"));
            return None;
        }
        (Some(_), None) | (None, Some(_)) if everyone => {
            let fault = Fault::new("everyone needs no group and no name");
            who.refuse("everyone", fault.help("leave it out, or the others"));
            return None;
        }
        (Some(groups), None) => Allow::Groups(groups),
        (None, Some(users)) => Allow::Users(UserNames::new(users)),
        (None, None) if everyone => Allow::Everyone,
        (None, None) if !networks.are_any() => Allow::SignedIn,
        (None, None) => {
            if who.is_empty() {
                let fault = Fault::new("nobody is named");
                who.refuse_all(fault.help("write { groups = [\"admins\"] } or allow = \"nobody\""));
            }
            return None;
        }
    };
    Some((allow, networks))
}

/// Whether a login is not asked for, within networks.
fn everyone(who: &mut Section<'_>, has_networks: bool) -> bool {
    let everyone = who.get("everyone", |value| {
        if value::boolean(value)? {
            return Ok(());
        }
        Err(Fault::new("nobody else is meant without it").help("leave the key out"))
    });
    if everyone.is_some() && !has_networks && who.raw("networks").is_none() {
        let fault = Fault::new("`everyone` stands here together with `networks`");
        who.refuse("everyone", fault.help("write allow = \"everyone\""));
    }
    everyone.is_some()
}

fn allow_word(value: &DeValue<'_>) -> Result<Allow, Fault> {
    if value.is_array() {
        return Err(Fault::new("a list does not say of what")
            .help("write { groups = [\"admins\"] } or { users = [\"ada\"] }"));
    }
    let words = [
        ("everyone", Allow::Everyone),
        ("signed-in", Allow::SignedIn),
        ("nobody", Allow::Nobody),
    ];
    value::word(value, &words)
}

/// As the users file spells it: composed.
pub(super) fn user(value: &DeValue<'_>) -> Result<String, Fault> {
    let name = value::string(value)?;
    match user_name::spelling(&name) {
        Some(name) => Ok(name.into_owned()),
        None => Err(Fault::new("no user can have this name").help(user_name::RULE)),
    }
}

/// The header joins groups with commas: a comma inside of one would make two (SEC-40).
pub(super) fn group(value: &DeValue<'_>) -> Result<String, Fault> {
    let group = value::string(value)?;
    if group.contains(',') {
        return Err(
            Fault::new("a group has no comma in its name").help("name each group by itself")
        );
    }
    Ok(group)
}
